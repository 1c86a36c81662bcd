//! Adding: `SSL_CTX_add_session`, section 2.3 of the observed behaviour (rows A1 to A13). A8 is in `capacity`.

mod common;

use common::{Bed, LIFE, Told, at, key, mail, www};
use resumption::{
    AddError, Added, RemoveReason, Session, SessionCacheMode, SessionContext, SessionId, SessionIdError, Side,
};
use std::sync::Arc;

/// A1: one entry, one reference, no callback, no counter.
#[test]
fn a1_an_absent_key_is_added() {
    let bed = Bed::new();
    let session = bed.session(1);
    let before = bed.context.stats();
    assert!(matches!(bed.context.add_session(Arc::clone(&session)), Ok(Added::Added)));
    assert_eq!(bed.held(), [1]);
    assert_eq!(Arc::strong_count(&session), 2);
    assert!(bed.told().is_empty());
    let after = bed.context.stats();
    assert_eq!((after.number, after.cache_full, after.outcomes), (1, 0, before.outcomes));
}

/// A2: the manual's return value of 0.
#[test]
fn a2_the_identical_object_changes_nothing() {
    let bed = Bed::new();
    let session = bed.add(1);
    assert!(matches!(bed.context.add_session(Arc::clone(&session)), Ok(Added::Unchanged)));
    assert_eq!(bed.held(), [1]);
    assert_eq!(Arc::strong_count(&session), 2);
    assert!(session.is_resumable());
    assert!(bed.told().is_empty());
}

/// A4 and A10 as departure 5 has them: UPDATE_TIME acts on a hit, so neither a first nor a second add renews.
#[test]
fn a4_a10_update_time_does_not_act_on_an_add() {
    let bed = Bed::with(|builder, _| builder.mode(SessionCacheMode::SERVER | SessionCacheMode::UPDATE_TIME));
    let early = bed.session(1);
    bed.advance(200);
    assert!(matches!(bed.context.add_session(Arc::clone(&early)), Ok(Added::Added)));
    bed.advance(50);
    assert!(matches!(bed.context.add_session(Arc::clone(&early)), Ok(Added::Unchanged)));
    assert_eq!(early.time(), common::NOW);
    bed.advance(LIFE - 250 + 1);
    assert_eq!(bed.find(&key(1)), None);
}

/// A5: the old object leaves unmarked, and no remove callback fires (K13).
#[test]
fn a5_another_object_of_the_key_replaces_and_hands_the_old_one_back() {
    let bed = Bed::new();
    let old = bed.add(1);
    let new = bed.session_of(key(1), 2);
    match bed.context.add_session(Arc::clone(&new)) {
        Ok(Added::Replaced(replaced)) => assert!(Arc::ptr_eq(&replaced, &old)),
        other => panic!("not replaced: {other:?}"),
    }
    assert!(old.is_resumable());
    assert!(bed.told().is_empty());
    assert_eq!(bed.held(), [2]);
    assert_eq!(bed.find(&key(1)), Some(2));
    assert_eq!(bed.context.stats().cache_full, 0);
}

/// A5: the replaced object is free to be added again, and then replaces in turn.
#[test]
fn a5_a_replaced_object_can_come_back() {
    let bed = Bed::new();
    let (old, new) = (bed.add(1), bed.session_of(key(1), 2));
    bed.context.add_session(Arc::clone(&new)).expect("it fits");
    assert!(matches!(bed.context.add_session(old), Ok(Added::Replaced(r)) if Arc::ptr_eq(&r, &new)));
    assert_eq!(bed.find(&key(1)), Some(1));
}

/// A5 with another session id context: the key alone decides, as in OpenSSL.
#[test]
fn a5_the_session_id_context_is_not_part_of_the_key() {
    let bed = Bed::new();
    bed.add(1);
    let other = Arc::new(bed.context.session(key(1)).id_context(mail()).build(2));
    assert!(matches!(bed.context.add_session(other), Ok(Added::Replaced(_))));
    assert_eq!(bed.find(&key(1)), None);
    assert_eq!(bed.context.lookup_arc(&key(1), &mail()).map(|s| *s.payload()), Some(2));
}

/// A6, and departure 9 instead of L8: a marked session is accepted, stays marked, and is never found.
#[test]
fn a6_a_session_marked_not_resumable_is_accepted_and_never_found() {
    let bed = Bed::new();
    let session = bed.session(1);
    session.mark_not_resumable();
    assert!(matches!(bed.context.add_session(Arc::clone(&session)), Ok(Added::Added)));
    assert!(!session.is_resumable());
    assert_eq!(bed.held(), [1]);
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "marked"));
    assert_eq!(bed.outcome(|| bed.take(&key(1))), (None, "marked"));
    assert_eq!(bed.held(), [1]);
}

/// Departure 4 instead of A7: without an id there is no key, hence no session and nothing to add.
#[test]
fn a7_a_session_without_an_id_cannot_be_made() {
    assert_eq!(SessionId::new(&[]), Err(SessionIdError::Empty));
    assert_eq!(SessionId::new(&[0; 33]), Err(SessionIdError::TooLong { len: 33 }));
}

/// A9: an explicit add ignores every mode bit.
#[test]
fn a9_an_explicit_add_ignores_the_mode() {
    let bits = [0, 1, 2, 3, 0x80, 0x100, 0x200, 0x300, 0x302, 0x400, 0x780, u32::MAX];
    for bits in bits {
        let bed = Bed::with(|builder, _| builder.mode(SessionCacheMode::from_bits(bits)));
        bed.add(1);
        assert_eq!(bed.held(), [1], "mode {bits:#x}");
    }
}

/// A13: there is no expiry test at add; promise E: it is never returned all the same.
#[test]
fn a13_an_expired_session_is_accepted_and_never_found() {
    let bed = Bed::new();
    let session = bed.session(1);
    bed.advance(LIFE + 1);
    assert!(matches!(bed.context.add_session(session), Ok(Added::Added)));
    assert_eq!(bed.context.stats().number, 1);
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "expired"));
}

fn heavy(context: &SessionContext<Vec<u8>>, bytes: usize) -> Arc<Session<Vec<u8>>> {
    Arc::new(context.session(key(1)).id_context(www()).build(vec![0; bytes]))
}

/// Departure 4: a session above the configured largest is refused with both numbers, and nothing changed.
#[test]
fn departure_4_a_session_above_the_largest_is_refused() {
    let limit = size_of::<Session<Vec<u8>>>() + 100;
    let told = common::Log::default();
    let (news, departures) = (told.clone(), told.clone());
    let context = SessionContext::<Vec<u8>>::builder()
        .capacity(1)
        .max_session_bytes(limit)
        .on_new(move |_, _| news.push(Told::New(0)))
        .on_remove(move |_, _, reason| departures.push(Told::Left(0, reason)))
        .build()
        .expect("valid");
    let fits = heavy(&context, 100);
    assert_eq!(fits.weight(), limit);
    context.add_session(Arc::clone(&fits)).expect("exactly the largest");

    let large = heavy(&context, 101);
    let refused = AddError::TooLarge { weight: limit + 1, limit };
    assert_eq!(context.add_session(Arc::clone(&large)).map(|_| ()), Err(refused));
    assert_eq!(context.store_session(Arc::clone(&large), Side::Server).map(|_| ()), Err(refused));
    assert_eq!(Arc::strong_count(&large), 1);
    assert!(large.is_resumable());
    assert!(told.take().is_empty());
    assert!(context.lookup_arc(&key(1), &www()).is_some_and(|found| Arc::ptr_eq(&found, &fits)));
    assert_eq!(context.stats().cache_full, 0);

    // What could not be added can be removed, and an external cache hears of it.
    assert!(context.remove_session(&large));
    assert_eq!(told.take(), [Told::Left(0, RemoveReason::Removed)]);
}

/// An error says what was too large and by how much.
#[test]
fn errors_name_the_numbers() {
    let refused = AddError::TooLarge { weight: 70_000, limit: 65_536 };
    assert_eq!(refused.to_string(), "the session weighs 70000 bytes, more than the largest allowed, 65536");
}

/// A session that lives through seconds 0 to 300 is found in both of them and in no other.
#[test]
fn an_added_session_lives_from_its_time_to_its_timeout() {
    let bed = Bed::new();
    let session = bed.add(1);
    assert_eq!((session.time(), session.expires_at()), (at(0), at(LIFE)));
    bed.advance(LIFE);
    assert_eq!(bed.find(&key(1)), Some(1));
    bed.advance(1);
    assert_eq!(bed.find(&key(1)), None);
}
