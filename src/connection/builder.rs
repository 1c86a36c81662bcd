//! Building a connection: what is settled before its handshake.

use super::Connection;
use crate::context::{SessionContext, Side};
use crate::session::{Payload, SessionIdContext};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a connection is told once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) id_context: SessionIdContext,
    pub(super) verify_peer: bool,
    pub(super) quiet_shutdown: bool,
    pub(super) reuse_tickets: bool,
    pub(super) keep_session_on_eof: bool,
    pub(super) spare_before_authentication: bool,
    pub(super) longest_life: Option<Duration>,
}

/// Builds [`Connection`]s of one kind. Keep one for each listener or upstream and build every connection from it.
///
/// ```
/// use resumption::{Connection, SessionContext, SessionIdContext, Side};
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// let context = Arc::new(SessionContext::<Vec<u8>>::new());
/// let www = Connection::builder(context, Side::Server)
///     .id_context(SessionIdContext::new(b"www, clients verified")?)
///     .verify_peer(true)
///     .longest_life(Duration::from_secs(24 * 3600));
/// let connection = www.build();
/// assert!(connection.session(&resumption::pin()).is_none());
/// # Ok::<(), resumption::SessionIdContextError>(())
/// ```
#[must_use]
pub struct ConnectionBuilder<T: Payload> {
    context: Arc<SessionContext<T>>,
    side: Side,
    settings: Settings,
}

impl<T: Payload> ConnectionBuilder<T> {
    pub(super) fn new(context: Arc<SessionContext<T>>, side: Side) -> Self {
        let settings = Settings {
            id_context: SessionIdContext::EMPTY,
            verify_peer: false,
            quiet_shutdown: false,
            reuse_tickets: false,
            keep_session_on_eof: false,
            spare_before_authentication: false,
            longest_life: None,
        };
        Self { context, side, settings }
    }

    /// Which sessions the connection may resume, and what the sessions it starts carry
    /// (`SSL_set_session_id_context(3)`); empty unless set.
    pub fn id_context(mut self, id_context: SessionIdContext) -> Self {
        self.settings.id_context = id_context;
        self
    }

    /// Whether the TLS stack verifies the peer's certificate (`SSL_VERIFY_PEER` of `SSL_CTX_set_verify(3)`); not unless
    /// set. A server that does needs a session id context: without one nothing is stored, and an attempt to resume is
    /// an error.
    pub fn verify_peer(mut self, verify: bool) -> Self {
        self.settings.verify_peer = verify;
        self
    }

    /// Whether [`Connection::shutdown`] pretends that both sides have closed (`SSL_CTX_set_quiet_shutdown(3)`).
    pub fn quiet_shutdown(mut self, quiet: bool) -> Self {
        self.settings.quiet_shutdown = quiet;
        self
    }

    /// Allows a TLS 1.3 session to be resumed any number of times while it lives.
    ///
    /// Unless this is set a TLS 1.3 session is used once: a server takes it from the cache, a client offers it on one
    /// connection at a time and consumes it when it was resumed. OpenSSL does so for 0-RTT with anti-replay and for
    /// clients with the CLIENT bit only. Reuse lets an observer link the connections (RFC 8446, section C.4).
    pub fn reuse_tickets(mut self, reuse: bool) -> Self {
        self.settings.reuse_tickets = reuse;
        self
    }

    /// Keeps the session when the transport ends without a close_notify; see [`Connection::eof`].
    ///
    /// Unless this is set such an end is an error, as in OpenSSL 3, and takes the session with it. Goes further than
    /// `SSL_OP_IGNORE_UNEXPECTED_EOF`, which spares the session only if a close_notify of our own follows.
    pub fn keep_session_on_eof(mut self, keep: bool) -> Self {
        self.settings.keep_session_on_eof = keep;
        self
    }

    /// Spares the session when a fatal alert or the end of the transport comes before the first handshake was
    /// [authenticated](Connection::authenticated).
    ///
    /// Unless this is set, anybody who can send a packet to the client can destroy the session that it offers, as in
    /// OpenSSL.
    pub fn spare_before_authentication(mut self, spare: bool) -> Self {
        self.settings.spare_before_authentication = spare;
        self
    }

    /// How long after a full handshake the last session that descends from it may live, by resumptions and their
    /// tickets; without end unless set. The sessions of [`Connection::next_session`] carry that instant as their
    /// [end of life](crate::Session::end_of_life).
    pub fn longest_life(mut self, life: Duration) -> Self {
        self.settings.longest_life = Some(life);
        self
    }

    /// A connection whose handshake has not begun (`SSL_new(3)`).
    #[must_use]
    pub fn build(&self) -> Connection<T> {
        Connection::from_parts(Arc::clone(&self.context), self.side, self.settings)
    }
}

impl<T: Payload> Clone for ConnectionBuilder<T> {
    fn clone(&self) -> Self {
        Self { context: Arc::clone(&self.context), ..*self }
    }
}

impl<T: Payload> fmt::Debug for ConnectionBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionBuilder")
            .field("side", &self.side)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
