//! What a resumption takes for granted, and the session id context that stands for it.

use crate::digest::{self, FieldDigest};
use resumption::SessionIdContext;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use std::fmt;

/// What a server asks of its clients, as rustls's client verifiers state it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientVerification {
    /// Clients are not asked for a certificate.
    #[default]
    None,
    /// Clients are asked for a certificate and may go without one.
    Optional,
    /// Clients without an acceptable certificate are refused.
    Required,
}

/// All that a full handshake under one server configuration establishes and a resumption does not check again,
/// condensed into a session id context.
///
/// A change to any part makes another policy, under which no earlier session is found. Two policies that state the same
/// facts are the same policy, in every process and on every machine.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerPolicy {
    id_context: SessionIdContext,
    alpn_protocols: Vec<Vec<u8>>,
}

impl ServerPolicy {
    /// Starts a policy: [`certificate_chain`](ServerPolicyBuilder::certificate_chain) is the one part that is
    /// never optional.
    pub fn builder() -> ServerPolicyBuilder {
        ServerPolicyBuilder::default()
    }

    /// The session id context: SHA-256 over all parts.
    pub fn id_context(&self) -> SessionIdContext {
        self.id_context
    }

    /// The ALPN protocols, most preferred first.
    pub fn alpn_protocols(&self) -> &[Vec<u8>] {
        &self.alpn_protocols
    }
}

impl fmt::Debug for ServerPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerPolicy").field("id_context", &self.id_context).finish_non_exhaustive()
    }
}

/// Collects the parts of a [`ServerPolicy`].
///
/// Certificate chains, client authorities, revocation lists and server names are sets: neither order nor repetition
/// matters. ALPN protocols and extra parts are lists: their order does.
#[derive(Clone, Default)]
#[must_use]
pub struct ServerPolicyBuilder {
    chains: Vec<[u8; digest::LEN]>,
    verification: ClientVerification,
    authorities: Vec<[u8; digest::LEN]>,
    revocations: Vec<[u8; digest::LEN]>,
    names: Vec<String>,
    alpn_protocols: Vec<Vec<u8>>,
    extra: Vec<Vec<u8>>,
}

impl ServerPolicyBuilder {
    /// A certificate chain that the server may present, end-entity certificate first, or its raw public key. Call this
    /// for each of them when a resolver chooses among several. An empty chain counts as none.
    pub fn certificate_chain(mut self, chain: &[CertificateDer<'_>]) -> Self {
        if !chain.is_empty() {
            let mut digest = FieldDigest::new("chain");
            digest.list(chain);
            self.chains.push(digest.finish());
        }
        self
    }

    /// Whether clients must, may or cannot authenticate; [`ClientVerification::None`] unless this is called.
    pub fn client_verification(mut self, verification: ClientVerification) -> Self {
        self.verification = verification;
        self
    }

    /// The roots that client certificates are verified against: each one's name, key and name constraints.
    pub fn client_roots(mut self, roots: &RootCertStore) -> Self {
        for root in &roots.roots {
            let mut digest = FieldDigest::new("root");
            digest.list(&[&root.subject, &root.subject_public_key_info]);
            digest.list(root.name_constraints.as_slice());
            self.authorities.push(digest.finish());
        }
        self
    }

    /// One client authority in any encoding that identifies it: a CA certificate, a pinned client key. For verifiers
    /// that are not made from a [`RootCertStore`].
    pub fn client_authority(mut self, authority: &[u8]) -> Self {
        self.authorities.push(single("authority", authority));
        self
    }

    /// A certificate revocation list that the client verifier consults. A client whose certificate is on a newer list
    /// then cannot resume a session from before it.
    pub fn client_revocation_list(mut self, list: &[u8]) -> Self {
        self.revocations.push(single("crl", list));
        self
    }

    /// A name that the configuration serves. Names are compared as DNS does: without regard to the case of ASCII letters
    /// and to a trailing dot. Internationalised names are given in their ASCII form (`xn--…`); wildcards and addresses
    /// are taken as they are.
    pub fn server_name(mut self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        self.names.push(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        self
    }

    /// The ALPN protocols of the configuration, most preferred first; none unless this is called.
    pub fn alpn_protocols<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn_protocols = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect();
        self
    }

    /// Anything else that must be the same for a session to be resumed: a listener, a tenant, the version of an
    /// access list.
    pub fn extra(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.extra.push(bytes.as_ref().to_vec());
        self
    }

    /// Condenses the parts.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] when the parts say too little to tell this server from another one, or a name is no server name.
    pub fn build(self) -> Result<ServerPolicy, PolicyError> {
        self.check()?;
        let mut digest = FieldDigest::new("resumption-rustls server policy 1");
        digest.list(&set(self.chains));
        digest.count(match self.verification {
            ClientVerification::None => 0,
            ClientVerification::Optional => 1,
            ClientVerification::Required => 2,
        });
        digest.list(&set(self.authorities));
        digest.list(&set(self.revocations));
        digest.list(&set(self.names));
        digest.list(&self.alpn_protocols);
        digest.list(&self.extra);
        let id_context = SessionIdContext::new(&digest.finish())
            .expect("SHA-256 is as long as the longest session id context");
        Ok(ServerPolicy { id_context, alpn_protocols: self.alpn_protocols })
    }

    fn check(&self) -> Result<(), PolicyError> {
        if self.chains.is_empty() {
            return Err(PolicyError::NoCertificate);
        }
        let names_authority = !self.authorities.is_empty() || !self.extra.is_empty();
        if self.verification != ClientVerification::None && !names_authority {
            return Err(PolicyError::NoClientAuthority);
        }
        match self.names.iter().find(|name| !is_server_name(name)) {
            Some(name) => Err(PolicyError::ServerName(name.clone())),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ServerPolicyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerPolicyBuilder")
            .field("chains", &self.chains.len())
            .field("verification", &self.verification)
            .field("authorities", &self.authorities.len())
            .field("revocations", &self.revocations.len())
            .field("names", &self.names)
            .field("alpn_protocols", &self.alpn_protocols.len())
            .field("extra", &self.extra.len())
            .finish()
    }
}

fn single(domain: &str, bytes: &[u8]) -> [u8; digest::LEN] {
    let mut digest = FieldDigest::new(domain);
    digest.field(bytes);
    digest.finish()
}

fn set<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items.dedup();
    items
}

/// The longest name is RFC 1035's, in text and without the trailing dot. Only what could make two spellings of one name
/// look different is refused; what a name may contain beyond that is rustls's business.
fn is_server_name(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && !name.ends_with('.')
}

/// Why parts make no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyError {
    /// No certificate: nothing tells this server's sessions from those of another.
    NoCertificate,
    /// Clients are verified, but neither an authority nor an extra part says against what.
    NoClientAuthority,
    /// Not a server name in ASCII: empty, too long, or with white space or other letters in it.
    ServerName(String),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("a session policy needs the server's certificate chain"),
            Self::NoClientAuthority => f.write_str(
                "a session policy that verifies clients needs the authorities they are verified against",
            ),
            Self::ServerName(name) => write!(f, "not a server name in ASCII: {name:?}"),
        }
    }
}

impl std::error::Error for PolicyError {}
