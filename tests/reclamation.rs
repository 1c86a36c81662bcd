//! What waits to be freed does not pile up (promise I), and freeing is not nested, whatever destructors do.

mod common;
#[path = "common/counted.rs"]
mod counted;

use common::{NOW, www};
use counted::{Counted, Live, alone, key};
use resumption::{
    ExternalStore, Guard, ManualClock, Payload, Session, SessionCacheMode, SessionContext, SessionIdContext,
    SessionKey, idle, pin,
};
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

const ROUNDS: usize = 50_000;

/// Far above what one batch or two epochs keep, and far below what was retired.
const FEW: usize = ROUNDS / 20;

fn single_use(live: &Arc<Live>, mut between: impl FnMut(&mut Guard)) {
    let context = SessionContext::<Counted>::new();
    let mut guard = context.pin();
    for n in 0..ROUNDS {
        context.add_session(Arc::new(context.session(key(n)).build(Counted::new(live)))).expect("it fits");
        assert!(context.take_borrowed(&key(n), &SessionIdContext::EMPTY, &guard).is_some());
        between(&mut guard);
    }
}

#[test]
fn a_thread_that_lives_under_one_guard_and_repins_it_frees_what_it_took() {
    let _alone = alone();
    let live = Arc::default();
    single_use(&live, Guard::repin);
    let most = live.most.load(Ordering::Relaxed);
    assert!(most < FEW, "{most} of {ROUNDS} sessions were kept at once");
}

#[test]
fn so_does_a_thread_that_came_after_many_others() {
    let _alone = alone();
    let done = Arc::new(Barrier::new(81));
    let ready = Arc::new(Barrier::new(81));
    let others: Vec<_> = (0..80)
        .map(|_| {
            let (ready, done) = (Arc::clone(&ready), Arc::clone(&done));
            thread::spawn(move || {
                drop(pin());
                ready.wait();
                done.wait();
            })
        })
        .collect();
    ready.wait();
    let live = Arc::default();
    thread::scope(|scope| scope.spawn(|| single_use(&live, Guard::repin)).join()).expect("no panic");
    done.wait();
    others.into_iter().for_each(|other| other.join().expect("no panic"));
    let most = live.most.load(Ordering::Relaxed);
    assert!(most < FEW, "{most} of {ROUNDS} sessions were kept at once");
}

/// Answers every question with a session of its own.
struct Endless(Arc<Live>);

impl ExternalStore<Counted> for Endless {
    fn get(&self, key: &SessionKey) -> Option<Arc<Session<Counted>>> {
        Some(Arc::new(Session::<Counted>::builder(*key).time(NOW).build(Counted::new(&self.0))))
    }

    fn take(&self, _: &SessionKey) -> Option<Arc<Session<Counted>>> {
        None
    }

    fn put(&self, _: &Arc<Session<Counted>>) -> bool {
        true
    }

    fn remove(&self, _: &SessionKey) {}
}

#[test]
fn what_was_lent_from_outside_is_given_back() {
    let _alone = alone();
    let live = Arc::new(Live::default());
    let mode = SessionCacheMode::SERVER | SessionCacheMode::NO_INTERNAL;
    let builder = SessionContext::builder().mode(mode).clock(ManualClock::new(NOW));
    let context = builder.external(Endless(Arc::clone(&live))).build().expect("a small table");
    let parked = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut guard = context.pin();
            for n in 0..ROUNDS {
                let session = context.lookup(&key(n), &SessionIdContext::EMPTY, &guard).expect("it is there");
                assert_eq!(session.id(), *key(n).id());
                guard.repin();
            }
            drop(guard);
            parked.wait();
            parked.wait();
        });
        parked.wait();
        let most = live.most.load(Ordering::Relaxed);
        // The thread sleeps: whoever keeps time gives back what it was lent.
        let all = common::eventually(|| {
            let _ = context.tick();
            live.now.load(Ordering::Relaxed) == 0
        });
        parked.wait();
        assert!(most < FEW, "{most} of {ROUNDS} sessions were kept at once");
        assert!(all, "{} were never given back", live.now.load(Ordering::Relaxed));
    });
}

/// What a destructor does with the crate.
#[derive(Clone, Copy)]
enum Does {
    Pin,
    Idle,
    Retire,
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

struct Calls {
    does: Does,
    deepest: Arc<AtomicUsize>,
    freed: Arc<AtomicUsize>,
}

impl Payload for Calls {
    fn weight(&self) -> usize {
        0
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() + 1);
        self.deepest.fetch_max(DEPTH.get(), Ordering::Relaxed);
        self.freed.fetch_add(1, Ordering::Relaxed);
        match self.does {
            Does::Pin => drop(pin()),
            Does::Idle => idle(),
            Does::Retire => {
                let other = SessionContext::<u64>::builder().capacity(1).build().expect("a small table");
                let _ = other.add_session(Arc::new(other.session(key(1)).build(1)));
                drop(other.take(&key(1), &www()));
            }
        }
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Retires `count` sessions while somebody else holds a guard.
fn backlog(does: Does, count: usize) -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (deepest, freed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let context = SessionContext::<Calls>::builder().capacity(0).build().expect("a small table");
    for n in 0..count {
        let payload = Calls { does, deepest: Arc::clone(&deepest), freed: Arc::clone(&freed) };
        context.add_session(Arc::new(context.session(key(n)).build(payload))).expect("it fits");
    }
    let (release, held) = mpsc::channel::<()>();
    let (ready, pinned) = mpsc::channel();
    let holder = thread::spawn(move || {
        let _guard = pin();
        ready.send(()).expect("awaited");
        let _ = held.recv();
    });
    pinned.recv().expect("pinned");
    thread::spawn(move || drop(context)).join().expect("no panic");
    drop(release);
    holder.join().expect("no panic");
    (deepest, freed)
}

#[test]
fn destructors_that_use_the_crate_are_not_nested() {
    let _alone = alone();
    for (does, count) in [(Does::Pin, 50_000), (Does::Idle, 5_000), (Does::Retire, 2_000)] {
        let (deepest, freed) = backlog(does, count);
        // Threads that use the cache once, and end.
        assert!(common::eventually(|| {
            thread::spawn(|| drop(pin())).join().expect("no panic");
            freed.load(Ordering::Relaxed) == count
        }));
        assert_eq!(deepest.load(Ordering::Relaxed), 1);
    }
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

/// Retires what it can as its thread ends, under a guard that the thread's own participant did not outlive.
struct Late {
    guard: Option<Guard>,
    context: Arc<SessionContext<Counted>>,
    live: Arc<Live>,
    both: Arc<Barrier>,
}

impl Drop for Late {
    fn drop(&mut self) {
        self.both.wait();
        if let Some(guard) = &self.guard {
            churn(&self.context, &self.live, guard);
        }
    }
}

fn churn(context: &SessionContext<Counted>, live: &Arc<Live>, guard: &Guard) {
    for n in 0..ROUNDS {
        context.add_session(Arc::new(context.session(key(n)).build(Counted::new(live)))).expect("it fits");
        assert!(context.take_borrowed(&key(n), &SessionIdContext::EMPTY, guard).is_some());
    }
}

/// The index of the late thread's page goes to nobody else while its guard lives: no session is lost or freed twice.
#[test]
fn a_guard_may_outlive_its_threads_participant() {
    let _alone = alone();
    let live = Arc::new(Live::default());
    let both = Arc::new(Barrier::new(2));
    let context = Arc::new(SessionContext::builder().capacity(8).build().expect("a small table"));
    let late = {
        let (context, live, both) = (Arc::clone(&context), Arc::clone(&live), Arc::clone(&both));
        thread::spawn(move || {
            // Made before the participant, and so destroyed after it.
            LATE.set(Some(Late { guard: None, context, live, both }));
            // The last of many: a pin stands, and this guard relies on it.
            let guard = (0..1_000).fold(pin(), |guard, _| {
                drop(guard);
                pin()
            });
            LATE.with_borrow_mut(|late| late.as_mut().expect("set").guard = Some(guard));
        })
    };
    let other = {
        let (live, both) = (Arc::clone(&live), Arc::clone(&both));
        thread::spawn(move || {
            let context = SessionContext::builder().capacity(8).build().expect("a small table");
            // The late thread is at its end, so this one gets its index if anybody does.
            both.wait();
            churn(&context, &live, &context.pin());
        })
    };
    late.join().expect("no panic");
    other.join().expect("no panic");
    // Nobody owns the late thread's page any more; whoever keeps time empties it.
    assert!(common::eventually(|| {
        let _ = context.tick();
        live.now.load(Ordering::Relaxed) == 0
    }));
}

/// A payload that knows the thread that is to free it.
struct Homesick {
    home: thread::ThreadId,
    away: Arc<AtomicUsize>,
}

impl Drop for Homesick {
    fn drop(&mut self) {
        self.away.fetch_add(usize::from(thread::current().id() != self.home), Ordering::Relaxed);
    }
}

impl Payload for Homesick {
    fn weight(&self) -> usize {
        0
    }
}

#[test]
fn a_busy_thread_frees_what_it_took_and_not_what_another_did() {
    let _alone = alone();
    let context = SessionContext::<Homesick>::new();
    let (away, start) = (Arc::new(AtomicUsize::new(0)), Barrier::new(2));
    thread::scope(|scope| {
        for thread in 0..2 {
            let (context, away, start) = (&context, &away, &start);
            scope.spawn(move || {
                start.wait();
                for n in 0..ROUNDS {
                    let key = key(2 * n + thread);
                    let payload = Homesick { home: thread::current().id(), away: Arc::clone(away) };
                    context.add_session(Arc::new(context.session(key).build(payload))).expect("it fits");
                    assert!(context.take(&key, &SessionIdContext::EMPTY).is_some());
                }
                // Not before the other is done as well: what it still frees at its end may be this one's.
                start.wait();
            });
        }
    });
    let away = away.load(Ordering::Relaxed);
    // Who keeps time frees for all, once a second; and on a busy machine a thread that waits for a processor has its inbox
    // emptied when it is full, up to a third of all. If each freed what came its way, it would be nine tenths.
    assert!(away < ROUNDS, "{away} of {} were freed by the other thread", 2 * ROUNDS);
}
