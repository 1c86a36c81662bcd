//! The departures from OpenSSL that these programs can show, each with a name, a count, and a way to switch it off.

use std::fmt;

/// A departure. Its number in brackets is that of the list in the project's semantics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// (1) Capacity n holds n sessions; OpenSSL from 3.0.6 on holds n-1 (row V3).
    CapacityHoldsAll,
    /// (1) Lowering the capacity takes effect at once; in OpenSSL with the next add (V6).
    LoweredCapacityAtOnce,
    /// (2) The victim is chosen by use; in OpenSSL it is the one that expires first (V4).
    VictimByUse,
    /// (2) An evicted session is not marked not resumable (V8).
    EvictionDoesNotMark,
    /// (3) Every call works inside every callback; OpenSSL up to 4.0 has its lock during flush and eviction (K16).
    CallbacksWithoutLock,
    /// (4) A session without an id is refused; OpenSSL takes it and never gets rid of it (A7).
    NoIdRefused,
    /// (5) Sessions do not change; another time makes another session. OpenSSL changes a cached one in place (S16).
    ImmutableSessions,
    /// (5) UPDATE_TIME renews on a hit; OpenSSL renews when a session is added (A4, A10).
    UpdateTimeOnHit,
    /// (12) Time ends in 2106, and what lives longer lives for ever.
    TimeSaturates,
    /// (13) What has expired leaves little by little, with every add, when the clock says so.
    UpkeepByTheWheel,
    /// Departures of one call are announced in no particular order; OpenSSL has an order, another one in each version
    /// (K17).
    OrderOfDepartures,
    /// The default timeout is the manual's 300 seconds, not the code's 7200 (C3).
    DefaultTimeout,
}

impl Rule {
    pub(crate) const ALL: [Self; 12] = [
        Self::CapacityHoldsAll,
        Self::LoweredCapacityAtOnce,
        Self::VictimByUse,
        Self::EvictionDoesNotMark,
        Self::CallbacksWithoutLock,
        Self::NoIdRefused,
        Self::ImmutableSessions,
        Self::UpdateTimeOnHit,
        Self::TimeSaturates,
        Self::UpkeepByTheWheel,
        Self::OrderOfDepartures,
        Self::DefaultTimeout,
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
    pub(crate) fn excuse(&mut self, rule: Rule, difference: impl fmt::Display) -> Result<(), String> {
        if self.holds(rule) {
            self.used[rule as usize] += 1;
            Ok(())
        } else {
            Err(format!("{difference} (without the rule {rule:?})"))
        }
    }

    /// Counts a rule that shows in how a call is made, not in a difference.
    pub(crate) fn apply(&mut self, rule: Rule) {
        self.used[rule as usize] += u64::from(self.holds(rule));
    }

    pub(crate) fn uses(&self) -> impl Iterator<Item = (Rule, u64)> + '_ {
        Rule::ALL.into_iter().map(|rule| (rule, self.used[rule as usize]))
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, used) in self.used.iter_mut().zip(other.used) {
            *sum += used;
        }
    }
}
