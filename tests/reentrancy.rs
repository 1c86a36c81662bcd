//! Promise H: every call of the context is allowed inside every callback, store, clock and destructor (R8, K3, K11, K16,
//! departure 3). A table of calls against a table of places; a lock held in the wrong place would hang here.

mod common;

use common::{NOW, eventually, key, key_of, mail, seconds, www};
use resumption::{
    Clock, ContextBuilder, Driver, ExternalStore, HandshakeEvent, ManualClock, Payload, ProtocolVersion,
    RemoveReason, Session, SessionCacheMode, SessionContext, SessionKey, Side, Tick, Timestamp,
};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

const CAPACITY: usize = 4;

type Call<T> = fn(&SessionContext<T>);

fn session<T: Payload + Default>(context: &SessionContext<T>, n: u32) -> Arc<Session<T>> {
    Arc::new(context.session(key(n)).id_context(www()).build(T::default()))
}

/// Every call of a context. Key 1 is the one that the outer call is busy with.
fn calls<T: Payload + Default>() -> Vec<(&'static str, Call<T>)> {
    vec![
        ("add the same key", |c| drop(c.add_session(session(c, 1)))),
        ("add until it evicts", |c| (50..60).for_each(|n| drop(c.add_session(session(c, n))))),
        ("store, server", |c| assert!(c.store_session(session(c, 2), Side::Server).is_ok())),
        ("store, client", |c| assert!(c.store_session(session(c, 2), Side::Client).is_ok())),
        ("remove the same key", |c| {
            let session = session(c, 1);
            c.remove_session(&session);
            assert!(!session.is_resumable() && !c.contains(&key(1)));
        }),
        ("remove because", |c| {
            c.remove_session_because(&session(c, 2), RemoveReason::FatalAlert);
        }),
        ("lookup", |c| {
            let guard = c.pin();
            (0..9).for_each(|n| assert!(c.lookup(&key(n), &www(), &guard).is_none_or(|s| s.is_resumable())));
        }),
        ("lookup_at, expired", |c| {
            let guard = c.pin();
            let late = NOW.saturating_add(seconds(1 << 20));
            (0..9).for_each(|n| assert!(c.lookup_at(&key(n), &www(), late, &guard).is_none()));
        }),
        ("lookup_arc", |c| (0..9).for_each(|n| drop(c.lookup_arc(&key(n), &www())))),
        ("lookup, other context", |c| assert!(c.lookup_arc(&key(1), &mail()).is_none())),
        ("take", |c| (0..9).for_each(|n| drop(c.take(&key(n), &www())))),
        ("take_borrowed", |c| {
            let guard = c.pin();
            (0..9).for_each(|n| {
                assert!(c.take_borrowed(&key(n), &www(), &guard).is_none_or(|s| !s.is_resumable()))
            });
        }),
        ("flush_sessions", |c| assert!(c.flush_sessions(Timestamp::NEVER) <= CAPACITY + 1)),
        ("flush_all", |c| assert!(c.flush_all() <= CAPACITY + 1)),
        ("purge", |c| assert!(c.purge(&www()) <= CAPACITY + 1)),
        ("mode", |c| {
            let previous = c.set_mode(SessionCacheMode::OFF);
            assert_eq!(c.mode(), SessionCacheMode::OFF);
            assert_eq!(c.set_mode(previous), SessionCacheMode::OFF);
        }),
        ("timeout", |c| {
            let previous = c.set_timeout(seconds(9));
            assert_eq!(c.set_timeout(previous), seconds(9));
            assert_eq!(c.timeout(), previous);
        }),
        ("capacity", |c| {
            let previous = c.set_capacity(1).expect("lower");
            assert_eq!(c.set_capacity(previous), Ok(1));
            assert_eq!(c.capacity(), previous);
        }),
        ("budget of bytes", |c| {
            assert_eq!(c.set_byte_capacity(1), None);
            assert_eq!((c.byte_capacity(), c.bytes()), (None, None));
        }),
        ("upkeep", |c| {
            let _progress = c.tick();
            let _next = c.next_upkeep();
            assert!(c.memory() > 0);
        }),
        ("what it holds", |c| {
            let mut visited = 0;
            c.for_each(&c.pin(), |_| visited += 1);
            assert!(visited <= CAPACITY && c.len() <= CAPACITY + 1);
            assert!(c.is_empty() || visited > 0);
            c.contains(&key(1));
        }),
        ("counters", |c| {
            c.record(HandshakeEvent::AcceptStarted);
            assert!(c.stats().accept > 0);
        }),
        ("clock", |c| assert!(c.now() >= NOW)),
        ("guards", |c| {
            let mut guard = c.pin();
            guard.flush();
            guard.repin();
            resumption::idle();
        }),
        ("debug", |c| assert!(format!("{c:?}").starts_with("SessionContext"))),
        ("another context", |c| {
            let other = SessionContext::builder().capacity(2).build().expect("valid");
            let shared = session(c, 1);
            drop(other.add_session(Arc::clone(&shared)));
            drop(c.add_session(shared));
            drop(other);
        }),
    ]
}

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Makes a call from inside a callback, but not from inside the callbacks of that call.
struct Inner<T: Payload> {
    call: Call<T>,
    made: Arc<AtomicUsize>,
}

impl<T: Payload> Clone for Inner<T> {
    fn clone(&self) -> Self {
        Self { call: self.call, made: Arc::clone(&self.made) }
    }
}

impl<T: Payload> Inner<T> {
    fn new(call: Call<T>) -> Self {
        Self { call, made: Arc::default() }
    }

    fn make(&self, context: &SessionContext<T>) {
        if !INSIDE.replace(true) {
            self.make_anywhere(context);
            INSIDE.set(false);
        }
    }

    fn make_anywhere(&self, context: &SessionContext<T>) {
        (self.call)(context);
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    fn was_made(&self) -> bool {
        self.made.load(Ordering::Relaxed) > 0
    }
}

/// The bound holds, what is counted is there, and every operation still works.
fn is_sound<T: Payload + Default>(context: &SessionContext<T>, what: &str) {
    INSIDE.set(true);
    let mut visited = 0;
    context.for_each(&context.pin(), |_| visited += 1);
    assert_eq!(visited, context.len(), "{what}");
    assert!(visited <= CAPACITY, "{what}");
    context.set_mode(SessionCacheMode::SERVER);
    context.flush_all();
    for n in 0..10 {
        context.add_session(session(context, n)).expect("it fits");
    }
    assert_eq!(context.len(), CAPACITY, "{what}");
    let taken = (0..10).filter(|&n| context.take(&key(n), &www()).is_some()).count();
    assert_eq!(taken, CAPACITY, "{what}");
    assert!(context.is_empty(), "{what}");
    INSIDE.set(false);
}

fn context<T: Payload + Default>(
    configure: impl FnOnce(ContextBuilder<T>) -> ContextBuilder<T>,
) -> SessionContext<T> {
    let builder = SessionContext::builder().capacity(CAPACITY).clock(ManualClock::new(NOW));
    let context = configure(builder.mode(SessionCacheMode::BOTH)).build().expect("valid");
    INSIDE.set(true);
    (0..u32::try_from(CAPACITY).expect("few")).for_each(|n| drop(context.add_session(session(&context, n))));
    INSIDE.set(false);
    context
}

/// K3.
#[test]
fn every_call_inside_the_new_callback() {
    for (name, call) in calls::<u32>() {
        let inner = Inner::new(call);
        let made = inner.clone();
        let context = context(|builder| builder.on_new(move |context, _| inner.make(context)));
        context.store_session(session(&context, 1), Side::Server).expect("it fits");
        assert!(made.was_made(), "{name}");
        is_sound(&context, name);
    }
}

/// K11.
#[test]
fn every_call_inside_the_get_callback() {
    for (name, call) in calls::<u32>() {
        for answers in [false, true] {
            let inner = Inner::new(call);
            let made = inner.clone();
            let context = context(|builder| {
                builder.on_get(move |context, wanted| {
                    inner.make(context);
                    answers.then(|| Arc::new(context.session(*wanted).id_context(www()).build(9)))
                })
            });
            let wanted = key_of(ProtocolVersion::TLS1_1, 1);
            let found = context.lookup_arc(&wanted, &www()).is_some();
            assert!(!found || answers, "{name}");
            assert!(made.was_made(), "{name}");
            is_sound(&context, name);
        }
    }
}

/// R8 and K16: the remove callback, by every way that leads to it.
#[test]
fn every_call_inside_the_remove_callback() {
    let ways: [(&str, Call<u32>); 9] = [
        ("remove", |c| assert!(c.remove_session(&session(c, 1)))),
        ("remove what is absent", |c| assert!(!c.remove_session(&session(c, 77)))),
        ("take", |c| assert!(c.take(&key(1), &www()).is_some())),
        ("evict", |c| drop(c.add_session(session(c, 77)).expect("it fits"))),
        ("lowered capacity", |c| assert_eq!(c.set_capacity(2), Ok(CAPACITY))),
        ("expired hit", |c| {
            let guard = c.pin();
            assert!(c.lookup_at(&key(1), &www(), NOW.saturating_add(seconds(301)), &guard).is_none());
        }),
        ("flush", |c| assert_eq!(c.flush_sessions(NOW.saturating_add(seconds(301))), CAPACITY)),
        ("flush all", |c| assert_eq!(c.flush_all(), CAPACITY)),
        ("purge", |c| assert_eq!(c.purge(&www()), CAPACITY)),
    ];
    for (way, outer) in ways {
        for (name, call) in calls::<u32>() {
            let inner = Inner::new(call);
            let made = inner.clone();
            let context = context(|builder| builder.on_remove(move |context, _, _| inner.make(context)));
            outer(&context);
            assert!(made.was_made(), "{name} inside {way}");
            context.set_capacity(CAPACITY).expect("as built");
            is_sound(&context, name);
        }
    }
}

/// The remove callback at the end of the context.
#[test]
fn every_call_inside_the_remove_callback_of_a_context_that_ends() {
    for (name, call) in calls::<u32>() {
        let inner = Inner::new(call);
        let made = inner.clone();
        drop(context(|builder| builder.on_remove(move |context, _, _| inner.make(context))));
        assert!(made.was_made(), "{name}");
    }
}

/// The remove callback under a tick, by the caller and by a driver: what has expired is announced from there.
#[test]
fn every_call_inside_the_remove_callback_of_a_tick() {
    for (name, call) in calls::<u32>() {
        let inner = Inner::new(call);
        let made = inner.clone();
        let clock = ManualClock::new(NOW);
        let context = context(|builder| {
            builder.clock(clock.clone()).on_remove(move |context, _, _| inner.make(context))
        });
        clock.advance(seconds(302));
        while context.tick() == Tick::More {}
        assert!(made.was_made(), "{name}");
        is_sound(&context, name);
    }
}

/// A driver may be dropped by a callback that runs on its own thread.
#[test]
fn a_callback_may_drop_the_driver_it_runs_on() {
    let slot = Arc::new(Mutex::new(None::<Driver>));
    let (clock, dropped) = (ManualClock::new(NOW), Arc::new(AtomicUsize::new(0)));
    let (place, count) = (Arc::clone(&slot), Arc::clone(&dropped));
    let context = Arc::new(context::<u32>(|builder| {
        builder.clock(clock.clone()).on_remove(move |_, _, _| {
            if let Some(driver) = place.lock().expect("no panic").take() {
                drop(driver);
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
    }));
    clock.advance(seconds(302));
    let mut held = slot.lock().expect("no panic");
    *held = Some(context.start_driver().expect("a thread"));
    drop(held);
    assert!(eventually(|| dropped.load(Ordering::SeqCst) == 1), "the callback never ran");
}

/// A way back to the context for what is not handed one.
type Back<T> = Arc<OnceLock<Weak<SessionContext<T>>>>;

fn with_back<T: Payload + Default>(
    configure: impl FnOnce(ContextBuilder<T>, Back<T>) -> ContextBuilder<T>,
) -> Arc<SessionContext<T>> {
    let back = Back::default();
    let context = Arc::new(context(|builder| configure(builder, Arc::clone(&back))));
    back.set(Arc::downgrade(&context)).expect("set once");
    context
}

fn make_by<T: Payload>(inner: &Inner<T>, back: &Back<T>) {
    if let Some(context) = back.get().and_then(Weak::upgrade) {
        inner.make(&context);
    }
}

struct Store {
    inner: Inner<u32>,
    back: Back<u32>,
}

impl ExternalStore<u32> for Store {
    fn get(&self, _: &SessionKey) -> Option<Arc<Session<u32>>> {
        make_by(&self.inner, &self.back);
        None
    }

    fn take(&self, _: &SessionKey) -> Option<Arc<Session<u32>>> {
        make_by(&self.inner, &self.back);
        None
    }

    fn put(&self, _: &Arc<Session<u32>>) -> bool {
        make_by(&self.inner, &self.back);
        false
    }

    fn remove(&self, _: &SessionKey) {
        make_by(&self.inner, &self.back);
    }
}

#[test]
fn every_call_inside_every_call_of_the_external_store() {
    let ways: [(&str, Call<u32>); 4] = [
        ("get", |c| assert!(c.lookup_arc(&key(77), &www()).is_none())),
        ("take", |c| assert!(c.take(&key(77), &www()).is_none())),
        ("put", |c| assert!(c.store_session(session(c, 1), Side::Server).is_ok())),
        ("remove", |c| assert!(c.remove_session(&session(c, 1)))),
    ];
    for (way, outer) in ways {
        for (name, call) in calls::<u32>() {
            let inner = Inner::new(call);
            let made = inner.clone();
            let context = with_back(|builder, back| builder.external(Store { inner, back }));
            outer(&context);
            assert!(made.was_made(), "{name} inside {way}");
            is_sound(&context, name);
        }
    }
}

struct Busy {
    inner: Inner<u32>,
    back: Back<u32>,
}

impl Clock for Busy {
    fn now(&self) -> Timestamp {
        make_by(&self.inner, &self.back);
        NOW
    }
}

#[test]
fn every_call_inside_the_clock() {
    for (name, call) in calls::<u32>() {
        for (_, outer) in calls::<u32>() {
            let inner = Inner::new(call);
            let made = inner.clone();
            let context = with_back(|builder, back| builder.clock(Busy { inner, back }));
            outer(&context);
            context.now();
            assert!(made.was_made(), "{name}");
            context.set_capacity(CAPACITY).expect("as built");
            is_sound(&context, name);
        }
    }
}

/// A payload that makes a call when it is dropped.
#[derive(Default)]
struct Dying(Option<(Inner<Dying>, Weak<SessionContext<Dying>>)>);

impl Payload for Dying {
    fn weight(&self) -> usize {
        0
    }
}

impl Drop for Dying {
    fn drop(&mut self) {
        if let Some((inner, context)) = self.0.take()
            && let Some(context) = context.upgrade()
        {
            // It may be another test's thread that runs this, in the middle of one of its callbacks.
            inner.make_anywhere(&context);
        }
    }
}

fn dying(context: &Arc<SessionContext<Dying>>, inner: &Inner<Dying>) -> Arc<Session<Dying>> {
    let payload = Dying(Some((inner.clone(), Arc::downgrade(context))));
    Arc::new(context.session(key(1)).id_context(www()).build(payload))
}

/// A destructor runs when the memory is reclaimed, on whatever thread that is.
#[test]
fn every_call_inside_a_payloads_destructor() {
    for (name, call) in calls::<Dying>() {
        let inner = Inner::new(call);
        let context = with_back(|builder, _| builder);
        let session = dying(&context, &inner);
        context.add_session(Arc::clone(&session)).expect("it fits");
        assert!(context.remove_session(&session));
        drop(session);
        assert!(eventually(|| inner.was_made()), "{name}");
        is_sound(&context, name);
    }
}

/// A thread that ends gives back what it retired; destructors that run then, among the thread's own, may call too.
#[test]
fn every_call_inside_a_destructor_at_the_end_of_a_thread() {
    for (name, call) in calls::<Dying>() {
        let inner = Inner::new(call);
        let context = with_back(|builder, _| builder);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let session = dying(&context, &inner);
                context.add_session(session).expect("it fits");
                assert!(context.take(&key(1), &www()).is_some());
            });
        });
        assert!(eventually(|| inner.was_made()), "{name}");
        is_sound(&context, name);
    }
}
