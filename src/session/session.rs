//! A session: immutable once built, shared through an `Arc`.

use super::{Header, Payload, ProtocolVersion, SessionId, SessionIdContext, SessionKey};
use crate::clock::Timestamp;
use std::fmt;
use std::time::Duration;

/// A TLS session: what lets a client skip a full handshake. The counterpart of `SSL_SESSION`.
///
/// A session is immutable once built, with one exception that only ever goes one way: it can be
/// [marked not resumable](Self::mark_not_resumable). New times or a new id mean a new session. Share it in an
/// [`Arc`](std::sync::Arc); it may be in several contexts at once and may be added again after it was removed.
///
/// When the last owner drops it, the id and the session id context are wiped and the payload is dropped: a payload
/// such as [`Secret`](crate::Secret) wipes itself. `Debug` prints neither.
///
/// ```
/// use resumption::{ProtocolVersion, Secret, Session, SessionId, SessionKey, Timestamp};
/// use std::time::Duration;
///
/// let key = SessionKey::new(ProtocolVersion::TLS1_2, SessionId::new(&[1; 32])?);
/// let session = Session::<Secret>::builder(key)
///     .time(Timestamp::from_unix(1_700_000_000))
///     .timeout(Duration::from_secs(300))
///     .build(Secret::from(vec![42; 48]));
/// assert_eq!(session.expires_at(), Timestamp::from_unix(1_700_000_300));
/// assert!(session.is_resumable());
/// # Ok::<(), resumption::SessionIdError>(())
/// ```
// The header comes first: an entry is the address of both. What a hit reads comes next.
#[repr(C)]
pub struct Session<T> {
    header: Header,
    payload: T,
    time: Timestamp,
    end_of_life: Timestamp,
}

impl<T: Payload> Session<T> {
    /// Starts a session with this key. Without further calls it was created at [`Timestamp::EPOCH`], has a timeout of
    /// 304 seconds (`SSL_SESSION_new`'s) and the empty session id context; a context's
    /// [`session`](crate::SessionContext::session) starts one with its own time and timeout.
    pub fn builder(key: SessionKey) -> SessionBuilder {
        SessionBuilder {
            key,
            time: Timestamp::EPOCH,
            timeout: Duration::from_secs(304),
            end_of_life: Timestamp::NEVER,
            id_context: SessionIdContext::EMPTY,
        }
    }
}

impl<T> Session<T> {
    /// Protocol version and session id.
    pub fn key(&self) -> SessionKey {
        self.header.key()
    }

    /// The session id (`SSL_SESSION_get_id`).
    pub fn id(&self) -> SessionId {
        self.header.id()
    }

    /// The protocol version (`SSL_SESSION_get_protocol_version`).
    pub fn version(&self) -> ProtocolVersion {
        self.header.version()
    }

    /// The session id context (`SSL_SESSION_get0_id_context`).
    #[inline]
    pub fn id_context(&self) -> &SessionIdContext {
        self.header.context()
    }

    /// When the session was created (`SSL_SESSION_get_time`).
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// How long it lives from then, in whole seconds (`SSL_SESSION_get_timeout`); about 136 years is for ever.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.header.timeout()))
    }

    /// The instant after which no renewal and no resumption prolongs it; [`Timestamp::NEVER`] when there is none.
    pub fn end_of_life(&self) -> Timestamp {
        self.end_of_life
    }

    /// The last second in which the session is valid, as built: time and timeout, capped by the end of life.
    ///
    /// A context with UPDATE_TIME renews the expiry of its own entry, not of the session.
    pub fn expires_at(&self) -> Timestamp {
        self.expiry_if_used_at(self.time)
    }

    /// When the session expires if its lifetime starts at `now`.
    #[inline]
    pub(crate) fn expiry_if_used_at(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(Duration::from_secs(u64::from(self.header.timeout()))).min(self.end_of_life)
    }

    /// Whether the session may still be resumed (`SSL_SESSION_is_resumable`): it was not marked. Neither the clock nor
    /// any cache is consulted.
    #[inline]
    pub fn is_resumable(&self) -> bool {
        !self.header.is_marked_not_resumable()
    }

    /// Marks the session not resumable, for every holder and for good. Lookups refuse it from then on; it stays where
    /// it is cached until it is removed, evicted or expires.
    pub fn mark_not_resumable(&self) {
        self.header.mark_not_resumable();
    }

    /// What the TLS stack stored.
    #[inline]
    pub fn payload(&self) -> &T {
        &self.payload
    }

    /// Bytes this session keeps in memory: its own size and what the payload stated when the session was built,
    /// saturating at 4 GiB.
    pub fn weight(&self) -> usize {
        self.header.weight() as usize
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("key", &self.key())
            .field("time", &self.time.as_unix())
            .field("timeout", &self.header.timeout())
            .field("resumable", &self.is_resumable())
            .finish_non_exhaustive()
    }
}

/// Builds a [`Session`]; see [`Session::builder`]. No setting is refused: times and timeouts saturate.
#[derive(Clone, Debug)]
#[must_use]
pub struct SessionBuilder {
    key: SessionKey,
    time: Timestamp,
    timeout: Duration,
    end_of_life: Timestamp,
    id_context: SessionIdContext,
}

impl SessionBuilder {
    /// Where the session may be resumed (`SSL_SESSION_set1_id_context`).
    pub fn id_context(mut self, id_context: SessionIdContext) -> Self {
        self.id_context = id_context;
        self
    }

    /// When the session was created (`SSL_SESSION_set_time`). The future is allowed.
    pub fn time(mut self, time: Timestamp) -> Self {
        self.time = time;
        self
    }

    /// How long it lives (`SSL_SESSION_set_timeout`). Fractions of a second are dropped, what exceeds the range of
    /// [`Timestamp`] means for ever, and zero means that it expires one second after it was created.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The instant after which nothing prolongs the session, usually counted from the first full handshake
    /// (RFC 8446, section 4.6.1, allows 7 days).
    pub fn end_of_life(mut self, end_of_life: Timestamp) -> Self {
        self.end_of_life = end_of_life;
        self
    }

    /// The session, with what the TLS stack wants back when it is resumed.
    pub fn build<T: Payload>(self, payload: T) -> Session<T> {
        let timeout = u32::try_from(self.timeout.as_secs()).unwrap_or(u32::MAX);
        let weight = size_of::<Session<T>>().saturating_add(payload.weight());
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let expiry = self.time.saturating_add(self.timeout).min(self.end_of_life);
        Session {
            header: Header::new(&self.key, self.id_context, expiry, timeout, weight),
            payload,
            time: self.time,
            end_of_life: self.end_of_life,
        }
    }
}
