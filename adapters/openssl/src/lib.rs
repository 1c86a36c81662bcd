//! OpenSSL's session caching on the [`resumption`] engine.
//!
//! OpenSSL keeps sessions in each `SSL_CTX`, behind one lock, shared as mutable objects with every connection that
//! resumes them. This crate switches that cache off (NO_INTERNAL) and answers OpenSSL's new, get and remove callbacks
//! from a lock-free [`SessionContext`], one for any number of `SSL_CTX`s:
//!
//! * **TLS 1.2** sessions are looked up by session id and may be resumed until they expire.
//! * **TLS 1.3** tickets stand for an entry of the cache, and are *taken*: of any number of connections that offer a
//!   ticket, on any number of threads, exactly one resumes. OpenSSL itself lets a ticket be used until it expires.
//! * **Early data** (0-RTT) is admitted for connections that have taken their session. Taking is the strike register of
//!   RFC 8446, section 8.1. OpenSSL's own replay protection works only with its internal cache.
//! * **Clients** get their sessions by peer: [`ClientSessions::start`] makes a connection that offers the session of its
//!   peer. OpenSSL's client cache is filled and never looked up.
//! * Every connection gets **its own copy**, decoded from bytes that never change. No two connections share an
//!   `SSL_SESSION` (openssl/openssl#10210).
//! * Sessions stay with the **policy** they were made under: certificates, verify mode, client CAs, trusted
//!   certificates, read from the `SSL_CTX` itself, and with the server name and the verify mode of the connection. There
//!   is no session id context to choose, and so none to choose wrongly.
//!
//! # Servers
//!
//! ```
//! use openssl::ssl::{SslAcceptor, SslMethod};
//! use resumption::{Secret, SessionContext};
//! use resumption_openssl::ServerSessions;
//! use std::sync::Arc;
//! # use resumption_testkit::certificates::Authority;
//! # use openssl::{pkey::PKey, x509::X509};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let identity = Authority::new("ca")?.server(&["www.example"])?;
//! # let certificate = X509::from_der(&identity.chain()[0])?;
//! # let private_key = PKey::private_key_from_der(identity.private_key().secret_der())?;
//! // One cache for the whole process …
//! let cache: Arc<SessionContext<Secret>> = Arc::new(SessionContext::builder().capacity(100_000).build()?);
//! let sessions = ServerSessions::new(Arc::clone(&cache));
//!
//! // … attached to every context, as the last step of building it.
//! let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
//! acceptor.set_certificate(&certificate)?;
//! acceptor.set_private_key(&private_key)?;
//! sessions.install(&mut acceptor)?;
//! let acceptor = acceptor.build();
//! # Ok(())
//! # }
//! ```
//!
//! # Servers of several names
//!
//! OpenSSL decides about a resumption **before** it calls the server name callback. A session that was made where
//! nobody asks for a certificate is then resumed on a connection that the callback moves to a context where one is
//! required: CVE-2025-23419 and CVE-2025-23048. Here such a session is not found, because it belongs to another policy.
//! But neither is any session of a context that is selected in the server name callback. To have resumption there,
//! select contexts in the ClientHello callback, with [`select_context`] and [`client_hello_server_name`].
//!
//! # Clients
//!
//! ```
//! use openssl::ssl::{SslConnector, SslMethod};
//! use resumption::{SessionCacheMode, SessionContext};
//! use resumption_openssl::{ClientSessions, Peer};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = Arc::new(SessionContext::builder().mode(SessionCacheMode::CLIENT).build()?);
//! let mut connector = SslConnector::builder(SslMethod::tls_client())?;
//! ClientSessions::new(cache).install(&mut connector)?;
//! let connector = connector.build();
//!
//! let ssl = ClientSessions::start(connector.context(), &Peer::new("www.example", 443)?)?;
//! // ssl.connect(std::net::TcpStream::connect("www.example:443")?)?;
//! # drop(ssl);
//! # Ok(())
//! # }
//! ```
//!
//! # How connections end
//!
//! As with OpenSSL's own cache, a server's session is removed when its connection is freed without a close_notify
//! having been sent, and when a fatal alert is sent or received; in TLS 1.3 that is the session of the last ticket, and
//! the others stay. Since OpenSSL 3.0 a peer that closes the transport without a close_notify counts as a fatal error.
//! To keep sessions in both cases, set the option `IGNORE_UNEXPECTED_EOF` and, before a connection is freed,
//! `set_shutdown(ShutdownState::SENT)`. A client's sessions are kept whatever happens to a connection, since an alert
//! that comes before the server is authenticated may be anybody's; see [`ClientSessions::forget`].
//!
//! # Threads, costs, secrets
//!
//! No call blocks and no panic crosses into C. What a *user* adds to the [`SessionContext`] (callbacks, an external
//! store) runs inside the handshake, on its thread, and must not wait for a network; when it panics, that handshake goes
//! on without the cache, and [`ServerSessions::faults`] counts it. OpenSSL's queue of errors is left as it was.
//!
//! A resumption costs one SHA-256 of a hundred bytes and one decoding of the session. A session is about 200 bytes, and
//! the certificate of the peer, if it has one: where clients authenticate, set
//! [`max_session_bytes`](resumption::ContextBuilder::max_session_bytes).
//!
//! Encoded sessions are kept in a [`Secret`], which is wiped when it is freed. While OpenSSL decodes one it makes
//! copies of its own; of these it wipes those that become part of the session.
//!
//! Whoever has seen a TLS 1.3 ticket on the wire can use it up, since OpenSSL asks for the session before it verifies
//! the binder. The victim then makes a full handshake; nothing is revealed.
//!
//! # Versions and building
//!
//! OpenSSL 1.1.1 and newer, by the openssl crate 0.10; not LibreSSL, BoringSSL or AWS-LC, which lack parts of the
//! interface. The system's OpenSSL is found by pkg-config (Debian: `apt-get install libssl-dev pkg-config`). On machines
//! without its headers, the feature `vendored` builds OpenSSL from source, which takes perl, make and some minutes.
//!
//! Connections must be made by the openssl crate (`Ssl::new` or what builds on it), not by `SSL_new` behind its back:
//! it finds its callbacks by what it leaves in the connection.

#![deny(unsafe_code)]

mod client;
mod contain;
mod counters;
mod digest;
#[allow(unsafe_code, reason = "what the openssl crate has no name for")]
mod ffi;
mod peer;
mod policy;
mod resume;
mod server;
mod server_name;

pub use client::{ClientSessions, StartError};
pub use counters::OpensslCounters;
pub use peer::{Peer, PeerError};
pub use policy::{InstallError, Policy};
pub use server::{ServerSessions, TicketUse};
pub use server_name::{SelectError, client_hello_server_name, select_context};

#[cfg(doc)]
use resumption::{Secret, SessionContext};
