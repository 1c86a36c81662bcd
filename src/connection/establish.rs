//! What both sides do when a handshake finishes: the new session, and the store step.

use super::Connection;
use super::connection::{Origin, State};
use crate::context::{HandshakeEvent, Side, Stored};
use crate::error::AddError;
use crate::session::{Payload, ProtocolVersion, Session, SessionId, SessionKey};
use std::sync::Arc;

impl<T: Payload> Connection<T> {
    /// The handshake is a full one and starts `session`: the ServerHello carries its id. What the client had offered is
    /// refused by this and counts as a miss (H6). The session becomes the current one; it is not stored before
    /// [`established`](Self::established).
    ///
    /// Build it with [`next_session`](Self::next_session). A session that must not be resumed is
    /// [marked](Session::mark_not_resumable) before, and is then neither stored nor announced (H8).
    pub fn new_session(&mut self, session: Arc<Session<T>>) {
        self.begin_session(session, Origin::Shared);
    }

    /// The handshake is a full one, and its session has no id: in TLS 1.3, where ids come with the tickets, and in TLS
    /// 1.2 where the server sends a ticket instead or caches nothing.
    ///
    /// `payload` becomes a session of `version` that is not resumable (G5, G9, G10): it can be read as any other, but
    /// is neither stored nor announced nor removed. Its id stands for none and is 32 zero bytes. Where nobody reads
    /// such a session, [`established`](Self::established) alone will do.
    pub fn new_session_without_id(&mut self, version: ProtocolVersion, payload: T) {
        let no_id = SessionKey::new(version, SessionId::from([0; SessionId::MAX_LEN]));
        let session = self.next_session(no_id).build(payload);
        session.mark_not_resumable();
        self.begin_session(Arc::new(session), Origin::WithoutId);
    }

    fn begin_session(&mut self, session: Arc<Session<T>>, origin: Origin) {
        if self.state == State::Handshaking {
            self.drop_refused_offer();
            self.reused = false;
            self.descend_from_now();
            self.attach(Some(session), origin);
        }
    }

    /// The peer is known to be who it says: its Finished was verified. Until then, fatal alerts may come from anybody;
    /// see [`ConnectionBuilder::spare_before_authentication`](crate::ConnectionBuilder::spare_before_authentication).
    /// [`established`](Self::established) implies it.
    pub fn authenticated(&mut self) {
        self.authenticated = true;
    }

    /// The handshake has finished, at `version`.
    ///
    /// TLS 1.2 and older: the store step for a new session, then the counters; at the new callback the handshake is not
    /// counted yet. Nothing is stored or announced when the session was resumed (H3 to H5). TLS 1.3: a client consumes
    /// the session that it resumed (W3); sessions come with the tickets.
    ///
    /// # Errors
    ///
    /// [`AddError`] when the session cannot be cached: it is neither stored nor announced, and the connection is
    /// established all the same.
    pub fn established(&mut self, version: ProtocolVersion) -> Result<Stored, AddError> {
        if self.state != State::Handshaking {
            return Ok(Stored::NOTHING);
        }
        if !self.reused {
            self.drop_refused_offer();
        }
        let stored = match self.session_with_id().filter(|_| !version.has_tickets_only()) {
            Some(session) => self.store_step(session, true),
            None => Ok(Stored::NOTHING),
        };
        self.count_finished();
        self.state = State::Established;
        self.authenticated = true;
        self.renegotiating = false;
        stored
    }

    fn count_finished(&mut self) {
        match self.side {
            Side::Client => {
                if self.reused {
                    self.settle_accepted_offer();
                }
                self.session_context.record(HandshakeEvent::ConnectFinished);
            }
            Side::Server => self.context.record(HandshakeEvent::AcceptFinished),
        }
    }

    /// Section 2.11: from a session that was established, or a ticket, to the cache and the new callback. In this order:
    ///
    /// 1. A session without an id, or marked, stops here.
    /// 2. So does one without a session id context, on a server that verifies its peers.
    /// 3. The mode must have the side's bit.
    /// 4. A session of TLS 1.2 or older that was resumed is known already.
    /// 5. It is added, unless the mode says NO_INTERNAL_STORE or `inside` is false.
    /// 6. The new callback is told, whether it was added or not.
    ///
    /// What OpenSSL does as a seventh, flushing now and then, is the context's own upkeep.
    pub(super) fn store_step(&self, session: Arc<Session<T>>, inside: bool) -> Result<Stored, AddError> {
        let skips_verification =
            self.side == Side::Server && self.settings.verify_peer && session.id_context().is_empty();
        let is_known = self.reused && !session.version().has_tickets_only();
        if skips_verification || is_known {
            return Ok(Stored::NOTHING);
        }
        self.session_context.announce_session(session, self.side, inside)
    }
}
