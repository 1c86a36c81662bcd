//! Certificates, contexts of OpenSSL and handshakes in memory.
#![allow(dead_code)] // each test binary uses its own part

mod pipe;

pub(crate) use pipe::Pipe;

use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    ErrorCode, ShutdownResult, Ssl, SslContext, SslContextBuilder, SslContextRef, SslMethod, SslSession,
    SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use resumption::{ContextBuilder, ManualClock, RemoveReason, Secret, SessionContext, Timestamp};
use resumption_openssl::ServerSessions;
use resumption_testkit::certificates::{self, Authority};
use std::sync::{Arc, Mutex};

pub(crate) const TLS12: SslVersion = SslVersion::TLS1_2;
pub(crate) const TLS13: SslVersion = SslVersion::TLS1_3;

pub(crate) type Cache = Arc<SessionContext<Secret>>;
pub(crate) type Stream = SslStream<Pipe>;

pub(crate) fn cache() -> Cache {
    cache_of(SessionContext::builder())
}

pub(crate) fn cache_of(builder: ContextBuilder<Secret>) -> Cache {
    Arc::new(builder.build().expect("a valid configuration"))
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_unix(1_700_000_000))
}

/// What the remove callback of a cache was told.
#[derive(Clone, Default)]
pub(crate) struct Removals(Arc<Mutex<Vec<RemoveReason>>>);

impl Removals {
    /// Listens to the cache that is being built.
    pub(crate) fn of(self, builder: ContextBuilder<Secret>) -> ContextBuilder<Secret> {
        builder.on_remove(move |_, _, reason| self.0.lock().expect("no test panics in here").push(reason))
    }

    /// What it was told since the last call.
    pub(crate) fn take(&self) -> Vec<RemoveReason> {
        std::mem::take(&mut self.0.lock().expect("no test panics in here"))
    }
}

/// A certificate with its key, and the authority that has issued it.
pub(crate) struct Identity {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
}

impl Identity {
    fn new(issued: &certificates::Identity) -> Self {
        Self {
            certificate: X509::from_der(&issued.chain()[0]).expect("a certificate"),
            key: PKey::private_key_from_der(issued.private_key().secret_der()).expect("a key"),
        }
    }

    pub(crate) fn server(authority: &Authority, names: &[&str]) -> Self {
        Self::new(&authority.server(names).expect("valid names"))
    }

    pub(crate) fn client(authority: &Authority, name: &str) -> Self {
        Self::new(&authority.client(name).expect("a valid name"))
    }

    pub(crate) fn put_into(&self, builder: &mut SslContextBuilder) {
        builder.set_certificate(&self.certificate).expect("a certificate");
        builder.set_private_key(&self.key).expect("the key of the certificate");
    }
}

pub(crate) fn authority(name: &str) -> Authority {
    Authority::new(name).expect("a valid name")
}

pub(crate) fn certificate_of(authority: &Authority) -> X509 {
    X509::from_der(authority.certificate()).expect("a certificate")
}

/// The context of a server with a certificate of its own, which caches nothing yet.
pub(crate) fn server_builder() -> SslContextBuilder {
    server_for(&["a.example"])
}

pub(crate) fn server_for(names: &[&str]) -> SslContextBuilder {
    let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
    Identity::server(&authority("server authority"), names).put_into(&mut builder);
    builder
}

/// Requires client certificates of this authority.
pub(crate) fn require_clients_of(builder: &mut SslContextBuilder, authority: &Authority) {
    let certificate = certificate_of(authority);
    builder.add_client_ca(&certificate).expect("a certificate");
    let mut store = X509StoreBuilder::new().expect("a store");
    store.add_cert(certificate).expect("a certificate");
    builder.set_cert_store(store.build());
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
}

/// A server that resumes from `cache`.
pub(crate) fn server(cache: &Cache) -> SslContext {
    caching(server_builder(), &ServerSessions::new(Arc::clone(cache)))
}

pub(crate) fn caching(mut builder: SslContextBuilder, sessions: &ServerSessions) -> SslContext {
    sessions.install(&mut builder).expect("a context with a certificate");
    builder.build()
}

/// A client that takes every certificate, and remembers every session.
pub(crate) struct Client {
    pub(crate) context: SslContext,
    sessions: Arc<Mutex<Vec<SslSession>>>,
}

impl Client {
    pub(crate) fn new(version: SslVersion) -> Self {
        Self::with(version, |_| {})
    }

    pub(crate) fn with(version: SslVersion, adjust: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let mut builder = SslContext::builder(SslMethod::tls_client()).expect("a context");
        builder.set_min_proto_version(Some(version)).expect("a version");
        builder.set_max_proto_version(Some(version)).expect("a version");
        adjust(&mut builder);
        builder.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&sessions);
        builder.set_new_session_callback(move |_, session| {
            log.lock().expect("no test panics in here").push(session);
        });
        Self { context: builder.build(), sessions }
    }

    pub(crate) fn with_identity(version: SslVersion, identity: &Identity) -> Self {
        Self::with(version, |builder| identity.put_into(builder))
    }

    /// Connects to the server, reads what it has to send, and shuts down on both sides.
    pub(crate) fn visit(&self, server: &SslContextRef, offer: Option<&Offer>) -> Visit {
        self.visit_as("a.example", server, offer)
    }

    pub(crate) fn visit_as(&self, name: &str, server: &SslContextRef, offer: Option<&Offer>) -> Visit {
        let mut connection =
            self.try_visit(name, server, offer).expect("client and server accept each other");
        connection.shut_down();
        connection.visit()
    }

    /// The same, with the connection still open.
    pub(crate) fn try_visit(
        &self,
        name: &str,
        server: &SslContextRef,
        offer: Option<&Offer>,
    ) -> Result<Open, String> {
        let mut ssl = Ssl::new(&self.context).expect("a connection");
        if !name.is_empty() {
            ssl.set_hostname(name).expect("a name");
        }
        self.try_connect(ssl, server, offer)
    }

    pub(crate) fn try_connect(
        &self,
        mut ssl: Ssl,
        server: &SslContextRef,
        offer: Option<&Offer>,
    ) -> Result<Open, String> {
        self.sessions.lock().expect("no test panics in here").clear();
        if let Some(offer) = offer {
            offer.set_to(&mut ssl);
        }
        let (client, server) = connect(ssl, Ssl::new(server).expect("a connection"))?;
        Ok(Open { client, server, log: Arc::clone(&self.sessions) })
    }
}

/// A session that a client offers: bytes, so that it can be offered any number of times, by any client.
#[derive(Clone)]
pub(crate) struct Offer(Vec<u8>);

impl Offer {
    pub(crate) fn of(session: &SslSession) -> Self {
        Self(session.to_der().expect("a session"))
    }

    pub(crate) fn session(&self) -> SslSession {
        SslSession::from_der(&self.0).expect("an encoded session")
    }

    pub(crate) fn set_to(&self, ssl: &mut Ssl) {
        // SAFETY: the session was decoded just now and belongs to no context.
        unsafe { ssl.set_session(&self.session()) }.expect("a session of a version that the client speaks");
    }
}

/// What a visit has shown.
pub(crate) struct Visit {
    pub(crate) resumed: bool,
    /// The sessions that the client has received.
    pub(crate) sessions: Vec<Offer>,
}

impl Visit {
    pub(crate) fn only(&self) -> &Offer {
        assert_eq!(self.sessions.len(), 1, "sessions that the client has received");
        &self.sessions[0]
    }
}

/// A connection after the handshake.
pub(crate) struct Open {
    pub(crate) client: Stream,
    pub(crate) server: Stream,
    log: Arc<Mutex<Vec<SslSession>>>,
}

impl Open {
    /// Whether the server resumed; the client agrees.
    pub(crate) fn resumed(&self) -> bool {
        let resumed = self.server.ssl().session_reused();
        assert_eq!(self.client.ssl().session_reused(), resumed, "both sides agree");
        resumed
    }

    pub(crate) fn visit(&self) -> Visit {
        let log = self.log.lock().expect("no test panics in here");
        Visit { resumed: self.resumed(), sessions: log.iter().map(Offer::of).collect() }
    }

    /// The client reads the tickets.
    pub(crate) fn read_tickets(&mut self) {
        wants_more(self.client.ssl_read(&mut [0; 16]).map(drop));
    }

    pub(crate) fn shut_down(&mut self) {
        self.read_tickets();
        assert_eq!(self.client.shutdown().expect("a write"), ShutdownResult::Sent);
        assert_eq!(self.server.shutdown().expect("a write"), ShutdownResult::Sent);
        assert_eq!(self.client.shutdown().expect("a read"), ShutdownResult::Received);
        assert_eq!(self.server.shutdown().expect("a read"), ShutdownResult::Received);
    }
}

/// A handshake between the two, or what was wrong first.
pub(crate) fn connect(client: Ssl, server: Ssl) -> Result<(Stream, Stream), String> {
    let (near, far) = Pipe::new();
    let mut client = SslStream::new(client, near).expect("a stream");
    let mut server = SslStream::new(server, far).expect("a stream");
    let (mut client_done, mut server_done) = (false, false);
    for _ in 0..20 {
        client_done = client_done || step("client", client.connect())?;
        server_done = server_done || step("server", server.accept())?;
        if client_done && server_done {
            return Ok((client, server));
        }
    }
    Err("the handshake does not end".to_owned())
}

/// Whether this side is done.
pub(crate) fn step(side: &str, outcome: Result<(), openssl::ssl::Error>) -> Result<bool, String> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.code() == ErrorCode::WANT_READ => Ok(false),
        Err(error) => Err(format!("{side}: {error}")),
    }
}

/// Whatever was there to read has been read.
pub(crate) fn wants_more(outcome: Result<(), openssl::ssl::Error>) {
    let error = outcome.expect_err("nothing was written");
    assert_eq!(error.code(), ErrorCode::WANT_READ, "{error}");
}
