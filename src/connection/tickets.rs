//! Tickets: those a server issues, those a client receives.

use super::Connection;
use super::connection::{Origin, State};
use crate::cache::RemoveReason;
use crate::context::{SessionCacheMode, Side, Stored};
use crate::error::AddError;
use crate::session::{Payload, Session};
use std::sync::Arc;
use std::time::Duration;

/// What a TLS 1.3 server puts into its tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketKind {
    /// The session itself, encrypted. The cache is not needed to resume it.
    Stateless,
    /// The session's id. Resuming it is a lookup in the cache. What OpenSSL sends under `SSL_OP_NO_TICKET`, and when
    /// early data is enabled with anti-replay.
    Stateful,
}

/// The longest a TLS 1.3 ticket may live (RFC 8446, section 4.6.1).
const SEVEN_DAYS: Duration = Duration::from_secs(604_800);

impl<T: Payload> Connection<T> {
    /// The server has built a TLS 1.3 ticket for `session`, which becomes the current session, and the store step is
    /// done for it (U2, U4, U6): before the ticket is delivered, and a write that fails later does not undo it.
    ///
    /// A stateful ticket's session goes into the internal cache; a stateless ticket's only if a remove callback is
    /// installed, which is thereby told of its end (U5). Both are announced. Build the session with
    /// [`next_session`](Self::next_session): each ticket has an id of its own.
    ///
    /// Does nothing for TLS 1.2 and older, where the session of a ticket has no id on the server (H2, G10).
    ///
    /// # Errors
    ///
    /// [`AddError`] when the session cannot be cached: it is neither stored nor announced. It is current all the same.
    pub fn ticket_issued(&mut self, session: Arc<Session<T>>, kind: TicketKind) -> Result<Stored, AddError> {
        let is_ours = self.side == Side::Server && session.version().has_tickets_only();
        if !is_ours || !self.has_begun() {
            return Ok(Stored::NOTHING);
        }
        let inside = kind == TicketKind::Stateful || self.session_context.tells_of_removals();
        self.attach(Some(Arc::clone(&session)), Origin::Shared);
        self.store_step(session, inside)
    }

    /// The client has received a ticket, whose session becomes the current one. Build it with
    /// [`next_session`](Self::next_session); its id is by custom the SHA-256 of the ticket. An empty ticket is not
    /// reported: the session stays (H10).
    ///
    /// TLS 1.3: the store step is done for each ticket (W2). TLS 1.2 and older, during the handshake: if the mode has the
    /// CLIENT bit, the session that this one replaces leaves the cache as consumed and is marked (H5, H9); the new one
    /// is stored by [`established`](Self::established) after a full handshake, and after a resumption not at all.
    ///
    /// # Errors
    ///
    /// [`AddError`] when the session cannot be cached: it is neither stored nor announced. It is current all the same.
    pub fn ticket_received(&mut self, session: Arc<Session<T>>) -> Result<Stored, AddError> {
        if self.side != Side::Client || !self.has_begun() {
            return Ok(Stored::NOTHING);
        }
        if session.version().has_tickets_only() {
            self.attach(Some(Arc::clone(&session)), Origin::Shared);
            return self.store_step(session, true);
        }
        if self.state == State::Handshaking {
            self.renew(session);
        }
        Ok(Stored::NOTHING)
    }

    /// A new ticket for a session of TLS 1.2 or older.
    fn renew(&mut self, session: Arc<Session<T>>) {
        if !self.reused {
            self.drop_refused_offer();
        }
        let stores = self.session_context.mode().contains(SessionCacheMode::CLIENT);
        if let Some(old) = self.session_with_id().filter(|_| stores) {
            self.session_context.remove_session_because(&old, RemoveReason::Consumed);
        }
        self.attach(Some(session), Origin::Shared);
    }

    /// How many TLS 1.3 tickets a server that is configured to send `configured` (`SSL_set_num_tickets(3)`) should send
    /// now: after the handshake, and again after each post-handshake authentication (U11). A full handshake is worth
    /// all of them, a resumption one (U1).
    ///
    /// None that could never be redeemed: stateful ones when the session context's mode lacks the SERVER bit, any when
    /// the server verifies its peers and has no session id context (U10, as OpenSSL does since 4.1).
    pub fn tickets_due(&self, configured: usize, kind: TicketKind) -> usize {
        let caches = self.session_context.mode().contains(SessionCacheMode::SERVER);
        let is_lost = kind == TicketKind::Stateful && !caches;
        match self.side {
            Side::Server if !is_lost && !self.lacks_id_context() => {
                if self.reused {
                    configured.min(1)
                } else {
                    configured
                }
            }
            _ => 0,
        }
    }

    /// The lifetime that a server writes into a ticket for `session`, in whole seconds: its timeout, in TLS 1.3 at most
    /// seven days; zero for a TLS 1.2 ticket that renews another (U14). Never beyond the session's end of life.
    pub fn lifetime_hint(&self, session: &Session<T>) -> Duration {
        let longest = match session.version().has_tickets_only() {
            true => SEVEN_DAYS,
            false if self.reused => Duration::ZERO,
            false => Duration::MAX,
        };
        let left = session.end_of_life().as_unix().saturating_sub(self.session_context.now().as_unix());
        session.timeout().min(longest).min(Duration::from_secs(left))
    }
}
