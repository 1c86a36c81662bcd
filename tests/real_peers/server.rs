//! A small threaded TLS server on the loopback interface: rustls with its sessions in the engine.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use resumption::{Secret, SessionContext};
use resumption_rustls::{ClientVerification, ServerPolicy, ServerSessions};
use resumption_testkit::certificates::{Authority, Identity, PemFiles};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// A name with its certificate and the authority that vouches for it and for its clients.
pub(crate) struct Site {
    name: String,
    authority: Authority,
    identity: Identity,
}

/// Whether clients must authenticate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    None,
    Required,
}

/// A running server. It answers a line with the same line, or with a page if the line is an HTTP request.
pub(crate) struct TlsServer {
    address: SocketAddr,
    files: PemFiles,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// One handshake that was completed and followed by data.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) kind: HandshakeKind,
    pub(crate) version: ProtocolVersion,
}

struct Shared {
    config: Arc<ServerConfig>,
    stop: AtomicBool,
    seen: Mutex<Vec<Seen>>,
    answered: Mutex<usize>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Site {
    pub(crate) fn new(name: &str) -> Self {
        let authority = Authority::new(&format!("authority of {name}")).expect("a valid name");
        let identity = authority.server(&[name]).expect("a valid name");
        Self { name: name.to_owned(), authority, identity }
    }

    /// A certificate that the site accepts from clients.
    pub(crate) fn client_certificate(&self) -> PemFiles {
        let identity = self.authority.client("client.example").expect("a valid name");
        identity.write_pem(&self.authority).expect("a writable temporary directory")
    }

    fn config(&self, cache: &Arc<SessionContext<Secret>>, auth: ClientAuth) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone()).expect("our own certificate");
        let mut policy =
            ServerPolicy::builder().certificate_chain(&self.identity.chain()).server_name(&self.name);
        let builder = match auth {
            ClientAuth::None => ServerConfig::builder().with_no_client_auth(),
            ClientAuth::Required => {
                policy = policy.client_verification(ClientVerification::Required).client_roots(&roots);
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("one root");
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let chain = (self.identity.chain(), self.identity.private_key());
        let mut config = builder.with_single_cert(chain.0, chain.1).expect("a key that fits");
        let sessions = ServerSessions::new(Arc::clone(cache), &policy.build().expect("a complete policy"));
        Arc::new(sessions).install(&mut config).expect("no ticketer, no ALPN");
        config
    }
}

impl TlsServer {
    pub(crate) fn start(site: &Site, cache: &Arc<SessionContext<Secret>>) -> Self {
        Self::start_with(site, cache, ClientAuth::None)
    }

    pub(crate) fn start_with(site: &Site, cache: &Arc<SessionContext<Secret>>, auth: ClientAuth) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let files = site.identity.write_pem(&site.authority).expect("a writable temporary directory");
        let shared = Arc::new(Shared {
            config: Arc::new(site.config(cache, auth)),
            stop: AtomicBool::new(false),
            seen: Mutex::default(),
            answered: Mutex::default(),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accepting.accept(&listener));
        Self { address, files, shared, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The site's PEM files; the directory is a place for session files too.
    pub(crate) fn files(&self) -> &PemFiles {
        &self.files
    }

    /// The handshakes so far, in the order in which they were completed.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    pub(crate) fn kinds(&self) -> Vec<HandshakeKind> {
        self.seen().iter().map(|seen| seen.kind).collect()
    }

    /// How many requests were answered.
    pub(crate) fn answered(&self) -> usize {
        *lock(&self.shared.answered)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the acceptor. A failure means that it has ended already.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        let connections = std::mem::take(&mut *lock(&self.shared.connections));
        connections.into_iter().for_each(|connection| drop(connection.join()));
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((socket, _)) = listener.accept() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let shared = Arc::clone(self);
            // Failed handshakes are part of the tests; the client reports them.
            let connection = thread::spawn(move || drop(shared.serve(socket)));
            lock(&self.connections).push(connection);
        }
    }

    fn serve(&self, mut socket: TcpStream) -> io::Result<()> {
        // A client that hangs must not hang the test.
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut connection = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        if let (Some(kind), Some(version)) = (connection.handshake_kind(), connection.protocol_version()) {
            lock(&self.seen).push(Seen { kind, version });
        }
        let mut stream = BufReader::new(StreamOwned::new(connection, socket));
        let mut line = String::new();
        while stream.read_line(&mut line)? > 0 {
            *lock(&self.answered) += 1;
            if line.starts_with("GET ") {
                return respond(stream);
            }
            stream.get_mut().write_all(line.as_bytes())?;
            line.clear();
        }
        stream.get_mut().conn.send_close_notify();
        stream.get_mut().flush()
    }
}

fn respond(mut stream: BufReader<StreamOwned<ServerConnection, TcpStream>>) -> io::Result<()> {
    let mut header = String::new();
    while stream.read_line(&mut header)? > 2 {
        header.clear();
    }
    let stream = stream.get_mut();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
