//! Adding a session that nobody else has: as `add_session` and `store_session`, without what is shared with somebody.

mod common;
#[path = "common/counted.rs"]
mod counted;

use common::{Bed, LIFE, Log, Tier, Told, key, www};
use counted::{Counted, Live, alone, live};
use resumption::{
    AddError, Added, RemoveReason, Session, SessionCacheMode, SessionContext, Side, Stored, idle,
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
    let _alone = alone();
    let counted = Arc::new(Live::default());
    let limit = size_of::<Session<Counted>>();
    let context =
        |limit| SessionContext::<Counted>::builder().max_session_bytes(limit).build().expect("memory");
    let (roomy, tight) = (context(limit), context(limit - 1));
    let session = |context: &SessionContext<Counted>| context.session(key(1)).build(Counted::new(&counted));
    assert_eq!(roomy.add_new(session(&roomy)), Ok(false));
    let refused = AddError::TooLarge { weight: limit, limit: limit - 1 };
    assert_eq!(tight.add_new(session(&tight)), Err(refused));
    assert!(matches!(tight.store_new(session(&tight), Side::Server), Err(error) if error == refused));
    assert_eq!((live(&counted), tight.stats().number), (1, 0));
}

/// What comes out of a cache and is nobody else's any more can go in again.
#[test]
fn a_session_can_be_taken_out_and_be_new_again() {
    let bed = Bed::new();
    for _ in 0..100 {
        assert_eq!(bed.context.add_new(new(&bed, 1)), Ok(false));
        let taken = bed.context.take(&key(1), &www()).expect("it was added");
        let given_back = (0..1_000).any(|_| {
            idle();
            Arc::strong_count(&taken) == 1
        });
        assert!(given_back, "the cache still counts what was taken");
        let alone = Arc::into_inner(taken).expect("ours alone");
        // It was taken, and is not to be found; but it goes in.
        assert_eq!(bed.context.add_new(alone), Ok(false));
        assert_eq!((bed.held(), bed.find(&key(1))), (vec![1], None));
        assert_eq!(bed.context.flush_all(), 1);
    }
}

/// What a store step is made under.
#[derive(Clone, Copy, Debug)]
struct Case {
    mode: u32,
    side: Side,
    listens: bool,
    tiers: bool,
    marked: bool,
    fits: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        let modes = [0, 1, 2, 3, 0x102, 0x202, 0x302, 0x402];
        let bit = |case: u32, at: u32| case >> at & 1 != 0;
        modes.into_iter().flat_map(move |mode| {
            (0..32).map(move |case| Self {
                mode,
                side: if bit(case, 0) { Side::Client } else { Side::Server },
                listens: bit(case, 1),
                tiers: bit(case, 2),
                marked: bit(case, 3),
                fits: bit(case, 4),
            })
        })
    }

    /// What the step says, and what is to be seen afterwards.
    fn outcome(
        self,
        step: impl FnOnce(&SessionContext<u32>, Session<u32>, Side) -> Result<Stored, AddError>,
    ) -> String {
        let (tier, log) = (Tier::default(), Log::default());
        let mut builder = SessionContext::builder().mode(SessionCacheMode::from_bits(self.mode));
        if self.listens {
            let log = log.clone();
            builder = builder.on_new(move |_, session| log.push(Told::New(*session.payload())));
        }
        if self.tiers {
            builder = builder.external(tier.clone());
        }
        if !self.fits {
            builder = builder.max_session_bytes(size_of::<Session<u32>>() - 1);
        }
        let context = builder.build().expect("memory");
        let session = context.session(key(1)).build(1);
        if self.marked {
            session.mark_not_resumable();
        }
        let stored = step(&context, session, self.side);
        format!("{:?}", (stored, context.contains(&key(1)), log.take(), tier.calls()))
    }
}

/// The store step: what is stored and who is told, beside what `store_session` does.
#[test]
fn the_store_step_does_as_for_a_shared_session() {
    for case in Case::all() {
        let shared = case.outcome(|context, session, side| context.store_session(Arc::new(session), side));
        let alone = case.outcome(|context, session, side| context.store_new(session, side));
        assert_eq!(alone, shared, "{case:?}");
    }
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
