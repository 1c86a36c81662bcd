//! The departures from OpenSSL 3.0 that these programs can show, each with a name, a count, and a way to switch it off.

/// A departure. Its number in brackets is that of the list in the project's semantics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// (8) A TLS 1.3 session is used once: a server takes it, and two clients do not offer it at one time. OpenSSL lets a
    /// ticket be used any number of times (row U7).
    TicketsUsedOnce,
    /// Tickets that cannot be redeemed are not sent (U10): none by a server in mode OFF, or by one that verifies its peers
    /// and has no session id context. OpenSSL does so from 4.1 on.
    UselessTicketsNotSent,
    /// (6) Mode OFF does nothing by itself: sessions are not looked up. OpenSSL looks them up, counts a miss, or resumes
    /// (L10). The program ends there.
    ModeOffDoesNothing,
    /// A marked session is never resumed. OpenSSL resumes one that was removed and added again (L8), though not one that a
    /// get callback returns (L7). The program ends there.
    MarkedIsNotResumed,
    /// A server that must not resume for want of a session id context (Q3) has asked its cache by then: that counts as a
    /// hit, and a TLS 1.3 session is used up; or it has learnt that the session has expired, and the handshake is a full
    /// one. OpenSSL counts no hit, and fails in either case. The program ends there.
    FatalResumptionIsAHit,
    /// (1) Lowering the capacity takes effect at once; in OpenSSL with the next add (V6).
    LoweredCapacityAtOnce,
    /// (2) The victim is chosen by use; in OpenSSL it is the one that expires first (V4).
    VictimByUse,
    /// (2) An evicted session is not marked not resumable (V8).
    EvictionDoesNotMark,
    /// The departures of a flush are announced in no particular order; OpenSSL has one, another in each version (K17).
    OrderOfDepartures,
}

impl Rule {
    pub(crate) const ALL: [Self; 9] = [
        Self::TicketsUsedOnce,
        Self::UselessTicketsNotSent,
        Self::ModeOffDoesNothing,
        Self::MarkedIsNotResumed,
        Self::FatalResumptionIsAHit,
        Self::LoweredCapacityAtOnce,
        Self::VictimByUse,
        Self::EvictionDoesNotMark,
        Self::OrderOfDepartures,
    ];
}

/// Which rules hold, and how often each was needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    off: Option<Rule>,
    used: [u64; Rule::ALL.len()],
}

impl Rules {
    pub(crate) fn all() -> Self {
        Self::default()
    }

    pub(crate) fn without(rule: Rule) -> Self {
        Self { off: Some(rule), ..Self::default() }
    }

    pub(crate) fn holds(&self, rule: Rule) -> bool {
        self.off != Some(rule)
    }

    /// Excuses a difference; when the rule is off, it is an error instead.
    pub(crate) fn excuse(&mut self, rule: Rule, difference: &str) -> Result<(), String> {
        if self.holds(rule) {
            self.used[rule as usize] += 1;
            Ok(())
        } else {
            Err(format!("{difference} (without the rule {rule:?})"))
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, used) in self.used.iter_mut().zip(other.used) {
            *sum += used;
        }
    }

    pub(crate) fn uses(&self) -> impl Iterator<Item = (Rule, u64)> + '_ {
        Rule::ALL.into_iter().map(|rule| (rule, self.used[rule as usize]))
    }
}
