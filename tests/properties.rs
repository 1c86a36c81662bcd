//! Any sequence of calls gives the results, the contents, the callbacks and the outcomes that the testkit's sequential model
//! allows. `PROPTEST_CASES` sets how many sequences are tried (default 256).

mod common;

use common::{Bed, NOW, Tier, Told, key_of, seconds};
use proptest::prelude::*;
use resumption::{
    Added, ProtocolVersion, RemoveReason, Session, SessionCacheMode, SessionId, SessionIdContext, SessionKey,
    Side, Tick,
};
use resumption_testkit::model::{self, Answer, Call, Model, Outcome, Reason, Seen};
use std::collections::HashSet;
use std::sync::Arc;

/// One step. Small numbers choose among few keys, contexts and sessions, so that steps meet each other.
#[derive(Clone, Debug)]
enum Step {
    Add { which: u8, age: u64, timeout: u64, end: Option<u64> },
    AddAgain(u8),
    Remove(u8),
    Lookup { which: u8, how: u8 },
    Take { which: u8, borrowed: bool },
    Flush(i64),
    FlushAll,
    Purge(u8),
    SetCapacity(usize),
    Mark(u8),
    Advance(u64),
    Tick,
    Mode(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![3 => Just(None), 1 => (0..20_u64).prop_map(Some)];
    prop_oneof![
        6 => (any::<u8>(), 0..12_u64, 0..15_u64, end)
            .prop_map(|(which, age, timeout, end)| Step::Add { which, age, timeout, end }),
        2 => any::<u8>().prop_map(Step::AddAgain),
        2 => any::<u8>().prop_map(Step::Remove),
        6 => (any::<u8>(), 0..3_u8).prop_map(|(which, how)| Step::Lookup { which, how }),
        4 => (any::<u8>(), any::<bool>()).prop_map(|(which, borrowed)| Step::Take { which, borrowed }),
        1 => (-20..20_i64).prop_map(Step::Flush),
        1 => Just(Step::FlushAll),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => (0..6_usize).prop_map(Step::SetCapacity),
        1 => any::<u8>().prop_map(Step::Mark),
        3 => (0..6_u64).prop_map(Step::Advance),
        1 => Just(Step::Tick),
        1 => prop_oneof![Just(0), Just(1), Just(2), Just(0x82), Just(0x102), Just(0x302), Just(0x402)]
            .prop_map(Step::Mode),
    ]
}

/// Three ids under three versions, two of them prefixes of one another.
fn key(which: u8) -> SessionKey {
    let version =
        [ProtocolVersion::TLS1_2, ProtocolVersion::TLS1_3, ProtocolVersion::DTLS1_2][usize::from(which % 3)];
    let id: &[u8] = [&[1][..], &[1, 0], &[0xff; 32]][usize::from(which / 3 % 3)];
    SessionKey::new(version, SessionId::new(id).expect("1 to 32 bytes"))
}

fn id_context(which: u8) -> SessionIdContext {
    let bytes: &[u8] = if (which / 9).is_multiple_of(3) { b"mail" } else { b"www" };
    SessionIdContext::new(bytes).expect("short")
}

fn model_key(key: &SessionKey) -> model::Key {
    model::Key { id: key.id().as_bytes().to_vec(), version: key.version().0 }
}

fn model_session(session: &Session<u32>) -> model::Session {
    model::Session {
        serial: u64::from(*session.payload()),
        key: model_key(&session.key()),
        id_context: session.id_context().as_bytes().to_vec(),
        time: session.time().as_unix(),
        timeout: session.timeout().as_secs(),
        end_of_life: session.end_of_life().as_unix().min(model::NEVER),
    }
}

fn reason(reason: RemoveReason) -> Reason {
    match reason {
        RemoveReason::Removed => Reason::Removed,
        RemoveReason::Evicted => Reason::Evicted,
        RemoveReason::Expired => Reason::Expired,
        RemoveReason::Flushed => Reason::Flushed,
        RemoveReason::Consumed => Reason::Consumed,
        RemoveReason::Purged => Reason::Purged,
        RemoveReason::ContextDropped => Reason::ContextDropped,
        other => panic!("no step leads to {other:?}"),
    }
}

fn outcome(name: &str) -> Outcome {
    match name {
        "hit" => Outcome::Hit,
        "unknown" => Outcome::Unknown,
        "expired" => Outcome::Expired,
        "evicted" => Outcome::Evicted,
        "consumed" => Outcome::Consumed,
        "other_context" => Outcome::OtherContext,
        "other_version" => Outcome::OtherVersion,
        "marked" => Outcome::Marked,
        "mode" => Outcome::Mode,
        other => panic!("no step leads to {other}"),
    }
}

/// The engine and the model, in step.
struct Pair {
    bed: Bed,
    model: Model,
    sessions: Vec<Arc<Session<u32>>>,
}

impl Pair {
    fn new(capacity: usize) -> Self {
        let bed = Bed::with(|builder, _| builder.capacity(capacity));
        Self { bed, model: Model::new(capacity), sessions: Vec::new() }
    }

    fn known(&self, which: u8) -> Option<Arc<Session<u32>>> {
        let recent = self.sessions.iter().rev().take(12).nth(usize::from(which % 12));
        recent.or(self.sessions.last()).cloned()
    }

    fn judge(&mut self, call: Call, answer: Answer) -> Result<(), TestCaseError> {
        let departures = departures(self.bed.told());
        let verdict = self.model.judge(&call, self.bed.context.now().as_unix(), &Seen { answer, departures });
        prop_assert!(verdict.is_ok(), "{}", verdict.expect_err("it is not"));
        self.compare()
    }

    /// The contents, one by one.
    fn compare(&self) -> Result<(), TestCaseError> {
        let held: Vec<u64> = self.bed.held().into_iter().map(u64::from).collect();
        prop_assert_eq!(held, self.model.serials());
        for which in 0..9 {
            let here = self.bed.context.contains(&key(which));
            prop_assert_eq!(here, self.model.contains(&model_key(&key(which))));
        }
        for session in &self.sessions {
            let serial = u64::from(*session.payload());
            prop_assert_eq!(session.is_resumable(), self.model.is_resumable(serial), "session {}", serial);
        }
        Ok(())
    }

    /// All that has expired may leave now. The model allows that in a lookup of another key, so here is one.
    fn tick(&mut self) -> Result<(), TestCaseError> {
        while self.bed.context.tick() == Tick::More {}
        let nobody = key_of(ProtocolVersion::TLS1_1, 0);
        let (found, name) = self.bed.outcome(|| self.bed.find(&nobody));
        let call = Call::Lookup(model_key(&nobody), common::www().as_bytes().to_vec());
        self.judge(call, Answer::Found(found.map(u64::from), outcome(name)))
    }

    fn add(&mut self, session: Arc<Session<u32>>) -> Result<(), TestCaseError> {
        // An add reclaims what has expired, the session under its own key included, before it looks: as if that had
        // happened a little earlier.
        self.tick()?;
        let call = Call::Add(model_session(&session));
        let answer = match self.bed.context.add_session(session).expect("it fits") {
            Added::Added => Answer::Added,
            Added::Replaced(old) => Answer::Replaced(u64::from(*old.payload())),
            Added::Unchanged => Answer::Unchanged,
        };
        self.judge(call, answer)
    }

    fn lookup(&mut self, which: u8, how: u8) -> Result<(), TestCaseError> {
        let (bed, key, id_context) = (&self.bed, key(which), id_context(which));
        let guard = bed.context.pin();
        let (found, name) = bed.outcome(|| match how {
            0 => bed.context.lookup(&key, &id_context, &guard).map(|session| *session.payload()),
            1 => bed.context.lookup_arc(&key, &id_context).map(|session| *session.payload()),
            _ => {
                let now = bed.context.now();
                bed.context.lookup_at(&key, &id_context, now, &guard).map(|session| *session.payload())
            }
        });
        drop(guard);
        let call = Call::Lookup(model_key(&key), id_context.as_bytes().to_vec());
        self.judge(call, Answer::Found(found.map(u64::from), outcome(name)))
    }

    fn take(&mut self, which: u8, borrowed: bool) -> Result<(), TestCaseError> {
        let (bed, key, id_context) = (&self.bed, key(which), id_context(which));
        let guard = bed.context.pin();
        let (found, name) = bed.outcome(|| match borrowed {
            true => bed.context.take_borrowed(&key, &id_context, &guard).map(|session| *session.payload()),
            false => bed.context.take(&key, &id_context).map(|session| *session.payload()),
        });
        drop(guard);
        let call = Call::Take(model_key(&key), id_context.as_bytes().to_vec());
        self.judge(call, Answer::Found(found.map(u64::from), outcome(name)))
    }

    fn set_mode(&mut self, bits: u32) {
        let mode = SessionCacheMode::from_bits(bits);
        self.bed.context.set_mode(mode);
        self.model.set_looks_inside(!mode.is_off() && !mode.contains(SessionCacheMode::NO_INTERNAL_LOOKUP));
        self.model.set_renews(mode.contains(SessionCacheMode::UPDATE_TIME));
    }

    fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now = self.bed.context.now();
        match *step {
            Step::Add { which, age, timeout, end } => {
                let session = self.build(which, age, timeout, end);
                self.sessions.push(Arc::clone(&session));
                self.add(session)
            }
            Step::AddAgain(which) => self.known(which).map_or(Ok(()), |session| self.add(session)),
            Step::Remove(which) => {
                let Some(session) = self.known(which) else { return Ok(()) };
                let removed = self.bed.context.remove_session(&session);
                self.judge(Call::Remove(model_session(&session)), Answer::Removed(removed))
            }
            Step::Lookup { which, how } => self.lookup(which, how),
            Step::Take { which, borrowed } => self.take(which, borrowed),
            Step::Flush(offset) => {
                let at = resumption::Timestamp::from_unix(now.as_unix().saturating_add_signed(offset));
                let count = self.bed.context.flush_sessions(at);
                self.judge(Call::Flush(at.as_unix()), Answer::Count(count))
            }
            Step::FlushAll => {
                let count = self.bed.context.flush_all();
                self.judge(Call::FlushAll, Answer::Count(count))
            }
            Step::Purge(which) => {
                let count = self.bed.context.purge(&id_context(which));
                self.judge(Call::Purge(id_context(which).as_bytes().to_vec()), Answer::Count(count))
            }
            Step::SetCapacity(capacity) => {
                let previous = self.bed.context.set_capacity(capacity).expect("small");
                self.judge(Call::SetCapacity(capacity), Answer::Capacity(previous))
            }
            Step::Mark(which) => {
                let Some(session) = self.known(which) else { return Ok(()) };
                session.mark_not_resumable();
                self.judge(Call::Mark(u64::from(*session.payload())), Answer::Nothing)
            }
            Step::Advance(by) => {
                self.bed.advance(by);
                Ok(())
            }
            Step::Tick => self.tick(),
            Step::Mode(bits) => {
                self.set_mode(bits);
                Ok(())
            }
        }
    }

    fn build(&self, which: u8, age: u64, timeout: u64, end: Option<u64>) -> Arc<Session<u32>> {
        let time = resumption::Timestamp::from_unix(self.bed.context.now().as_unix() - age);
        let mut session = Session::<u32>::builder(key(which)).id_context(id_context(which)).time(time);
        if let Some(end) = end {
            session = session.end_of_life(time.saturating_add(seconds(end)));
        }
        let serial = u32::try_from(self.sessions.len()).expect("few");
        Arc::new(session.timeout(seconds(timeout)).build(serial))
    }

    fn end(mut self) -> Result<(), TestCaseError> {
        let now = self.bed.context.now().as_unix();
        let Bed { context, log, .. } = self.bed;
        drop(context);
        let seen = Seen { answer: Answer::Nothing, departures: departures(log.take()) };
        let verdict = self.model.judge(&Call::Drop, now, &seen);
        prop_assert!(verdict.is_ok(), "{}", verdict.expect_err("it is not"));
        Ok(())
    }
}

fn departures(told: Vec<Told>) -> Vec<(u64, Reason)> {
    let departure = |told| match told {
        Told::Left(n, why) => (u64::from(n), reason(why)),
        other => panic!("no step leads to {other:?}"),
    };
    told.into_iter().map(departure).collect()
}

proptest! {
    // A failure prints its minimal steps, which are worth a test of their own; a file of seeds is not.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_is_as_the_model_says(
        capacity in 0..6_usize,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut pair = Pair::new(capacity);
        for step in &steps {
            pair.apply(step)?;
        }
        pair.end()?;
    }

    /// With an external store, whose sessions the model does not follow: whatever is handed out is valid, and what was
    /// taken or removed is never handed out again.
    #[test]
    fn nothing_invalid_is_handed_out_with_two_tiers(
        copies in any::<bool>(),
        capacity in 1..4_usize,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let tier = Tier::default();
        if copies {
            tier.copies();
        }
        let bed = Bed::with(|builder, _| builder.capacity(capacity).external(tier.clone()));
        let mut pair = Pair { bed, model: Model::new(0), sessions: Vec::new() };
        let mut gone = HashSet::new();
        for step in &steps {
            two_tiers(&mut pair, &mut gone, step)?;
            prop_assert!(pair.bed.held().len() <= capacity);
        }
    }
}

/// One step with an external store.
fn two_tiers(pair: &mut Pair, gone: &mut HashSet<u32>, step: &Step) -> Result<(), TestCaseError> {
    let context = &pair.bed.context;
    match *step {
        Step::Add { which, age, timeout, end } => {
            let session = pair.build(which, age, timeout, end);
            pair.sessions.push(Arc::clone(&session));
            context.store_session(session, Side::Server).expect("it fits");
        }
        Step::Remove(which) => {
            if let Some(session) = pair.known(which) {
                context.remove_session(&session);
                gone.insert(*session.payload());
            }
        }
        Step::Lookup { which, how } => {
            let guard = context.pin();
            let found = match how {
                0 => context.lookup_arc(&key(which), &id_context(which)).map(|session| *session.payload()),
                _ => {
                    context.lookup(&key(which), &id_context(which), &guard).map(|session| *session.payload())
                }
            };
            valid(pair, gone, which, found)?;
        }
        Step::Take { which, borrowed } => {
            let guard = context.pin();
            let (key, id_context) = (key(which), id_context(which));
            let found = match borrowed {
                true => context.take_borrowed(&key, &id_context, &guard).map(|session| *session.payload()),
                false => context.take(&key, &id_context).map(|session| *session.payload()),
            };
            valid(pair, gone, which, found)?;
            gone.extend(found);
        }
        Step::Flush(_) => drop(context.flush_sessions(context.now()).to_string()),
        Step::Advance(by) => pair.bed.advance(by),
        Step::Tick => assert_eq!(context.tick(), Tick::Done),
        Step::Mode(bits) if bits != 0x402 => {
            context.set_mode(SessionCacheMode::from_bits(bits));
        }
        _ => {}
    }
    for told in pair.bed.told() {
        if let Told::Left(n, RemoveReason::Consumed | RemoveReason::Flushed) = told {
            gone.insert(n);
        }
    }
    Ok(())
}

/// What was handed out for `which` has its key and context, has not expired, and has not gone.
fn valid(pair: &Pair, gone: &HashSet<u32>, which: u8, found: Option<u32>) -> Result<(), TestCaseError> {
    let Some(found) = found else { return Ok(()) };
    let session = &pair.sessions[found as usize];
    prop_assert_eq!((session.key(), *session.id_context()), (key(which), id_context(which)));
    prop_assert!(session.expires_at() >= pair.bed.context.now(), "session {} has expired", found);
    prop_assert!(!gone.contains(&found), "session {} was taken or removed before", found);
    Ok(())
}

/// The nine keys are nine keys.
#[test]
fn the_keys_are_distinct() {
    let keys: HashSet<SessionKey> = (0..=u8::MAX).map(key).collect();
    assert_eq!(keys.len(), 9);
    assert!(!keys.contains(&key_of(ProtocolVersion::TLS1_2, 1)) && NOW.as_unix() > 12);
}
