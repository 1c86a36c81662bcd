//! Table and wheel together, as the context puts them: what is added and dies is reaped, whoever advances meanwhile.

use loom::thread;
use resumption::{
    Clock, ManualClock, ProtocolVersion, RemoveReason, SessionContext, SessionId, SessionIdContext,
    SessionKey, Tick, Timestamp,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const COLLECTS: bool = false;

/// A context whose clock stands, and how many sessions have left it, expired.
struct Cache {
    context: SessionContext<u64>,
    clock: ManualClock,
    // Unknown to loom, so that it orders nothing.
    expired: Arc<AtomicUsize>,
}

impl Cache {
    fn new() -> Arc<Self> {
        let clock = ManualClock::new(Timestamp::from_unix(1000));
        let expired = Arc::new(AtomicUsize::new(0));
        let told = Arc::clone(&expired);
        let builder = SessionContext::builder().capacity(4).clock(clock.clone());
        let builder = builder.on_remove(move |_, _, reason| {
            if reason == RemoveReason::Expired {
                told.fetch_add(1, Ordering::Relaxed);
            }
        });
        Arc::new(Self { context: builder.build().expect("a small table"), clock, expired })
    }

    /// Adds a session that lives for so many seconds.
    fn add(&self, number: u8, seconds: u64) {
        let key = SessionKey::new(ProtocolVersion::TLS1_3, SessionId::new(&[number]).expect("1 byte"));
        let builder = self.context.session(key).time(self.clock.now()).timeout(Duration::from_secs(seconds));
        self.context.add_session(Arc::new(builder.build(u64::from(number)))).expect("small enough");
    }

    fn key(number: u8) -> SessionKey {
        SessionKey::new(ProtocolVersion::TLS1_3, SessionId::new(&[number]).expect("1 byte"))
    }

    /// A tick that nobody meets is done in the end, and then nothing that has expired is left.
    fn end(&self, expired: usize) {
        self.clock.advance(Duration::from_secs(8));
        while self.context.tick() != Tick::Done {}
        assert_eq!(self.context.len(), 0, "done, and a session that has expired is not removed");
        assert_eq!(self.expired.load(Ordering::Relaxed), expired, "each told of once");
    }
}

models! {
    /// A session is added while a tick goes over the second in which it dies.
    fn add_meets_tick() {
        let cache = Cache::new();
        let other = Arc::clone(&cache);
        let ticker = thread::spawn(move || {
            other.clock.advance(Duration::from_secs(2));
            let _ = other.context.tick();
        });
        cache.add(1, 1);
        ticker.join().unwrap();
        cache.end(1);
    }

    /// The same, with a session in the same slot of the wheel that the tick reaps.
    fn add_meets_reaping() {
        let cache = Cache::new();
        cache.add(1, 0);
        let other = Arc::clone(&cache);
        let ticker = thread::spawn(move || {
            other.clock.advance(Duration::from_secs(2));
            let _ = other.context.tick();
        });
        cache.add(2, 1);
        ticker.join().unwrap();
        cache.end(2);
    }

    /// A take of what a tick reaps: one of the two gets it.
    fn take_meets_reaping() {
        let cache = Cache::new();
        cache.add(1, 0);
        let other = Arc::clone(&cache);
        let taker = thread::spawn(move || {
            let taken = other.context.take(&Cache::key(1), &SessionIdContext::EMPTY);
            usize::from(taken.is_some())
        });
        cache.clock.advance(Duration::from_secs(2));
        let _ = cache.context.tick();
        let taken = taker.join().unwrap();
        cache.end(1 - taken);
    }

    /// A session that is dead when it is added, while another thread flushes what has expired: the flush knows of it, or
    /// a later one does.
    fn dead_session_meets_flush() {
        let cache = Cache::new();
        let other = Arc::clone(&cache);
        let flusher = thread::spawn(move || other.context.flush_sessions(other.clock.now()));
        let key = Cache::key(1);
        let builder = cache.context.session(key).time(Timestamp::from_unix(900)).timeout(Duration::from_secs(1));
        cache.context.add_session(Arc::new(builder.build(1))).expect("small enough");
        let flushed = flusher.join().unwrap();
        let left = cache.context.flush_sessions(cache.clock.now());
        assert_eq!(flushed + left, 1, "a flush that nobody meets finds what is dead");
        assert_eq!(cache.context.len(), 0);
    }
}

twins! {
    a_take_that_stores: OneWinner breaks take_meets_reaping;
}
