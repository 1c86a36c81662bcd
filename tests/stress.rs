//! Promises A, B, D and F under many threads that do everything at once on few keys.
//!
//! `RESUMPTION_STRESS` is the number of calls of each thread (default 20000). Meant to be run under AddressSanitizer too:
//! `ci/sanitizers` does.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use resumption::{
    ExternalStore, Guard, ManualClock, Payload, ProtocolVersion, RemoveReason, Session, SessionCacheMode,
    SessionContext, SessionId, SessionIdContext, SessionKey, Side, Timestamp,
};
use resumption_testkit::workload::Random;

type Context = SessionContext<Canary>;
type CanarySession = Session<Canary>;

const THREADS: usize = 6;
const KEYS: u64 = 24;
const CAPACITY: usize = 8;
/// What each session weighs.
const WEIGHT: usize = size_of::<CanarySession>() + 1000;
/// With a second tier the context is bounded in bytes too, and more tightly.
const BYTES: usize = (CAPACITY - 2) * WEIGHT;

/// What all threads check against.
struct Facts {
    serials: AtomicU64,
    /// Payloads that exist.
    live: AtomicUsize,
    /// Payloads that were found damaged when they were dropped, where a panic is not allowed.
    damaged: AtomicUsize,
    /// How often each single-use serial was taken.
    taken: Mutex<HashMap<u64, u32>>,
    /// Whether each single-use session has a key of its own. An external store that holds another session under the same
    /// key cannot tell which of the two a take is about.
    own_keys: bool,
}

/// A payload that knows what it must contain, and contains something else once it was dropped.
struct Canary {
    serial: u64,
    song: [u64; 4],
    facts: Arc<Facts>,
}

impl Facts {
    fn new(own_keys: bool) -> Arc<Self> {
        Arc::new(Self {
            serials: AtomicU64::new(0),
            live: AtomicUsize::new(0),
            damaged: AtomicUsize::new(0),
            taken: Mutex::default(),
            own_keys,
        })
    }

    fn serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    /// The index of a key that is likely to have a session.
    fn recent(&self, random: &mut Random) -> u64 {
        let index = random.below(KEYS);
        if !self.own_keys || index % 2 == 1 {
            return index;
        }
        2 * self.serials.load(Ordering::Relaxed).saturating_sub(index)
    }

    fn took(&self, serial: u64) {
        *unpoisoned(&self.taken).entry(serial).or_default() += 1;
    }
}

impl Canary {
    fn new(facts: &Arc<Facts>, serial: u64) -> Self {
        facts.live.fetch_add(1, Ordering::Relaxed);
        Self { serial, song: song(serial), facts: Arc::clone(facts) }
    }

    fn check(&self) {
        assert_eq!(self.song, song(self.serial), "session {} is damaged", self.serial);
    }
}

impl Payload for Canary {
    fn weight(&self) -> usize {
        1000
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        if self.song != song(self.serial) {
            self.facts.damaged.fetch_add(1, Ordering::Relaxed);
        }
        self.song = [0xdead; 4];
        self.facts.live.fetch_sub(1, Ordering::Relaxed);
        // A payload's destructor may call the engine.
        drop(resumption::pin());
    }
}

fn song(serial: u64) -> [u64; 4] {
    let mut random = Random::new(serial);
    std::array::from_fn(|_| random.next_u64())
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keys of both kinds of version, so that expiry on lookup goes both ways.
fn key(index: u64) -> SessionKey {
    let version = if index.is_multiple_of(2) { ProtocolVersion::TLS1_3 } else { ProtocolVersion::TLS1_2 };
    SessionKey::new(version, SessionId::new(&index.to_be_bytes()).expect("8 bytes"))
}

fn id_context(index: u64) -> SessionIdContext {
    SessionIdContext::new(if index.is_multiple_of(3) { b"www" } else { b"mail" }).expect("few bytes")
}

/// A session with a new serial number under key `index`, or under a key of its own.
fn session(context: &Context, facts: &Arc<Facts>, index: u64) -> Arc<CanarySession> {
    let serial = facts.serial();
    let index = if facts.own_keys && is_single_use(key(index)) { 2 * serial } else { index };
    copy(context, facts, index, serial)
}

fn copy(context: &Context, facts: &Arc<Facts>, index: u64, serial: u64) -> Arc<CanarySession> {
    Arc::new(context.session(key(index)).id_context(id_context(index)).build(Canary::new(facts, serial)))
}

/// One thread's part.
struct Caller {
    context: Arc<Context>,
    facts: Arc<Facts>,
    clock: ManualClock,
    random: Random,
    held: Vec<Arc<CanarySession>>,
}

impl Caller {
    fn run(mut self, calls: usize) {
        let mut guard = self.context.pin();
        for call in 0..calls {
            self.call(&guard);
            let len = self.context.len();
            assert!(len <= CAPACITY + THREADS, "{len} sessions in a cache of {CAPACITY}");
            let bytes = self.context.bytes().unwrap_or(0);
            assert!(bytes <= BYTES + THREADS * WEIGHT, "{bytes} bytes in a cache of {BYTES}");
            if call.is_multiple_of(64) {
                guard.repin();
                self.held.truncate(8);
                resumption::idle();
            }
        }
    }

    fn call(&mut self, guard: &Guard) {
        let index = self.facts.recent(&mut self.random);
        let (key, id_context) = (key(index), id_context(index));
        match self.random.below(100) {
            0..20 => self.add(index),
            20..30 => self.store(index),
            30..50 => self.borrow(index, guard),
            50..60 => self.held.extend(self.context.lookup_arc(&key, &id_context)),
            60..68 => self.took(self.context.take(&key, &id_context).as_deref()),
            68..76 => self.took(self.context.take_borrowed(&key, &id_context, guard)),
            76..84 => self.remove(index),
            84..87 => drop(self.context.lookup_arc(&key, &SessionIdContext::EMPTY)),
            87..90 => {
                self.context.contains(&key);
                self.context.for_each(guard, |session| session.payload().check());
            }
            _ => self.configure(),
        }
        self.held.iter().for_each(|session| session.payload().check());
    }

    /// A new session, or one that was here before: then its header may still be in use.
    fn add(&mut self, index: u64) {
        let again = self.held.pop().filter(|held| !is_single_use(held.key()) && self.random.chance(0.5));
        let session = again.unwrap_or_else(|| session(&self.context, &self.facts, index));
        self.context.add_session(Arc::clone(&session)).expect("small enough");
        if self.random.chance(0.2) && !is_single_use(session.key()) {
            self.held.push(session);
        }
    }

    fn store(&mut self, index: u64) {
        let side = if self.random.chance(0.8) { Side::Server } else { Side::Client };
        let session = session(&self.context, &self.facts, index);
        self.context.store_session(session, side).expect("small enough");
    }

    /// Reads through a borrow before and after something else that may remove, replace or evict the session.
    fn borrow(&mut self, index: u64, guard: &Guard) {
        let context = Arc::clone(&self.context);
        let Some(borrowed) = context.lookup(&key(index), &id_context(index), guard) else { return };
        borrowed.payload().check();
        let serial = borrowed.payload().serial;
        match self.random.below(4) {
            0 => self.took(context.take_borrowed(&key(index), &id_context(index), guard)),
            1 => self.remove(index),
            2 => self.add(index),
            _ => thread::yield_now(),
        }
        borrowed.payload().check();
        assert_eq!((borrowed.payload().serial, borrowed.key()), (serial, key(index)));
    }

    fn remove(&mut self, index: u64) {
        let own = self.held.pop();
        let session = own.unwrap_or_else(|| copy(&self.context, &self.facts, index, self.facts.serial()));
        self.context.remove_session(&session);
        assert!(!session.is_resumable());
    }

    fn took(&self, taken: Option<&CanarySession>) {
        let Some(session) = taken else { return };
        session.payload().check();
        if is_single_use(session.key()) {
            self.facts.took(session.payload().serial);
        }
    }

    fn configure(&mut self) {
        match self.random.below(10) {
            0 => drop(self.context.flush_all()),
            1 | 2 => drop(self.context.flush_sessions(self.context.now())),
            3 => drop(self.context.purge(&id_context(self.random.below(2)))),
            4 => {
                let modes = [0, 0x100, 0x200, 0x300, 0x400, 0x480];
                let bits = 3 | modes[self.random.below(modes.len() as u64) as usize];
                self.context.set_mode(SessionCacheMode::from_bits(bits));
            }
            5 => drop(self.context.set_mode(SessionCacheMode::SERVER)),
            6 => {
                let capacity = 1 + self.random.below(CAPACITY as u64) as usize;
                self.context.set_capacity(capacity).expect("not above what was built");
            }
            7 => drop(self.context.set_capacity(CAPACITY).expect("what was built")),
            8 => self.clock.advance(Duration::from_secs(self.random.below(20))),
            _ => drop(self.context.set_timeout(Duration::from_secs(1 + self.random.below(60)))),
        }
    }
}

/// Sessions of TLS 1.3 keys are counted when they are taken. No caller adds one a second time: to add a session that
/// somebody else consumes is the caller's double use, not the cache's.
fn is_single_use(key: SessionKey) -> bool {
    key.version() == ProtocolVersion::TLS1_3
}

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Runs `action` unless this thread is inside a few of these already.
fn nested(action: impl FnOnce()) {
    let depth = DEPTH.get();
    if depth < 3 {
        DEPTH.set(depth + 1);
        action();
        DEPTH.set(depth);
    }
}

/// A remove callback that calls back into the context, in turn with everything.
fn on_remove(facts: &Arc<Facts>, context: &Context, left: &Arc<CanarySession>, reason: RemoveReason) {
    left.payload().check();
    // Of two takes that find one session in two tiers, the loser leaves the mark to the winner.
    let unmarked = reason == RemoveReason::Evicted || reason == RemoveReason::Consumed && facts.own_keys;
    assert!(unmarked || !left.is_resumable(), "{reason:?} leaves the session resumable");
    nested(|| {
        let index = left.payload().serial % KEYS;
        match left.payload().serial % 7 {
            0 => drop(context.add_session(session(context, facts, index))),
            1 => drop(context.lookup_arc(&key(index), &id_context(index))),
            2 => drop(context.remove_session(left)),
            3 => drop(context.flush_sessions(context.now())),
            4 => drop(context.stats()),
            5 => context.for_each(&context.pin(), |session| session.payload().check()),
            _ => drop(context.set_capacity(CAPACITY)),
        }
    });
}

/// A second tier that makes a new object out of what it holds each time, as a store in another process does.
struct CopyingStore {
    held: Arc<Mutex<HashMap<SessionKey, (u64, Timestamp)>>>,
    facts: Arc<Facts>,
}

impl CopyingStore {
    fn revive(&self, key: &SessionKey, (serial, time): (u64, Timestamp)) -> Arc<CanarySession> {
        let index = u64::from_be_bytes(key.id().as_bytes().try_into().expect("8 bytes"));
        let builder = CanarySession::builder(*key).time(time).id_context(id_context(index));
        Arc::new(builder.build(Canary::new(&self.facts, serial)))
    }
}

impl ExternalStore<Canary> for CopyingStore {
    fn get(&self, key: &SessionKey) -> Option<Arc<CanarySession>> {
        let held = unpoisoned(&self.held).get(key).copied()?;
        Some(self.revive(key, held))
    }

    fn take(&self, key: &SessionKey) -> Option<Arc<CanarySession>> {
        let held = unpoisoned(&self.held).remove(key)?;
        Some(self.revive(key, held))
    }

    fn put(&self, session: &Arc<CanarySession>) -> bool {
        let held = (session.payload().serial, session.time());
        // Declines some, as a store that is full does.
        let accepts = !held.0.is_multiple_of(5);
        if accepts {
            unpoisoned(&self.held).insert(session.key(), held);
        }
        accepts
    }

    fn remove(&self, key: &SessionKey) {
        unpoisoned(&self.held).remove(key);
    }
}

fn calls() -> usize {
    let calls = std::env::var("RESUMPTION_STRESS").ok();
    calls.map_or(20_000, |number| number.parse().expect("RESUMPTION_STRESS is a number"))
}

fn stress(with_store: bool) {
    let facts = Facts::new(with_store);
    let clock = ManualClock::new(Timestamp::from_unix(1_000_000));
    let (for_new, for_get, for_remove) = (Arc::clone(&facts), Arc::clone(&facts), Arc::clone(&facts));
    let mut builder = Context::builder()
        .capacity(CAPACITY)
        .clock(clock.clone())
        .mode(SessionCacheMode::BOTH)
        .on_new(move |context, new| {
            new.payload().check();
            nested(|| {
                let index = for_new.serials.load(Ordering::Relaxed) % KEYS;
                drop(context.lookup_arc(&key(index), &id_context(index)));
            });
        })
        .on_remove(move |context, left, reason| on_remove(&for_remove, context, left, reason));
    if with_store {
        builder = builder
            .byte_capacity(BYTES)
            .external(CopyingStore { held: Arc::default(), facts: Arc::clone(&facts) });
    } else {
        builder = builder.on_get(move |context, key| {
            let serial = for_get.serials.load(Ordering::Relaxed);
            let index = u64::from_be_bytes(key.id().as_bytes().try_into().ok()?);
            (serial.is_multiple_of(4)).then(|| session(context, &for_get, index))
        });
    }
    let context = Arc::new(builder.build().expect("a small table"));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let caller = Caller {
                context: Arc::clone(&context),
                facts: Arc::clone(&facts),
                clock: clock.clone(),
                random: Random::new(thread as u64),
                held: Vec::new(),
            };
            scope.spawn(move || caller.run(calls()));
        }
    });
    verify(&context, &facts);
    drop(context);
    reclaim(&facts);
}

/// What must hold when nobody calls any more.
fn verify(context: &Context, facts: &Facts) {
    context.set_capacity(CAPACITY).expect("what was built");
    let mut found = 0;
    context.for_each(&context.pin(), |session| {
        session.payload().check();
        found += 1;
    });
    assert_eq!(context.len(), found, "the account does not agree with what is there");
    assert!(found <= CAPACITY, "{found} sessions in a cache of {CAPACITY}");
    if let Some(bytes) = context.bytes() {
        assert_eq!(bytes, found * WEIGHT, "the account of bytes does not agree with what is there");
        assert!(bytes <= BYTES, "{bytes} bytes in a cache of {BYTES}");
    }
    let stats = context.stats();
    assert_eq!(stats.number as usize, found);
    assert_eq!(stats.hits, stats.outcomes.hit + stats.outcomes.external_hit);
    let taken = unpoisoned(&facts.taken);
    let twice: Vec<_> = taken.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "taken more than once: {twice:?}");
    assert!(taken.len() > calls() / 50, "only {} single-use sessions were taken", taken.len());
}

/// Everything is freed once it was removed and nobody holds a guard.
fn reclaim(facts: &Facts) {
    // Each round moves the epoch on; another test's guards may hold it up for a while.
    for _ in 0..100_000 {
        if facts.live.load(Ordering::Relaxed) == 0 {
            break;
        }
        resumption::idle();
        thread::yield_now();
    }
    assert_eq!(facts.live.load(Ordering::Relaxed), 0, "payloads were never freed");
    assert_eq!(facts.damaged.load(Ordering::Relaxed), 0, "payloads were damaged when they were dropped");
}

#[test]
fn everything_at_once_with_callbacks_that_call_back() {
    stress(false);
}

#[test]
fn everything_at_once_with_a_second_tier() {
    stress(true);
}
