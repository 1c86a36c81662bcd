//! A thread that pins often keeps a pin between its guards. Without a guard it holds nothing back all the same (promise I), and
//! with one everything that it can reach (promise A).

mod common;
#[path = "common/counted.rs"]
mod counted;

use common::eventually;
use counted::{Counted, Live, alone, asleep, key, live, under_a_guard};
use resumption::{Guard, SessionContext, SessionIdContext, idle, pin};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

const NOBODY: &SessionIdContext = &SessionIdContext::EMPTY;

/// More guards than it takes until a pin stands.
const OFTEN: usize = 1_000;

fn pin_often() {
    (0..OFTEN).for_each(|_| drop(pin()));
}

/// Adds so many sessions and takes them.
fn add_and_take(context: &SessionContext<Counted>, alive: &Arc<Live>, count: usize) {
    for n in 0..count {
        context.add_session(Arc::new(context.session(key(n)).build(Counted::new(alive)))).expect("it fits");
        assert!(context.take(&key(n), NOBODY).is_some());
    }
}

/// Runs this for a thread that has pinned often and sleeps now.
fn beside_a_sleeper(meanwhile: impl FnOnce(&SessionContext<Counted>, &Arc<Live>)) {
    let _alone = alone();
    let (alive, context) = (Arc::new(Live::default()), SessionContext::new());
    asleep(pin_often, || meanwhile(&context, &alive));
}

#[test]
fn a_sleeper_holds_nothing_back_from_who_takes_on() {
    beside_a_sleeper(|context, alive| {
        add_and_take(context, alive, 20_000);
        assert!(live(alive) < 2_000, "{} of 20,000 are left", live(alive));
    });
}

#[test]
fn a_sleeper_holds_nothing_back_from_who_is_idle() {
    beside_a_sleeper(|context, alive| {
        pin_often();
        add_and_take(context, alive, 10);
        idle();
        assert_eq!(live(alive), 0);
    });
}

#[test]
fn a_sleeper_holds_nothing_back_from_who_ticks() {
    beside_a_sleeper(|context, alive| {
        add_and_take(context, alive, 10);
        assert!(eventually(|| {
            let _ = context.tick();
            live(alive) == 0
        }));
    });
}

/// What one left that has ended is freed though the thread that had pinned often sleeps on, and others only do this.
fn is_freed_by(meanwhile: impl Fn(&SessionContext<Counted>)) {
    beside_a_sleeper(|context, alive| {
        under_a_guard(|| add_and_take(context, alive, 20_000));
        for _ in 0..500_000 {
            meanwhile(context);
            if live(alive) < 1_000 {
                return;
            }
        }
        panic!("{} of 20,000 are left", live(alive));
    });
}

#[test]
fn a_sleeper_holds_nothing_back_from_who_looks_up() {
    is_freed_by(|context| assert!(context.lookup(&key(1), NOBODY, &context.pin()).is_none()));
}

/// Guards and repins share one number, and what is due after so many may fall on either.
#[test]
fn a_sleeper_holds_nothing_back_from_who_repins_each_guard() {
    for first in 0..4 {
        (0..first).for_each(|_| drop(pin()));
        is_freed_by(|context| {
            let mut guard = context.pin();
            assert!(context.lookup(&key(1), NOBODY, &guard).is_none());
            guard.repin();
        });
    }
}

/// Threads beyond the 64 that have a page only look up, and all that have one sleep.
#[test]
fn sleepers_hold_nothing_back_from_who_has_no_page() {
    let _alone = alone();
    let (alive, context) = (Arc::new(Live::default()), &SessionContext::new());
    let (ready, done) = (Barrier::new(81), Barrier::new(81));
    thread::scope(|scope| {
        for _ in 0..80 {
            scope.spawn(|| {
                pin_often();
                ready.wait();
                done.wait();
            });
        }
        ready.wait();
        let alive = &alive;
        let guard = pin();
        let took = scope.spawn(move || add_and_take(context, alive, 20_000)).join();
        drop(guard);
        let looks_up = move || {
            (0..1_000_000).any(|n| {
                assert!(context.lookup(&key(n), NOBODY, &context.pin()).is_none());
                live(alive) < 1_000
            })
        };
        let freed = took.and_then(|()| scope.spawn(looks_up).join());
        done.wait();
        assert!(freed.expect("no panic"), "{} of 20,000 are left", live(alive));
    });
}

/// Lets another thread take one step each time that both meet, so that what is `under` a guard stays there.
fn in_step(steps: usize, mut step: impl FnMut(&dyn Fn()) + Send, mut under: impl FnMut(usize)) {
    let (begin, end) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            pin_often();
            for _ in 0..steps {
                step(&|| {
                    begin.wait();
                    end.wait();
                });
            }
        });
        for n in 0..steps {
            begin.wait();
            under(n);
            end.wait();
        }
    });
}

/// While another thread takes such steps, this one takes sessions in the first and then only lets something be freed; how many are left.
fn left_after(
    steps: usize,
    step: impl FnMut(&dyn Fn()) + Send,
    lets_free: impl Fn(),
) -> impl FnOnce() -> usize {
    let (alive, context) = (Arc::new(Live::default()), SessionContext::new());
    in_step(steps, step, |n| {
        if n == 0 {
            add_and_take(&context, &alive, 10);
        }
        lets_free();
    });
    move || {
        let left = live(&alive);
        // Not before: its end lets something be freed too.
        drop(context);
        left
    }
}

/// Nobody ever sees it without a guard, and it makes few: it is asked to let the collector pass with its next.
#[test]
fn who_is_nearly_always_under_a_guard_holds_back_only_what_it_may_see() {
    let _alone = alone();
    let step = |under: &dyn Fn()| {
        let _guard = pin();
        under();
    };
    let left = left_after(12, step, idle);
    assert_eq!(left(), 0);
}

#[test]
fn who_repins_one_guard_holds_back_only_what_it_may_see() {
    let _alone = alone();
    // Not `Send`, so made and dropped by the thread that repins it.
    thread_local! {
        static GUARD: RefCell<Option<Guard>> = const { RefCell::new(None) };
    }
    let step = |under: &dyn Fn()| {
        GUARD.with_borrow_mut(|guard| guard.get_or_insert_with(pin).repin());
        under();
    };
    let left = left_after(12, step, idle);
    idle();
    assert_eq!(left(), 0);
}

/// Seen without a guard each time, but never for long enough to be left alone.
#[test]
fn who_makes_a_guard_now_and_then_holds_nothing_back() {
    let _alone = alone();
    let step = |under: &dyn Fn()| {
        drop(pin());
        under();
    };
    let left = left_after(6, step, || pin().flush());
    idle();
    assert_eq!(left(), 0);
}

/// A payload that tells whether it is still there.
struct Canary(AtomicU64);

const ALIVE: u64 = 0x5ca1_ab1e_5ca1_ab1e;

impl Drop for Canary {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl resumption::Payload for Canary {
    fn weight(&self) -> usize {
        8
    }
}

/// Looks up with a guard each, and pauses so often that its pin is taken down every few rounds.
fn look_up_and_pause(context: &SessionContext<Canary>, done: &AtomicBool) -> usize {
    let mut found = 0;
    while !done.load(Ordering::Relaxed) {
        for n in 0..300 {
            let guard = context.pin();
            let Some(session) = context.lookup(&key(n % 7), NOBODY, &guard) else { continue };
            found += 1;
            if n % 16 == 0 {
                thread::yield_now();
            }
            assert_eq!(session.payload().0.load(Ordering::Relaxed), ALIVE);
        }
        thread::yield_now();
    }
    found
}

#[test]
fn what_is_borrowed_under_a_standing_pin_stays() {
    let _alone = alone();
    let (context, done) = (SessionContext::new(), AtomicBool::new(false));
    let found: usize = thread::scope(|scope| {
        let readers = [(); 3].map(|()| scope.spawn(|| look_up_and_pause(&context, &done)));
        for n in 0..20_000 {
            let canary = Canary(AtomicU64::new(ALIVE));
            context.add_session(Arc::new(context.session(key(n % 7)).build(canary))).expect("it fits");
            if n % 3 == 0 {
                drop(context.take(&key((n + 3) % 7), NOBODY));
            }
            if n % 4 == 0 {
                pin().flush();
            }
        }
        done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().expect("no panic")).sum()
    });
    assert!(found > 0);
}
