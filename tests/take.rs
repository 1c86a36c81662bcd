//! Taking: promise D and single use. With an external store, see `external`.

mod common;

use common::{Bed, LIFE, Told, key, mail, ticket, www};
use resumption::{Added, RemoveReason, SessionCacheMode, SessionContext};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

const CONSUMED: RemoveReason = RemoveReason::Consumed;

/// Lookup and removal in one step: the object, marked, announced as consumed, and nothing the second time.
#[test]
fn a_take_hands_the_session_out_once() {
    let bed = Bed::new();
    let session = bed.add_of(ticket(1), 1);
    let (taken, outcome) = bed.outcome(|| bed.context.take(&ticket(1), &www()));
    assert!(taken.is_some_and(|taken| Arc::ptr_eq(&taken, &session)));
    assert_eq!(outcome, "hit");
    assert!(!session.is_resumable());
    assert_eq!(bed.told(), [Told::Left(1, CONSUMED)]);
    assert!(bed.held().is_empty());
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "consumed"));
    assert_eq!(bed.outcome(|| bed.find(&ticket(1))), (None, "consumed"));
    assert!(bed.told().is_empty());
}

/// Every version: departure 8 is a promise of the call, not of the version.
#[test]
fn a_take_serves_tls_1_2_sessions_too() {
    let bed = Bed::new();
    bed.add(1);
    assert_eq!((bed.take(&key(1)), bed.take(&key(1))), (Some(1), None));
}

/// get0: borrowed from the guard, no count taken.
#[test]
fn a_borrowed_take_counts_nothing() {
    let bed = Bed::new();
    let session = bed.add_of(ticket(1), 1);
    let guard = bed.context.pin();
    let taken = bed.context.take_borrowed(&ticket(1), &www(), &guard).expect("it is cached");
    assert!(std::ptr::eq(taken, &*session));
    assert_eq!(Arc::strong_count(&session), 2); // the cache's own, until the guard is gone
    assert!(bed.context.take_borrowed(&ticket(1), &www(), &guard).is_none());
    assert_eq!(bed.told(), [Told::Left(1, CONSUMED)]);
    assert_eq!(*taken.payload(), 1);
    drop(guard);
    assert!(common::eventually(|| Arc::strong_count(&session) == 1));
}

/// Without a remove callback nobody is told, and the take is the same.
#[test]
fn a_take_needs_no_callback() {
    let context = SessionContext::builder().capacity(4).build().expect("valid");
    let session = Arc::new(context.session(ticket(1)).build(7_u32));
    context.add_session(Arc::clone(&session)).expect("it fits");
    let context_of = session.id_context();
    assert_eq!(context.take(&ticket(1), context_of).map(|s| *s.payload()), Some(7));
    assert!(!session.is_resumable());
    assert!(context.take(&ticket(1), context_of).is_none());
}

/// The checks are those of lookup; a session that fails them stays.
#[test]
fn a_refused_session_stays() {
    let bed = Bed::new();
    let session = bed.add_of(ticket(1), 1);
    assert_eq!(bed.outcome(|| bed.context.take(&ticket(1), &mail())).1, "other_context");
    bed.advance(LIFE + 1);
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "expired"));
    session.mark_not_resumable();
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "marked"));
    assert_eq!(bed.held(), [1]);
    assert!(bed.told().is_empty());
}

/// Mode OFF: nothing automatic (departure 6).
#[test]
fn mode_off_takes_nothing() {
    let bed = Bed::with(|builder, _| builder.mode(SessionCacheMode::OFF));
    bed.add(1);
    assert_eq!(bed.outcome(|| bed.take(&key(1))), (None, "mode"));
    assert_eq!(bed.held(), [1]);
}

/// What was taken stays taken: it can be added again, and is a miss all the same.
#[test]
fn a_taken_session_does_not_come_back_by_adding() {
    let bed = Bed::new();
    bed.add_of(ticket(1), 1);
    let taken = bed.context.take(&ticket(1), &www()).expect("it is cached");
    assert!(matches!(bed.context.add_session(taken), Ok(Added::Added)));
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "marked"));
    assert_eq!(bed.outcome(|| bed.find(&ticket(1))), (None, "marked"));
}

/// A new session under the same key is another session.
#[test]
fn a_new_session_under_a_taken_key_can_be_taken() {
    let bed = Bed::new();
    for n in 0..100 {
        bed.add_of(ticket(1), n);
        assert_eq!(bed.take(&ticket(1)), Some(n));
    }
    assert_eq!(bed.context.stats().outcomes.hit, 100);
}

/// The get callback is not asked: it cannot promise that nobody else was given the session.
#[test]
fn a_take_does_not_ask_the_get_callback() {
    let bed = Bed::with(|builder, _| builder.on_get(|_, _| panic!("asked")));
    assert_eq!(bed.outcome(|| bed.take(&key(1))), (None, "unknown"));
    assert_eq!(bed.context.stats().misses, 1);
}

/// How many of `threads` concurrent takes of one ticket got a session.
fn winners(context: &SessionContext<u32>, threads: usize) -> usize {
    let (start, won) = (Barrier::new(threads), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (start, won) = (&start, &won);
            scope.spawn(move || {
                start.wait();
                let guard = context.pin();
                let taken = match thread % 2 {
                    0 => context.take(&ticket(1), &www()).is_some(),
                    _ => context.take_borrowed(&ticket(1), &www(), &guard).is_some(),
                };
                won.fetch_add(usize::from(taken), Ordering::Relaxed);
            });
        }
    });
    won.into_inner()
}

/// Promise D.
#[test]
fn promise_d_of_concurrent_takes_exactly_one_wins() {
    let bed = Bed::new();
    for n in 0..200 {
        bed.add_of(ticket(1), n);
        assert_eq!(winners(&bed.context, 6), 1, "round {n}");
    }
    let stats = bed.context.stats();
    assert_eq!((stats.hits, stats.outcomes.total(), stats.number), (200, 1_200, 0));
    assert_eq!(bed.told(), Vec::from_iter((0..200).map(|n| Told::Left(n, CONSUMED))));
}

/// Promise D while the same keys are added, replaced, removed and flushed: no session is handed out twice, and none that
/// was replaced or removed is counted as taken.
#[test]
fn promise_d_no_session_is_taken_twice_under_churn() {
    const ROUNDS: u32 = 4_000;
    let bed = Bed::new();
    let taken: Vec<AtomicUsize> = (0..2 * ROUNDS).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let bed = &bed;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let n = thread * ROUNDS + round;
                    let session = bed.session_of(ticket(n % 3), n);
                    bed.context.add_session(Arc::clone(&session)).expect("it fits");
                    match n % 16 {
                        0 => {
                            bed.context.remove_session(&session);
                        }
                        1 => {
                            bed.context.flush_all();
                        }
                        _ => {}
                    }
                }
            });
        }
        for _ in 0..2 {
            let (bed, taken) = (&bed, &taken);
            scope.spawn(move || {
                for round in 0..2 * ROUNDS {
                    if let Some(n) = bed.take(&ticket(round % 3)) {
                        taken[n as usize].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let taken: Vec<usize> = taken.into_iter().map(AtomicUsize::into_inner).collect();
    assert!(taken.iter().all(|&times| times <= 1));
    assert_eq!(taken.iter().sum::<usize>() as u64, bed.context.stats().hits);
    let consumed = bed.told().into_iter().filter(|told| matches!(told, Told::Left(_, CONSUMED))).count();
    assert_eq!(consumed as u64, bed.context.stats().hits);
}
