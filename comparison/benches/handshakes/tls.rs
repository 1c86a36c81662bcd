//! Certificates, configurations, clients that remember, and handshakes in memory.

use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::StoresServerSessions;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A server's certificate and key.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// The server's name.
const NAME: &str = "www.example";

impl Identity {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a PKCS#8 key");
        Self { certificate: made.cert.der().clone(), key }
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    /// A server that issues so many tickets with each TLS 1.3 handshake.
    pub(crate) fn server(&self, store: Arc<dyn StoresServerSessions>, tickets: usize) -> Arc<ServerConfig> {
        let builder = ServerConfig::builder().with_no_client_auth();
        let mut config =
            builder.with_single_cert(self.chain(), self.key.clone_key()).expect("key and certificate");
        config.session_storage = store;
        config.send_tls13_tickets = tickets;
        Arc::new(config)
    }

    /// A client that offers what is in this pocket, or nothing.
    pub(crate) fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        pocket: Option<Arc<Pocket>>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        let builder = ClientConfig::builder_with_protocol_versions(&[version]);
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = pocket.map_or_else(Resumption::disabled, |pocket| Resumption::store(pocket));
        Arc::new(config)
    }
}

/// What many clients remember: each handshake offers one of the sessions, at random, and keeps what it gets.
#[derive(Debug)]
pub(crate) struct Pocket(Mutex<Contents>);

#[derive(Debug)]
struct Contents {
    tls12: Vec<Tls12ClientSessionValue>,
    tls13: Vec<Tls13ClientSessionValue>,
    rng: fastrand::Rng,
    // While false, a handshake is a full one whatever is in the pocket.
    offers: bool,
}

impl Pocket {
    pub(crate) fn new() -> Arc<Self> {
        let rng = fastrand::Rng::with_seed(46);
        Arc::new(Self(Mutex::new(Contents { tls12: Vec::new(), tls13: Vec::new(), rng, offers: false })))
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to offer what was gathered.
    pub(crate) fn offer(&self) {
        self.contents().offers = true;
    }

    pub(crate) fn len(&self) -> usize {
        let contents = self.contents();
        contents.tls12.len() + contents.tls13.len()
    }
}

impl ClientSessionStore for Pocket {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        let mut contents = self.contents();
        // A resumed session is in the pocket already.
        if !contents.offers {
            contents.tls12.push(value);
        }
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let mut contents = self.contents();
        if !contents.offers || contents.tls12.is_empty() {
            return None;
        }
        let count = contents.tls12.len();
        let at = contents.rng.usize(..count);
        Some(contents.tls12[at].clone())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.contents().tls13.push(value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut contents = self.contents();
        if !contents.offers || contents.tls13.is_empty() {
            return None;
        }
        let count = contents.tls13.len();
        let at = contents.rng.usize(..count);
        Some(contents.tls13.swap_remove(at))
    }
}

/// One handshake, both sides, through memory, to the end of the tickets that follow it: whether it was resumed.
pub(crate) fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> HandshakeKind {
    let name = ServerName::try_from(NAME).expect("a name");
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a valid configuration");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a valid configuration");
    let mut bytes = Vec::with_capacity(4096);
    while client.wants_write() || server.wants_write() {
        bytes.clear();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory takes all bytes");
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).expect("memory gives all bytes");
            server.process_new_packets().expect("the server accepts the client");
        }
        bytes.clear();
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
    server.handshake_kind().expect("a finished handshake has a kind")
}
