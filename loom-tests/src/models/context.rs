//! The whole context, without its collector: capacity, eviction, sharing, and lookups that ask outside.

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use resumption::{
    Added, ExternalStore, ManualClock, ProtocolVersion, Session, SessionContext, SessionId, SessionIdContext,
    SessionKey, Timestamp,
};
use std::sync::Arc;

const COLLECTS: bool = false;

type Context = SessionContext<u64>;

const HERE: SessionIdContext = SessionIdContext::EMPTY;

fn key(number: u8) -> SessionKey {
    SessionKey::new(ProtocolVersion::TLS1_2, SessionId::new(&[number]).expect("1 byte"))
}

fn room_for(capacity: usize) -> Arc<Context> {
    let clock = ManualClock::new(Timestamp::from_unix(1000));
    Arc::new(Context::builder().capacity(capacity).clock(clock).build().expect("a small table"))
}

fn add(context: &Context, number: u8) {
    let session = Arc::new(context.session(key(number)).build(u64::from(number)));
    context.add_session(session).expect("small enough");
}

fn count(context: &Context) -> usize {
    let mut count = 0;
    context.for_each(&context.pin(), |_| count += 1);
    count
}

fn check_at_rest(context: &Context, most: usize) {
    assert_eq!(context.len(), count(context), "the account agrees with the table");
    assert!(context.len() <= most, "at rest, {} sessions in a cache of {most}", context.len());
}

/// A second tier with one session, which it still has when a lookup asks, and then not.
struct Outside {
    has: AtomicBool,
    session: Arc<Session<u64>>,
}

impl ExternalStore<u64> for Shelf {
    fn get(&self, _: &SessionKey) -> Option<Arc<Session<u64>>> {
        self.0.has.load(Ordering::Relaxed).then(|| Arc::clone(&self.0.session))
    }

    fn take(&self, _: &SessionKey) -> Option<Arc<Session<u64>>> {
        self.0.has.swap(false, Ordering::Relaxed).then(|| Arc::clone(&self.0.session))
    }

    fn put(&self, _: &Arc<Session<u64>>) -> bool {
        false
    }

    fn remove(&self, _: &SessionKey) {
        self.0.has.store(false, Ordering::Relaxed);
    }
}

struct Shelf(Arc<Outside>);

/// A context that has nothing itself, in front of a store that has a session under key 1.
fn with_store() -> (Arc<Context>, Arc<Session<u64>>) {
    let session = Arc::new(Session::<u64>::builder(key(1)).time(Timestamp::from_unix(1000)).build(1));
    let outside = Arc::new(Outside { has: AtomicBool::new(true), session: Arc::clone(&session) });
    let clock = ManualClock::new(Timestamp::from_unix(1000));
    let context = Context::builder().capacity(2).clock(clock).external(Shelf(outside)).build();
    (Arc::new(context.expect("a small table")), session)
}

models! {
    /// Two adds in a cache of one.
    fn two_adds_settle() {
        let context = room_for(1);
        let other = Arc::clone(&context);
        let adder = thread::spawn(move || add(&other, 1));
        add(&context, 2);
        adder.join().unwrap();
        check_at_rest(&context, 1);
    }

    /// Two threads look up, and a third reads the counters meanwhile: in the end every lookup was counted once.
    fn counters_add_up() {
        let context = room_for(2);
        add(&context, 1);
        let threads = [1, 2].map(|number| {
            let context = Arc::clone(&context);
            thread::spawn(move || context.lookup_arc(&key(number), &HERE).is_some())
        });
        assert!(context.stats().outcomes.total() <= 2, "more outcomes than lookups");
        threads.into_iter().for_each(|thread| drop(thread.join()));
        let outcomes = context.stats().outcomes;
        assert_eq!((outcomes.hit, outcomes.unknown), (1, 1), "one hit and one miss");
        assert_eq!(outcomes.total(), 2, "each lookup has one outcome");
    }

    /// Two threads count the same event.
    fn counters_meet() {
        let context = room_for(2);
        let threads = [1, 2].map(|number| {
            let context = Arc::clone(&context);
            thread::spawn(move || context.lookup_arc(&key(number), &HERE).is_some())
        });
        threads.into_iter().for_each(|thread| drop(thread.join()));
        assert_eq!(context.stats().outcomes.unknown, 2, "each miss is counted once");
    }

    /// A lowered capacity against an add.
    fn set_capacity_meets_add() {
        let context = room_for(2);
        add(&context, 1);
        let other = Arc::clone(&context);
        let adder = thread::spawn(move || add(&other, 2));
        context.set_capacity(1).expect("a small capacity");
        adder.join().unwrap();
        check_at_rest(&context, 1);
    }

    /// Two sessions over a lowered capacity, both taken while a settler is after one of them: no count falls below zero.
    fn set_capacity_meets_takes() {
        let context = room_for(2);
        add(&context, 1);
        add(&context, 2);
        let (setter, taker) = (Arc::clone(&context), Arc::clone(&context));
        let setter = thread::spawn(move || setter.set_capacity(1).is_ok());
        let taker = thread::spawn(move || {
            taker.take(&key(1), &HERE);
            taker.take(&key(2), &HERE);
            taker.len()
        });
        setter.join().unwrap();
        let count = taker.join().unwrap();
        assert!(count <= 2, "{count} sessions");
        check_at_rest(&context, 1);
    }

    /// An eviction and a take that are after the one session.
    fn eviction_meets_take() {
        let context = room_for(1);
        add(&context, 1);
        let other = Arc::clone(&context);
        let taker = thread::spawn(move || other.take(&key(1), &HERE).is_some());
        add(&context, 2);
        taker.join().unwrap();
        assert_eq!(context.len(), 1);
        check_at_rest(&context, 1);
    }

    /// One session in two contexts, taken in both at once: one gets it.
    fn shared_session_is_taken_once() {
        let contexts = [room_for(1), room_for(1)];
        let session = Arc::new(contexts[0].session(key(1)).build(1));
        for context in &contexts {
            context.add_session(Arc::clone(&session)).expect("small enough");
        }
        let [ours, theirs] = contexts;
        let taker = thread::spawn(move || theirs.take(&key(1), &HERE).is_some());
        let taken = ours.take(&key(1), &HERE).is_some();
        assert!(taken != taker.join().unwrap(), "one gets it");
    }

    /// A session that one thread takes and adds again while another adds it: one copy.
    fn added_again_meets_take() {
        let context = room_for(2);
        let session = Arc::new(context.session(key(1)).build(1));
        context.add_session(Arc::clone(&session)).expect("small enough");
        let (other, again) = (Arc::clone(&context), Arc::clone(&session));
        let taker = thread::spawn(move || {
            other.take(&key(1), &HERE);
            other.add_session(again).map(drop).expect("small enough");
        });
        for _ in 0..2 {
            let added = context.add_session(Arc::clone(&session)).expect("small enough");
            assert!(!matches!(added, Added::Replaced(_)), "it does not replace itself");
        }
        taker.join().unwrap();
        check_at_rest(&context, 1);
    }

    /// A lookup that fetches a session from outside, and a removal of that session: the lookup does not bring it back.
    fn fetch_meets_removal() {
        let (context, session) = with_store();
        let other = Arc::clone(&context);
        let reader = thread::spawn(move || other.lookup_arc(&key(1), &HERE).is_some());
        let named = Arc::new(Session::<u64>::builder(session.key()).build(2));
        context.remove_session(&named);
        reader.join().unwrap();
        assert!(!context.contains(&key(1)), "a removed session is back");
    }

    /// A lookup that fetches a session that is being flushed from both tiers: the same.
    fn fetch_meets_flush() {
        let (context, session) = with_store();
        context.add_session(session).expect("small enough");
        let other = Arc::clone(&context);
        let reader = thread::spawn(move || other.lookup_arc(&key(1), &HERE).is_some());
        assert_eq!(context.flush_all(), 1);
        reader.join().unwrap();
        assert!(!context.contains(&key(1)), "a flushed session is back");
    }

    /// A lookup that fetches, and a take: the session is handed out to one taker at most, and is gone.
    fn fetch_meets_take() {
        let (context, _) = with_store();
        let other = Arc::clone(&context);
        let reader = thread::spawn(move || other.lookup_arc(&key(1), &HERE).is_some());
        let taken = context.take(&key(1), &HERE).is_some();
        reader.join().unwrap();
        assert!(taken, "it is there throughout, inside or outside");
        assert!(context.take(&key(1), &HERE).is_none(), "taken twice");
    }
}

twins! {
    adds_that_do_not_settle: Settle breaks two_adds_settle;
    a_lowered_capacity_without_the_fence: SettleFence breaks set_capacity_meets_add;
    an_eviction_that_stores: OneWinner breaks eviction_meets_take;
    counters_in_one_block: OwnBlock breaks counters_meet;
}
