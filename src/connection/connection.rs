//! The connection itself: its parts, its session and its settings.

use super::builder::Settings;
use super::client::Proposal;
use super::{ConnectionBuilder, CurrentSession, ShutdownState};
use crate::clock::Timestamp;
use crate::context::{HandshakeEvent, SessionContext, Side};
use crate::epoch::Guard;
use crate::session::{Payload, ProtocolVersion, Session, SessionBuilder, SessionIdContext, SessionKey};
use std::fmt;
use std::sync::Arc;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No handshake has begun.
    Before,
    /// A handshake is under way: the first one, or a renegotiation.
    Handshaking,
    Established,
    /// A fatal alert was sent or received.
    Failed,
}

/// What the current session is to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A session like any other.
    Shared,
    /// The connection itself took it out of the cache, and may offer it once although it is marked.
    Taken,
    /// OpenSSL's session with an id of length zero: no cache can hold it, no callback hears of it.
    WithoutId,
}

/// The session half of an `SSL` object, on either side: which session the connection has, what it offers or resumes,
/// and what becomes of the session in the end.
///
/// The TLS stack, or an adapter for it, tells the connection what happens, and the connection keeps OpenSSL's rules:
/// what is stored and announced, what is consumed, what an unclean end costs. A call that does not fit the state of the
/// connection does nothing, and after a failure nothing but [`set_session`](Self::set_session),
/// [`clear`](Self::clear), [`set_connect_state`](Self::set_connect_state) and its like, and the end do anything.
///
/// | | client | server |
/// |---|---|---|
/// | the handshake begins | [`set_session`](Self::set_session), [`connect`](Self::connect) | [`accept`](Self::accept) |
/// | the peer resumes | [`offer_accepted`](Self::offer_accepted) | [`resume`](Self::resume), [`resume_ticket`](Self::resume_ticket) |
/// | or it does not | [`new_session`](Self::new_session) | [`new_session`](Self::new_session) |
/// | it finishes | [`established`](Self::established) | [`established`](Self::established) |
/// | TLS 1.3 tickets | [`ticket_received`](Self::ticket_received) | [`ticket_issued`](Self::ticket_issued) |
/// | the end | [`shutdown`](Self::shutdown), drop | [`shutdown`](Self::shutdown), drop |
///
/// Dropping it is `SSL_free(3)`: an established connection that has not sent, or pretended to send, a close_notify takes
/// its session with it.
///
/// One thread at a time drives a connection, which may move between threads; [`current_session`](Self::current_session)
/// lets others read the session meanwhile. A borrowed session outlives its replacement:
///
/// ```
/// use resumption::{Connection, ProtocolVersion, SessionContext, SessionId, SessionKey, Side};
/// use std::sync::Arc;
///
/// let context = Arc::new(SessionContext::<&str>::new());
/// let mut client = Connection::builder(context, Side::Client).build();
/// let ticket = |n| SessionKey::new(ProtocolVersion::TLS1_3, SessionId::from([n; 32]));
/// client.connect(&Default::default());
/// client.established(ProtocolVersion::TLS1_3)?;
/// client.ticket_received(Arc::new(client.next_session(ticket(1)).build("first")))?;
///
/// let guard = resumption::pin();
/// let first = client.session(&guard).expect("a ticket has come"); // SSL_get0_session
/// client.ticket_received(Arc::new(client.next_session(ticket(2)).build("second")))?;
/// assert_eq!(*first.payload(), "first"); // in OpenSSL this object is gone
/// assert_eq!(client.session(&guard).map(|session| *session.payload()), Some("second"));
/// # Ok::<(), resumption::AddError>(())
/// ```
pub struct Connection<T: Payload> {
    pub(super) side: Side,
    pub(super) session_context: Arc<SessionContext<T>>,
    pub(super) context: Arc<SessionContext<T>>,
    pub(super) settings: Settings,
    pub(super) current: CurrentSession<T>,
    pub(super) origin: Origin,
    pub(super) state: State,
    pub(super) proposal: Proposal<T>,
    pub(super) reused: bool,
    pub(super) authenticated: bool,
    pub(super) renegotiating: bool,
    /// The transport ended and the policy forgives it.
    pub(super) excused: bool,
    pub(super) shutdown: ShutdownState,
    /// What the next session of this connection must not outlive.
    pub(super) end_of_life: Timestamp,
}

impl<T: Payload> Connection<T> {
    /// Starts building connections of one side on a context, which becomes their session context.
    pub fn builder(context: Arc<SessionContext<T>>, side: Side) -> ConnectionBuilder<T> {
        ConnectionBuilder::new(context, side)
    }

    /// A client's connection with default settings.
    pub fn client(context: Arc<SessionContext<T>>) -> Self {
        Self::builder(context, Side::Client).build()
    }

    /// A server's connection with default settings.
    pub fn server(context: Arc<SessionContext<T>>) -> Self {
        Self::builder(context, Side::Server).build()
    }

    pub(super) fn from_parts(context: Arc<SessionContext<T>>, side: Side, settings: Settings) -> Self {
        Self {
            side,
            session_context: Arc::clone(&context),
            context,
            settings,
            current: CurrentSession::new(),
            origin: Origin::Shared,
            state: State::Before,
            proposal: Proposal::None,
            reused: false,
            authenticated: false,
            renegotiating: false,
            excused: false,
            shutdown: ShutdownState::NONE,
            end_of_life: Timestamp::NEVER,
        }
    }

    /// The connection's current session (`SSL_get0_session(3)`), borrowed from the guard: no reference count is
    /// touched, and it stays readable as long as the guard lives, even when a ticket replaces it or the connection
    /// ends. Wait-free.
    ///
    /// In TLS 1.3 this is the session of the last ticket that was received, or issued. Before the first one, and on a
    /// TLS 1.2 server that issues tickets, it is what [`new_session_without_id`](Self::new_session_without_id) was
    /// given, which is not resumable, or `None`.
    #[inline]
    pub fn session<'g>(&self, guard: &'g Guard) -> Option<&'g Session<T>> {
        self.current.session(guard)
    }

    /// As [`session`](Self::session), counted (`SSL_get1_session(3)`). It stays in memory until it is dropped; whether
    /// it may be resumed can still change.
    pub fn session_arc(&self) -> Option<Arc<Session<T>>> {
        self.current.session_arc()
    }

    /// A handle by which other threads read the current session while this one drives the connection.
    pub fn current_session(&self) -> CurrentSession<T> {
        self.current.clone()
    }

    /// Sets the session that the next handshake offers, or none (`SSL_set_session(3)`).
    ///
    /// If the connection is open, which is established and without a close_notify of its own, its session is first
    /// removed from the cache and marked, as when the connection is dropped; also when the same session is set again.
    /// Any session is accepted: whether it can be offered shows when the handshake begins. On a server it has no effect
    /// on resumption.
    pub fn set_session(&mut self, session: Option<Arc<Session<T>>>) {
        self.set(session, Origin::Shared);
    }

    /// Whether this handshake resumed a session (`SSL_session_reused(3)`). On a server, from the moment the session was
    /// accepted; a new handshake starts with `false`.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// Whether the handshake has finished, no other one is under way, and nothing has failed.
    pub fn is_established(&self) -> bool {
        self.state == State::Established
    }

    /// Which end of the connection this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The context whose cache, callbacks and counters serve this connection: the one it was built with, for good.
    pub fn session_context(&self) -> &Arc<SessionContext<T>> {
        &self.session_context
    }

    /// The current context (`SSL_get_SSL_CTX(3)`), which counts a server's handshakes and whose SERVER bit decides about
    /// session ids.
    pub fn context(&self) -> &Arc<SessionContext<T>> {
        &self.context
    }

    /// Changes the current context (`SSL_set_SSL_CTX`), as a server does when it knows the server name. The session
    /// context stays: the cache was asked before the name was known.
    ///
    /// In OpenSSL a connection that has the session id context of its old context follows to the new one's. Contexts
    /// here have none, so [set](Self::set_id_context) it as well where that is meant.
    pub fn set_context(&mut self, context: Arc<SessionContext<T>>) {
        if self.side == Side::Server && self.state == State::Handshaking && !self.renegotiating {
            self.context.unrecord(HandshakeEvent::AcceptStarted);
            context.record(HandshakeEvent::AcceptStarted);
        }
        self.context = context;
    }

    /// The session id context of this connection.
    pub fn id_context(&self) -> &SessionIdContext {
        &self.settings.id_context
    }

    /// Changes the session id context (`SSL_set_session_id_context(3)`). What was accepted before stays accepted.
    pub fn set_id_context(&mut self, id_context: SessionIdContext) {
        self.settings.id_context = id_context;
    }

    /// Changes whether the peer is verified (`SSL_set_verify(3)`); see [`ConnectionBuilder::verify_peer`].
    pub fn set_verify_peer(&mut self, verify: bool) {
        self.settings.verify_peer = verify;
    }

    /// Starts the next session of this connection, under `key`: created now, with this connection's session id context,
    /// and the end of life that descends from the last full handshake. Call it once the handshake has begun, and after
    /// it is known whether the session is resumed.
    ///
    /// Its timeout is the session context's in a full handshake. The session of a ticket has that of the session which
    /// the connection has already (U2, W2, T1): a timeout that was changed meanwhile is for later full handshakes.
    pub fn next_session(&self, key: SessionKey) -> SessionBuilder {
        let session = self.session_context.session(key);
        let session = session.id_context(self.settings.id_context).end_of_life(self.end_of_life);
        let descends = self.reused || self.state == State::Established;
        match self.session_arc().filter(|_| descends) {
            Some(own) => session.timeout(own.timeout()),
            None => session,
        }
    }

    /// Sets the session for the next handshake.
    pub(super) fn set(&mut self, session: Option<Arc<Session<T>>>, origin: Origin) {
        self.end_open_session();
        self.proposal = Proposal::None;
        self.attach(session, origin);
    }

    /// The one place where the current session changes.
    pub(super) fn attach(&mut self, session: Option<Arc<Session<T>>>, origin: Origin) {
        self.origin = origin;
        self.current.replace(session);
    }

    /// The current session, if it is one that a cache could hold.
    pub(super) fn session_with_id(&self) -> Option<Arc<Session<T>>> {
        self.session_arc().filter(|_| self.origin != Origin::WithoutId)
    }

    /// Whether a handshake is under way or has finished, and nothing has failed.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.state, State::Handshaking | State::Established)
    }

    pub(super) fn is_single_use(&self, version: ProtocolVersion) -> bool {
        version.has_tickets_only() && !self.settings.reuse_tickets
    }

    /// Whether this server's resumptions would skip verification on behalf of nobody knows whom.
    pub(super) fn lacks_id_context(&self) -> bool {
        self.settings.verify_peer && self.settings.id_context.is_empty()
    }

    /// Begins a handshake; `false` when one is under way already, or when the connection has failed.
    pub(super) fn begin_handshake(&mut self, first: HandshakeEvent) -> bool {
        match self.state {
            State::Handshaking | State::Failed => return false,
            State::Established => self.renegotiating = true,
            State::Before => {
                self.session_context.record(first);
                self.shutdown = ShutdownState::NONE;
                self.authenticated = false;
            }
        }
        self.state = State::Handshaking;
        self.reused = false;
        self.descend_from_now();
        true
    }

    /// The next session descends from a full handshake that takes place now.
    pub(super) fn descend_from_now(&mut self) {
        let life = self.settings.longest_life;
        let end = life.map(|life| self.session_context.now().saturating_add(life));
        self.end_of_life = end.unwrap_or(Timestamp::NEVER);
    }

    /// The next session descends from this one, which was resumed.
    pub(super) fn descend_from(&mut self, session: &Session<T>) {
        let life = self.settings.longest_life;
        let end = life.map(|life| session.time().saturating_add(life));
        self.end_of_life = end.unwrap_or(Timestamp::NEVER).min(session.end_of_life());
    }
}

impl<T: Payload> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("side", &self.side)
            .field("state", &self.state)
            .field("session", &self.current)
            .field("reused", &self.reused)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}
