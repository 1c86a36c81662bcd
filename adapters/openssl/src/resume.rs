//! What happens in a server's handshake: sessions are stored, found and removed.

use crate::contain::Share;
use crate::ffi::{self, FreshSession};
use crate::policy::Policy;
use crate::server::TicketUse;
use crate::server_name::ServerName;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{NameType, Ssl, SslRef, SslSessionRef};
use resumption::{
    Secret, Session, SessionContext, SessionId, SessionIdContext, SessionKey, Side, Timestamp, pin,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What one context of OpenSSL sees of the cache.
pub(crate) struct View {
    pub(crate) cache: Share,
    pub(crate) policy: Policy,
    pub(crate) terms: Terms,
}

/// How long sessions live and how often they are used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) longest_life: Option<Duration>,
    pub(crate) end_of_life: Timestamp,
    pub(crate) ticket_use: TicketUse,
}

/// What a connection remembers of the ticket that it resumes from.
pub(crate) struct Connection {
    key: SessionKey,
    id_context: SessionIdContext,
    end_of_life: Timestamp,
    /// The session, if it was taken from the cache, until the handshake is over: after a HelloRetryRequest the client
    /// offers its ticket once more.
    taken: Option<Arc<Session<Secret>>>,
    /// Whether early data may still be admitted: once, if the session was taken.
    admits_early_data: AtomicBool,
}

impl Connection {
    /// Admits early data that came with this session, once, if this connection and no other has got the session.
    pub(crate) fn admit_early_data(&self, session: &SslSessionRef) -> bool {
        self.key.id().as_bytes() == session.id() && self.admits_early_data.swap(false, Ordering::Relaxed)
    }

    /// The handshake is over.
    pub(crate) fn release(&mut self) {
        self.taken = None;
    }
}

/// A session to resume, and what the connection is to remember.
pub(crate) struct Found {
    pub(crate) session: FreshSession,
    pub(crate) connection: Option<Connection>,
}

impl View {
    /// The session that the client asks for, in the middle of its ClientHello.
    pub(crate) fn find(
        &self,
        ssl: &SslRef,
        index: Index<Ssl, Connection>,
        id: &[u8],
    ) -> Result<Option<Found>, ErrorStack> {
        let Ok(key) = SessionKey::parse(ffi::version(ssl), id) else { return Ok(None) };
        // OpenSSL ends the handshake of a client with a malformed extension; it may do so after it has asked us.
        let Some(name) = ServerName::of_extension(ffi::server_name_extension(ssl)) else { return Ok(None) };
        let id_context = self.policy.context_of(name, ssl.verify_mode().bits());
        if !key.version().has_tickets_only() {
            return self.find_by_id(key, id_context);
        }
        let remembered = ssl.ex_data(index).filter(|c| c.key == key && c.id_context == id_context);
        if let Some(session) = remembered.and_then(|connection| connection.taken.as_deref()) {
            return Ok(Some(Found { session: decode(session)?, connection: None }));
        }
        let once = self.terms.ticket_use == TicketUse::Once;
        let session =
            if once { self.cache.take(&key, &id_context) } else { self.cache.lookup_arc(&key, &id_context) };
        let Some(session) = session else { return Ok(None) };
        Ok(Some(Found {
            session: decode(&session)?,
            connection: Some(Connection {
                key,
                id_context,
                end_of_life: session.end_of_life(),
                taken: once.then_some(session),
                admits_early_data: AtomicBool::new(once),
            }),
        }))
    }

    /// TLS 1.2 and older: a session that any number of connections may resume, decoded straight from the cache.
    fn find_by_id(&self, key: SessionKey, id_context: SessionIdContext) -> Result<Option<Found>, ErrorStack> {
        let guard = pin();
        let Some(session) = self.cache.lookup(&key, &id_context, &guard) else { return Ok(None) };
        Ok(Some(Found { session: decode(session)?, connection: None }))
    }

    /// A handshake has established a session, or a ticket was issued.
    pub(crate) fn store(
        &self,
        ssl: &SslRef,
        index: Index<Ssl, Connection>,
        session: &SslSessionRef,
    ) -> Result<(), ErrorStack> {
        let Ok(id) = SessionId::new(session.id()) else { return Ok(()) };
        let name = ServerName::new(ssl.servername_raw(NameType::HOST_NAME));
        let id_context = self.policy.context_of(name, ssl.verify_mode().bits());
        let resumed = ssl.ex_data(index).filter(|_| ssl.session_reused());
        let end_of_life = resumed.map_or_else(|| self.end_of_life(), |resumed| resumed.end_of_life);
        let payload = Secret::from(session.to_der()?);
        let session = self
            .cache
            .session(SessionKey::new(ffi::session_version(session), id))
            .id_context(id_context)
            .end_of_life(end_of_life)
            .build(payload);
        // One that the cache refuses cannot be resumed, and that is all.
        _ = self.cache.store_new(session, Side::Server);
        Ok(())
    }

    /// When sessions of a full handshake that is made now must end.
    fn end_of_life(&self) -> Timestamp {
        match self.terms.longest_life {
            Some(life) => self.cache.now().saturating_add(life).min(self.terms.end_of_life),
            None => self.terms.end_of_life,
        }
    }
}

/// A connection's own copy of a session.
///
/// The cache has said that the session is valid, by its own clock and after its own renewals. OpenSSL judges once more, by
/// the wall clock, some instants later: the copy is given a life in which that makes no difference.
fn decode(session: &Session<Secret>) -> Result<FreshSession, ErrorStack> {
    /// Between our judgement and OpenSSL's, on a machine that is busy.
    const MARGIN: u64 = 10;
    let decoded = FreshSession::decode(session.payload().as_bytes())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if !session.version().has_tickets_only() {
        // These versions use the time for nothing else. In TLS 1.3 the age of a ticket counts for early data.
        decoded.set_time(now);
    }
    let age = now.saturating_sub(decoded.time());
    decoded.set_timeout(session.timeout().as_secs().max(age.saturating_add(MARGIN)));
    Ok(decoded)
}

/// OpenSSL says that a session must not be resumed any more: its connection was not closed cleanly, or there was a fatal
/// alert. It names the session by its id only; so does the session that the cache's own remove callback sees here. That
/// one has the same key and payload as the one that leaves the cache. It has no payload if the handshake failed before
/// there was anything to encode: as OpenSSL does, this tells of sessions, too, that were never stored.
///
/// OpenSSL may hold the lock of its context here (and does, up to 4.0, when it evicts or flushes): nothing here calls it.
pub(crate) fn remove(cache: &SessionContext<Secret>, session: &SslSessionRef) {
    let Ok(id) = SessionId::new(session.id()) else { return };
    let payload = Secret::from(session.to_der().unwrap_or_default());
    let named = cache.session(SessionKey::new(ffi::session_version(session), id)).build(payload);
    cache.remove_session(&Arc::new(named));
}
