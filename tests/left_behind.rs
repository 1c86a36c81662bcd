//! What threads leave behind that sleep, end or panic is freed all the same (promise I).

mod common;
#[path = "common/counted.rs"]
mod counted;

use common::eventually;
use counted::{Counted, Live, alone, asleep, key, live, under_a_guard};
use resumption::{Payload, SessionCacheMode, SessionContext, SessionIdContext, idle, pin};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

const NOBODY: &SessionIdContext = &SessionIdContext::EMPTY;

fn filled<T: Payload>(count: usize, mut payload: impl FnMut(usize) -> T) -> SessionContext<T> {
    let context = SessionContext::builder().capacity(0).build().expect("a small table");
    for n in 0..count {
        context.add_session(Arc::new(context.session(key(n)).build(payload(n)))).expect("it fits");
    }
    context
}

fn take_all<T: Payload>(context: &SessionContext<T>, count: usize) {
    (0..count).for_each(|n| assert!(context.take(&key(n), NOBODY).is_some()));
}

/// Takes one after the other until `done` is set.
fn take_until<T: Payload>(context: &SessionContext<T>, done: &AtomicBool) {
    for n in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
        drop(context.take(&key(n), NOBODY));
    }
}

/// Nobody ticks, inserts or flushes, and what was taken is freed all the same, nearly all.
fn look_up_until_freed(context: &SessionContext<Counted>, count: usize, alive: &Live) {
    for n in 0..1_000_000 {
        assert!(context.lookup(&key(n % count), NOBODY, &context.pin()).is_none());
        if live(alive) < count / 20 {
            return;
        }
    }
    panic!("{} of {count} are left", live(alive));
}

/// Whoever keeps time frees what one takes that sleeps afterwards.
fn is_freed_asleep(count: usize, pins: usize) {
    let alive = Arc::new(Live::default());
    let context = filled(count, |_| Counted::new(&alive));
    let before = || {
        take_all(&context, count);
        (0..pins).for_each(|_| drop(pin()));
    };
    asleep(before, || {
        let ticks = || {
            let _ = context.tick();
            live(&alive) == 0
        };
        assert!(eventually(ticks), "{} of {count} wait for their thread to wake up", live(&alive));
    });
}

#[test]
fn a_thread_falls_asleep_over_a_few() {
    let _alone = alone();
    is_freed_asleep(3, 0);
}

#[test]
fn a_thread_falls_asleep_just_when_they_are_too_many_for_its_page() {
    let _alone = alone();
    is_freed_asleep(65, 0);
    is_freed_asleep(1_000, 0);
}

#[test]
fn a_thread_falls_asleep_that_has_no_page() {
    let _alone = alone();
    let (ready, done) = (Barrier::new(81), Barrier::new(81));
    thread::scope(|scope| {
        for _ in 0..80 {
            scope.spawn(|| {
                drop(pin());
                ready.wait();
                done.wait();
            });
        }
        ready.wait();
        let _end = End(&done);
        is_freed_asleep(10, 0);
        is_freed_asleep(10, 1_000);
        is_freed_asleep(200, 1_000);
    });
}

/// Lets those who wait go, also when a test fails.
struct End<'a>(&'a Barrier);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// A thread has ended, and those that are left only look up: nobody ticks, inserts or flushes.
#[test]
fn lookups_alone_free_what_one_left_that_has_ended() {
    const COUNT: usize = 50_000;
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let context = filled(COUNT, |_| Counted::new(&alive));
    under_a_guard(|| take_all(&context, COUNT));
    assert_eq!(live(&alive), COUNT, "held back by the guard");
    look_up_until_freed(&context, COUNT, &alive);
}

/// Breaks the promise not to panic.
struct Bomb {
    counted: Option<Counted>,
    explodes: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        drop(self.counted.take());
        assert!(!self.explodes, "on purpose");
    }
}

impl Payload for Bomb {
    fn weight(&self) -> usize {
        0
    }
}

#[test]
fn a_destructor_that_panics_keeps_no_other_from_being_freed() {
    const COUNT: usize = 900;
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let context = filled(COUNT, |n| Bomb { counted: Some(Counted::new(&alive)), explodes: n % 300 == 100 });
    let before = context.stats().reclamation.sessions;
    under_a_guard(|| take_all(&context, COUNT));
    let mut panics = 0;
    for _ in 0..1_000 {
        panics += usize::from(catch_unwind(AssertUnwindSafe(idle)).is_err());
    }
    assert_eq!(live(&alive), 0);
    // One that explodes when others' batches come home has told so, and the collector goes on.
    assert!((1..=3).contains(&panics), "{panics} of 3");
    assert_eq!(context.stats().reclamation.sessions, before);
}

#[test]
fn a_destructor_that_panics_as_its_thread_ends_does_not_end_the_process() {
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let context = filled(1, |_| Bomb { counted: Some(Counted::new(&alive)), explodes: true });
    under_a_guard(|| take_all(&context, 1));
    for _ in 0..1_000 {
        // What ended threads left is freed as these end.
        thread::spawn(|| drop(pin())).join().expect("no panic");
        if live(&alive) == 0 {
            return;
        }
    }
    panic!("nobody has freed it");
}

/// The collector has a share in a thread's end too.
#[test]
fn a_panic_as_a_thread_leaves_the_collector_does_not_end_the_process() {
    const COUNT: usize = 20_000;
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let context = filled(COUNT, |n| Bomb { counted: Some(Counted::new(&alive)), explodes: n % 200 == 0 });
    under_a_guard(|| {
        let _outer = pin();
        take_all(&context, COUNT);
    });
    // Every 128th pin of a thread collects: in some of these it is the last.
    for pins in 120..140 {
        let quiet = || drop(catch_unwind(|| drop(pin())));
        thread::spawn(move || (0..pins).for_each(|_| quiet())).join().expect("no panic");
    }
    let left = || {
        let _ = catch_unwind(idle);
        live(&alive)
    };
    assert!((0..COUNT).any(|_| left() == 0), "{} are left", live(&alive));
}

#[test]
fn a_context_may_be_dropped_with_two_that_panic() {
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let context = filled(1_000, |n| Bomb { counted: Some(Counted::new(&alive)), explodes: n < 2 });
    assert!(catch_unwind(AssertUnwindSafe(|| drop(context))).is_err());
    let freed = || {
        let _ = catch_unwind(idle);
        live(&alive) == 0
    };
    assert!((0..1_000).any(|_| freed()), "{} are left", live(&alive));
}

/// What was taken one by one, and could not be freed then, does not take one tick for every few.
#[test]
fn ticks_catch_up_with_a_backlog() {
    const COUNT: usize = 50_000;
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let context = filled(COUNT, |_| Counted::new(&alive));
    let (guard, mut ticks) = (pin(), 0);
    let meanwhile = || {
        drop(guard);
        while live(&alive) > 0 && ticks < 10 {
            let _ = context.tick();
            ticks += 1;
            thread::sleep(Duration::from_millis(1_050));
        }
    };
    asleep(|| take_all(&context, COUNT), meanwhile);
    assert_eq!(live(&alive), 0, "after {ticks} ticks, one a second");
}

/// The same of sessions from outside, which guards have lent.
#[test]
fn idle_catches_up_with_what_was_lent() {
    const COUNT: usize = 20_000;
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let given = Arc::clone(&alive);
    let context = SessionContext::<Counted>::builder()
        .mode(SessionCacheMode::SERVER | SessionCacheMode::NO_INTERNAL_STORE)
        .on_get(move |context, key| Some(Arc::new(context.session(*key).build(Counted::new(&given)))))
        .build()
        .expect("a small table");
    under_a_guard(|| {
        (0..COUNT).for_each(|n| assert!(context.lookup(&key(n), NOBODY, &context.pin()).is_some()));
    });
    idle();
    assert!(live(&alive) < COUNT / 20, "{} of {COUNT} are left", live(&alive));
}

thread_local! {
    static LATE: RefCell<Option<Late>> = const { RefCell::new(None) };
}

/// Takes all there is when its thread ends, after the thread's part in reclamation has.
struct Late(Arc<SessionContext<Counted>>, usize);

impl Drop for Late {
    fn drop(&mut self) {
        take_all(&self.0, self.1);
    }
}

#[test]
fn lookups_alone_free_what_a_thread_took_as_it_ended() {
    const COUNT: usize = 5_000;
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let context = Arc::new(filled(COUNT, |_| Counted::new(&alive)));
    let late = Arc::clone(&context);
    // Made before the thread's first guard, and so destroyed after what that made.
    let ends = move || {
        LATE.set(Some(Late(late, COUNT)));
        drop(pin());
    };
    thread::spawn(ends).join().expect("no panic");
    look_up_until_freed(&context, COUNT, &alive);
}

/// A payload whose destructor takes what another context has, and flushes.
struct Flushes {
    other: Option<Arc<SessionContext<Counted>>>,
    flushed: Arc<AtomicBool>,
}

impl Drop for Flushes {
    fn drop(&mut self) {
        if let Some(other) = &self.other {
            take_all(other, 3);
            pin().flush();
            self.flushed.store(true, Ordering::Relaxed);
        }
    }
}

impl Payload for Flushes {
    fn weight(&self) -> usize {
        0
    }
}

/// A flush in a destructor is done by whoever runs it, with its next guard.
#[test]
fn a_flush_in_a_destructor_is_made_up_for() {
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let context = Arc::new(filled(3, |_| Counted::new(&alive)));
    let flushed = Arc::new(AtomicBool::new(false));
    let other = |n| (n == 0).then(|| Arc::clone(&context));
    let flushing = filled(1_000, |n| Flushes { other: other(n), flushed: Arc::clone(&flushed) });
    let flushes_once = || {
        take_until(&flushing, &flushed);
        drop(pin());
    };
    // Nobody ticks, and so nobody else reaches what is still in that thread's page.
    asleep(flushes_once, || assert!(eventually(|| live(&alive) == 0), "{} wait", live(&alive)));
}

/// A payload that notes how many were taken after it by the time that it is freed.
struct Dated {
    number: usize,
    taken: Arc<AtomicUsize>,
    longest: Arc<AtomicUsize>,
}

impl Drop for Dated {
    fn drop(&mut self) {
        let later = self.taken.load(Ordering::Relaxed).saturating_sub(self.number);
        self.longest.fetch_max(later, Ordering::Relaxed);
    }
}

impl Payload for Dated {
    fn weight(&self) -> usize {
        0
    }
}

/// How many others were taken, at most, before one was freed that a thread took, which takes so many under each guard.
fn longest_wait(takes: usize) -> usize {
    const COUNT: usize = 40_000;
    let (taken, longest) = (Arc::new(AtomicUsize::new(0)), Arc::default());
    let dated = |number| Dated { number, taken: Arc::clone(&taken), longest: Arc::clone(&longest) };
    let context = filled(COUNT, dated);
    for from in (0..COUNT).step_by(takes) {
        let guard = pin();
        for n in from..(from + takes).min(COUNT) {
            assert!(context.take_borrowed(&key(n), NOBODY, &guard).is_some());
            taken.store(n, Ordering::Relaxed);
        }
    }
    longest.load(Ordering::Relaxed)
}

/// A thread that goes on taking frees what it took before, about in order: none waits while others come and go.
#[test]
fn none_waits_while_its_thread_goes_on() {
    let _alone = alone();
    // A stash, what the collector has of two epochs, and a batch that is freed a few at a time; and what one guard holds.
    for (takes, most) in [(1, 400), (6, 400), (12, 500), (32, 600), (64, 900), (256, 1_300)] {
        let longest = longest_wait(takes);
        assert!(
            (64..most).contains(&longest),
            "{takes} a guard: one was freed after {longest} others were taken"
        );
    }
}

/// A payload whose destructor keeps time for another context.
struct Ticks {
    other: Option<Arc<SessionContext<Counted>>>,
    ticked: Arc<AtomicBool>,
}

impl Drop for Ticks {
    fn drop(&mut self) {
        if let Some(other) = &self.other {
            // Nobody else has ticked in this second.
            thread::sleep(Duration::from_millis(1_100));
            let _ = other.tick();
            self.ticked.store(true, Ordering::Relaxed);
        }
    }
}

impl Payload for Ticks {
    fn weight(&self) -> usize {
        0
    }
}

/// What a destructor that ticks would take from a sleeping thread is not lost to those who tick after it.
#[test]
fn a_tick_in_a_destructor_takes_nothing_along() {
    let _alone = alone();
    let alive = Arc::new(Live::default());
    let context = Arc::new(filled(10, |_| Counted::new(&alive)));
    let ticked = Arc::new(AtomicBool::new(false));
    let other = |n| (n == 0).then(|| Arc::clone(&context));
    let ticking = filled(1_000, |n| Ticks { other: other(n), ticked: Arc::clone(&ticked) });
    let nobody_waits = || {
        let _ = context.tick();
        live(&alive) == 0
    };
    asleep(
        || take_all(&context, 10),
        || {
            asleep(
                || take_until(&ticking, &ticked),
                || assert!(eventually(nobody_waits), "{} wait", live(&alive)),
            )
        },
    );
}
