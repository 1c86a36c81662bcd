//! Flushing, purging and the end of a context: section 2.16 (T3 to T6, T9), C8 and departure 12.

mod common;

use common::{Bed, LIFE, NOW, Told, at, key, key_of, mail, seconds, ticket, www};
use resumption::{ProtocolVersion, RemoveReason, Session, SessionCacheMode, SessionIdContext, Timestamp};
use std::sync::Arc;

/// Sessions 1, 2 and 3, which expire at seconds 0, 10 and 20 (upstream's `test_session_timeout`).
fn three(bed: &Bed) -> [Arc<Session<u32>>; 3] {
    [(1, 0), (2, 10), (3, 20)].map(|(n, end)| {
        let session = Session::<u32>::builder(key(n)).id_context(www()).time(at(end)).timeout(seconds(0));
        let session = Arc::new(session.build(n));
        bed.context.add_session(Arc::clone(&session)).expect("it fits");
        session
    })
}

fn left(told: Vec<Told>, reason: RemoveReason) -> Vec<u32> {
    let number = |told| match told {
        Told::Left(n, r) if r == reason => n,
        other => panic!("{other:?} is not {reason:?}"),
    };
    let mut numbers: Vec<u32> = told.into_iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// T4: strictly after the expiry; equality stays.
#[test]
fn t4_a_flush_removes_what_has_expired_and_nothing_else() {
    let bed = Bed::new();
    let sessions = three(&bed);
    bed.clock.set(at(100));
    for (flush, removed, remain) in
        [(0, 0, &[1, 2, 3][..]), (1, 1, &[2, 3]), (10, 0, &[2, 3]), (11, 1, &[3]), (21, 1, &[])]
    {
        assert_eq!(bed.context.flush_sessions(at(flush)), removed, "flush at {flush}");
        assert_eq!(bed.held(), remain, "flush at {flush}");
    }
    assert_eq!(left(bed.told(), RemoveReason::Expired), [1, 2, 3]);
    assert!(sessions.iter().all(|session| !session.is_resumable()));
}

/// T6: each is marked before the callback hears of it; no counter moves.
#[test]
fn t6_a_flush_marks_announces_and_counts_nothing() {
    let resumable = common::Log::default();
    let seen = resumable.clone();
    let bed = Bed::with(|builder, _| {
        builder.on_remove(move |_, session, _| {
            seen.push(Told::New(u32::from(session.is_resumable())));
        })
    });
    three(&bed);
    let before = bed.context.stats();
    assert_eq!(bed.context.flush_sessions(at(21)), 3);
    assert_eq!(resumable.take(), [Told::New(0); 3]);
    let mut after = bed.context.stats();
    assert_eq!((before.number, after.number), (3, 0));
    (after.number, after.reclamation) = (3, before.reclamation);
    assert_eq!(after, before);
}

/// A flush for a time to come removes what is still valid, and says Flushed; what is over by the clock says Expired.
#[test]
fn a_flush_ahead_of_the_clock_says_so() {
    let bed = Bed::new();
    three(&bed);
    bed.clock.set(at(5));
    assert_eq!(bed.context.flush_sessions(at(15)), 2);
    let mut told = bed.told();
    told.sort_by_key(|told| format!("{told:?}"));
    assert_eq!(told, [Told::Left(1, RemoveReason::Expired), Told::Left(2, RemoveReason::Flushed)]);
    assert_eq!(bed.held(), [3]);
}

/// T3: the manual's time of zero: everything goes, expired or not, in every version and context.
#[test]
fn t3_flush_all_removes_everything() {
    let bed = Bed::new();
    let sessions = three(&bed);
    bed.add_of(ticket(1), 4);
    bed.add_of(key_of(ProtocolVersion::DTLS1_2, 1), 5);
    let eternal = Session::<u32>::builder(key(6)).id_context(mail()).time(NOW).timeout(seconds(u64::MAX));
    bed.context.add_session(Arc::new(eternal.build(6))).expect("it fits");
    bed.add(7).mark_not_resumable();
    assert_eq!(bed.context.flush_all(), 7);
    assert!(bed.held().is_empty());
    assert_eq!(left(bed.told(), RemoveReason::Flushed), [1, 2, 3, 4, 5, 6, 7]);
    assert!(sessions.iter().all(|session| !session.is_resumable()));
    assert_eq!(bed.context.flush_all(), 0);
    assert!(bed.told().is_empty());
}

/// T3 is spelt `flush_all`: a flush at second zero is a flush at a time long past, and removes nothing (T5, departure 12:
/// OpenSSL 3.2 and later wrap and remove everything).
#[test]
fn t5_a_flush_with_a_past_time_removes_only_what_expired_by_then() {
    let bed = Bed::new();
    three(&bed);
    let ancient = Session::<u32>::builder(key(9)).time(Timestamp::EPOCH).timeout(seconds(0)).build(9);
    bed.context.add_session(Arc::new(ancient)).expect("it fits");
    bed.clock.set(at(1_000));
    assert_eq!(bed.context.flush_sessions(Timestamp::EPOCH), 0);
    assert_eq!(bed.context.flush_sessions(Timestamp::from_unix(1)), 1);
    assert_eq!(bed.held(), [1, 2, 3]);
    assert_eq!(left(bed.told(), RemoveReason::Expired), [9]);
}

/// T8: what never expires is not flushed, even at the end of time.
#[test]
fn t8_what_never_expires_survives_every_flush_by_time() {
    let bed = Bed::new();
    three(&bed);
    for (n, timeout) in [(4, u64::MAX), (5, i64::MAX as u64), (6, 18_446_744_074), (7, 1 << 55)] {
        let session = Session::<u32>::builder(key(n)).id_context(www()).time(NOW).timeout(seconds(timeout));
        bed.context.add_session(Arc::new(session.build(n))).expect("it fits");
    }
    assert_eq!(bed.context.flush_sessions(Timestamp::NEVER), 3);
    assert_eq!(bed.held(), [4, 5, 6, 7]);
    bed.clock.set(Timestamp::NEVER);
    assert_eq!(bed.find(&key(4)), Some(4));
}

/// T9: an entry that a hit renewed does not hide expired ones from the flush, and stays itself.
#[test]
fn t9_a_renewed_entry_does_not_hide_the_expired_ones() {
    let bed = Bed::with(|builder, _| builder.mode(SessionCacheMode::SERVER | SessionCacheMode::UPDATE_TIME));
    (1..=20).for_each(|n| drop(bed.add(n)));
    bed.advance(LIFE);
    assert_eq!(bed.find(&key(7)), Some(7));
    bed.advance(1);
    assert_eq!(bed.context.flush_sessions(bed.context.now()), 19);
    assert_eq!(bed.held(), [7]);
    bed.advance(LIFE);
    assert_eq!(bed.context.flush_sessions(bed.context.now()), 1);
}

/// A flush removes each session once, whoever else flushes: the counts add up and the callback fires once each.
#[test]
fn concurrent_flushes_share_the_work() {
    let bed = Bed::with(|builder, _| builder.capacity(2_000));
    (0..2_000).for_each(|n| drop(bed.add(n)));
    bed.advance(LIFE + 1);
    let removed: usize = std::thread::scope(|scope| {
        let flushes: Vec<_> =
            (0..4).map(|_| scope.spawn(|| bed.context.flush_sessions(bed.context.now()))).collect();
        flushes.into_iter().map(|flush| flush.join().expect("no panic")).sum()
    });
    assert_eq!(removed, 2_000);
    assert_eq!(left(bed.told(), RemoveReason::Expired), Vec::from_iter(0..2_000));
}

/// The sessions of one session id context leave, marked; those of others stay.
#[test]
fn purge_removes_the_sessions_of_one_context() {
    let bed = Bed::new();
    bed.add(1);
    let mails: Vec<_> = [2, 3]
        .map(|n| Arc::new(bed.context.session(key(n)).id_context(mail()).build(n)))
        .into_iter()
        .inspect(|session| drop(bed.context.add_session(Arc::clone(session)).expect("it fits")))
        .collect();
    assert_eq!(bed.context.purge(&SessionIdContext::EMPTY), 0);
    assert_eq!(bed.context.purge(&mail()), 2);
    assert_eq!(left(bed.told(), RemoveReason::Purged), [2, 3]);
    assert!(mails.iter().all(|session| !session.is_resumable()));
    assert!(bed.context.lookup_arc(&key(2), &mail()).is_none());
    assert_eq!(bed.find(&key(1)), Some(1));
}

/// C8: dropping the context is a flush of everything, with a reason of its own; sessions that others hold live on.
#[test]
fn c8_the_end_of_a_context_announces_every_session() {
    let Bed { context, log, .. } = {
        let bed = Bed::new();
        three(&bed);
        bed
    };
    let held = context.lookup_arc(&key(1), &www()).expect("it is cached");
    drop(context);
    assert_eq!(left(log.take(), RemoveReason::ContextDropped), [1, 2, 3]);
    assert_eq!(*held.payload(), 1);
    assert!(!held.is_resumable());
}

/// C8: as long as somebody holds the context nothing happens.
#[test]
fn c8_a_shared_context_ends_with_its_last_owner() {
    let Bed { context, log, .. } = Bed::new();
    let context = Arc::new(context);
    context.add_session(Arc::new(context.session(key(1)).build(1))).expect("it fits");
    let other = Arc::clone(&context);
    drop(context);
    assert!(log.take().is_empty());
    drop(other);
    assert_eq!(log.take(), [Told::Left(1, RemoveReason::ContextDropped)]);
}

/// Flush, purge and the end work in mode OFF too (departure 6: what is explicit still works).
#[test]
fn every_mode_flushes() {
    for bits in [0, 1, 2, 0x80, 0x302, u32::MAX] {
        let bed = Bed::with(|builder, _| builder.mode(SessionCacheMode::from_bits(bits)));
        three(&bed);
        assert_eq!(bed.context.flush_sessions(at(1)), 1, "mode {bits:#x}");
        assert_eq!(bed.context.purge(&www()), 2, "mode {bits:#x}");
        bed.add(4);
        assert_eq!(bed.context.flush_all(), 1, "mode {bits:#x}");
    }
}
