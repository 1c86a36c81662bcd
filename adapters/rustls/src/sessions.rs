//! One server policy's view of a session cache, in terms of byte strings.

use crate::{ServerPolicy, encoded};
use resumption::{
    ProtocolVersion, Secret, SessionCacheMode, SessionContext, SessionIdContext, SessionKey, Side, Timestamp,
    pin,
};
use rustls::ServerConfig;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One server policy's view of a shared session cache: what to put into [`ServerConfig::session_storage`].
///
/// Many views may share one [`SessionContext`], its capacity, timeout, mode and statistics; none of them ever sees a
/// session that was stored through a view of another policy. A view is two words and a digest: make one for each
/// `ServerConfig`. It may be used from any number of threads.
///
/// A session lives as long as the context's timeout at the time it was stored. Mode
/// [`OFF`](SessionCacheMode::OFF), or any mode without [`SERVER`](SessionCacheMode::SERVER), makes every handshake a
/// full one; the mode may be changed at any time.
pub struct ServerSessions {
    context: Arc<SessionContext<Secret>>,
    id_context: SessionIdContext,
    alpn_protocols: Vec<Vec<u8>>,
    longest_life: Option<Duration>,
    end_of_life: Timestamp,
}

impl ServerSessions {
    /// A view of `context` for servers of this `policy`.
    pub fn new(context: Arc<SessionContext<Secret>>, policy: &ServerPolicy) -> Self {
        Self {
            context,
            id_context: policy.id_context(),
            alpn_protocols: policy.alpn_protocols().to_vec(),
            longest_life: None,
            end_of_life: Timestamp::NEVER,
        }
    }

    /// Ends every session at the latest `life` after it was stored, even when the mode
    /// [`UPDATE_TIME`](SessionCacheMode::UPDATE_TIME) renews it at every use. Whole seconds; a fraction is dropped.
    ///
    /// A TLS 1.2 session is stored once, by its full handshake, so this bounds how long that handshake counts. In
    /// TLS 1.3 every resumption issues new tickets, which rustls 0.23 stores without a word of the ticket that was
    /// resumed: there it bounds each ticket, not the chain of them.
    #[must_use]
    pub fn with_longest_life(mut self, life: Duration) -> Self {
        self.longest_life = Some(life);
        self
    }

    /// Ends every session at `instant`, such as the end of validity of the server's certificate or of the client CAs.
    /// This bounds a chain of TLS 1.3 tickets too.
    #[must_use]
    pub fn with_end_of_life(mut self, instant: Timestamp) -> Self {
        self.end_of_life = instant;
        self
    }

    /// Makes `config` resume from this view: sets [`ServerConfig::session_storage`] and leaves all else as it is,
    /// [`ServerConfig::send_tls13_tickets`] included.
    ///
    /// # Errors
    ///
    /// Nothing is changed when the configuration contradicts the view: when its [`ServerConfig::ticketer`] is enabled
    /// (TLS 1.3 would never ask the cache, and a stateless ticket can be used any number of times), or when its
    /// [`ServerConfig::alpn_protocols`] are not those of the policy. So set those before. rustls does not show a
    /// config's certificates or client verifier, so these cannot be checked: the policy must tell the truth.
    pub fn install(self: &Arc<Self>, config: &mut ServerConfig) -> Result<(), InstallError> {
        if config.ticketer.enabled() {
            return Err(InstallError::StatelessTickets);
        }
        if config.alpn_protocols != self.alpn_protocols {
            return Err(InstallError::AlpnProtocols);
        }
        config.session_storage = Arc::clone(self) as _;
        Ok(())
    }

    /// Removes all sessions of this policy, of whichever view, and returns their number.
    pub fn purge(&self) -> usize {
        self.context.purge(&self.id_context)
    }

    /// The cache that this is a view of.
    pub fn context(&self) -> &Arc<SessionContext<Secret>> {
        &self.context
    }

    /// The session id context of the policy, which every session that is stored here carries.
    pub fn id_context(&self) -> SessionIdContext {
        self.id_context
    }

    /// Whether the cache's mode lets servers store sessions at all.
    pub(crate) fn is_caching(&self) -> bool {
        self.context.mode().contains(SessionCacheMode::SERVER)
    }

    /// The automatic store step. Both byte strings are secrets and are wiped, whether or not they are stored.
    pub(crate) fn store(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let (key, value) = (Secret::from(key), Secret::from(value));
        let Some(version) = encoded::version(value.as_bytes()) else { return false };
        let Ok(key) = SessionKey::parse(version, key.as_bytes()) else { return false };
        let session = self
            .context
            .session(key)
            .id_context(self.id_context)
            .end_of_life(self.end_of_life())
            .build(value);
        self.context.store_new(session, Side::Server).is_ok_and(|stored| stored.internal || stored.announced)
    }

    /// A copy of the TLS 1.2 session with this id, which stays in the cache.
    pub(crate) fn find_tls12(&self, id: &[u8]) -> Option<Vec<u8>> {
        let key = SessionKey::parse(ProtocolVersion::TLS1_2, id).ok()?;
        let guard = pin();
        let session = self.context.lookup(&key, &self.id_context, &guard)?;
        Some(session.payload().as_bytes().to_vec())
    }

    /// A copy of the TLS 1.3 session with this ticket, which leaves the cache: no one else gets it.
    pub(crate) fn take_tls13(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let key = SessionKey::parse(ProtocolVersion::TLS1_3, ticket).ok()?;
        let guard = pin();
        let session = self.context.take_borrowed(&key, &self.id_context, &guard)?;
        Some(session.payload().as_bytes().to_vec())
    }

    /// When a session that is stored now must end.
    fn end_of_life(&self) -> Timestamp {
        match self.longest_life {
            Some(life) => self.context.now().saturating_add(life).min(self.end_of_life),
            None => self.end_of_life,
        }
    }
}

impl fmt::Debug for ServerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSessions")
            .field("id_context", &self.id_context)
            .field("longest_life", &self.longest_life)
            .finish_non_exhaustive()
    }
}

/// Why a view cannot serve a [`ServerConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstallError {
    /// The configuration issues stateless tickets, so TLS 1.3 would never ask the cache.
    StatelessTickets,
    /// The configuration's ALPN protocols are not those that the policy was made of.
    AlpnProtocols,
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StatelessTickets => {
                "the server configuration has a ticketer, which bypasses the session cache"
            }
            Self::AlpnProtocols => {
                "the server configuration and the session policy name different ALPN protocols"
            }
        })
    }
}

impl std::error::Error for InstallError {}
