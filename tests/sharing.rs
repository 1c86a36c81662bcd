//! Departure 7: one session in several contexts, and one that comes back to a context while its last membership is still
//! in its grace period. (OpenSSL forbids the first and corrupts memory, A12.)

mod common;

use common::{Bed, LIFE, Tier, Told, at, eventually, key, seconds, ticket, www};
use resumption::{Added, RemoveReason, Session, SessionCacheMode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

fn beds<const N: usize>() -> [Bed; N] {
    std::array::from_fn(|_| Bed::new())
}

fn share(beds: &[Bed], session: &Arc<Session<u32>>) {
    for bed in beds {
        assert!(matches!(bed.context.add_session(Arc::clone(session)), Ok(Added::Added)));
    }
}

/// Every context finds the one object, under its own guard or another's.
#[test]
fn a12_one_object_in_several_contexts() {
    let beds: [Bed; 4] = beds();
    let session = beds[0].session(1);
    share(&beds, &session);
    assert_eq!(Arc::strong_count(&session), 5);
    let guard = resumption::pin();
    for bed in &beds {
        let found = bed.context.lookup(&key(1), &www(), &guard).expect("it is cached");
        assert!(std::ptr::eq(found, &*session));
        let owned = bed.context.lookup_arc(&key(1), &www()).expect("it is cached");
        assert!(Arc::ptr_eq(&owned, &session));
        assert!(matches!(bed.context.add_session(Arc::clone(&session)), Ok(Added::Unchanged)));
        assert_eq!(bed.held(), [1]);
    }
}

/// Leaving one context by eviction or replacement leaves the others as they were.
#[test]
fn a12_an_eviction_concerns_one_context() {
    let beds: [Bed; 3] = beds();
    let session = beds[0].session(1);
    share(&beds, &session);
    assert_eq!(beds[0].context.set_capacity(1), Ok(64));
    beds[0].add(2);
    beds[1].context.add_session(beds[1].session_of(key(1), 3)).expect("it fits");
    assert_eq!(beds[0].told(), [Told::Left(1, RemoveReason::Evicted)]);
    assert_eq!((beds[0].find(&key(1)), beds[1].find(&key(1))), (None, Some(3)));
    assert_eq!(beds[2].find(&key(1)), Some(1));
    assert!(beds[1].told().is_empty() && beds[2].told().is_empty());
}

/// The mark is the object's, so a removal, a take or a flush in one context makes it a miss in all; each context keeps its
/// entry until it removes it.
#[test]
fn a12_the_mark_is_for_every_holder() {
    let acts: [fn(&Bed); 4] = [
        |bed| assert_eq!(bed.take(&ticket(1)), Some(1)),
        |bed| assert_eq!(bed.context.flush_all(), 1),
        |bed| assert_eq!(bed.context.purge(&www()), 1),
        |bed| {
            let session = bed.context.lookup_arc(&ticket(1), &www()).expect("it is cached");
            assert!(bed.context.remove_session(&session));
        },
    ];
    for act in acts {
        let beds: [Bed; 2] = beds();
        share(&beds, &beds[0].session_of(ticket(1), 1));
        act(&beds[0]);
        assert!(beds[0].held().is_empty());
        assert_eq!(beds[1].outcome(|| beds[1].take(&ticket(1))), (None, "marked"));
        assert_eq!(beds[1].held(), [1]);
        assert!(beds[1].told().is_empty());
        assert_eq!(beds[1].context.flush_all(), 1);
    }
}

/// The same when both contexts are asked at once: single use is the session's, not the context's.
///
/// FAILS today, about once in 150 rounds: both takes find it unmarked, unlink it and win. A bit of its own, which the first
/// take sets, decides it; the mark cannot, since a removal of what was just taken sets it too.
#[test]
fn a12_of_two_takes_in_two_contexts_one_wins() {
    let beds: [Bed; 2] = beds();
    for n in 0..4_000 {
        share(&beds, &beds[0].session_of(ticket(n), n));
        let (start, won) = (Barrier::new(2), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for bed in &beds {
                scope.spawn(|| {
                    start.wait();
                    won.fetch_add(usize::from(bed.take(&ticket(n)).is_some()), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(won.into_inner(), 1, "round {n}");
        beds.iter().for_each(|bed| assert!(bed.context.flush_all() <= 1));
    }
}

/// Each membership has its own expiry and its own use: a renewal in one context is none in another.
#[test]
fn a12_memberships_are_renewed_each_for_itself() {
    let beds = [0x402, 2].map(|bits| Bed::with(|builder, _| builder.mode(SessionCacheMode::from_bits(bits))));
    let session = beds[0].session_of(ticket(1), 1);
    share(&beds, &session);
    for bed in &beds {
        bed.advance(LIFE);
        assert_eq!(bed.find(&ticket(1)), Some(1));
        bed.advance(1);
    }
    assert_eq!((beds[0].find(&ticket(1)), beds[1].find(&ticket(1))), (Some(1), None));
    assert_eq!(session.expires_at(), at(LIFE));
}

/// A12 in the other order: the second context is the one whose entry is renewed.
#[test]
fn a12_the_order_of_adding_does_not_matter() {
    let beds = [2, 0x402].map(|bits| Bed::with(|builder, _| builder.mode(SessionCacheMode::from_bits(bits))));
    share(&beds, &beds[0].session_of(ticket(1), 1));
    for bed in &beds {
        bed.advance(LIFE);
        assert_eq!(bed.find(&ticket(1)), Some(1));
        bed.advance(1);
    }
    assert_eq!((beds[0].find(&ticket(1)), beds[1].find(&ticket(1))), (None, Some(1)));
}

/// The end of a context takes back its own reference only.
#[test]
fn a12_the_end_of_a_context_concerns_its_own_membership() {
    let [first, second, third] = beds();
    let session = first.session(1);
    share(&[first, second, third], &session);
    assert!(eventually(|| Arc::strong_count(&session) == 1));
    assert!(!session.is_resumable());
}

/// A session that comes back while a guard still holds its last membership is found, and the old borrow stands.
#[test]
fn a_session_comes_back_within_its_grace_period() {
    let bed = Bed::with(|builder, _| builder.capacity(1));
    let session = bed.add(1);
    let guard = bed.context.pin();
    let borrowed = bed.context.lookup(&key(1), &www(), &guard).expect("it is cached");
    for _ in 0..200 {
        bed.add(2); // evicts
        assert!(!bed.context.contains(&key(1)));
        assert!(matches!(bed.context.add_session(Arc::clone(&session)), Ok(Added::Added)));
        let again = bed.context.lookup(&key(1), &www(), &guard).expect("it is back");
        assert!(std::ptr::eq(again, borrowed));
    }
    assert_eq!(*borrowed.payload(), 1);
    drop(guard);
    assert!(eventually(|| Arc::strong_count(&session) == 2));
    bed.context.flush_all();
    assert!(eventually(|| Arc::strong_count(&session) == 1));
}

/// The same after a replacement, which hands the old one back.
#[test]
fn two_sessions_replace_each_other_for_ever() {
    let bed = Bed::new();
    let sessions = [bed.session_of(key(1), 0), bed.session_of(key(1), 1)];
    bed.context.add_session(Arc::clone(&sessions[0])).expect("it fits");
    let guard = bed.context.pin();
    for round in 1..400 {
        let (new, old) = (&sessions[round % 2], &sessions[(round + 1) % 2]);
        match bed.context.add_session(Arc::clone(new)) {
            Ok(Added::Replaced(replaced)) => assert!(Arc::ptr_eq(&replaced, old)),
            other => panic!("round {round}: {other:?}"),
        }
        let found = bed.context.lookup(&key(1), &www(), &guard).expect("it is cached");
        assert!(std::ptr::eq(found, &**new));
    }
    drop(guard);
    assert!(eventually(|| Arc::strong_count(&sessions[0]) + Arc::strong_count(&sessions[1]) == 3));
}

/// Threads move a few sessions in and out of a few contexts: every count comes out right in the end.
#[test]
fn a12_sessions_move_between_contexts_under_threads() {
    let beds: [Bed; 3] = std::array::from_fn(|_| Bed::with(|builder, _| builder.capacity(3)));
    let sessions: Vec<_> = (0..5).map(|n| beds[0].session(n)).collect();
    let found = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..3_usize {
            let (beds, sessions, found) = (&beds, &sessions, &found);
            scope.spawn(move || {
                for step in 0..6_000_usize {
                    let bed = &beds[(step + thread) % 3];
                    let session = &sessions[(step * 7 + thread) % 5];
                    bed.context.add_session(Arc::clone(session)).expect("it fits");
                    let guard = bed.context.pin();
                    if let Some(hit) = bed.context.lookup(&session.key(), &www(), &guard) {
                        assert!(std::ptr::eq(hit, &**session));
                        found.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(found.into_inner() > 0);
    let cached: usize = beds.iter().map(|bed| bed.held().len()).sum();
    assert!(cached <= 9 && cached > 0);
    let counted = || sessions.iter().map(Arc::strong_count).sum::<usize>();
    assert!(eventually(|| counted() == sessions.len() + cached));
    assert!(sessions.iter().all(|session| session.is_resumable()));
    beds.iter().for_each(|bed| drop(bed.context.flush_all().to_string()));
    assert!(eventually(|| counted() == sessions.len()));
}

/// Two contexts with one store: what one consumed the other does not hand out.
#[test]
fn contexts_that_share_a_store_agree_on_what_is_consumed() {
    let tier = Tier::default();
    let [a, b]: [Bed; 2] = std::array::from_fn(|_| Bed::with(|builder, _| builder.external(tier.clone())));
    let session = a.session_of(ticket(1), 1);
    a.context.store_session(Arc::clone(&session), resumption::Side::Server).expect("it fits");
    assert_eq!(b.find(&ticket(1)), Some(1));
    a.context.set_timeout(seconds(1)); // of no concern to sessions that exist
    assert_eq!(a.take(&ticket(1)), Some(1));
    assert_eq!((a.take(&ticket(1)), b.take(&ticket(1)), b.find(&ticket(1))), (None, None, None));
}
