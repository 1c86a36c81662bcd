//! rustls server session storage on the [`resumption`] engine.
//!
//! rustls asks a [`StoresServerSessions`] for every session that a client offers to resume. The one it comes with
//! holds 256 sessions behind a mutex, never expires them and does not know which server policy a session was made
//! under. [`ServerSessions`] answers the same questions from a lock-free [`SessionContext`](resumption::SessionContext):
//!
//! * **TLS 1.2** sessions are looked up by session id and may be resumed until they expire.
//! * **TLS 1.3** tickets are taken: of any number of connections that offer the same ticket, on any number of threads,
//!   exactly one gets it (RFC 8446, sections 8.1 and C.4). This is what makes 0-RTT safe to allow in one process.
//! * Sessions **expire**. rustls puts no age limit on stateful sessions; the engine's timeout is the limit.
//! * Sessions stay with the **policy** they were made under. A [`ServerPolicy`] digests what a resumption skips
//!   (certificate chain, client verification, client CAs, server names, ALPN); a session made under one policy is a
//!   miss under every other. There is no constant to fall back on.
//!
//! # Example
//!
//! ```
//! use resumption::{Secret, SessionContext};
//! use resumption_rustls::{ServerPolicy, ServerSessions};
//! use rustls::ServerConfig;
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let made = rcgen::generate_simple_self_signed(vec!["www.example".to_owned()])?;
//! # let chain = vec![made.cert.der().clone()];
//! # let private_key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
//! // One cache for the whole process …
//! let cache: Arc<SessionContext<Secret>> = Arc::new(SessionContext::builder().capacity(100_000).build()?);
//!
//! // … and one view of it for every `ServerConfig`.
//! let policy = ServerPolicy::builder()
//!     .certificate_chain(&chain)
//!     .server_name("www.example")
//!     .alpn_protocols(["h2", "http/1.1"])
//!     .build()?;
//! let sessions = Arc::new(ServerSessions::new(Arc::clone(&cache), &policy));
//!
//! let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private_key)?;
//! config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
//! config.send_tls13_tickets = 2; // yours to choose; every ticket is one entry of the cache
//! sessions.install(&mut config)?;
//! # Ok(())
//! # }
//! ```
//!
//! # One view per configuration
//!
//! rustls compares the server name and the cipher suite of a stored session with those of the new connection, and
//! nothing else: neither the certificate resolver nor the client verifier. Two configurations that share a store and
//! differ in either can be crossed: a client that was never asked for a certificate resumes where one is required.
//! Give each `ServerConfig` a view of its own over the shared cache. To *share* sessions between two configurations,
//! make both views from the same [`ServerPolicy`], or from policies that state the same facts: that is then an explicit
//! statement that a session of one is as good as a session of the other.
//!
//! A reloaded certificate, CA bundle or revocation list makes another policy, hence another view, and the sessions of
//! the old one are never found again. [`ServerSessions::purge`] frees their memory at once instead of at their timeout.
//!
//! # Costs, threads, secrets
//!
//! No call blocks, none takes a lock, none panics, and a miss allocates nothing: a ClientHello with hundreds of
//! identities costs one bounded lookup for each. What a *user* adds to the context (callbacks, an external store) runs
//! inside the handshake, on the thread that drives the connection, and must not wait for a network.
//!
//! A session is a few hundred bytes, but rustls keeps a client's certificate chain in it, which is as long as the client
//! wants. Where clients authenticate, set
//! [`max_session_bytes`](resumption::ContextBuilder::max_session_bytes): a longer session is not stored.
//!
//! The bytes that rustls hands over are moved, not copied, into a [`Secret`](resumption::Secret) that is wiped when it
//! is freed. rustls wants an owned `Vec<u8>` back from a lookup and drops that copy without wiping it; this crate
//! cannot change that.
//!
//! rustls takes a TLS 1.3 ticket before it has verified the binder, so whoever has seen a ticket on the wire can use it
//! up. The victim then makes a full handshake; nothing is revealed. The same is true of every store for rustls.
//!
//! # Versions
//!
//! Keys are typed by protocol version, which is read from the value that rustls stores: a TLS 1.2 session is never
//! taken as a TLS 1.3 ticket, nor the reverse, whatever id a client sends. A value that does not look like one of
//! rustls 0.23 is refused, which rustls treats as a session that cannot be resumed.

#![forbid(unsafe_code)]

mod digest;
mod encoded;
mod policy;
mod sessions;
mod storage;

pub use policy::{ClientVerification, PolicyError, ServerPolicy, ServerPolicyBuilder};
pub use sessions::{InstallError, ServerSessions};

#[cfg(doc)]
use rustls::server::StoresServerSessions;
