//! The session cache, and the two sides of TLS.

use crate::Fault;
use crate::args::Options;
use crate::identity::Identity;
use resumption::{Secret, SessionContext};
use resumption_rustls::{ServerPolicy, ServerSessions};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;

pub(crate) type Cache = Arc<SessionContext<Secret>>;

/// No session is larger than this without a client certificate in it, and no client is asked for one here.
const LARGEST_SESSION: usize = 4096;

/// The cache that all sessions of the proxy go to.
pub(crate) fn cache(options: &Options) -> Result<Cache, Fault> {
    let builder = SessionContext::builder().capacity(options.capacity).timeout(options.timeout);
    builder
        .max_session_bytes(LARGEST_SESSION)
        .build()
        .map(Arc::new)
        .map_err(|error| Fault(format!("cannot make the session cache: {error}")))
}

/// A server of `identity` for TLS 1.2 and 1.3 that resumes from `cache`.
pub(crate) fn server(identity: Identity, cache: &Cache) -> Result<Arc<ServerConfig>, Fault> {
    let policy = ServerPolicy::builder()
        .certificate_chain(&identity.chain)
        .build()
        .map_err(|error| Fault(error.to_string()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .map_err(|error| Fault(format!("cannot use the certificate with its key: {error}")))?;
    Arc::new(ServerSessions::new(Arc::clone(cache), &policy))
        .install(&mut config)
        .map_err(|error| Fault(error.to_string()))?;
    Ok(Arc::new(config))
}

/// A client that speaks one version and trusts one server.
pub(crate) fn client(
    identity: &Identity,
    version: &'static SupportedProtocolVersion,
) -> Result<ClientConfig, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in &identity.chain {
        roots
            .add(certificate.clone())
            .map_err(|error| Fault(format!("cannot trust the certificate: {error}")))?;
    }
    let builder = ClientConfig::builder_with_protocol_versions(&[version]);
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
