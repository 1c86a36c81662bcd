//! The context itself: its parts, its settings and its end.

use super::events::{Events, FirstPanic};
use super::overtaken::Removals;
use super::stats::{Counter, Counters};
use super::{ContextBuilder, ExternalStore, HandshakeEvent, SessionCacheMode, Stats};
use crate::cache::{Cache, MAX_CAPACITY, RemoveReason};
use crate::clock::{Clock, Timestamp};
use crate::epoch::{self, Guard};
use crate::error::CapacityError;
use crate::session::{Payload, Session, SessionBuilder, SessionKey};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One cache of sessions with its modes, callbacks and counters: the session half of an `SSL_CTX`.
///
/// Share it in an [`Arc`]: every method takes `&self` and may be called from any thread and from inside any callback.
/// No lookup takes a lock; no callback, store or clock runs while an update is under way.
///
/// ```
/// use resumption::{ProtocolVersion, Secret, SessionContext, SessionId, SessionIdContext, SessionKey};
/// use std::sync::Arc;
///
/// let context = SessionContext::<Secret>::new();
/// let policy = SessionIdContext::new(b"www: no client certificates")?;
/// let key = SessionKey::new(ProtocolVersion::TLS1_3, SessionId::new(&[9; 32])?);
/// context.add_session(Arc::new(context.session(key).id_context(policy).build(Secret::from(vec![1, 2, 3]))))?;
///
/// let guard = context.pin();
/// let borrowed = context.lookup(&key, &policy, &guard).expect("just added"); // get0
/// assert_eq!(borrowed.payload().as_bytes(), [1, 2, 3]);
///
/// let taken = context.take(&key, &policy).expect("nobody else took it"); // exactly once
/// assert!(context.take(&key, &policy).is_none());
/// assert_eq!(borrowed.payload().as_bytes(), taken.payload().as_bytes()); // the borrow still stands
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SessionContext<T: Payload> {
    pub(super) cache: Cache<T>,
    pub(super) events: Events<T>,
    pub(super) external: Option<Box<dyn ExternalStore<T>>>,
    // There is a get callback, or an external store, so that lookups may bring sessions in from outside.
    pub(super) asks_outside: bool,
    pub(super) counters: Counters,
    pub(super) max_session_bytes: usize,
    clock: Arc<dyn Clock>,
    // See `SessionCacheMode::to_word`.
    mode: AtomicU64,
    timeout: AtomicU64,
    // Both are written while others look up: on lines of their own, so that what lookups read stays where it is.
    pub(super) last_upkeep: CachePadded<AtomicU32>,
    pub(super) removals: CachePadded<Removals>,
}

impl<T: Payload> SessionContext<T> {
    /// A context with OpenSSL's defaults: mode SERVER, 20,480 sessions, and the manual's timeout of 300 seconds.
    ///
    /// # Panics
    ///
    /// When the 400 KB of the table cannot be allocated. [`builder`](Self::builder) returns an error instead.
    pub fn new() -> Self {
        match Self::builder().build() {
            Ok(context) => context,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts building a context.
    pub fn builder() -> ContextBuilder<T> {
        ContextBuilder::new()
    }

    pub(super) fn from_parts(cache: Cache<T>, builder: ContextBuilder<T>) -> Self {
        // Here, and not in the first lookup.
        epoch::prepare();
        Self {
            cache,
            asks_outside: builder.events.on_get.is_some() || builder.external.is_some(),
            events: builder.events,
            external: builder.external,
            counters: Counters::new(),
            max_session_bytes: builder.max_session_bytes,
            clock: builder.clock,
            mode: AtomicU64::new(builder.mode.to_word()),
            timeout: AtomicU64::new(whole_seconds(builder.timeout)),
            last_upkeep: CachePadded::new(AtomicU32::new(0)),
            removals: CachePadded::new(Removals::new()),
        }
    }

    /// Pins the current thread; the same as [`resumption::pin`](crate::pin).
    #[inline]
    pub fn pin(&self) -> Guard {
        epoch::pin()
    }

    /// Starts a session with this key, created now and living for the context's timeout.
    pub fn session(&self, key: SessionKey) -> SessionBuilder {
        Session::<T>::builder(key).time(self.now()).timeout(self.effective_timeout())
    }

    /// The present second, by the context's clock.
    #[inline]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What the context does by itself (`SSL_CTX_get_session_cache_mode`).
    #[inline]
    pub fn mode(&self) -> SessionCacheMode {
        SessionCacheMode::from_word(self.mode.load(Ordering::Relaxed))
    }

    /// Whether lookups ask the internal table and change nothing in it.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        SessionCacheMode::is_plain_word(self.mode.load(Ordering::Relaxed))
    }

    /// Sets the mode, all bits at once, and returns the previous one (`SSL_CTX_set_session_cache_mode`).
    pub fn set_mode(&self, mode: SessionCacheMode) -> SessionCacheMode {
        SessionCacheMode::from_word(self.mode.swap(mode.to_word(), Ordering::Relaxed))
    }

    /// The timeout of new sessions, as it was set (`SSL_CTX_get_timeout`).
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.load(Ordering::Relaxed))
    }

    /// Sets the timeout of sessions started from now on, in whole seconds, and returns the previous one
    /// (`SSL_CTX_set_timeout`). Zero means the default, 300 seconds; less than a second means one. Sessions that exist
    /// keep theirs.
    pub fn set_timeout(&self, timeout: Duration) -> Duration {
        Duration::from_secs(self.timeout.swap(whole_seconds(timeout), Ordering::Relaxed))
    }

    fn effective_timeout(&self) -> Duration {
        Some(self.timeout()).filter(|t| !t.is_zero()).unwrap_or(ContextBuilder::<T>::DEFAULT_TIMEOUT)
    }

    /// How many sessions the context may hold; 0 is any number (`SSL_CTX_sess_get_cache_size`).
    pub fn capacity(&self) -> usize {
        self.cache.capacity()
    }

    /// Sets the capacity and returns the previous one (`SSL_CTX_sess_set_cache_size`); 0 is unlimited. What is over a
    /// lowered capacity is evicted before the call returns; other threads go on meanwhile. A raised one makes the table
    /// grow as sessions come. The table does not shrink: in one that is a thousand times too wide each eviction looks
    /// over as many buckets, some ten microseconds.
    ///
    /// # Errors
    ///
    /// [`CapacityError`] for more than 2^36 sessions, with nothing changed.
    pub fn set_capacity(&self, sessions: usize) -> Result<usize, CapacityError> {
        CapacityError::check(sessions, MAX_CAPACITY)?;
        let previous = self.cache.set_capacity(sessions);
        self.settle();
        Ok(previous)
    }

    /// How many bytes of sessions the context may hold, if it was built to count them.
    pub fn byte_capacity(&self) -> Option<usize> {
        self.cache.byte_capacity()
    }

    /// Sets the capacity in bytes and returns the previous one, as [`set_capacity`](Self::set_capacity) does for
    /// sessions; `None`, with nothing changed, when the context was not [built](ContextBuilder::byte_capacity) to count
    /// bytes.
    pub fn set_byte_capacity(&self, bytes: usize) -> Option<usize> {
        let previous = self.cache.set_byte_capacity(bytes)?;
        self.settle();
        Some(previous)
    }

    /// Evicts what is over the capacity, in steps that let reclamation pass.
    fn settle(&self) {
        let (mut more, mut panics) = (true, FirstPanic::default());
        while more {
            let mut departures = self.departures();
            let guard = self.pin();
            more = self.cache.settle_some(self.now(), &mut departures, &guard);
            self.counters.add(Counter::CacheFull, departures.evicted() as u64, guard.thread());
            drop(guard);
            panics.run(|| self.announce(departures));
        }
        panics.resume();
    }

    /// Sessions in the internal cache, expired ones included (`SSL_CTX_sess_number`). Includes those that other threads
    /// are adding at this instant.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// The [weight](Session::weight) of these sessions together, if the context was built to count it.
    pub fn bytes(&self) -> Option<usize> {
        self.cache.bytes()
    }

    /// Bytes the context itself takes, without sessions: buckets, filter and wheel. About 20 a session at full capacity.
    pub fn memory(&self) -> usize {
        self.cache.memory(&self.pin())
    }

    /// Whether the internal cache is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the internal cache has a session with this key, be it expired, marked or of another context
    /// (`SSL_has_matching_session_id`). Counts nothing.
    pub fn contains(&self, key: &SessionKey) -> bool {
        self.cache.contains(key, &self.pin())
    }

    /// Calls `visit` for each session in the internal cache, in no particular order. Sessions that come or go meanwhile
    /// may be visited or not; one that stays is visited once, or twice if the table grows at that moment.
    pub fn for_each(&self, guard: &Guard, mut visit: impl FnMut(&Session<T>)) {
        let parts = self.cache.parts(guard);
        for part in 0..parts {
            self.cache.visit((part, parts), guard, &mut visit);
        }
    }

    /// The counters (`SSL_CTX_sess_number(3)`). Sums over a block for each thread: some microseconds.
    pub fn stats(&self) -> Stats {
        self.counters.read(self.len())
    }

    /// Counts a handshake that an adapter drives. A [`Connection`](crate::Connection) does so by itself.
    pub fn record(&self, event: HandshakeEvent) {
        self.counters.count(event.into(), self.pin().thread());
    }

    /// Takes the count of an event back: the handshake goes on under another context, which counts it instead.
    pub(crate) fn unrecord(&self, event: HandshakeEvent) {
        self.counters.uncount(event.into(), self.pin().thread());
    }
}

/// A timeout in seconds, where zero is not what a fraction of a second becomes.
fn whole_seconds(timeout: Duration) -> u64 {
    if timeout.is_zero() { 0 } else { timeout.as_secs().max(1) }
}

impl<T: Payload> Default for SessionContext<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Payload> Drop for SessionContext<T> {
    /// Flushes every session, telling the remove callback, and frees them as far as guards allow. Borrows under guards and
    /// owned references stay valid.
    fn drop(&mut self) {
        let removed = self.sweep(|_, _| Some(RemoveReason::ContextDropped));
        epoch::free_up_to(removed);
    }
}

impl<T: Payload> fmt::Debug for SessionContext<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionContext")
            .field("sessions", &self.len())
            .field("capacity", &self.capacity())
            .field("mode", &self.mode())
            .field("timeout", &self.timeout())
            .finish_non_exhaustive()
    }
}
