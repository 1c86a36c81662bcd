//! A table that is too large for the processor's caches has a filter, which lookups ask after a miss. It must never hide a
//! session, and what lookups count and return must not depend on it.

use resumption::{
    ExternalStore, ProtocolVersion, Session, SessionContext, SessionId, SessionIdContext, SessionKey,
    Timestamp, pin,
};
use resumption_testkit::workload::Random;
use std::collections::HashMap;
use std::sync::Arc;

const ANY: SessionIdContext = SessionIdContext::EMPTY;

fn key(number: u64) -> SessionKey {
    SessionKey::new(ProtocolVersion::TLS1_3, SessionId::new(&number.to_be_bytes()).expect("8 bytes"))
}

/// Room for three sessions of four that come at random, so that buckets fill, empty and fill again.
const SESSIONS: u64 = 160_000;

fn large() -> SessionContext<u64> {
    SessionContext::builder().capacity(SESSIONS as usize).build().expect("memory")
}

fn add(context: &SessionContext<u64>, number: u64, payload: u64) {
    context.add_session(Arc::new(context.session(key(number)).build(payload))).expect("small enough");
}

#[test]
fn lookups_and_takes_agree_with_a_map() {
    let (context, mut random) = (large(), Random::new(7));
    let mut model = HashMap::new();
    let (mut hits, mut misses) = (0, 0);
    for step in 0..600_000 {
        let number = random.below(SESSIONS * 4 / 5);
        match random.below(6) {
            0 | 1 => {
                add(&context, number, step);
                model.insert(number, step);
            }
            2 => {
                let taken = context.take(&key(number), &ANY).map(|session| *session.payload());
                assert_eq!(taken, model.remove(&number), "take of {number} in step {step}");
                if taken.is_some() { hits += 1 } else { misses += 1 }
            }
            3 => {
                let found = context.lookup_arc(&key(number), &ANY).map(|session| *session.payload());
                assert_eq!(found, model.get(&number).copied(), "get1 of {number} in step {step}");
                if found.is_some() { hits += 1 } else { misses += 1 }
            }
            4 => {
                let guard = pin();
                let found = context.lookup(&key(number), &ANY, &guard).map(Session::payload);
                assert_eq!(found, model.get(&number), "get0 of {number} in step {step}");
                if found.is_some() { hits += 1 } else { misses += 1 }
            }
            _ => {
                let numbers = [number, number + 1, number + 2, SESSIONS + number];
                let mut found = [None; 4];
                let guard = pin();
                context.lookup_many(&numbers.map(key), &ANY, &guard, |place, session| {
                    found[place] = session.map(Session::payload);
                });
                assert_eq!(found, numbers.map(|number| model.get(&number)), "batch in step {step}");
                let hit = found.iter().flatten().count() as u64;
                hits += hit;
                misses += 4 - hit;
            }
        }
    }
    let stats = context.stats();
    assert_eq!((stats.hits, stats.misses), (hits, misses));
    assert_eq!((stats.outcomes.hit, stats.outcomes.misses()), (hits, misses));
    assert_eq!(stats.number, model.len() as u64);
}

/// A store that has one session.
struct One(Arc<Session<u64>>);

impl ExternalStore<u64> for One {
    fn get(&self, key: &SessionKey) -> Option<Arc<Session<u64>>> {
        (self.0.key() == *key).then(|| Arc::clone(&self.0))
    }

    fn put(&self, _: &Arc<Session<u64>>) -> bool {
        false
    }

    fn take(&self, _: &SessionKey) -> Option<Arc<Session<u64>>> {
        None
    }

    fn remove(&self, _: &SessionKey) {}
}

#[test]
fn what_the_filter_does_not_know_is_asked_outside() {
    let session = Arc::new(Session::<u64>::builder(key(5)).end_of_life(Timestamp::NEVER).build(50));
    let builder = SessionContext::<u64>::builder().capacity(SESSIONS as usize);
    let context = builder.external(One(session)).build().expect("memory");
    let guard = pin();
    for absent in 6..100 {
        assert!(context.lookup_at(&key(absent), &ANY, Timestamp::EPOCH, &guard).is_none());
    }
    let found = context.lookup_at(&key(5), &ANY, Timestamp::EPOCH, &guard);
    assert_eq!(found.map(Session::payload), Some(&50), "the outside has it");
    assert_eq!((context.stats().cb_hits, context.stats().outcomes.external_hit), (1, 1));
}
