//! Promise C: add, remove, take and lookup on one key take effect at one instant each.
//!
//! Many short histories of a few threads on a few keys, recorded as they really ran and explained by the testkit's
//! checker. The number of histories is `RESUMPTION_HISTORIES` (default 1000 for each test); a failure names the seed of its history.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use resumption::{
    Added, ManualClock, ProtocolVersion, Session, SessionContext, SessionId, SessionIdContext, SessionKey,
    Timestamp,
};
use resumption_testkit::history::{Call, History, Log, Outcome, Recorder, SessionSpec};
use resumption_testkit::workload::Random;

type Context = SessionContext<u64>;
type KeyLog<'r> = Log<'r, usize, Call, Outcome>;

/// How one kind of history is made.
#[derive(Clone, Copy)]
struct Plan {
    threads: usize,
    keys: usize,
    calls: usize,
    capacity: usize,
    /// How a session is taken, and how it is added.
    take: fn(&Context, &SessionKey) -> Option<Arc<Session<u64>>>,
    add: fn(&Context, Arc<Session<u64>>) -> Added<u64>,
    /// How many other sessions one more thread adds meanwhile; the calls are spread over that.
    filler: usize,
    /// Whether sessions expire meanwhile: some live for a second, and the threads move the clock and tick.
    expires: bool,
    /// Whether the same few session objects are added again and again, instead of a new one each time. They must not
    /// be marked then, so there are no takes, and what is removed is never the cached object itself.
    reuse: bool,
}

const PLAN: Plan = Plan {
    threads: 4,
    keys: 2,
    calls: 12,
    capacity: 64,
    take: |context, key| context.take(key, &SessionIdContext::EMPTY),
    add: |context, session| context.add_session(session).expect("small enough"),
    filler: 0,
    expires: false,
    reuse: false,
};

/// One thread of a history.
struct Caller<'c, 'r> {
    plan: Plan,
    context: &'c Context,
    clock: &'c ManualClock,
    shared: &'c [Vec<Arc<Session<u64>>>],
    log: KeyLog<'r>,
    random: Random,
    /// What this thread last added or found under each key.
    known: Vec<Option<Arc<Session<u64>>>>,
    next_serial: u64,
}

fn key(index: usize) -> SessionKey {
    let id = SessionId::new(&[index as u8 + 1; 32]).expect("32 bytes");
    SessionKey::new(ProtocolVersion::TLS1_3, id)
}

fn session(context: &Context, index: usize, serial: u64) -> Arc<Session<u64>> {
    Arc::new(context.session(key(index)).build(serial))
}

impl<'r> Caller<'_, 'r> {
    fn run(mut self, filled: &AtomicUsize) -> KeyLog<'r> {
        for call in 0..self.plan.calls {
            wait_for(filled, self.plan.filler * call / self.plan.calls);
            self.call();
        }
        self.log
    }

    fn call(&mut self) {
        let index = self.random.below(self.plan.keys as u64) as usize;
        if self.plan.expires && self.random.chance(0.3) {
            self.clock.advance(Duration::from_secs(1));
            let _ = self.context.tick();
        }
        match self.random.below(if self.plan.reuse { 6 } else { 8 }) {
            0..3 => self.add(index),
            3 => self.remove(index),
            4..6 => self.look_up(index),
            _ => self.take(index),
        }
    }

    fn add(&mut self, index: usize) {
        let session = if self.plan.reuse {
            let shared = &self.shared[index];
            Arc::clone(&shared[self.random.below(shared.len() as u64) as usize])
        } else {
            self.next_serial += 1;
            let lives = if self.plan.expires { self.random.below(3) } else { 300 };
            let builder = self.context.session(key(index)).timeout(Duration::from_secs(lives));
            Arc::new(builder.build(self.next_serial))
        };
        self.known[index] = Some(Arc::clone(&session));
        let (plan, context) = (self.plan, self.context);
        self.log.call(index, Call::Add(*session.payload()), || match (plan.add)(context, session) {
            Added::Added => Outcome::Added,
            Added::Replaced(old) => Outcome::Replaced(*old.payload()),
            Added::Unchanged => Outcome::Unchanged,
        });
    }

    fn remove(&mut self, index: usize) {
        let known = self.known[index].clone().filter(|_| !self.plan.reuse);
        let session = known.unwrap_or_else(|| session(self.context, index, u64::MAX));
        self.log.call(index, Call::Remove, || Outcome::Removed(self.context.remove_session(&session)));
    }

    fn look_up(&mut self, index: usize) {
        let (key, context) = (key(index), self.context);
        if self.random.chance(0.5) {
            self.log.call(index, Call::Lookup, || {
                let guard = context.pin();
                let found = context.lookup(&key, &SessionIdContext::EMPTY, &guard);
                Outcome::Found(found.map(|session| *session.payload()))
            });
        } else {
            let mut found = None;
            self.log.call(index, Call::Lookup, || {
                found = context.lookup_arc(&key, &SessionIdContext::EMPTY);
                Outcome::Found(found.as_ref().map(|session| *session.payload()))
            });
            self.known[index] = found.or(self.known[index].take());
        }
    }

    fn take(&mut self, index: usize) {
        let (key, plan, context) = (key(index), self.plan, self.context);
        self.log.call(index, Call::Take, || {
            Outcome::Found((plan.take)(context, &key).map(|session| *session.payload()))
        });
    }
}

/// Lets threads meet. Relaxed, since it is to order nothing.
fn wait_for(counter: &AtomicUsize, count: usize) {
    while counter.load(Ordering::Relaxed) < count {
        thread::yield_now();
    }
}

/// Crowds the table with sessions that no call asks for, so that it grows.
fn fill(context: &Context, count: usize, filled: &AtomicUsize) {
    for number in 0..count {
        let id = SessionId::new(&[&[0xff; 24][..], &number.to_be_bytes()].concat()).expect("32 bytes");
        let key = SessionKey::new(ProtocolVersion::TLS1_3, id);
        context.add_session(Arc::new(context.session(key).build(0))).expect("small enough");
        filled.fetch_add(1, Ordering::Relaxed);
    }
}

fn record(plan: Plan, seed: u64) -> History<usize, Call, Outcome> {
    let clock = ManualClock::new(Timestamp::from_unix(1_000_000));
    let context = Context::builder().capacity(plan.capacity).clock(clock.clone()).build();
    let context = context.expect("a small table");
    let shared: Vec<Vec<_>> =
        (0..plan.keys).map(|index| (0..3).map(|serial| session(&context, index, serial)).collect()).collect();
    let (recorder, ready, filled) = (Recorder::new(), AtomicUsize::new(0), AtomicUsize::new(0));
    let logs: Vec<KeyLog<'_>> = thread::scope(|scope| {
        let start = |thread: usize| {
            let caller = Caller {
                plan,
                context: &context,
                clock: &clock,
                shared: &shared,
                log: recorder.log(thread),
                random: Random::new(seed.wrapping_mul(1009).wrapping_add(thread as u64)),
                known: vec![None; plan.keys],
                next_serial: 1000 * thread as u64,
            };
            let (ready, filled) = (&ready, &filled);
            scope.spawn(move || {
                ready.fetch_add(1, Ordering::Relaxed);
                wait_for(ready, plan.threads);
                caller.run(filled)
            })
        };
        let threads: Vec<_> = (0..plan.threads).map(start).collect();
        fill(&context, plan.filler, &filled);
        threads.into_iter().map(|thread| thread.join().expect("no call panics")).collect()
    });
    History::new(logs)
}

fn histories() -> u64 {
    let histories = std::env::var("RESUMPTION_HISTORIES").ok();
    histories.map_or(1000, |number| number.parse().expect("RESUMPTION_HISTORIES is a number"))
}

fn check(plan: Plan, spec: SessionSpec) {
    check_some(histories(), plan, spec);
}

fn check_some(histories: u64, plan: Plan, spec: SessionSpec) {
    for seed in 0..histories {
        let history = record(plan, seed);
        assert_eq!(history.len(), plan.threads * plan.calls);
        if let Err(violation) = history.check(&spec) {
            panic!("seed {seed}, {violation}");
        }
    }
}

#[test]
fn sessions_that_are_added_once() {
    check(PLAN, SessionSpec::default());
}

#[test]
fn one_key_that_every_thread_fights_for() {
    check(Plan { keys: 1, calls: 8, ..PLAN }, SessionSpec::default());
}

#[test]
fn three_threads_with_longer_histories() {
    check(Plan { threads: 3, calls: 40, keys: 3, ..PLAN }, SessionSpec::default());
}

#[test]
fn sessions_that_are_added_again_and_again() {
    check(Plan { reuse: true, ..PLAN }, SessionSpec::default());
}

#[test]
fn a_full_cache_loses_sessions_and_nothing_else() {
    check(
        Plan { capacity: 2, keys: 5, calls: 25, ..PLAN },
        SessionSpec { evicts: true, ..SessionSpec::default() },
    );
    check(Plan { capacity: 1, keys: 2, ..PLAN }, SessionSpec { evicts: true, ..SessionSpec::default() });
}

#[test]
fn a_full_cache_with_sessions_that_are_added_again() {
    check(
        Plan { capacity: 1, keys: 3, calls: 20, reuse: true, ..PLAN },
        SessionSpec { evicts: true, ..SessionSpec::default() },
    );
}

#[test]
fn sessions_that_expire_meanwhile() {
    let spec = SessionSpec { evicts: true, expires: true };
    check(Plan { expires: true, calls: 20, ..PLAN }, spec);
}

/// An unlimited table begins small and doubles under way; no session is lost, doubled or brought back by the move.
#[test]
fn a_table_that_grows() {
    let plan = Plan { threads: 3, keys: 24, calls: 600, capacity: 0, filler: 60_000, ..PLAN };
    check_some(histories().div_ceil(200), plan, SessionSpec::default());
    check_some(histories().div_ceil(200), Plan { reuse: true, ..plan }, SessionSpec::default());
}

/// A table so large that it has a filter, which a thread asks whose last lookup found nothing.
#[test]
fn a_table_with_a_filter() {
    let plan = Plan { capacity: 150_000, ..PLAN };
    check_some(histories().div_ceil(20), plan, SessionSpec::default());
}

/// The checker bites: whether some of many histories shows that an engine is not linearizable.
fn is_caught(plan: Plan) -> bool {
    (0..20_000).any(|seed| record(plan, seed).check(&SessionSpec::default()).is_err())
}

/// Two threads take one session.
#[test]
fn a_take_in_two_steps_is_caught() {
    let take_in_two_steps = |context: &Context, key: &SessionKey| {
        let found = context.lookup_arc(key, &SessionIdContext::EMPTY)?;
        thread::yield_now();
        context.remove_session(&found);
        Some(found)
    };
    assert!(is_caught(Plan { keys: 1, take: take_in_two_steps, ..PLAN }));
}

/// A key is absent for a moment while its session is replaced.
#[test]
fn a_replacement_in_two_steps_is_caught() {
    let add_in_two_steps = |context: &Context, session: Arc<Session<u64>>| {
        let old = context.take(&session.key(), &SessionIdContext::EMPTY);
        thread::yield_now();
        let added = context.add_session(session).expect("small enough");
        old.map_or(added, Added::Replaced)
    };
    assert!(is_caught(Plan { keys: 1, add: add_in_two_steps, ..PLAN }));
}

/// A session comes back after it was taken.
#[test]
fn a_take_that_puts_back_is_caught() {
    let take_and_put_back = |context: &Context, key: &SessionKey| {
        let taken = context.take(key, &SessionIdContext::EMPTY)?;
        thread::yield_now();
        let again = Arc::new(context.session(*key).build(*taken.payload()));
        context.add_session(again).expect("small enough");
        Some(taken)
    };
    assert!(is_caught(Plan { keys: 1, take: take_and_put_back, ..PLAN }));
}
