//! Removing: `SSL_CTX_remove_session`, section 2.4 (rows R3 to R10). R8 is in `reentrancy`, R9 in `callbacks`.

mod common;

use common::{Bed, LIFE, Tier, Told, key, ticket};
use resumption::RemoveReason::{self, Removed};
use resumption::{Added, SessionCacheMode};
use std::sync::Arc;

/// R3: it leaves, is marked, and the callback fires once.
#[test]
fn r3_the_cached_object_leaves_marked_and_announced() {
    let bed = Bed::new();
    let session = bed.add(1);
    assert!(bed.context.remove_session(&session));
    assert!(!session.is_resumable());
    assert_eq!(bed.told(), [Told::Left(1, Removed)]);
    assert!(bed.held().is_empty());
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "unknown"));
}

/// R4: the other object leaves unmarked; the mark and the callback go to the one that was named.
#[test]
fn r4_a_different_object_under_the_key_leaves_unmarked() {
    let bed = Bed::new();
    let cached = bed.add(1);
    let named = bed.session_of(key(1), 2);
    assert!(bed.context.remove_session(&named));
    assert!(bed.held().is_empty());
    assert!(cached.is_resumable());
    assert!(!named.is_resumable());
    assert_eq!(bed.told(), [Told::Left(2, Removed)]);
    // The one that left is as good as new.
    assert!(matches!(bed.context.add_session(cached), Ok(Added::Added)));
    assert_eq!(bed.find(&key(1)), Some(1));
}

/// R5: an external cache must hear of it though the internal one never had it.
#[test]
fn r5_an_absent_session_is_marked_and_announced_too() {
    let bed = Bed::new();
    let session = bed.session(1);
    assert!(!bed.context.remove_session(&session));
    assert!(!session.is_resumable());
    assert_eq!(bed.told(), [Told::Left(1, Removed)]);
}

/// R6: this context's callback fires; the entry in the other context stays. By departure 9 the mark makes it a miss
/// there.
#[test]
fn r6_removing_from_a_context_that_does_not_have_it() {
    let (here, there) = (Bed::new(), Bed::new());
    let session = there.add(1);
    assert!(!here.context.remove_session(&session));
    assert_eq!(here.told(), [Told::Left(1, Removed)]);
    assert!(there.told().is_empty());
    assert_eq!(there.held(), [1]);
    assert_eq!(there.outcome(|| there.find(&key(1))), (None, "marked"));
}

/// R7 and K19: the second time finds nothing, and the callback fires again.
#[test]
fn r7_twice_is_true_then_false_and_announced_twice() {
    let bed = Bed::new();
    let session = bed.add(1);
    assert!(bed.context.remove_session(&session));
    assert!(!bed.context.remove_session(&session));
    assert_eq!(bed.told(), [Told::Left(1, Removed), Told::Left(1, Removed)]);
}

/// R10.
#[test]
fn r10_no_counter_moves() {
    let bed = Bed::new();
    let (present, absent) = (bed.add(1), bed.session(2));
    let before = bed.context.stats();
    bed.context.remove_session(&present);
    bed.context.remove_session(&absent);
    let mut after = bed.context.stats();
    assert_eq!(after.number, 0);
    (after.number, after.reclamation) = (before.number, before.reclamation);
    assert_eq!(after, before);
}

/// A removal goes by version and id: the same id of another version stays.
#[test]
fn the_same_id_of_another_version_stays() {
    let bed = Bed::new();
    let session = bed.add_of(key(1), 12);
    bed.add_of(ticket(1), 13);
    assert!(bed.context.remove_session(&session));
    assert_eq!(bed.held(), [13]);
}

/// Expired and marked sessions are removed like any other.
#[test]
fn expired_and_marked_sessions_can_be_removed() {
    let bed = Bed::new();
    let (expired, marked) = (bed.add(1), bed.add(2));
    marked.mark_not_resumable();
    bed.advance(LIFE + 1);
    assert!(bed.context.remove_session(&expired));
    assert!(bed.context.remove_session(&marked));
    assert_eq!(bed.told(), [Told::Left(1, Removed), Told::Left(2, Removed)]);
}

/// Removal works in every mode (2.13: bad sessions are removed even when the mode is OFF).
#[test]
fn every_mode_removes() {
    for bits in [0, 1, 2, 3, 0x80, 0x102, 0x202, 0x302, 0x402, u32::MAX] {
        let bed = Bed::with(|builder, _| builder.mode(SessionCacheMode::from_bits(bits)));
        let session = bed.add(1);
        assert!(bed.context.remove_session(&session), "mode {bits:#x}");
        assert_eq!(bed.told(), [Told::Left(1, Removed)], "mode {bits:#x}");
    }
}

/// The reasons that an adapter gives reach the callback, and the external store where they concern it.
#[test]
fn the_callback_is_told_the_reason_that_was_given() {
    let reasons = [
        (RemoveReason::Removed, true),
        (RemoveReason::UncleanClose, true),
        (RemoveReason::FatalAlert, true),
        (RemoveReason::Consumed, true),
        (RemoveReason::Expired, false),
    ];
    for (reason, concerns_external) in reasons {
        let tier = Tier::default();
        let bed = Bed::with(|builder, _| builder.external(tier.clone()));
        let session = bed.add(1);
        assert!(bed.context.remove_session_because(&session, reason));
        assert!(!session.is_resumable());
        assert_eq!(bed.told(), [Told::Left(1, reason)]);
        let expected = concerns_external.then_some(("remove", key(1)));
        assert_eq!(tier.calls(), Vec::from_iter(expected), "{reason:?}");
    }
}

/// The external store hears of a session that only it has.
#[test]
fn a_session_that_only_the_external_store_has_is_removed_there() {
    let tier = Tier::default();
    let bed = Bed::with(|builder, _| builder.external(tier.clone()));
    let session = bed.session(1);
    tier.has(key(1), &session);
    assert!(!bed.context.remove_session(&session));
    assert!(!tier.holds(&key(1)));
    assert_eq!(bed.find(&key(1)), None);
}

/// The cache gives its reference back: what remains is the caller's.
#[test]
fn r3_the_cache_gives_its_reference_back() {
    let bed = Bed::new();
    let session = bed.add(1);
    bed.context.remove_session(&session);
    assert!(common::eventually(|| Arc::strong_count(&session) == 1));
}
