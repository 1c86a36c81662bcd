//! Promises A, B and C, and the part of I that is about memory. D is in `take`, E in `time`, F in `capacity`, H in
//! `reentrancy`, the secrets of I in `secrets`.

mod common;

use common::{eventually, key, mail, seconds, ticket, www};
use resumption::{ManualClock, Payload, RemoveReason, Session, SessionContext, SessionKey};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// A payload that can be recognised, and says when it is dropped.
struct Canary {
    text: Box<[u8]>,
    drops: Arc<AtomicUsize>,
}

impl Payload for Canary {
    fn weight(&self) -> usize {
        self.text.len()
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.text.fill(0);
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

const TEXT: &[u8] = b"a session that nobody has freed";

struct Nest {
    context: SessionContext<Canary>,
    clock: ManualClock,
    drops: Arc<AtomicUsize>,
    made: AtomicUsize,
}

impl Nest {
    /// A context of two sessions that holds session 1, and nobody else does.
    fn new() -> Self {
        let clock = ManualClock::new(common::NOW);
        let builder = SessionContext::builder().capacity(2).clock(clock.clone());
        let nest = Self {
            context: builder.build().expect("valid"),
            clock,
            drops: Arc::default(),
            made: AtomicUsize::new(0),
        };
        nest.context.add_session(nest.session(key(1))).expect("it fits");
        nest
    }

    fn session(&self, key: SessionKey) -> Arc<Session<Canary>> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let canary = Canary { text: Box::from(TEXT), drops: Arc::clone(&self.drops) };
        Arc::new(self.context.session(key).id_context(www()).build(canary))
    }

    fn drops(&self) -> usize {
        self.drops.load(Ordering::SeqCst)
    }
}

type Act = fn(&Nest);

/// Everything that makes session 1 leave.
const ENDS: [(&str, Act); 10] = [
    ("remove", |nest| {
        let session = nest.context.lookup_arc(&key(1), &www()).expect("it is cached");
        assert!(nest.context.remove_session(&session));
    }),
    ("remove by another object", |nest| assert!(nest.context.remove_session(&nest.session(key(1))))),
    ("replace", |nest| drop(nest.context.add_session(nest.session(key(1))).expect("it fits"))),
    ("evict", |nest| {
        // The newcomers are used more often, so session 1 goes.
        for n in 2..10 {
            nest.context.add_session(nest.session(key(n))).expect("it fits");
            (0..4).for_each(|_| assert!(nest.context.lookup_arc(&key(n), &www()).is_some()));
        }
        assert!(!nest.context.contains(&key(1)));
    }),
    ("take", |nest| assert!(nest.context.take(&key(1), &www()).is_some())),
    ("take, borrowed", |nest| {
        assert!(nest.context.take_borrowed(&key(1), &www(), &nest.context.pin()).is_some());
    }),
    ("flush", |nest| assert!(nest.context.flush_all() > 0)),
    ("purge", |nest| assert!(nest.context.purge(&www()) > 0)),
    ("expire on a lookup", |nest| {
        nest.clock.advance(seconds(301));
        assert!(nest.context.lookup_arc(&key(1), &www()).is_none());
    }),
    ("lower the capacity", |nest| {
        nest.context.add_session(nest.session(key(2))).expect("it fits");
        (0..3).for_each(|_| assert!(nest.context.lookup_arc(&key(2), &www()).is_some()));
        assert_eq!(nest.context.set_capacity(1), Ok(2));
    }),
];

/// Gives reclamation every chance to free what it must not.
fn try_to_free(nest: &Nest) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1_000..1_400 {
                let gone = nest.session(ticket(n));
                nest.context.remove_session(&gone);
                resumption::idle();
            }
        });
    });
}

/// Promise A: a borrow stays readable and unchanged until its guard is gone, whatever another thread does meanwhile; and
/// the memory is given back after that.
#[test]
fn promise_a_a_borrow_stands_until_its_guard_is_gone() {
    for (name, end) in ENDS {
        let nest = Nest::new();
        let guard = nest.context.pin();
        let borrowed = nest.context.lookup(&key(1), &www(), &guard).expect("it is cached");
        std::thread::scope(|scope| {
            scope.spawn(|| end(&nest));
        });
        assert!(nest.context.lookup(&key(1), &www(), &guard).is_none_or(|now| !std::ptr::eq(now, borrowed)));
        try_to_free(&nest);
        assert_eq!(&*borrowed.payload().text, TEXT, "{name}");
        assert_eq!((borrowed.key(), borrowed.id_context()), (key(1), &www()), "{name}");
        drop(guard);
        nest.context.flush_all();
        let made = nest.made.load(Ordering::SeqCst);
        assert!(eventually(|| nest.drops() == made), "{name}: {} of {made} freed", nest.drops());
    }
}

/// Promise A, the end of the context itself.
#[test]
fn promise_a_a_borrow_survives_its_context() {
    let Nest { context, drops, .. } = Nest::new();
    let guard = context.pin();
    let borrowed = context.lookup(&key(1), &www(), &guard).expect("it is cached");
    std::thread::scope(|scope| {
        scope.spawn(|| drop(context)).join().expect("no panic");
    });
    for _ in 0..100 {
        std::thread::scope(|scope| {
            scope.spawn(resumption::idle);
        });
    }
    assert_eq!((&*borrowed.payload().text, drops.load(Ordering::SeqCst)), (TEXT, 0));
    drop(guard);
    assert!(eventually(|| drops.load(Ordering::SeqCst) == 1));
}

/// Promise A: what was borrowed by a take stands as well.
#[test]
fn promise_a_a_borrowed_take_stands() {
    let nest = Nest::new();
    let guard = nest.context.pin();
    let taken = nest.context.take_borrowed(&key(1), &www(), &guard).expect("it is cached");
    try_to_free(&nest);
    assert_eq!(&*taken.payload().text, TEXT);
    drop(guard);
    assert!(eventually(|| nest.drops() == 401));
}

/// Promise B: an owned session outlives everything, and is freed when its owner lets go, then and only then.
#[test]
fn promise_b_an_owned_session_lives_as_long_as_its_owner() {
    for (name, end) in ENDS {
        let nest = Nest::new();
        let owned = nest.context.lookup_arc(&key(1), &www()).expect("it is cached");
        end(&nest);
        try_to_free(&nest);
        assert_eq!(&*owned.payload().text, TEXT, "{name}");
        assert!(eventually(|| Arc::strong_count(&owned) == 1), "{name}: the cache keeps a count");
        nest.context.flush_all();
        assert!(eventually(|| Arc::strong_count(&nest.drops) == 2), "{name}: others are left");
        let before = nest.drops();
        drop(owned);
        assert_eq!(nest.drops(), before + 1, "{name}");
    }
}

/// Promise B: owned beyond the context.
#[test]
fn promise_b_an_owned_session_outlives_its_context() {
    let Nest { context, drops, .. } = Nest::new();
    let owned = context.lookup_arc(&key(1), &www()).expect("it is cached");
    drop(context);
    assert!(eventually(|| Arc::strong_count(&owned) == 1));
    assert_eq!((&*owned.payload().text, drops.load(Ordering::SeqCst)), (TEXT, 0));
    drop(owned);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

/// Promise C: a lookup or take that begins after a removal is over does not return what was removed.
#[test]
fn promise_c_no_lookup_returns_what_was_removed_before_it_began() {
    let context = SessionContext::<u64>::builder().capacity(16).build().expect("valid");
    // Sessions are numbered upwards; all up to `removed` have been removed. The last number ends it.
    const LAST: u64 = 15_000;
    let removed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (context, removed) = (&context, &removed);
            scope.spawn(move || {
                while removed.load(Ordering::SeqCst) < LAST {
                    let gone = removed.load(Ordering::SeqCst);
                    let guard = context.pin();
                    let found = match reader {
                        0 => context.lookup(&key(1), &www(), &guard).map(|session| *session.payload()),
                        _ => context.lookup_arc(&key(1), &www()).map(|session| *session.payload()),
                    };
                    assert!(found.is_none_or(|found| found > gone), "{found:?} was removed before {gone}");
                }
            });
        }
        for number in 1..=LAST {
            let session = Arc::new(context.session(key(1)).id_context(www()).build(number));
            context.add_session(Arc::clone(&session)).expect("it fits");
            match number % 4 {
                0 => assert!(context.remove_session(&session)),
                1 => assert!(context.take(&key(1), &www()).is_some()),
                2 => assert_eq!(context.flush_all(), 1),
                _ => assert_eq!(context.purge(&www()), 1),
            }
            removed.store(number, Ordering::SeqCst);
        }
    });
    assert!(context.is_empty());
}

/// Promise C: a session that is only ever replaced is never absent.
#[test]
fn promise_c_a_replacement_leaves_no_gap() {
    let context = SessionContext::<u64>::builder().capacity(16).build().expect("valid");
    let session = |number| Arc::new(context.session(key(1)).id_context(www()).build(number));
    context.add_session(session(0)).expect("it fits");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let guard = context.pin();
                    let found = context.lookup(&key(1), &www(), &guard).expect("never absent");
                    assert!(*found.payload() >= last, "an older session came back");
                    last = *found.payload();
                }
            });
        }
        (1..15_000).for_each(|number| drop(context.add_session(session(number)).expect("it fits")));
        done.store(true, Ordering::Relaxed);
    });
}

/// Promise I: nothing leaks and nothing is freed twice, over every way in and out.
#[test]
fn promise_i_every_payload_is_dropped_once() {
    let nest = Nest::new();
    for round in 0..50 {
        for (_, end) in ENDS {
            if nest.context.set_capacity(2).is_ok() && !nest.context.contains(&key(1)) {
                nest.context.add_session(nest.session(key(1))).expect("it fits");
            }
            end(&nest);
            nest.context.remove_session_because(&nest.session(ticket(round)), RemoveReason::FatalAlert);
            assert!(nest.context.lookup_arc(&key(1), &mail()).is_none());
        }
    }
    let Nest { context, drops, made, .. } = nest;
    drop(context);
    assert!(eventually(|| Arc::strong_count(&drops) == 1), "{} are left", Arc::strong_count(&drops) - 1);
    assert_eq!(drops.load(Ordering::SeqCst), made.into_inner());
}

/// Promise I: what a thread removed is reclaimed in bounded time even when that thread idles, here because it called
/// `idle` before it went to sleep.
#[test]
fn promise_i_an_idle_thread_that_said_so_keeps_nothing() {
    idle_thread_keeps_nothing(resumption::idle);
}

/// Promise I without the call: other threads' work is enough.
#[test]
fn promise_i_an_idle_thread_keeps_nothing() {
    idle_thread_keeps_nothing(|| ());
}

fn idle_thread_keeps_nothing(before_sleep: fn()) {
    let nest = Nest::new();
    std::thread::scope(|scope| {
        let (wake, sleep) = mpsc::channel::<()>();
        let (tell, removed) = mpsc::channel();
        let context = &nest.context;
        scope.spawn(move || {
            drop(context.take(&key(1), &www()).expect("it is cached"));
            before_sleep();
            tell.send(()).expect("the test waits");
            sleep.recv().expect_err("nobody sends");
        });
        removed.recv().expect("the thread tells");
        // A server at work: what other threads do is all that happens. About once a second one of them looks round.
        let (start, mut work) = (Instant::now(), 0);
        while nest.drops.load(Ordering::SeqCst) == 0 && start.elapsed() < seconds(20) {
            let context = SessionContext::<u32>::builder().capacity(4).build().expect("valid");
            let session = Arc::new(context.session(key(2)).id_context(www()).build(2));
            context.add_session(session).expect("it fits");
            assert!(context.take(&key(2), &www()).is_some());
            std::thread::yield_now();
            work += 1;
        }
        let freed = nest.drops.load(Ordering::SeqCst);
        drop(wake);
        assert_eq!(freed, 1, "still not freed after {work} rounds of other work");
    });
}
