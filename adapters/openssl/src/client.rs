//! The client's side: sessions by peer.

use crate::contain::{Containment, Share};
use crate::ffi::{self, FreshSession};
use crate::peer::{Host, Peer};
use crate::policy::{InstallError, Policy};
use crate::server::{check_side, effective_timeout};
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslContextRef, SslRef, SslSession, SslSessionCacheMode, SslSessionRef,
};
use openssl::x509::verify::X509CheckFlags;
use resumption::{
    ProtocolVersion, Secret, SessionCacheMode, SessionContext, SessionIdContext, SessionKey, Side, pin,
};
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How many TLS 1.3 tickets are kept for a peer.
const PLACES: u64 = 8;

/// Gives OpenSSL clients the sessions of a [`SessionContext`], by [`Peer`].
///
/// OpenSSL's own client cache is never looked up: it only fills. Here [`start`](Self::start) makes a connection that
/// offers a session of its peer, if there is one. A TLS 1.3 ticket is taken: each is offered once, up to eight wait for
/// each peer, and every connection brings new ones. A session of TLS 1.2 stays and is offered until it expires.
///
/// Sessions stay with the [`Policy`] of their context: the client's certificate, the verify mode, the trusted
/// certificates, and the extra parts.
///
/// The mode of the [`SessionContext`] must have [`CLIENT`](SessionCacheMode::CLIENT), which is not the default.
#[derive(Clone)]
pub struct ClientSessions {
    cache: Arc<SessionContext<Secret>>,
    extra: Vec<Vec<u8>>,
    faults: Arc<AtomicU64>,
}

impl ClientSessions {
    /// Sessions in `cache`.
    pub fn new(cache: Arc<SessionContext<Secret>>) -> Self {
        Self { cache, extra: Vec::new(), faults: Arc::default() }
    }

    /// Adds a part to the policy of the contexts that the cache is attached to from now on; see
    /// [`ServerSessions::extra`](crate::ServerSessions::extra).
    #[must_use]
    pub fn extra(mut self, part: impl AsRef<[u8]>) -> Self {
        self.extra.push(part.as_ref().to_vec());
        self
    }

    /// Attaches the cache to a context of OpenSSL, or to an `SslConnectorBuilder`, and returns the policy that it found
    /// there. Call it last: what is changed afterwards is not part of the policy.
    ///
    /// This sets the session cache mode to CLIENT, NO_INTERNAL and NO_AUTO_CLEAR; the new callback; and the session id
    /// context.
    ///
    /// # Errors
    ///
    /// [`InstallError`], with the context as it was unless it says that OpenSSL failed.
    pub fn install(&self, builder: &mut SslContextBuilder) -> Result<Policy, InstallError> {
        check_side(&self.cache, SessionCacheMode::CLIENT)?;
        if crate::server::is_installed(ffi::unfinished(builder))? {
            return Err(InstallError::OtherSide);
        }
        let policy = Policy::of_client(builder, &self.extra)?;
        let indexes = Indexes::new()?;
        builder.set_session_id_context(policy.as_context().as_bytes())?;
        builder.set_session_cache_mode(
            SslSessionCacheMode::CLIENT
                | SslSessionCacheMode::NO_INTERNAL
                | SslSessionCacheMode::NO_AUTO_CLEAR,
        );
        let contained = Containment::new(&self.faults);
        builder.set_new_session_callback(move |ssl: &mut SslRef, session: SslSession| {
            contained.run(|| store(ssl, indexes, &session).map_err(drop));
        });
        builder.set_ex_data(indexes.view, self.view(&policy));
        Ok(policy)
    }

    /// Makes a connection to `peer`, which offers a session if one is kept, and whose new sessions will be kept.
    ///
    /// The connection asks for the peer by name (RFC 6066) and, when `context` verifies certificates, accepts only one
    /// that is valid for the peer's name or address. So a session is never authenticated for another name than the
    /// one it is kept under.
    ///
    /// # Errors
    ///
    /// [`StartError`]
    pub fn start(context: &SslContextRef, peer: &Peer) -> Result<Ssl, StartError> {
        let indexes = Indexes::new().map_err(|_| StartError::NotInstalled)?;
        let view = context.ex_data(indexes.view).ok_or(StartError::NotInstalled)?;
        let mut ssl = Ssl::new(context)?;
        let param = ssl.param_mut();
        param.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
        match &peer.host {
            Host::Address(address) => param.set_ip(*address)?,
            Host::Name(name) => {
                param.set_host(name)?;
                ssl.set_hostname(name)?;
            }
        }
        // A session that cannot be decoded or offered costs a full handshake.
        if let Some(Ok(session)) = view.find(peer) {
            _ = ffi::offer_session(&mut ssl, &session);
        }
        ssl.set_ex_data(indexes.peer, peer.clone());
        Ok(ssl)
    }

    /// Forgets the sessions of a peer that were made under this policy. For a connection that the application refused
    /// after the handshake.
    pub fn forget(&self, policy: &Policy, peer: &Peer) {
        self.view(policy).forget(peer);
    }

    fn view(&self, policy: &Policy) -> View {
        let cache = Share::new(&self.cache, Containment::new(&self.faults));
        View { cache, id_context: policy.as_context() }
    }

    /// How many callbacks have failed; see [`ServerSessions::faults`](crate::ServerSessions::faults).
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// The cache.
    pub fn context(&self) -> &Arc<SessionContext<Secret>> {
        &self.cache
    }
}

impl fmt::Debug for ClientSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSessions").field("faults", &self.faults()).finish_non_exhaustive()
    }
}

/// What one context of OpenSSL sees of the cache.
struct View {
    cache: Share,
    id_context: SessionIdContext,
}

impl View {
    /// Where a session of a peer is kept, so that it is found without its id.
    fn key(&self, version: ProtocolVersion, peer: &Peer, place: u64) -> SessionKey {
        SessionKey::new(version, peer.place(&self.id_context, place).into())
    }

    fn tickets(&self, peer: &Peer) -> impl Iterator<Item = SessionKey> {
        (0..PLACES).map(|place| self.key(ProtocolVersion::TLS1_3, peer, place))
    }

    /// A ticket of TLS 1.3, which is taken, or else the session of TLS 1.2.
    fn find(&self, peer: &Peer) -> Option<Result<FreshSession, ErrorStack>> {
        for key in self.tickets(peer).filter(|key| self.cache.contains(key)) {
            if let Some(session) = self.cache.take(&key, &self.id_context) {
                return Some(FreshSession::decode(session.payload().as_bytes()));
            }
        }
        let guard = pin();
        let session =
            self.cache.lookup(&self.key(ProtocolVersion::TLS1_2, peer, 0), &self.id_context, &guard)?;
        Some(FreshSession::decode(session.payload().as_bytes()))
    }

    fn store(&self, peer: &Peer, session: &SslSessionRef) -> Result<(), ErrorStack> {
        let version = ffi::session_version(session);
        let key = if version.has_tickets_only() {
            let free = self.tickets(peer).find(|key| !self.cache.contains(key));
            // When all places are taken, the ticket that is offered last of all makes room.
            free.unwrap_or_else(|| self.key(ProtocolVersion::TLS1_3, peer, PLACES - 1))
        } else {
            self.key(ProtocolVersion::TLS1_2, peer, 0)
        };
        let kept = self
            .cache
            .session(key)
            .id_context(self.id_context)
            .timeout(life(version, ffi::ticket_lifetime(session), effective_timeout(&self.cache)))
            .build(Secret::from(session.to_der()?));
        // One that the cache refuses is not offered, and that is all.
        _ = self.cache.store_new(kept, Side::Client);
        Ok(())
    }

    fn forget(&self, peer: &Peer) {
        let of_tls12 = self.key(ProtocolVersion::TLS1_2, peer, 0);
        for key in self.tickets(peer).chain([of_tls12]).filter(|key| self.cache.contains(key)) {
            let named = self.cache.session(key).id_context(self.id_context).build(Secret::from(Vec::new()));
            self.cache.remove_session(&Arc::new(named));
        }
    }
}

/// How long a session is kept, when its server gave its ticket this lifetime and the cache this timeout.
fn life(version: ProtocolVersion, given: Option<u64>, timeout: Duration) -> Duration {
    match given {
        // RFC 5077, section 3.3: the lifetime is unspecified. (In TLS 1.3 zero means at once.)
        Some(0) if !version.has_tickets_only() => timeout,
        Some(seconds) => timeout.min(Duration::from_secs(seconds)),
        None => timeout,
    }
}

fn store(ssl: &SslRef, indexes: Indexes, session: &SslSessionRef) -> Result<(), ErrorStack> {
    let view = ssl.ssl_context().ex_data(indexes.view);
    // A connection that was not made by `start` has no peer that its sessions could be kept under.
    match view.zip(ssl.ex_data(indexes.peer)) {
        Some((view, peer)) => view.store(peer, session),
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
struct Indexes {
    view: Index<SslContext, View>,
    peer: Index<Ssl, Peer>,
}

impl Indexes {
    /// OpenSSL gives out indexes and never takes them back, so there is one of each in a process.
    fn new() -> Result<Self, InstallError> {
        static INDEXES: OnceLock<Indexes> = OnceLock::new();
        if let Some(indexes) = INDEXES.get() {
            return Ok(*indexes);
        }
        let made = Self { view: SslContext::new_ex_index()?, peer: Ssl::new_ex_index()? };
        Ok(*INDEXES.get_or_init(|| made))
    }
}

pub(crate) fn is_installed(context: &SslContextRef) -> Result<bool, InstallError> {
    Ok(context.ex_data(Indexes::new()?.view).is_some())
}

/// Why a connection could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// No cache was attached to the context.
    NotInstalled,
    /// OpenSSL failed.
    Openssl(ErrorStack),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled => f.write_str("no session cache was installed into the client's context"),
            Self::Openssl(error) => write!(f, "OpenSSL: {error}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotInstalled => None,
            Self::Openssl(error) => Some(error),
        }
    }
}

impl From<ErrorStack> for StartError {
    fn from(error: ErrorStack) -> Self {
        Self::Openssl(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_can_shorten_the_life_of_its_ticket() {
        let timeout = Duration::from_secs(300);
        let life = |version, given| life(version, given, timeout).as_secs();
        for version in [ProtocolVersion::TLS1_2, ProtocolVersion::TLS1_3] {
            let lives = [None, Some(10), Some(301)].map(|given| life(version, given));
            assert_eq!(lives, [300, 10, 300]);
        }
        assert_eq!(life(ProtocolVersion::TLS1_2, Some(0)), 300, "RFC 5077: unspecified");
        assert_eq!(life(ProtocolVersion::TLS1_3, Some(0)), 0, "RFC 8446: at once");
    }
}
