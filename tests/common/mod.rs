//! What the tests of the context share: a context with a clock that stands still and callbacks that keep a log, and
//! short names for keys and sessions. A session's payload is its number.
#![allow(dead_code, unreachable_pub)] // every test binary uses a part of it

use resumption::{
    Added, ContextBuilder, ExternalStore, ManualClock, Outcomes, ProtocolVersion, RemoveReason, Session,
    SessionContext, SessionId, SessionIdContext, SessionKey, Timestamp,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Where the clock stands at first.
pub const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);

/// The timeout of a context that nobody gave one, in seconds.
pub const LIFE: u64 = 300;

/// The key of TLS 1.2 session `n`, of 32 bytes.
pub fn key(n: u32) -> SessionKey {
    key_of(ProtocolVersion::TLS1_2, n)
}

/// The key of TLS 1.3 ticket `n`.
pub fn ticket(n: u32) -> SessionKey {
    key_of(ProtocolVersion::TLS1_3, n)
}

pub fn key_of(version: ProtocolVersion, n: u32) -> SessionKey {
    let mut id = [0x5a; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    SessionKey::new(version, SessionId::from(id))
}

/// The session id context of all sessions that have no other.
pub fn www() -> SessionIdContext {
    SessionIdContext::new(b"www").expect("3 bytes")
}

pub fn mail() -> SessionIdContext {
    SessionIdContext::new(b"mail").expect("4 bytes")
}

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `n` seconds after the start.
pub fn at(n: u64) -> Timestamp {
    NOW.saturating_add(seconds(n))
}

/// What a callback was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    New(u32),
    Asked(SessionKey),
    Left(u32, RemoveReason),
}

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Told>>>);

impl Log {
    pub fn push(&self, told: Told) {
        self.0.lock().expect("no test panics in here").push(told);
    }

    /// What was told since the last call.
    pub fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.0.lock().expect("no test panics in here"))
    }
}

/// A context with its clock and its log.
pub struct Bed {
    pub context: SessionContext<u32>,
    pub clock: ManualClock,
    pub log: Log,
}

impl Bed {
    /// Room for 64 sessions, mode SERVER, 300 seconds; the new and the remove callback write the log.
    pub fn new() -> Self {
        Self::with(|builder, _| builder)
    }

    pub fn with(configure: impl FnOnce(ContextBuilder<u32>, &Log) -> ContextBuilder<u32>) -> Self {
        let (clock, log) = (ManualClock::new(NOW), Log::default());
        let (news, departures) = (log.clone(), log.clone());
        let builder = SessionContext::builder()
            .capacity(64)
            .clock(clock.clone())
            .on_new(move |_, session| news.push(Told::New(*session.payload())))
            .on_remove(move |_, session, reason| departures.push(Told::Left(*session.payload(), reason)));
        let context = configure(builder, &log).build().expect("the settings of these tests are valid");
        Self { context, clock, log }
    }

    /// What the callbacks were told since the last call.
    pub fn told(&self) -> Vec<Told> {
        self.log.take()
    }

    /// Session `n` under `key`, created now.
    pub fn session_of(&self, key: SessionKey, n: u32) -> Arc<Session<u32>> {
        Arc::new(self.context.session(key).id_context(www()).build(n))
    }

    /// TLS 1.2 session `n`, created now.
    pub fn session(&self, n: u32) -> Arc<Session<u32>> {
        self.session_of(key(n), n)
    }

    /// Adds session `n` under a free `key`.
    pub fn add_of(&self, key: SessionKey, n: u32) -> Arc<Session<u32>> {
        let session = self.session_of(key, n);
        let added = self.context.add_session(Arc::clone(&session)).expect("it fits");
        assert!(matches!(added, Added::Added), "{key:?} was taken: {added:?}");
        session
    }

    /// Adds TLS 1.2 session `n`.
    pub fn add(&self, n: u32) -> Arc<Session<u32>> {
        self.add_of(key(n), n)
    }

    /// Looks `key` up and returns the number of the session.
    pub fn find(&self, key: &SessionKey) -> Option<u32> {
        let guard = self.context.pin();
        self.context.lookup(key, &www(), &guard).map(|session| *session.payload())
    }

    pub fn take(&self, key: &SessionKey) -> Option<u32> {
        self.context.take(key, &www()).map(|session| *session.payload())
    }

    pub fn advance(&self, by: u64) {
        self.clock.advance(seconds(by));
    }

    /// The numbers of the sessions in the internal cache, ascending.
    pub fn held(&self) -> Vec<u32> {
        let mut held = Vec::new();
        self.context.for_each(&self.context.pin(), |session| held.push(*session.payload()));
        held.sort_unstable();
        assert_eq!(held.len(), self.context.len(), "the count and the table disagree");
        held
    }

    /// Does `act`, which must be one lookup or take, and says how it was counted.
    pub fn outcome<R>(&self, act: impl FnOnce() -> R) -> (R, &'static str) {
        let before = self.context.stats().outcomes;
        let result = act();
        (result, only_outcome(&before, &self.context.stats().outcomes))
    }
}

fn fields(o: &Outcomes) -> [(&'static str, u64); 10] {
    [
        ("hit", o.hit),
        ("external_hit", o.external_hit),
        ("unknown", o.unknown),
        ("expired", o.expired),
        ("evicted", o.evicted),
        ("consumed", o.consumed),
        ("other_context", o.other_context),
        ("other_version", o.other_version),
        ("marked", o.marked),
        ("mode", o.mode),
    ]
}

/// The one outcome that was counted between the two; panics when it is not exactly one.
pub fn only_outcome(before: &Outcomes, after: &Outcomes) -> &'static str {
    assert_eq!(after.total(), before.total() + 1, "not one outcome: {before:?} to {after:?}");
    let changed = fields(before).into_iter().zip(fields(after)).find(|(old, new)| old.1 != new.1);
    changed.expect("the total has changed").0.0
}

/// An external store in memory that writes down what it is asked.
#[derive(Clone)]
pub struct Tier(Arc<TierParts>);

pub struct TierParts {
    sessions: Mutex<HashMap<SessionKey, Arc<Session<u32>>>>,
    calls: Mutex<Vec<(&'static str, SessionKey)>>,
    accepts: AtomicBool,
    copies: AtomicBool,
}

impl Default for Tier {
    fn default() -> Self {
        Self(Arc::new(TierParts {
            sessions: Mutex::default(),
            calls: Mutex::default(),
            accepts: AtomicBool::new(true),
            copies: AtomicBool::new(false),
        }))
    }
}

impl Tier {
    /// Puts a session where another process would have put it; says nothing in the list of calls.
    pub fn has(&self, key: SessionKey, session: &Arc<Session<u32>>) {
        self.sessions().insert(key, Arc::clone(session));
    }

    /// Takes a session away as another process would.
    pub fn loses(&self, key: &SessionKey) -> Option<Arc<Session<u32>>> {
        self.sessions().remove(key)
    }

    pub fn holds(&self, key: &SessionKey) -> bool {
        self.sessions().contains_key(key)
    }

    /// From now on `put` says no.
    pub fn declines(&self) {
        self.0.accepts.store(false, Ordering::SeqCst);
    }

    /// From now on it hands out a new object each time, as a store of bytes does.
    pub fn copies(&self) {
        self.0.copies.store(true, Ordering::SeqCst);
    }

    fn hand_out(&self, session: Option<Arc<Session<u32>>>) -> Option<Arc<Session<u32>>> {
        let session = session?;
        if !self.0.copies.load(Ordering::SeqCst) {
            return Some(session);
        }
        let copy = Session::<u32>::builder(session.key())
            .id_context(*session.id_context())
            .time(session.time())
            .timeout(session.timeout())
            .end_of_life(session.end_of_life());
        Some(Arc::new(copy.build(*session.payload())))
    }

    /// The calls since the last time.
    pub fn calls(&self) -> Vec<(&'static str, SessionKey)> {
        std::mem::take(&mut *self.0.calls.lock().expect("no test panics in here"))
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<SessionKey, Arc<Session<u32>>>> {
        self.0.sessions.lock().expect("no test panics in here")
    }

    fn note(&self, call: &'static str, key: &SessionKey) {
        self.0.calls.lock().expect("no test panics in here").push((call, *key));
    }
}

impl ExternalStore<u32> for Tier {
    fn get(&self, key: &SessionKey) -> Option<Arc<Session<u32>>> {
        self.note("get", key);
        let found = self.sessions().get(key).cloned();
        self.hand_out(found)
    }

    fn take(&self, key: &SessionKey) -> Option<Arc<Session<u32>>> {
        self.note("take", key);
        let found = self.sessions().remove(key);
        self.hand_out(found)
    }

    fn put(&self, session: &Arc<Session<u32>>) -> bool {
        self.note("put", &session.key());
        let accepts = self.0.accepts.load(Ordering::SeqCst);
        if accepts {
            self.sessions().insert(session.key(), Arc::clone(session));
        }
        accepts
    }

    fn remove(&self, key: &SessionKey) {
        self.note("remove", key);
        self.sessions().remove(key);
    }
}

/// Whether `done` comes true once reclamation is given its chance. Other tests' guards may delay it, so this waits, but
/// not for ever.
pub fn eventually(done: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        resumption::idle();
        std::thread::yield_now();
    }
    true
}
