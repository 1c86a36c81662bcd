//! Two tiers: what a take, a removal and a lookup promise when an external store holds sessions too.

mod common;

use common::{Bed, LIFE, Tier, Told, key, mail, ticket, www};
use resumption::{
    ExternalStore, ManualClock, RemoveReason, Session, SessionCacheMode, SessionContext, SessionKey, Side,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, OnceLock, Weak};

const CONSUMED: RemoveReason = RemoveReason::Consumed;

fn two_tiers() -> (Bed, Tier) {
    let tier = Tier::default();
    let bed = Bed::with(|builder, _| builder.external(tier.clone()));
    (bed, tier)
}

fn store(bed: &Bed, session: &Arc<Session<u32>>) {
    bed.context.store_session(Arc::clone(session), Side::Server).expect("it fits");
}

/// A session in both tiers is won in both.
#[test]
fn a_take_wins_in_both_tiers() {
    let (bed, tier) = two_tiers();
    store(&bed, &bed.session_of(ticket(1), 1));
    tier.calls();
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (Some(1), "hit"));
    assert!(tier.calls().contains(&("take", ticket(1))));
    assert!(!tier.holds(&ticket(1)));
    assert_eq!(bed.told(), [Told::New(1), Told::Left(1, CONSUMED)]);
    assert_eq!(bed.take(&ticket(1)), None);
}

/// Another process was first: nobody here gets it any more.
#[test]
fn a_session_taken_elsewhere_is_not_handed_out() {
    let (bed, tier) = two_tiers();
    store(&bed, &bed.session_of(ticket(1), 1));
    assert!(tier.loses(&ticket(1)).is_some());
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "consumed"));
    assert!(!bed.context.contains(&ticket(1)));
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "consumed"));
}

/// It left this cache, so the remove callback hears of it.
#[test]
fn a_session_taken_elsewhere_is_announced_when_it_leaves_here() {
    let (bed, tier) = two_tiers();
    store(&bed, &bed.session_of(ticket(1), 1));
    bed.told();
    assert!(tier.loses(&ticket(1)).is_some());
    assert_eq!(bed.take(&ticket(1)), None);
    assert_eq!(bed.told(), [Told::Left(1, CONSUMED)]);
}

/// A store that declined has no copy, so its consent is not needed.
#[test]
fn a_declined_session_is_taken_here_alone() {
    let (bed, tier) = two_tiers();
    tier.declines();
    store(&bed, &bed.session_of(ticket(1), 1));
    tier.calls();
    assert_eq!(bed.take(&ticket(1)), Some(1));
    assert!(!tier.calls().contains(&("take", ticket(1))));
}

/// An explicitly added session was never in the store.
#[test]
fn an_added_session_is_taken_here_alone() {
    let (bed, tier) = two_tiers();
    bed.add_of(ticket(1), 1);
    assert_eq!(bed.take(&ticket(1)), Some(1));
    assert!(!tier.calls().contains(&("take", ticket(1))));
}

/// Added first and stored afterwards, it is in both tiers, and a take must win in both.
#[test]
fn a_session_added_and_then_stored_is_in_both_tiers() {
    let (bed, tier) = two_tiers();
    let session = bed.add_of(ticket(1), 1);
    store(&bed, &session);
    assert!(tier.loses(&ticket(1)).is_some());
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "consumed"));
}

/// What a lookup brought in is in both tiers.
#[test]
fn a_session_that_a_lookup_brought_in_is_in_both_tiers() {
    let (bed, tier) = two_tiers();
    tier.has(ticket(1), &bed.session_of(ticket(1), 1));
    assert_eq!(bed.find(&ticket(1)), Some(1));
    assert!(bed.context.contains(&ticket(1)));
    assert!(tier.loses(&ticket(1)).is_some());
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "consumed"));
}

/// Only the store has it.
#[test]
fn a_take_asks_the_store_for_what_is_not_here() {
    let (bed, tier) = two_tiers();
    let session = bed.session_of(ticket(1), 1);
    tier.has(ticket(1), &session);
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (Some(1), "external_hit"));
    assert!(!session.is_resumable());
    assert_eq!(bed.told(), [Told::Left(1, CONSUMED)]);
    assert!(bed.held().is_empty());
    let stats = bed.context.stats();
    assert_eq!((stats.misses, stats.cb_hits, stats.hits), (1, 1, 1));
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "unknown"));
}

/// NO_INTERNAL: the store alone, for take as for lookup.
#[test]
fn without_an_internal_cache_the_store_is_the_cache() {
    let (bed, tier) = two_tiers();
    bed.context.set_mode(SessionCacheMode::SERVER | SessionCacheMode::NO_INTERNAL);
    store(&bed, &bed.session_of(ticket(1), 1));
    assert!(bed.held().is_empty());
    assert_eq!(bed.find(&ticket(1)), Some(1));
    assert_eq!(bed.take(&ticket(1)), Some(1));
    assert!(!tier.holds(&ticket(1)));
    assert_eq!(bed.context.stats().misses, 0);
}

/// A session of another context stays in the store.
#[test]
fn a_refused_take_leaves_the_session_in_the_store() {
    let (bed, tier) = two_tiers();
    let session = Arc::new(bed.context.session(ticket(1)).id_context(mail()).build(1));
    tier.has(ticket(1), &session);
    assert_eq!(bed.outcome(|| bed.take(&ticket(1))), (None, "other_context"));
    assert!(tier.holds(&ticket(1)));
    assert!(session.is_resumable());
    assert!(bed.context.take(&ticket(1), &mail()).is_some());
}

/// What the store hands out is checked: expired, marked, of another id or version.
#[test]
fn a_take_checks_what_the_store_hands_out() {
    let (bed, tier) = two_tiers();
    let marked = bed.session_of(ticket(2), 2);
    marked.mark_not_resumable();
    tier.has(ticket(1), &bed.session_of(ticket(1), 1));
    tier.has(ticket(2), &marked);
    bed.advance(LIFE + 1);
    tier.has(ticket(3), &bed.session_of(ticket(33), 3));
    tier.has(ticket(4), &bed.session_of(key(4), 4));
    for (n, outcome) in [(1, "expired"), (2, "marked"), (3, "unknown"), (4, "other_version")] {
        assert_eq!(bed.outcome(|| bed.take(&ticket(n))), (None, outcome));
    }
    assert_eq!(bed.context.stats().timeouts, 1);
}

/// How many of four concurrent takes of a session in both tiers win, through one or two contexts.
fn winners(contexts: usize, tier: &Tier, looked_up: bool) -> usize {
    let beds: Vec<Bed> =
        (0..contexts).map(|_| Bed::with(|builder, _| builder.external(tier.clone()))).collect();
    store(&beds[0], &beds[0].session_of(ticket(1), 1));
    if looked_up {
        // The other process has a copy of its own.
        assert_eq!(beds[contexts - 1].find(&ticket(1)), Some(1));
    }
    let (start, won) = (Barrier::new(4), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (bed, start, won) = (&beds[thread % contexts], &start, &won);
            scope.spawn(move || {
                start.wait();
                won.fetch_add(usize::from(bed.take(&ticket(1)).is_some()), Ordering::Relaxed);
            });
        }
    });
    won.into_inner()
}

/// Promise D across processes that share a store of bytes: one of all takes wins.
#[test]
fn promise_d_one_take_wins_across_tiers() {
    for round in 0..600 {
        let tier = Tier::default();
        tier.copies();
        assert_eq!(winners(1 + round % 2, &tier, round % 3 == 0), 1, "round {round}");
    }
}

/// The same with a store in memory that hands out the object it was given.
/// A take that lost in the store must not mark the object that the winner is about to check.
#[test]
fn promise_d_one_take_wins_with_a_store_in_memory() {
    for round in 0..2_000 {
        assert_eq!(winners(1 + round % 2, &Tier::default(), round % 3 == 0), 1, "round {round}");
    }
}

/// A store that makes a new object of each session it returns, as one that stores bytes does, and that is overtaken by a
/// removal between reading and answering.
struct Slow {
    context: Arc<OnceLock<Weak<SessionContext<u32>>>>,
    overtaken_by: fn(&SessionContext<u32>),
    gone: AtomicUsize,
}

impl Slow {
    fn copy(context: &SessionContext<u32>, key: &SessionKey) -> Arc<Session<u32>> {
        Arc::new(context.session(*key).id_context(www()).build(1))
    }
}

impl ExternalStore<u32> for Slow {
    fn get(&self, key: &SessionKey) -> Option<Arc<Session<u32>>> {
        if self.gone.load(Ordering::SeqCst) > 0 {
            return None;
        }
        let context = self.context.get()?.upgrade()?;
        let answer = Self::copy(&context, key);
        (self.overtaken_by)(&context);
        Some(answer)
    }

    fn take(&self, key: &SessionKey) -> Option<Arc<Session<u32>>> {
        let context = self.context.get()?.upgrade()?;
        (self.gone.fetch_add(1, Ordering::SeqCst) == 0).then(|| Self::copy(&context, key))
    }

    fn put(&self, _: &Arc<Session<u32>>) -> bool {
        true
    }

    fn remove(&self, _: &SessionKey) {
        self.gone.fetch_add(1, Ordering::SeqCst);
    }
}

fn overtaken(overtaken_by: fn(&SessionContext<u32>)) -> Arc<SessionContext<u32>> {
    let own = Arc::new(OnceLock::new());
    let store = Slow { context: Arc::clone(&own), overtaken_by, gone: AtomicUsize::new(0) };
    let builder = SessionContext::builder().capacity(8).clock(ManualClock::new(common::NOW)).external(store);
    let context = Arc::new(builder.build().expect("valid"));
    own.set(Arc::downgrade(&context)).expect("set once");
    context
}

/// Promise C: a lookup never returns a session that was removed before the lookup began.
/// The lookup that was overtaken must not leave its copy in the internal table.
#[test]
fn promise_c_a_removal_that_overtakes_a_lookup_is_final() {
    let context = overtaken(|context| {
        let session = Slow::copy(context, &key(1));
        context.remove_session(&session);
    });
    let overlapping = context.lookup_arc(&key(1), &www()); // either answer is right
    drop(overlapping);
    assert!(context.lookup_arc(&key(1), &www()).is_none(), "a removed session came back");
}

/// The same for a take: what was consumed is not found again.
#[test]
fn promise_c_a_take_that_overtakes_a_lookup_is_final() {
    let context = overtaken(|context| {
        assert!(context.take(&ticket(1), &www()).is_some());
    });
    drop(context.lookup_arc(&ticket(1), &www()));
    assert!(context.take(&ticket(1), &www()).is_none(), "a session was taken twice");
    let context = overtaken(|context| {
        assert!(context.take(&ticket(1), &www()).is_some());
    });
    drop(context.lookup_arc(&ticket(1), &www()));
    assert!(context.lookup_arc(&ticket(1), &www()).is_none(), "a consumed session came back");
}

/// Promise C: a session that was added, with the answer that it is cached already, is found by the next lookup, though a
/// lookup that has brought it in is still under way. The remove callback runs in the middle of that one.
#[test]
fn promise_c_an_add_during_a_lookup_that_fetches_counts() {
    let answer = Arc::new(Mutex::new(None::<Arc<Session<u32>>>));
    let (source, again) = (Arc::clone(&answer), Arc::clone(&answer));
    let found = Arc::new(Mutex::new(None));
    let result = Arc::clone(&found);
    let bed = Bed::with(|builder, _| {
        builder.capacity(1).on_get(move |_, _| source.lock().expect("no panic").clone()).on_remove(
            move |context, _, _| {
                // Taken out, so that what is found is found inside.
                let Some(session) = again.lock().expect("no panic").take() else { return };
                context.add_session(session).expect("it fits");
                *result.lock().expect("no panic") = Some(context.lookup_arc(&key(2), &www()).is_some());
            },
        )
    });
    bed.add(1);
    *answer.lock().expect("no panic") = Some(bed.session(2));
    assert_eq!(bed.find(&key(2)), Some(2));
    assert_eq!(*found.lock().expect("no panic"), Some(true), "added and not found");
}

/// The same, with a purge of something else before the add: the lookup that fetches then may not keep what it brought in,
/// but what was added explicitly stays.
#[test]
fn promise_c_what_was_added_during_a_lookup_that_fetches_stays() {
    let answer = Arc::new(Mutex::new(None::<Arc<Session<u32>>>));
    let (source, again) = (Arc::clone(&answer), Arc::clone(&answer));
    let bed = Bed::with(|builder, _| {
        builder.capacity(1).on_get(move |_, _| source.lock().expect("no panic").clone()).on_remove(
            move |context, session, _| {
                if *session.payload() == 1 {
                    let answer = again.lock().expect("no panic").take().expect("asked once");
                    context.purge(&mail()); // removes nothing
                    context.add_session(answer).expect("it fits");
                }
            },
        )
    });
    bed.add(1);
    *answer.lock().expect("no panic") = Some(bed.session(2));
    bed.find(&key(2));
    assert_eq!(bed.held(), [2]);
    assert_eq!(bed.outcome(|| bed.find(&key(2))), (Some(2), "hit"));
}
