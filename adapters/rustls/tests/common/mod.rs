//! Certificates, configurations and handshakes in memory.
#![allow(dead_code)] // each test binary uses its own part

use resumption::{ContextBuilder, ManualClock, Secret, SessionContext, Timestamp};
use resumption_rustls::{ServerPolicy, ServerSessions};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use std::sync::{Arc, Mutex};

/// A self-signed certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate for valid names");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a PKCS#8 key");
        Self { certificate: made.cert.der().clone(), key }
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    pub(crate) fn policy(&self) -> ServerPolicy {
        ServerPolicy::builder().certificate_chain(&self.chain()).build().expect("a policy with a certificate")
    }

    pub(crate) fn as_roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate that can be a root");
        roots
    }

    /// A server that asks no client for a certificate and has no session storage yet.
    pub(crate) fn server(&self) -> ServerConfig {
        ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.key())
            .expect("a certificate that fits its key")
    }

    /// The same, resuming from a view of `cache` under this identity's policy.
    pub(crate) fn caching_server(&self, cache: &Cache) -> Arc<ServerConfig> {
        let mut config = self.server();
        self.sessions(cache).install(&mut config).expect("a configuration that agrees with its policy");
        Arc::new(config)
    }

    pub(crate) fn sessions(&self, cache: &Cache) -> Arc<ServerSessions> {
        Arc::new(ServerSessions::new(Arc::clone(cache), &self.policy()))
    }

    /// A client that trusts this identity and remembers its sessions.
    pub(crate) fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(self.as_roots())
            .with_no_client_auth()
    }
}

pub(crate) type Cache = Arc<SessionContext<Secret>>;

pub(crate) fn cache() -> Cache {
    cache_of(SessionContext::builder())
}

pub(crate) fn cache_of(builder: ContextBuilder<Secret>) -> Cache {
    Arc::new(builder.build().expect("a valid configuration"))
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::new(Timestamp::from_unix(1_700_000_000))
}

/// Drives a handshake to its end, including the tickets that follow it, and tells whether the server resumed.
pub(crate) fn handshake(client: &ClientConfig, server: &Arc<ServerConfig>, name: &str) -> HandshakeKind {
    try_handshake(client, server, name).expect("the server accepts the client")
}

/// The same with a server that may refuse the client, and then with the server's error.
pub(crate) fn try_handshake(
    client: &ClientConfig,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<HandshakeKind, rustls::Error> {
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a valid configuration");
    let name = ServerName::try_from(name.to_owned()).expect("a valid name");
    let mut client = ClientConnection::new(Arc::new(client.clone()), name).expect("a valid configuration");
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory takes all bytes");
        }
        feed_server(&mut server, &bytes)?;
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory takes all bytes");
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).expect("memory gives all bytes");
            client.process_new_packets().expect("the client accepts the server");
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(client.handshake_kind(), server.handshake_kind(), "both sides agree");
    Ok(server.handshake_kind().expect("a finished handshake has a kind"))
}

/// Gives bytes from the network to a server.
pub(crate) fn feed_server(server: &mut ServerConnection, bytes: &[u8]) -> Result<(), rustls::Error> {
    let mut rest = bytes;
    while !rest.is_empty() {
        server.read_tls(&mut rest).expect("memory gives all bytes");
        server.process_new_packets()?;
    }
    Ok(())
}

/// A client store that offers every session to every server, whatever the name: a careless or hostile client.
#[derive(Debug, Default)]
pub(crate) struct Promiscuous {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Vec<Tls13ClientSessionValue>>,
}

impl Promiscuous {
    pub(crate) fn resumption() -> Resumption {
        Resumption::store(Arc::new(Self::default()))
    }
}

impl ClientSessionStore for Promiscuous {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().expect("no test panics here") = Some(value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().expect("no test panics here").clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *self.tls12.lock().expect("no test panics here") = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.tls13.lock().expect("no test panics here").push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().expect("no test panics here").pop()
    }
}
