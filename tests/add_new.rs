//! Adding a session that nobody else has: as `add_session` and `store_session`, without what is shared with somebody.

mod common;
#[path = "common/counted.rs"]
mod counted;

use common::{Bed, LIFE, Log, Tier, Told, key, www};
use counted::{Counted, Live, alone, live};
use resumption::{
    AddError, Added, RemoveReason, Session, SessionCacheMode, SessionContext, SessionIdContext, Side, Stored,
    idle,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

fn new(bed: &Bed, n: u32) -> Session<u32> {
    bed.context.session(key(n)).id_context(www()).build(n)
}

#[test]
fn an_absent_key_is_added() {
    let bed = Bed::new();
    assert_eq!(bed.context.add_new(new(&bed, 1)), Ok(false));
    assert_eq!((bed.held(), bed.find(&key(1))), (vec![1], Some(1)));
    assert!(bed.told().is_empty());
    let session = bed.context.lookup_arc(&key(1), &www()).expect("it was added");
    assert_eq!(Arc::strong_count(&session), 2);
}

#[test]
fn another_session_of_the_key_leaves_unmarked_and_stays_readable() {
    let bed = Bed::new();
    let old = bed.add(1);
    let guard = bed.context.pin();
    let borrowed = bed.context.lookup(&key(1), &www(), &guard).expect("it was added");
    let next = bed.context.session(key(1)).id_context(www()).build(2);
    assert_eq!(bed.context.add_new(next), Ok(true));
    assert_eq!((*borrowed.payload(), bed.find(&key(1)), bed.held()), (1, Some(2), vec![2]));
    assert!(old.is_resumable());
    assert!(bed.told().is_empty());
    // What was replaced may come back, and replaces in turn.
    assert!(matches!(bed.context.add_session(old), Ok(Added::Replaced(two)) if *two.payload() == 2));
}

#[test]
fn it_expires_and_is_evicted_as_any_other() {
    let bed = Bed::with(|builder, _| builder.capacity(2));
    for n in 1..=3 {
        assert_eq!(bed.context.add_new(new(&bed, n)), Ok(false));
    }
    assert_eq!((bed.context.stats().number, bed.context.stats().cache_full), (2, 1));
    assert!(matches!(bed.told()[..], [Told::Left(_, RemoveReason::Evicted)]));
    bed.advance(LIFE + 1);
    assert_eq!(bed.context.flush_sessions(bed.context.now()), 2);
}

#[test]
fn one_that_is_too_large_is_dropped_and_nothing_changes() {
    let limit = size_of::<Session<Vec<u8>>>() + 100;
    let context = SessionContext::<Vec<u8>>::builder().max_session_bytes(limit).build().expect("memory");
    let heavy = |bytes| context.session(key(1)).build(vec![0; bytes]);
    assert_eq!(context.add_new(heavy(100)), Ok(false));
    let refused = Err(AddError::TooLarge { weight: limit + 1, limit });
    assert_eq!(context.add_new(heavy(101)), refused);
    assert_eq!(context.store_new(heavy(101), Side::Server).map(|_| true), refused);
    let guard = context.pin();
    let kept = context.lookup(&key(1), &SessionIdContext::EMPTY, &guard).expect("the first");
    assert_eq!(kept.payload().len(), 100);
}

/// What comes out of a cache and is nobody else's any more can go in again.
#[test]
fn a_session_can_be_taken_out_and_be_new_again() {
    let bed = Bed::new();
    for _ in 0..100 {
        assert_eq!(bed.context.add_new(new(&bed, 1)), Ok(false));
        let mut taken = bed.context.take(&key(1), &www()).expect("it was added");
        let alone = loop {
            match Arc::try_unwrap(taken) {
                Ok(alone) => break alone,
                Err(shared) => taken = shared,
            }
            idle();
        };
        // It was taken, and is not to be found; but it goes in.
        assert_eq!(bed.context.add_new(alone), Ok(false));
        assert_eq!((bed.held(), bed.find(&key(1))), (vec![1], None));
        assert_eq!(bed.context.flush_all(), 1);
    }
}

/// The store step: what is stored and who is told, beside what `store_session` does under the same mode.
#[test]
fn the_store_step_does_as_for_a_shared_session() {
    for bits in [0, 1, 2, 3, 0x102, 0x202, 0x302, 0x402] {
        for (side, listens, tiers) in [Side::Server, Side::Client]
            .into_iter()
            .flat_map(|side| [(side, false, false), (side, true, false), (side, false, true)])
        {
            let outcome = |step: fn(&SessionContext<u32>, Side) -> Stored| {
                let (tier, log) = (Tier::default(), Log::default());
                let mut builder = SessionContext::builder().mode(SessionCacheMode::from_bits(bits));
                if listens {
                    let log = log.clone();
                    builder = builder.on_new(move |_, session| log.push(Told::New(*session.payload())));
                }
                if tiers {
                    builder = builder.external(tier.clone());
                }
                let context = builder.build().expect("memory");
                let stored = step(&context, side);
                (stored, context.contains(&key(1)), log.take(), tier.calls())
            };
            let shared = outcome(|context, side| {
                context.store_session(Arc::new(context.session(key(1)).build(1)), side).expect("it fits")
            });
            let alone = outcome(|context, side| {
                context.store_new(context.session(key(1)).build(1), side).expect("it fits")
            });
            assert_eq!(alone, shared, "mode {bits:#x}, {side:?}, listens {listens}, tiers {tiers}");
        }
    }
}

/// It stops before anything is stored, as for a shared session.
#[test]
fn the_store_step_stops_at_a_marked_session() {
    let bed = Bed::new();
    let session = new(&bed, 1);
    session.mark_not_resumable();
    let stored = bed.context.store_new(session, Side::Server).expect("it fits");
    assert_eq!((stored.internal, stored.announced, bed.held()), (false, false, vec![]));
}

/// Of those that add under one key all but one replace, and what they replaced is freed.
#[test]
fn threads_that_add_under_one_key_replace_each_other() {
    const ROUNDS: usize = 2_000;
    let _alone = alone();
    let counted = Arc::new(Live::default());
    let context = SessionContext::<Counted>::builder().capacity(64).build().expect("memory");
    let (replaced, start) = (AtomicUsize::new(0), Barrier::new(3));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                start.wait();
                for n in 0..ROUNDS {
                    let session = context.session(common::key(n as u32 % 4)).build(Counted::new(&counted));
                    let other = context.add_new(session).expect("it fits");
                    replaced.fetch_add(usize::from(other), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(replaced.into_inner(), 3 * ROUNDS - 4);
    (0..1_000).for_each(|_| idle());
    assert_eq!(live(&counted), 4);
    drop(context);
    (0..1_000).for_each(|_| idle());
    assert_eq!(live(&counted), 0);
}
