//! The server's side: what to put into an `SSL_CTX`.

use crate::contain::{Containment, Share};
use crate::ffi::{self, FreshSession};
use crate::policy::{InstallError, Policy};
use crate::resume::{Connection, Terms, View};
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslContextRef, SslOptions, SslRef, SslSession, SslSessionCacheMode,
    SslSessionRef,
};
use resumption::{Secret, SessionCacheMode, SessionContext, Timestamp};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How often a TLS 1.3 ticket may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TicketUse {
    /// Once: of any number of connections that offer a ticket, exactly one resumes (RFC 8446, section C.4).
    #[default]
    Once,
    /// Until it expires, as OpenSSL itself has it without early data. Early data is never accepted then.
    UntilExpiry,
}

/// Gives OpenSSL servers the sessions of a [`SessionContext`].
///
/// [`install`](Self::install) attaches the cache to a context of OpenSSL. Attach one cache to as many of them as there
/// are: each sees its own sessions only, those that were made under the same [`Policy`].
///
/// A session lives as long as the cache's timeout at the time it was stored. A mode of the cache without
/// [`SERVER`](SessionCacheMode::SERVER) makes every handshake a full one; the mode may be changed at any time.
#[derive(Clone)]
pub struct ServerSessions {
    cache: Arc<SessionContext<Secret>>,
    extra: Vec<Vec<u8>>,
    terms: Terms,
    faults: Arc<AtomicU64>,
}

impl ServerSessions {
    /// Sessions in `cache`.
    pub fn new(cache: Arc<SessionContext<Secret>>) -> Self {
        Self {
            cache,
            extra: Vec::new(),
            terms: Terms {
                longest_life: None,
                end_of_life: Timestamp::NEVER,
                ticket_use: TicketUse::default(),
            },
            faults: Arc::default(),
        }
    }

    /// Adds a part to the policy of the contexts that the cache is attached to from now on: anything that must be the
    /// same for a session to be resumed and that an `SSL_CTX` does not show. A verify callback and its version, a
    /// directory of certificates, a listener, a tenant. Order matters.
    #[must_use]
    pub fn extra(mut self, part: impl AsRef<[u8]>) -> Self {
        self.extra.push(part.as_ref().to_vec());
        self
    }

    /// Lets no resumption take place later than `life` after the full handshake that it rests on, in whole seconds.
    ///
    /// In TLS 1.3 every resumption issues new tickets, and OpenSSL lets each of them live for the whole timeout
    /// (openssl/openssl#19341). Here they inherit the end of the session that was resumed.
    #[must_use]
    pub fn longest_life(mut self, life: Duration) -> Self {
        self.terms.longest_life = Some(life);
        self
    }

    /// Lets no session live beyond `instant`, such as the end of validity of a certificate.
    #[must_use]
    pub fn end_of_life(mut self, instant: Timestamp) -> Self {
        self.terms.end_of_life = instant;
        self
    }

    /// How often a TLS 1.3 ticket may be used; once, unless this is called.
    #[must_use]
    pub fn ticket_use(mut self, ticket_use: TicketUse) -> Self {
        self.terms.ticket_use = ticket_use;
        self
    }

    /// Attaches the cache to a context of OpenSSL, or to an `SslAcceptorBuilder`, and returns the policy that it found
    /// there. Call it last: what is changed afterwards is not part of the policy.
    ///
    /// This sets the session cache mode to SERVER, NO_INTERNAL and NO_AUTO_CLEAR; the new, get and remove callbacks; the
    /// session id context; the timeout, which tells clients how long to keep a TLS 1.3 ticket; the callback that
    /// decides about early data; and the options NO_TICKET (session ids in TLS 1.2, and tickets that stand for an entry
    /// of the cache in TLS 1.3) and NO_ANTI_REPLAY (OpenSSL's own replay protection needs its internal cache).
    ///
    /// # Errors
    ///
    /// [`InstallError`], with the context as it was unless it says that OpenSSL failed.
    pub fn install(&self, builder: &mut SslContextBuilder) -> Result<Policy, InstallError> {
        check_side(&self.cache, SessionCacheMode::SERVER)?;
        if crate::client::is_installed(ffi::unfinished(builder))? {
            return Err(InstallError::OtherSide);
        }
        let policy = Policy::of_server(builder, &self.extra)?;
        let indexes = Indexes::new()?;
        builder.set_session_id_context(policy.as_context().as_bytes())?;
        // SSL_OP_NO_ANTI_REPLAY, which the openssl crate has no name for.
        builder.set_options(SslOptions::NO_TICKET | SslOptions::from_bits_retain(1 << 24));
        builder.set_session_cache_mode(
            SslSessionCacheMode::SERVER
                | SslSessionCacheMode::NO_INTERNAL
                | SslSessionCacheMode::NO_AUTO_CLEAR,
        );
        ffi::set_timeout(builder, effective_timeout(&self.cache).as_secs());
        self.set_callbacks(builder, indexes);
        let cache = Share::new(&self.cache, Containment::new(&self.faults));
        let view = View { cache, policy: policy.clone(), terms: self.terms };
        builder.set_ex_data(indexes.view, view);
        Ok(policy)
    }

    /// The callbacks are found through the context that a connection was made from; the view of the cache through the
    /// one that it has at that moment.
    fn set_callbacks(&self, builder: &mut SslContextBuilder, indexes: Indexes) {
        let contained = Containment::new(&self.faults);
        builder.set_new_session_callback(move |ssl: &mut SslRef, session: SslSession| {
            contained.run(|| store(ssl, indexes, &session));
        });
        let contained = Containment::new(&self.faults);
        ffi::set_get_session_callback(builder, move |ssl: &mut SslRef, id: &[u8]| {
            contained.run(|| find(ssl, indexes, id)).flatten()
        });
        let contained = Containment::new(&self.faults);
        builder.set_remove_session_callback(move |context: &SslContextRef, session: &SslSessionRef| {
            contained.run(|| {
                if let Some(view) = context.ex_data(indexes.view) {
                    crate::resume::remove(&view.cache, session);
                }
                Ok(())
            });
        });
        ffi::set_early_data_gate::<TakenSessions>(builder);
    }

    /// How many callbacks have failed: the cache's own callbacks or store panicked, or OpenSSL could not encode or
    /// decode a session. Each cost a resumption and nothing else. For all contexts that the cache was attached to
    /// through this value and its clones.
    pub fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    /// The cache.
    pub fn context(&self) -> &Arc<SessionContext<Secret>> {
        &self.cache
    }
}

impl fmt::Debug for ServerSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSessions")
            .field("terms", &self.terms)
            .field("faults", &self.faults())
            .finish_non_exhaustive()
    }
}

/// The mode must let this side store, or be off, which is a choice.
pub(crate) fn check_side(cache: &SessionContext<Secret>, side: SessionCacheMode) -> Result<(), InstallError> {
    let mode = cache.mode();
    if mode.is_off() || mode.contains(side) { Ok(()) } else { Err(InstallError::Mode) }
}

/// A timeout of zero means the default.
pub(crate) fn effective_timeout(cache: &SessionContext<Secret>) -> Duration {
    Some(cache.timeout()).filter(|timeout| !timeout.is_zero()).unwrap_or(Duration::from_secs(300))
}

/// Where a view hangs in an `SSL_CTX`, and the state of a resumption in an `SSL`.
#[derive(Clone, Copy)]
struct Indexes {
    view: Index<SslContext, View>,
    connection: Index<Ssl, Connection>,
}

impl Indexes {
    /// OpenSSL gives out indexes and never takes them back, so there is one of each in a process.
    fn new() -> Result<Self, ErrorStack> {
        static INDEXES: OnceLock<Indexes> = OnceLock::new();
        if let Some(indexes) = INDEXES.get() {
            return Ok(*indexes);
        }
        let made = Self { view: SslContext::new_ex_index()?, connection: Ssl::new_ex_index()? };
        Ok(*INDEXES.get_or_init(|| made))
    }
}

pub(crate) fn is_installed(context: &SslContextRef) -> Result<bool, InstallError> {
    Ok(context.ex_data(Indexes::new()?.view).is_some())
}

/// Whether both contexts have a cache, and not the same one.
pub(crate) fn have_different_caches(one: &SslContextRef, other: &SslContextRef) -> Result<bool, ErrorStack> {
    let view = Indexes::new()?.view;
    let caches = one.ex_data(view).zip(other.ex_data(view));
    Ok(caches.is_some_and(|(one, other)| !std::ptr::eq(&*one.cache, &*other.cache)))
}

/// The view of the cache that belongs to the context which the connection has now. A context without one was not meant
/// to resume: nothing is stored and nothing is found.
fn view(ssl: &SslRef, indexes: Indexes) -> Option<&View> {
    ssl.ssl_context().ex_data(indexes.view)
}

fn find(ssl: &mut SslRef, indexes: Indexes, id: &[u8]) -> Result<Option<FreshSession>, ()> {
    let Some(view) = view(ssl, indexes) else { return Ok(None) };
    let Some(found) = view.find(ssl, indexes.connection, id).map_err(drop)? else { return Ok(None) };
    if let Some(connection) = found.connection {
        ssl.set_ex_data(indexes.connection, connection);
    }
    Ok(Some(found.session))
}

fn store(ssl: &mut SslRef, indexes: Indexes, session: &SslSessionRef) -> Result<(), ()> {
    if let Some(connection) = ssl.ex_data_mut(indexes.connection) {
        connection.release();
    }
    let Some(view) = view(ssl, indexes) else { return Ok(()) };
    view.store(ssl, indexes.connection, session).map_err(drop)
}

/// Admits the early data of connections that have taken their session: nobody else can have it, so nobody has sent it
/// before. The cache is the strike register of RFC 8446, section 8.1.
struct TakenSessions;

impl ffi::EarlyDataGate for TakenSessions {
    fn admits(ssl: &SslRef) -> bool {
        let Ok(indexes) = Indexes::new() else { return false };
        let connection = ssl.ex_data(indexes.connection);
        connection
            .zip(ssl.session())
            .is_some_and(|(connection, session)| connection.admit_early_data(session))
    }
}
