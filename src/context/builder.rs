//! Building a context.

use super::events::Events;
use super::{ExternalStore, SessionCacheMode, SessionContext};
use crate::cache::{Cache, MAX_CAPACITY, RemoveReason};
use crate::clock::{Clock, CoarseClock};
use crate::error::{BuildError, CapacityError};
use crate::session::{Payload, Session, SessionKey};
use std::sync::Arc;
use std::time::Duration;

/// Builds a [`SessionContext`].
///
/// ```
/// use resumption::{RemoveReason, SessionContext};
/// use std::time::Duration;
///
/// let context = SessionContext::<Vec<u8>>::builder()
///     .capacity(100_000)
///     .timeout(Duration::from_secs(3600))
///     .on_remove(|_, session, reason| println!("{session:?} left: {reason:?}"))
///     .build()?;
/// assert_eq!(context.capacity(), 100_000);
/// # Ok::<(), resumption::BuildError>(())
/// ```
#[must_use]
pub struct ContextBuilder<T: Payload> {
    pub(super) capacity: usize,
    pub(super) byte_capacity: Option<usize>,
    pub(super) timeout: Duration,
    pub(super) mode: SessionCacheMode,
    pub(super) max_session_bytes: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) external: Option<Box<dyn ExternalStore<T>>>,
    pub(super) events: Events<T>,
}

impl<T: Payload> ContextBuilder<T> {
    /// `SSL_SESSION_CACHE_MAX_SIZE_DEFAULT`.
    pub(super) const DEFAULT_CAPACITY: usize = 20_480;

    /// The default timeout as `SSL_CTX_set_timeout(3)` gives it.
    pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

    pub(super) fn new() -> Self {
        Self {
            capacity: Self::DEFAULT_CAPACITY,
            byte_capacity: None,
            timeout: Self::DEFAULT_TIMEOUT,
            mode: SessionCacheMode::default(),
            max_session_bytes: usize::MAX,
            clock: Arc::new(CoarseClock::new()),
            external: None,
            events: Events::default(),
        }
    }

    /// How many sessions the context may hold (`SSL_CTX_sess_set_cache_size`); 20,480 unless set. 0 is unlimited.
    pub fn capacity(mut self, sessions: usize) -> Self {
        self.capacity = sessions;
        self
    }

    /// How many bytes of sessions, by their [`weight`](Session::weight), the context may hold; not counted unless set.
    pub fn byte_capacity(mut self, bytes: usize) -> Self {
        self.byte_capacity = Some(bytes);
        self
    }

    /// The timeout of sessions started with [`SessionContext::session`] (`SSL_CTX_set_timeout`); 300 seconds unless
    /// set. Zero means the default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What the context does by itself (`SSL_CTX_set_session_cache_mode`); SERVER unless set.
    pub fn mode(mut self, mode: SessionCacheMode) -> Self {
        self.mode = mode;
        self
    }

    /// The largest session that may be added, by its [`weight`](Session::weight) in bytes; no limit unless set.
    pub fn max_session_bytes(mut self, bytes: usize) -> Self {
        self.max_session_bytes = bytes;
        self
    }

    /// Where the context reads the time; a [`CoarseClock`] unless set.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// A second tier; none unless set. It is asked after the get callback.
    pub fn external(mut self, store: impl ExternalStore<T>) -> Self {
        self.external = Some(Box::new(store));
        self
    }

    /// Called with each session that is established (`SSL_CTX_sess_set_new_cb`), by the context's
    /// [`store_session`](SessionContext::store_session). To keep the session, clone the `Arc`.
    ///
    /// Callbacks run on the thread that made the call that led to them, with nothing locked and no update under way:
    /// every call of the context is allowed in every callback. A callback that panics unwinds through the call, once the
    /// call has removed and announced everything that it had to.
    pub fn on_new(
        mut self,
        callback: impl Fn(&SessionContext<T>, &Arc<Session<T>>) + Send + Sync + 'static,
    ) -> Self {
        self.events.on_new = Some(Box::new(callback));
        self
    }

    /// Asked for a session that the internal cache does not have (`SSL_CTX_sess_set_get_cb`). What it returns is
    /// checked as any other, and stored internally unless the mode says NO_INTERNAL_STORE. A
    /// [`take`](SessionContext::take) does not ask it, since it cannot promise that nobody else was given the session.
    pub fn on_get(
        mut self,
        callback: impl Fn(&SessionContext<T>, &SessionKey) -> Option<Arc<Session<T>>> + Send + Sync + 'static,
    ) -> Self {
        self.events.on_get = Some(Box::new(callback));
        self
    }

    /// Told of each session that leaves, and why (`SSL_CTX_sess_set_remove_cb`). As in OpenSSL it is also told of
    /// removals of sessions that were not cached, and is not told of a session that another replaces.
    pub fn on_remove(
        mut self,
        callback: impl Fn(&SessionContext<T>, &Arc<Session<T>>, RemoveReason) + Send + Sync + 'static,
    ) -> Self {
        self.events.on_remove = Some(Box::new(callback));
        self
    }

    /// The context.
    ///
    /// # Errors
    ///
    /// [`BuildError::Capacity`] for a capacity above 2^36, and [`BuildError::OutOfMemory`] when table and wheel, 20
    /// bytes a session, cannot be allocated.
    pub fn build(self) -> Result<SessionContext<T>, BuildError> {
        CapacityError::check(self.capacity, MAX_CAPACITY)?;
        let cache = Cache::new(self.capacity, self.byte_capacity, self.clock.now())?;
        Ok(SessionContext::from_parts(cache, self))
    }
}
