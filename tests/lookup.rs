//! Looking up in the internal table: sections 2.6 (L1, L2, L3, L11, L14) and 2.7 (Q1, Q2, Q4), I8 and X4. What comes from
//! outside is in `external`.

mod common;

use common::{Bed, LIFE, Told, at, key, key_of, mail, ticket, www};
use resumption::{
    ProtocolVersion, RemoveReason, Session, SessionCacheMode, SessionContext, SessionId, SessionIdContext,
    SessionIdError, SessionKey,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const TICKETS: [ProtocolVersion; 2] = [ProtocolVersion::TLS1_3, ProtocolVersion::DTLS1_3];
const IDS: [ProtocolVersion; 5] = [
    ProtocolVersion::TLS1_0,
    ProtocolVersion::TLS1_1,
    ProtocolVersion::TLS1_2,
    ProtocolVersion::DTLS1_0,
    ProtocolVersion::DTLS1_2,
];

/// L1, get0: the very object, no count touched, the get callback not asked; neither entry nor time change.
#[test]
fn l1_get0_borrows_the_cached_object() {
    let asked = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&asked);
    let bed = Bed::with(|builder, _| {
        builder.on_get(move |_, _| {
            calls.fetch_add(1, Ordering::Relaxed);
            None
        })
    });
    let session = bed.add(1);
    bed.advance(10);
    let guard = bed.context.pin();
    let found = bed.context.lookup(&key(1), &www(), &guard).expect("it is cached");
    assert!(std::ptr::eq(found, &*session));
    assert_eq!(Arc::strong_count(&session), 2);
    assert_eq!(found.time(), at(0));
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(bed.held(), [1]);
    assert!(bed.told().is_empty());
}

/// L1, get1: the very object, counted.
#[test]
fn l1_get1_counts() {
    let bed = Bed::new();
    let session = bed.add(1);
    let found = bed.context.lookup_arc(&key(1), &www()).expect("it is cached");
    assert!(Arc::ptr_eq(&found, &session));
    assert_eq!(Arc::strong_count(&session), 3);
    drop(found);
    assert_eq!(Arc::strong_count(&session), 2);
}

/// L1: any number of lookups find it.
#[test]
fn a_lookup_does_not_use_a_session_up() {
    let bed = Bed::new();
    bed.add_of(ticket(1), 1);
    for _ in 0..1000 {
        assert_eq!(bed.outcome(|| bed.find(&ticket(1))), (Some(1), "hit"));
    }
}

/// L2: an absent key is a miss, and the miss leaves nothing behind.
#[test]
fn l2_an_absent_key_is_a_miss() {
    let bed = Bed::new();
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "unknown"));
    assert!(bed.context.lookup_arc(&key(1), &www()).is_none());
    assert_eq!(bed.context.stats().misses, 2);
    assert!(bed.held().is_empty());
}

/// L3: with NO_INTERNAL_LOOKUP the table is not consulted, and no miss is counted.
#[test]
fn l3_no_internal_lookup_does_not_look() {
    let bed =
        Bed::with(|builder, _| builder.mode(SessionCacheMode::SERVER | SessionCacheMode::NO_INTERNAL_LOOKUP));
    bed.add(1);
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "unknown"));
    assert_eq!(bed.outcome(|| bed.take(&key(1))), (None, "unknown"));
    assert_eq!(bed.context.stats().misses, 0);
    assert_eq!(bed.held(), [1]);
}

/// L11, L14, and the rule that looked-up ids are attacker bytes: a wrong length is refused at the door, never a panic.
#[test]
fn l11_l14_ids_of_a_wrong_length_are_refused_at_the_door() {
    for version in IDS.into_iter().chain(TICKETS) {
        assert_eq!(SessionKey::parse(version, &[]), Err(SessionIdError::Empty));
        for len in [33, 34, 64, 255, 65_535, 1 << 20] {
            let refused = SessionKey::parse(version, &vec![0xff; len]);
            assert_eq!(refused, Err(SessionIdError::TooLong { len }));
        }
    }
}

/// Every length that is allowed works, and ids that are prefixes of one another are distinct (A-34: 01 and 01 00).
/// Ids that differ in trailing zeros only must not share a bucket: that has 24 slots.
#[test]
fn ids_of_every_length_are_distinct() {
    let bed = Bed::new();
    let keys: Vec<SessionKey> = (1..=32)
        .map(|len| {
            let mut id = vec![0; len];
            id[0] = 1;
            SessionKey::parse(ProtocolVersion::TLS1_2, &id).expect("1 to 32 bytes")
        })
        .collect();
    for (n, key) in (1..).zip(&keys) {
        bed.add_of(*key, n);
    }
    for (n, key) in (1..).zip(&keys) {
        assert_eq!(bed.find(key), Some(n));
    }
}

/// Q1: the same id under another version is another session; the lookup says so, and the entry stays.
#[test]
fn q1_a_lookup_never_crosses_versions() {
    let bed = Bed::new();
    bed.add_of(key(1), 12);
    assert_eq!(bed.outcome(|| bed.find(&ticket(1))), (None, "other_version"));
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "other_version"));
    assert_eq!(bed.context.stats().misses, 2);
    bed.add_of(ticket(1), 13);
    assert_eq!((bed.find(&key(1)), bed.find(&ticket(1))), (Some(12), Some(13)));
}

fn contexts() -> [SessionIdContext; 8] {
    [&b""[..], b"\0", b"w", b"ww", b"www\0", b"wwx", b"www.", &[0; 32]]
        .map(|bytes| SessionIdContext::new(bytes).expect("at most 32 bytes"))
}

/// Q2 and X4: compared by length and bytes; a mismatch is a miss that no OpenSSL counter sees, and the entry stays.
#[test]
fn q2_x4_another_session_id_context_is_a_miss() {
    let bed = Bed::new();
    let session = bed.add(1);
    for other in contexts() {
        let guard = bed.context.pin();
        let lookup = bed.outcome(|| bed.context.lookup(&key(1), &other, &guard).is_some());
        assert_eq!(lookup, (false, "other_context"), "{:?}", other.as_bytes());
        let take = bed.outcome(|| bed.context.take(&key(1), &other).is_some());
        assert_eq!(take, (false, "other_context"), "{:?}", other.as_bytes());
    }
    let stats = bed.context.stats();
    assert_eq!((stats.hits, stats.misses, stats.timeouts), (0, 0, 0));
    assert!(session.is_resumable());
    assert!(bed.told().is_empty());
    assert_eq!(bed.find(&key(1)), Some(1));
}

/// X1: the empty context is a context like any other, and matches only itself.
#[test]
fn x1_the_empty_context_matches_only_itself() {
    let bed = Bed::new();
    let session = Arc::new(bed.context.session(key(1)).build(1));
    assert!(session.id_context().is_empty());
    bed.context.add_session(session).expect("it fits");
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "other_context"));
    assert!(bed.context.lookup_arc(&key(1), &SessionIdContext::EMPTY).is_some());
}

/// Q4, the way of the session id: removed, marked, announced; `timeouts` counts, `misses` does not.
#[test]
fn q4_an_expired_session_of_tls_1_2_is_removed_on_the_way() {
    for version in IDS {
        let bed = Bed::new();
        let session = bed.add_of(key_of(version, 1), 1);
        bed.advance(LIFE + 1);
        assert_eq!(bed.outcome(|| bed.find(&key_of(version, 1))), (None, "expired"), "{version:?}");
        assert_eq!(bed.told(), [Told::Left(1, RemoveReason::Expired)]);
        assert!(!session.is_resumable());
        assert!(bed.held().is_empty());
        let stats = bed.context.stats();
        assert_eq!((stats.timeouts, stats.misses, stats.hits), (1, 0, 0));
    }
}

/// Q4, the way of the ticket: refused, neither removed nor marked.
#[test]
fn q4_an_expired_ticket_of_tls_1_3_stays() {
    for version in TICKETS {
        let bed = Bed::new();
        let session = bed.add_of(key_of(version, 1), 1);
        bed.advance(LIFE + 1);
        assert_eq!(bed.outcome(|| bed.find(&key_of(version, 1))), (None, "expired"), "{version:?}");
        assert_eq!(bed.outcome(|| bed.take(&key_of(version, 1))), (None, "expired"), "{version:?}");
        assert!(bed.told().is_empty());
        assert!(session.is_resumable());
        assert_eq!(bed.held(), [1]);
        assert_eq!(bed.context.stats().timeouts, 2);
    }
}

/// The same rules for get1 and take.
#[test]
fn q4_lookup_arc_and_take_remove_what_has_expired_too() {
    let bed = Bed::new();
    bed.add(1);
    bed.add(2);
    bed.advance(LIFE + 1);
    assert!(bed.context.lookup_arc(&key(1), &www()).is_none());
    assert_eq!(bed.take(&key(2)), None);
    let expired = |n| Told::Left(n, RemoveReason::Expired);
    assert_eq!(bed.told(), [expired(1), expired(2)]);
    assert_eq!(bed.context.stats().outcomes.expired, 2);
}

/// The checks come in OpenSSL's order: mark, context, time. So another context's lookup removes nothing.
#[test]
fn the_checks_come_in_order() {
    let bed = Bed::new();
    bed.add(1);
    let marked = bed.add(2);
    bed.advance(LIFE + 1);
    let elsewhere = |n| bed.context.lookup_arc(&key(n), &mail()).is_some();
    assert_eq!(bed.outcome(|| elsewhere(1)), (false, "other_context"));
    marked.mark_not_resumable();
    assert_eq!(bed.outcome(|| elsewhere(2)), (false, "marked"));
    assert_eq!(bed.outcome(|| bed.find(&key(2))), (None, "marked"));
    assert_eq!(bed.held(), [1, 2]);
    assert!(bed.told().is_empty());
}

/// A mark takes effect on a cached session at once, through any holder.
#[test]
fn a_session_marked_while_cached_is_a_miss() {
    let bed = Bed::new();
    let session = bed.add(1);
    assert_eq!(bed.find(&key(1)), Some(1));
    bed.context.lookup_arc(&key(1), &www()).expect("it is cached").mark_not_resumable();
    assert!(!session.is_resumable());
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "marked"));
    assert_eq!(bed.held(), [1]);
}

/// `lookup_at` goes by the time it is given.
#[test]
fn lookup_at_uses_the_callers_time() {
    let bed = Bed::new();
    bed.add_of(ticket(1), 1);
    let guard = bed.context.pin();
    let lookup = |now| bed.context.lookup_at(&ticket(1), &www(), now, &guard).is_some();
    assert!(lookup(at(LIFE)));
    assert!(!lookup(at(LIFE + 1)));
    assert!(lookup(at(0)));
    assert_eq!(bed.context.stats().timeouts, 1);
}

/// I8: whether the internal table has the key, whatever mode, mark, context or time say; counts nothing.
#[test]
fn i8_contains_asks_the_table_and_nothing_else() {
    let bed = Bed::with(|builder, _| builder.on_get(|_, _| panic!("not asked")));
    let marked = bed.add(1);
    marked.mark_not_resumable();
    bed.add_of(ticket(2), 2);
    bed.advance(LIFE + 1);
    bed.context.set_mode(SessionCacheMode::SERVER | SessionCacheMode::NO_INTERNAL);
    let before = bed.context.stats();
    assert!(bed.context.contains(&key(1)));
    assert!(bed.context.contains(&ticket(2)));
    assert!(!bed.context.contains(&key(2)));
    assert!(!bed.context.contains(&key(3)));
    assert_eq!(bed.context.stats(), before);
}

/// `for_each` visits what is there, once each, whatever its state.
#[test]
fn for_each_visits_every_session_once() {
    let bed = Bed::new();
    (0..60).for_each(|n| drop(bed.add(n)));
    bed.add_of(ticket(7), 60).mark_not_resumable();
    bed.advance(LIFE + 1);
    assert_eq!(bed.held(), Vec::from_iter(0..61));
}

/// A hello with hundreds of identities: every one is a miss, and nothing grows.
#[test]
fn a_flood_of_unknown_identities_changes_nothing() {
    let bed = Bed::new();
    (0..32).for_each(|n| drop(bed.add(n)));
    for n in 1_000..6_000 {
        assert_eq!(bed.find(&key(n)), None);
        assert_eq!(bed.take(&ticket(n)), None);
    }
    assert_eq!(bed.held(), Vec::from_iter(0..32));
    assert!(bed.told().is_empty());
    let outcomes = bed.context.stats().outcomes;
    assert_eq!((outcomes.unknown, outcomes.total()), (10_000, 10_000));
}

/// Z6: ids with a common prefix (the manual's own example) are as good as any.
#[test]
fn z6_ids_that_share_all_but_their_end_are_all_found() {
    let context = SessionContext::builder().capacity(6_000).build().expect("valid");
    let keys: Vec<SessionKey> = (0..6_000_u32)
        .map(|n| {
            let mut id = [b'w'; 32];
            id[28..].copy_from_slice(&n.to_be_bytes());
            SessionKey::new(ProtocolVersion::TLS1_2, SessionId::from(id))
        })
        .collect();
    for (n, key) in (0..).zip(&keys) {
        let session: Session<u32> = context.session(*key).id_context(www()).build(n);
        context.add_session(Arc::new(session)).expect("it fits");
    }
    assert_eq!((context.len(), context.stats().cache_full), (6_000, 0));
    let guard = context.pin();
    for (n, key) in (0..).zip(&keys) {
        assert_eq!(context.lookup(key, &www(), &guard).map(|s| *s.payload()), Some(n));
    }
}
