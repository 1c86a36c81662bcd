//! The server's handshake: looking up what the client offers.

use super::connection::{Origin, State};
use super::{Connection, ResumeError};
use crate::context::{HandshakeEvent, SessionCacheMode, Side};
use crate::session::{Payload, ProtocolVersion, Session, SessionId, SessionKey};
use std::sync::Arc;

impl<T: Payload> Connection<T> {
    /// The server's handshake begins (`SSL_accept(3)`), before anything has come: the first one, or a renegotiation
    /// when the connection is established, in which case a ClientHello has come.
    pub fn accept(&mut self) {
        if self.side != Side::Server || !self.begin_handshake(HandshakeEvent::AcceptStarted) {
            return;
        }
        if self.renegotiating {
            // OpenSSL sets the connection up twice when the ClientHello arrives, and counts both.
            self.context.record(HandshakeEvent::AcceptRenegotiated);
            self.context.record(HandshakeEvent::AcceptRenegotiated);
        }
    }

    /// An established server asks its client for a renegotiation (`SSL_renegotiate(3)`): a HelloRequest is sent. It
    /// begins with [`accept`](Self::accept) when the ClientHello comes, and is pending until it has finished.
    pub fn request_renegotiation(&mut self) {
        if self.side == Side::Server && self.state == State::Established {
            self.renegotiating = true;
            self.context.record(HandshakeEvent::AcceptRenegotiated);
        }
    }

    /// The client asks to resume a session of the negotiated `version`: `id` is the session id of its ClientHello, or
    /// in TLS 1.3 a stateful ticket. If the session context has it and it passes all checks, it becomes the current
    /// session, [`is_reused`](Self::is_reused) says so, and it is returned; otherwise the next identity can be tried,
    /// or the handshake is a full one.
    ///
    /// A TLS 1.3 session is [taken](crate::SessionContext::take), so that nobody else resumes it, unless the connection
    /// was built to [reuse](crate::ConnectionBuilder::reuse_tickets) tickets. A ticket that is not 32 bytes long is
    /// none of a cache's (L14), and no bytes ask for nothing (L11): neither is looked up.
    ///
    /// Checks that only the TLS stack can make, such as that of the cipher suite, follow on the returned session; where
    /// they fail without an alert, [`new_session`](Self::new_session) makes the handshake a full one.
    ///
    /// # Errors
    ///
    /// [`ResumeError::NoIdContext`] when there is such a session, the peer is verified and the connection has no
    /// session id context (Q3). A TLS 1.3 session is current by then, and the alert destroys it, as in OpenSSL.
    pub fn resume(
        &mut self,
        version: ProtocolVersion,
        id: &[u8],
    ) -> Result<Option<Arc<Session<T>>>, ResumeError> {
        let is_none_of_ours = version.has_tickets_only() && id.len() != SessionId::MAX_LEN;
        if !self.can_resume() || is_none_of_ours {
            return Ok(None);
        }
        let Ok(key) = SessionKey::parse(version, id) else { return Ok(None) };
        let found = match self.is_single_use(version) {
            true => self.session_context.take(&key, self.id_context()),
            false => self.session_context.lookup_arc(&key, self.id_context()),
        };
        found.map(|session| self.admit(session)).transpose()
    }

    /// The client asks to resume a `session` that came out of a ticket which the TLS stack decrypted, or that belongs
    /// to an external pre-shared key. `true` if it passes the checks of version, mark, session id context and expiry
    /// and has become the current session. No cache is asked, so nothing keeps the ticket from being used again.
    ///
    /// Counts a hit, or a timeout for an expired session.
    ///
    /// # Errors
    ///
    /// As [`resume`](Self::resume).
    pub fn resume_ticket(
        &mut self,
        version: ProtocolVersion,
        session: Arc<Session<T>>,
    ) -> Result<bool, ResumeError> {
        let is_ours = session.version() == version && session.id_context() == self.id_context();
        if !self.can_resume() || !is_ours || !session.is_resumable() {
            return Ok(false);
        }
        let is_expired = self.session_context.now() > session.expires_at();
        if is_expired && !self.lacks_id_context() {
            self.session_context.record(HandshakeEvent::SessionExpired);
            return Ok(false);
        }
        self.admit(session)?;
        self.session_context.record(HandshakeEvent::SessionResumed);
        Ok(true)
    }

    /// The handshake resumes this session, which the TLS stack itself has looked up, checked and counted.
    pub fn resumed(&mut self, session: Arc<Session<T>>) {
        if self.can_resume() {
            self.descend_from(&session);
            self.attach(Some(session), Origin::Shared);
            self.reused = true;
        }
    }

    /// Whether a ServerHello of TLS 1.2 or older carries a session id: not when the current context's mode lacks the
    /// SERVER bit, unless it is the id of a session that is resumed (H7). Without one the session is
    /// [without id](Self::new_session_without_id).
    pub fn sends_session_id(&self) -> bool {
        self.reused || self.context.mode().contains(SessionCacheMode::SERVER)
    }

    fn can_resume(&self) -> bool {
        self.side == Side::Server && self.state == State::Handshaking && !self.reused
    }

    /// Makes a session that passed the checks of the cache the current one.
    fn admit(&mut self, session: Arc<Session<T>>) -> Result<Arc<Session<T>>, ResumeError> {
        let is_fatal = self.lacks_id_context();
        // In OpenSSL a TLS 1.3 session is attached before this is noticed.
        if !is_fatal || session.version().has_tickets_only() {
            self.attach(Some(Arc::clone(&session)), Origin::Shared);
        }
        if is_fatal {
            return Err(ResumeError::NoIdContext);
        }
        self.descend_from(&session);
        self.reused = true;
        Ok(session)
    }
}
