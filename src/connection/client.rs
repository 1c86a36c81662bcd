//! The client's handshake: offering a session, and what the server makes of it.

use super::connection::{Origin, State};
use super::{Connection, ResumeError};
use crate::cache::RemoveReason;
use crate::clock::Timestamp;
use crate::context::{HandshakeEvent, Side};
use crate::epoch;
use crate::session::{Payload, ProtocolVersion, Session, SessionKey};
use std::sync::Arc;
use std::time::Duration;

/// What the client's ClientHello can offer: the versions it allows, and how long the server said that the session's
/// ticket is good for.
///
/// The default allows TLS 1.0 to TLS 1.3 and knows no lifetime.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Offer {
    min_version: ProtocolVersion,
    max_version: ProtocolVersion,
    lifetime_hint: Option<Duration>,
}

impl Offer {
    /// An offer of sessions from `min_version` to `max_version` (`SSL_set_min_proto_version(3)` and its like), both of
    /// TLS or both of DTLS.
    pub const fn versions(min_version: ProtocolVersion, max_version: ProtocolVersion) -> Self {
        Self { min_version, max_version, lifetime_hint: None }
    }

    /// The lifetime that the server sent with the session's ticket, in whole seconds
    /// (`SSL_SESSION_get_ticket_lifetime_hint(3)`). A TLS 1.3 session that is older is not offered.
    pub const fn lifetime_hint(mut self, lifetime: Duration) -> Self {
        self.lifetime_hint = Some(lifetime);
        self
    }

    fn allows(&self, version: ProtocolVersion) -> bool {
        // DTLS counts downwards from 0xfeff; the first byte tells the two families apart.
        let rank = |v: ProtocolVersion| if v.0 >> 8 == 0xfe { (1, !v.0) } else { (0, v.0) };
        (rank(self.min_version)..=rank(self.max_version)).contains(&rank(version))
    }

    /// Whether a ticket of this age, in seconds, can still be offered. A second is forgiven for the way; an age that
    /// the 32 bits of RFC 8446, section 4.2.11.1, cannot tell in milliseconds is too old.
    fn covers(&self, age: u64) -> bool {
        let age = age.saturating_sub(1);
        let in_lifetime = self.lifetime_hint.is_none_or(|lifetime| age <= lifetime.as_secs());
        in_lifetime && age.checked_mul(1000).is_some_and(|age| u32::try_from(age).is_ok())
    }
}

impl Default for Offer {
    fn default() -> Self {
        Self::versions(ProtocolVersion::TLS1_0, ProtocolVersion::TLS1_3)
    }
}

/// What became of the session that the client had when the handshake began.
pub(super) enum Proposal<T: Payload> {
    None,
    /// It is attached, but too old for the server to be worth offering.
    Withheld,
    Made(Hold<T>),
}

/// By what right a session is offered.
pub(super) enum Hold<T: Payload> {
    /// Any number of connections may offer it.
    Shared,
    /// This connection alone may offer it, as long as the claim lasts.
    Claimed(Claim<T>),
    /// It was taken from the cache.
    Taken,
}

/// The right to offer a session that may be used once. Given back when dropped: an offer that was refused, or never
/// answered, has not used the session.
pub(super) struct Claim<T: Payload>(Arc<Session<T>>);

impl<T: Payload> Claim<T> {
    fn new(session: &Arc<Session<T>>) -> Option<Self> {
        session.header().claim_offer().then(|| Self(Arc::clone(session)))
    }
}

impl<T: Payload> Drop for Claim<T> {
    fn drop(&mut self) {
        self.0.header().release_offer();
    }
}

impl<T: Payload> Connection<T> {
    /// The client's handshake begins (`SSL_connect(3)`): the first one, or a renegotiation when the connection is
    /// established. Returns the session to put into the ClientHello, if there is one; asked again in the same
    /// handshake (after a HelloRetryRequest), it gives the same answer and counts nothing.
    ///
    /// The session that was [set](Self::set_session) is dropped, without a word and without counting a miss, when it is
    /// not resumable, when its version is not allowed (G16, H14), when its end of life has passed, or when it is a TLS
    /// 1.3 session that another connection is offering at this moment. It stays, but is not offered, when the server
    /// no longer knows it by its own account (W7): a full handshake then counts a miss. Its timeout does not matter
    /// (H15).
    pub fn connect(&mut self, offer: &Offer) -> Option<Arc<Session<T>>> {
        if self.side != Side::Client {
            return None;
        }
        if !self.begin_handshake(HandshakeEvent::ConnectStarted) {
            return self.session_arc().filter(|_| matches!(self.proposal, Proposal::Made(_)));
        }
        if self.renegotiating {
            self.session_context.record(HandshakeEvent::ConnectRenegotiated);
        }
        self.propose(offer)
    }

    fn propose(&mut self, offer: &Offer) -> Option<Arc<Session<T>>> {
        let session = self.session_arc()?;
        let now = self.session_context.now();
        if !self.can_be_offered(&session, offer, now) {
            self.attach(None, Origin::Shared);
            return None;
        }
        let age = now.as_unix().saturating_sub(session.time().as_unix());
        if session.version().has_tickets_only() && !offer.covers(age) {
            self.proposal = Proposal::Withheld;
            return None;
        }
        let hold = if self.origin == Origin::Taken {
            // For this handshake only: from now on the mark counts.
            self.origin = Origin::Shared;
            Some(Hold::Taken)
        } else if self.is_single_use(session.version()) {
            Claim::new(&session).map(Hold::Claimed)
        } else {
            Some(Hold::Shared)
        };
        let Some(hold) = hold else {
            self.attach(None, Origin::Shared);
            return None;
        };
        self.proposal = Proposal::Made(hold);
        Some(session)
    }

    fn can_be_offered(&self, session: &Session<T>, offer: &Offer, now: Timestamp) -> bool {
        let resumable = session.is_resumable() || self.origin == Origin::Taken;
        resumable && offer.allows(session.version()) && now <= session.end_of_life()
    }

    /// Takes the session with this key from the session context's cache, as
    /// [`SessionContext::take`](crate::SessionContext::take), and sets it for the next handshake: `true` if it was
    /// there. The way for a client to find its TLS 1.3 sessions by key: no other connection gets this one, and it is
    /// offered although a taken session is marked. It is spent, even if the server refuses it.
    ///
    /// An open connection first loses its old session, as with [`set_session`](Self::set_session).
    pub fn take_session(&mut self, key: &SessionKey) -> bool {
        let taken = self.session_context.take(key, &self.settings.id_context);
        let found = taken.is_some();
        self.set(taken, Origin::Taken);
        found
    }

    /// The server resumes the session that was offered: by its id, its ticket or its pre-shared key.
    ///
    /// # Errors
    ///
    /// The handshake must end with an alert when the session belongs to another session id context than this
    /// connection (H11), or when none was offered.
    pub fn offer_accepted(&mut self) -> Result<(), ResumeError> {
        let guard = epoch::pin();
        let made = matches!(self.proposal, Proposal::Made(_)) && self.state == State::Handshaking;
        let Some(session) = self.session(&guard).filter(|_| made) else {
            return Err(ResumeError::NothingOffered);
        };
        if session.id_context() != self.id_context() {
            return Err(ResumeError::OtherIdContext);
        }
        self.reused = true;
        self.descend_from(session);
        Ok(())
    }

    /// The server did not resume the client's session, if it had one: it leaves the connection as it is, still
    /// resumable, and counts as a miss (H6).
    pub(super) fn drop_refused_offer(&mut self) {
        if !matches!(std::mem::replace(&mut self.proposal, Proposal::None), Proposal::None) {
            self.session_context.record(HandshakeEvent::SessionRefused);
            self.attach(None, Origin::Shared);
        }
    }

    /// The handshake has resumed the session that was offered. If it may be used once, it has been used now (W3); what
    /// was taken from the cache was counted, consumed and announced then.
    pub(super) fn settle_accepted_offer(&mut self) {
        let proposal = std::mem::replace(&mut self.proposal, Proposal::None);
        if matches!(proposal, Proposal::Made(Hold::Taken)) {
            return;
        }
        self.session_context.record(HandshakeEvent::SessionResumed);
        if let Proposal::Made(Hold::Claimed(Claim(session))) = &proposal {
            self.session_context.remove_session_because(session, RemoveReason::Consumed);
        }
    }
}
