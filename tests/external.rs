//! Sessions from outside: the get callback and the external store. Sections 2.6 (L4 to L10, L17), 2.7 and traces A-18 and
//! The modes' table is in `modes`; what several tiers promise together is in `tiers`.

mod common;

use common::{Bed, LIFE, Log, Tier, Told, key, mail, ticket, www};
use resumption::{
    NoExternalStore, RemoveReason, Session, SessionCacheMode, SessionContext, SessionKey, Side,
};
use std::sync::{Arc, Mutex};

/// A context whose get callback answers every question with the same session.
struct Answering {
    bed: Bed,
    answer: Arc<Mutex<Option<Arc<Session<u32>>>>>,
}

impl Answering {
    fn new(bits: u32, capacity: usize) -> Self {
        let answer = Arc::<Mutex<Option<Arc<Session<u32>>>>>::default();
        let given = Arc::clone(&answer);
        let bed = Bed::with(|builder, _| {
            builder
                .capacity(capacity)
                .mode(SessionCacheMode::from_bits(bits))
                .on_get(move |_, _| given.lock().expect("no panic").clone())
        });
        Self { bed, answer }
    }

    fn answers(&self, session: &Arc<Session<u32>>) {
        *self.answer.lock().expect("no panic") = Some(Arc::clone(session));
    }
}

/// What one lookup added: misses, cb_hits, hits, timeouts, number; and its outcome.
fn effect(bed: &Bed, key: &SessionKey) -> (Option<u32>, [u64; 5], &'static str) {
    let before = bed.context.stats();
    let (found, outcome) = bed.outcome(|| bed.find(key));
    let after = bed.context.stats();
    let counts = [
        after.misses - before.misses,
        after.cb_hits - before.cb_hits,
        after.hits - before.hits,
        after.timeouts - before.timeouts,
        after.number - before.number,
    ];
    (found, counts, outcome)
}

/// L4: nothing from outside either.
#[test]
fn l4_no_answer_is_a_miss() {
    let Answering { bed, .. } = Answering::new(2, 64);
    assert_eq!(effect(&bed, &key(1)), (None, [1, 0, 0, 0, 0], "unknown"));
}

/// L5: the answer is used, counted, and stored with a reference of the cache's own.
#[test]
fn l5_the_answer_is_used_and_stored() {
    let it = Answering::new(2, 64);
    let session = it.bed.session(1);
    it.answers(&session);
    assert_eq!(effect(&it.bed, &key(1)), (Some(1), [1, 1, 1, 0, 1], "external_hit"));
    assert_eq!(effect(&it.bed, &key(1)), (Some(1), [0, 0, 1, 0, 0], "hit"));
    let found = it.bed.context.lookup_arc(&key(1), &www()).expect("it is cached now");
    assert!(Arc::ptr_eq(&found, &session));
}

/// L6: nobody but the caller holds the answer, and a borrow of it stands as long as the guard.
#[test]
fn l6_an_answer_that_nobody_else_holds_lives_as_long_as_the_guard() {
    let context = SessionContext::builder()
        .capacity(4)
        .mode(SessionCacheMode::SERVER | SessionCacheMode::NO_INTERNAL)
        .on_get(|context, key| Some(Arc::new(context.session(*key).id_context(www()).build(vec![7_u8; 9]))))
        .build()
        .expect("valid");
    let guard = context.pin();
    let first = context.lookup(&key(1), &www(), &guard).expect("answered");
    (0..2_000).for_each(|n| assert!(context.lookup(&key(n), &www(), &guard).is_some()));
    assert!(context.is_empty());
    drop(context);
    assert_eq!(first.payload(), &[7; 9]);
}

/// L7: a marked answer is no answer: not counted in cb_hits, not stored.
#[test]
fn l7_a_marked_answer_is_refused() {
    let it = Answering::new(2, 64);
    let session = it.bed.session(1);
    session.mark_not_resumable();
    it.answers(&session);
    assert_eq!(effect(&it.bed, &key(1)), (None, [1, 0, 0, 0, 0], "marked"));
    assert!(it.bed.held().is_empty());
}

/// the counters of one resumption through the get callback, by mode. OFF as departure 6 has it.
#[test]
fn a18_the_counters_by_mode() {
    let table = [
        (0x002, [1, 1, 1, 0, 1]),
        (0x001, [1, 1, 1, 0, 1]),
        (0x102, [0, 1, 1, 0, 1]),
        (0x202, [1, 1, 1, 0, 0]),
        (0x302, [0, 1, 1, 0, 0]),
    ];
    for (bits, counts) in table {
        let it = Answering::new(bits, 64);
        it.answers(&it.bed.session(1));
        assert_eq!(effect(&it.bed, &key(1)), (Some(1), counts, "external_hit"), "mode {bits:#x}");
    }
    let off = Answering::new(0, 64);
    off.answers(&off.bed.session(1));
    assert_eq!(effect(&off.bed, &key(1)), (None, [0; 5], "mode"));
}

/// A-19 and Q2: an answer of another session id context is refused; L9: it is stored all the same, and serves its own.
#[test]
fn a19_an_answer_of_another_context_is_refused_and_stored() {
    let it = Answering::new(2, 64);
    it.answers(&Arc::new(it.bed.context.session(key(1)).id_context(mail()).build(1)));
    assert_eq!(effect(&it.bed, &key(1)), (None, [1, 1, 0, 0, 1], "other_context"));
    assert!(it.bed.context.lookup_arc(&key(1), &mail()).is_some());
    assert_eq!(it.bed.context.stats().outcomes.hit, 1);
}

/// A-19 and Q1: an answer of another version is refused, and stored under its own key.
#[test]
fn a19_an_answer_of_another_version_is_refused_and_stored() {
    let it = Answering::new(2, 64);
    it.answers(&it.bed.session_of(ticket(1), 13));
    assert_eq!(effect(&it.bed, &key(1)), (None, [1, 1, 0, 0, 1], "other_version"));
    assert!(it.bed.context.contains(&ticket(1)) && !it.bed.context.contains(&key(1)));
}

/// L17 as OpenSSL 4.1 has it: an answer with another id than the one asked for is no answer.
#[test]
fn l17_an_answer_with_another_id_is_not_found() {
    let it = Answering::new(2, 64);
    it.answers(&it.bed.session(7));
    assert_eq!(effect(&it.bed, &key(1)), (None, [1, 1, 0, 0, 1], "unknown"));
    assert!(!it.bed.context.contains(&key(1)));
    assert_eq!(it.bed.find(&key(7)), Some(7));
}

/// A-19 and Q4: an expired answer is refused, removed and announced.
#[test]
fn a19_an_expired_answer_is_refused_and_removed() {
    let it = Answering::new(2, 64);
    let session = it.bed.session(1);
    it.answers(&session);
    it.bed.advance(LIFE + 1);
    assert_eq!(effect(&it.bed, &key(1)), (None, [1, 1, 0, 1, 0], "expired"));
    assert_eq!(it.bed.told(), [Told::Left(1, RemoveReason::Expired)]);
    assert!(!session.is_resumable());
}

/// Q4: an expired ticket is refused and not marked, as when it is found inside.
#[test]
fn a19_an_expired_ticket_is_refused_and_not_marked() {
    let it = Answering::new(2, 64);
    let session = it.bed.session_of(ticket(1), 1);
    it.answers(&session);
    it.bed.advance(LIFE + 1);
    assert_eq!(effect(&it.bed, &ticket(1)), (None, [1, 1, 0, 1, 1], "expired"));
    assert!(it.bed.told().is_empty());
    assert!(session.is_resumable());
}

/// L9: storing the answer may evict, with everything that belongs to it.
#[test]
fn l9_storing_the_answer_may_evict() {
    let it = Answering::new(2, 1);
    it.bed.add(1);
    it.answers(&it.bed.session(2));
    assert_eq!(it.bed.find(&key(2)), Some(2));
    assert_eq!(it.bed.told(), [Told::Left(1, RemoveReason::Evicted)]);
    assert_eq!(it.bed.context.stats().cache_full, 1);
    assert_eq!(it.bed.held(), [2]);
}

/// L9: storing the answer replaces a different object silently (A5), where the lookup did not see that one.
#[test]
fn l9_storing_the_answer_may_replace() {
    let it = Answering::new(0x102, 64);
    let old = it.bed.add(1);
    it.answers(&it.bed.session_of(key(1), 2));
    assert_eq!(effect(&it.bed, &key(1)), (Some(2), [0, 1, 1, 0, 0], "external_hit"));
    assert!(old.is_resumable());
    assert!(it.bed.told().is_empty());
    assert_eq!(it.bed.held(), [2]);
}

/// L1: what the internal table has, even if it must not be resumed, is not asked for outside.
#[test]
fn the_internal_table_has_the_first_and_last_word() {
    let tier = Tier::default();
    let bed = Bed::with(|builder, _| builder.external(tier.clone()));
    bed.add(1).mark_not_resumable();
    tier.has(key(1), &bed.session_of(key(1), 2));
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "marked"));
    assert_eq!(bed.outcome(|| bed.take(&key(1))), (None, "marked"));
    assert!(tier.calls().is_empty());
}

/// Departure 4: an answer that is too large to be stored is used all the same.
#[test]
fn an_answer_that_is_too_large_to_store_is_used() {
    let context = SessionContext::builder()
        .max_session_bytes(100)
        .on_get(|context, key| {
            Some(Arc::new(context.session(*key).id_context(www()).build(vec![1_u8; 4096])))
        })
        .build()
        .expect("valid");
    assert_eq!(context.lookup_arc(&key(1), &www()).map(|s| s.payload().len()), Some(4096));
    assert!(context.is_empty());
    assert_eq!(context.stats().outcomes.external_hit, 1);
}

/// The callback comes first; the store is asked when it has no answer, and not otherwise.
#[test]
fn the_store_is_asked_after_the_callback() {
    let tier = Tier::default();
    let log = Log::default();
    let bed = Bed::with(|builder, _| {
        let log = log.clone();
        builder.external(tier.clone()).on_get(move |context, wanted| {
            log.push(Told::Asked(*wanted));
            let session = || Arc::new(context.session(*wanted).id_context(www()).build(10));
            (*wanted == key(1)).then(session)
        })
    });
    tier.has(key(1), &bed.session_of(key(1), 20));
    tier.has(key(2), &bed.session_of(key(2), 20));
    assert_eq!(bed.find(&key(1)), Some(10));
    assert!(tier.calls().is_empty());
    assert_eq!(bed.find(&key(2)), Some(20));
    assert_eq!(tier.calls(), [("get", key(2))]);
    assert_eq!(log.take(), [Told::Asked(key(1)), Told::Asked(key(2))]);
}

/// The store step tells the store of each session, in every mode that has the side's bit.
#[test]
fn the_store_step_puts() {
    for (bits, internal) in [(0x002, true), (0x102, true), (0x202, false), (0x302, false)] {
        let tier = Tier::default();
        let bed =
            Bed::with(|builder, _| builder.external(tier.clone()).mode(SessionCacheMode::from_bits(bits)));
        bed.context.store_session(bed.session(1), Side::Server).expect("it fits");
        assert_eq!(tier.calls(), [("put", key(1))], "mode {bits:#x}");
        assert_eq!(bed.context.contains(&key(1)), internal, "mode {bits:#x}");
        assert_eq!(bed.find(&key(1)), Some(1), "mode {bits:#x}");
    }
}

/// An explicit add concerns the internal cache only.
#[test]
fn an_explicit_add_does_not_put() {
    let tier = Tier::default();
    let bed = Bed::with(|builder, _| builder.external(tier.clone()));
    bed.add(1);
    assert!(tier.calls().is_empty());
}

type Act = fn(&Bed);

/// What leaves because it must not be resumed leaves the store too; what leaves for room or by age does not, nor does
/// the end of one context concern the others.
#[test]
fn what_leaves_here_and_what_leaves_there() {
    let acts: [(&str, bool, Act); 7] = [
        ("remove", true, |bed| {
            bed.context.remove_session(&bed.session(1));
        }),
        ("flush", true, |bed| {
            bed.context.flush_all();
        }),
        ("purge", true, |bed| {
            bed.context.purge(&www());
        }),
        ("take", true, |bed| assert_eq!(bed.take(&key(1)), Some(1))),
        ("evict", false, |bed| drop(bed.add(2))),
        ("expire", false, |bed| {
            bed.advance(LIFE + 1);
            bed.context.flush_sessions(bed.context.now());
        }),
        ("expired hit", false, |bed| {
            bed.advance(LIFE + 1);
            assert_eq!(bed.find(&key(1)), None);
        }),
    ];
    for (name, leaves, act) in acts {
        let tier = Tier::default();
        let bed = Bed::with(|builder, _| builder.external(tier.clone()).capacity(1));
        bed.context.store_session(bed.session(1), Side::Server).expect("it fits");
        act(&bed);
        assert!(!bed.context.contains(&key(1)), "{name}");
        assert_eq!(tier.holds(&key(1)), !leaves, "{name}");
    }
    let tier = Tier::default();
    let bed = Bed::with(|builder, _| builder.external(tier.clone()));
    bed.context.store_session(bed.session(1), Side::Server).expect("it fits");
    drop(bed);
    assert!(tier.holds(&key(1)));
}

/// An evicted session comes back from the store.
#[test]
fn an_evicted_session_comes_back_from_the_store() {
    let tier = Tier::default();
    let bed = Bed::with(|builder, _| builder.external(tier.clone()).capacity(1));
    for n in [1, 2] {
        bed.context.store_session(bed.session(n), Side::Server).expect("it fits");
    }
    for n in [1, 2, 1, 2] {
        assert_eq!(bed.outcome(|| bed.find(&key(n))), (Some(n), "external_hit"));
        assert_eq!(bed.held(), [n]);
    }
}

/// `NoExternalStore` is none: nothing is found, and a take needs nobody's consent.
#[test]
fn no_external_store_changes_nothing() {
    let bed = Bed::with(|builder, _| builder.external(NoExternalStore));
    bed.context.store_session(bed.session(1), Side::Server).expect("it fits");
    assert_eq!(bed.find(&key(1)), Some(1));
    assert_eq!(bed.take(&key(1)), Some(1));
    assert_eq!(bed.find(&key(2)), None);
}
