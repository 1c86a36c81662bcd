//! What a resumption takes for granted, and the session id context that stands for it.

use crate::digest::{self, FieldDigest};
use crate::ffi;
use crate::server_name::ServerName;
use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslVerifyMode};
use resumption::SessionIdContext;
use std::error::Error;
use std::fmt;

/// All that a full handshake under one `SSL_CTX` establishes and a resumption does not check again, condensed.
///
/// It is read from the `SSL_CTX` itself, not stated by the user: the end-entity certificates, the verify mode and, where
/// peers are verified, the names of the client CAs, the trusted certificates and revocation lists, the verification
/// depth and flags. To this come the extra parts for all that an `SSL_CTX` does not show: callbacks, a certificate
/// directory that OpenSSL reads as it goes, a tenant. A change to any part makes another policy, under which no earlier
/// session is found. Equal contexts have equal policies, in every process and on every machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Policy {
    digest: [u8; digest::LEN],
    verify_mode: i32,
}

impl Policy {
    pub(crate) fn of_server(
        builder: &mut SslContextBuilder,
        extra: &[Vec<u8>],
    ) -> Result<Self, InstallError> {
        let certificates = ffi::certificates(builder)?;
        if certificates.is_empty() && extra.is_empty() {
            return Err(InstallError::NoCertificate);
        }
        let mut digest = FieldDigest::new("resumption-openssl server policy 1");
        digest.set(certificates);
        let verify_mode = ffi::unfinished(builder).verify_mode();
        if verify_mode != SslVerifyMode::NONE {
            let (authorities, trusted) = (ffi::client_authorities(builder)?, ffi::trusted(builder)?);
            if trusted.is_empty() && extra.is_empty() {
                return Err(InstallError::NoClientAuthority);
            }
            digest.set(authorities);
            verification(&mut digest, builder, trusted);
        }
        Ok(Self::new(digest, verify_mode, extra))
    }

    pub(crate) fn of_client(
        builder: &mut SslContextBuilder,
        extra: &[Vec<u8>],
    ) -> Result<Self, InstallError> {
        let mut digest = FieldDigest::new("resumption-openssl client policy 1");
        digest.set(ffi::certificates(builder)?);
        let verify_mode = ffi::unfinished(builder).verify_mode();
        if verify_mode != SslVerifyMode::NONE {
            let trusted = ffi::trusted(builder)?;
            verification(&mut digest, builder, trusted);
        }
        Ok(Self::new(digest, verify_mode, extra))
    }

    fn new(mut digest: FieldDigest, verify_mode: SslVerifyMode, extra: &[Vec<u8>]) -> Self {
        digest.number(bits(verify_mode.bits()));
        digest.list(extra);
        Self { digest: digest.finish(), verify_mode: verify_mode.bits() }
    }

    /// The session id context of server connections that ask for this server name, or for none.
    ///
    /// Names are compared as DNS does. A connection that changes its own verify mode has another one.
    pub fn id_context(&self, server_name: Option<&str>) -> SessionIdContext {
        self.context_of(ServerName::new(server_name.map(str::as_bytes)), self.verify_mode)
    }

    /// The session id context of a connection.
    pub(crate) fn context_of(&self, name: ServerName<'_>, verify_mode: i32) -> SessionIdContext {
        let mut digest = FieldDigest::new("resumption-openssl connection 1");
        digest.field(&self.digest);
        digest.number(bits(verify_mode));
        name.add_to(&mut digest);
        digest.finish().into()
    }

    /// The session id context of all connections: what OpenSSL compares, and what clients use.
    pub(crate) fn as_context(&self) -> SessionIdContext {
        self.digest.into()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("id_context", &self.as_context()).finish_non_exhaustive()
    }
}

fn verification(digest: &mut FieldDigest, builder: &mut SslContextBuilder, trusted: Vec<Vec<u8>>) {
    digest.set(trusted);
    digest.number(bits(ffi::verify_depth(builder)));
    #[allow(clippy::useless_conversion, reason = "an unsigned long has 32 bits elsewhere")]
    digest.number(u64::from(builder.verify_param_mut().flags().bits()));
}

fn bits(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

/// Why sessions cannot be cached for an `SSL_CTX`, which was left as it was.
#[derive(Debug)]
#[non_exhaustive]
pub enum InstallError {
    /// A server without a certificate and without an extra part: nothing tells its sessions from those of another.
    NoCertificate,
    /// A server verifies its clients, but neither trusted certificates in memory nor an extra part say against what.
    NoClientAuthority,
    /// The mode of the session cache is for the other side only.
    Mode,
    /// This `SSL_CTX` caches sessions of the other side.
    OtherSide,
    /// OpenSSL failed.
    Openssl(ErrorStack),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str(
                "the server's context has no certificate; set it before the session cache is installed, or name an extra part",
            ),
            Self::NoClientAuthority => f.write_str(
                "the server verifies clients but trusts no certificate in memory; set them before the session cache is \
                 installed, or name an extra part",
            ),
            Self::Mode => f.write_str("the session cache's mode is for the other side only"),
            Self::OtherSide => f.write_str("the context caches sessions of the other side already"),
            Self::Openssl(error) => write!(f, "OpenSSL: {error}"),
        }
    }
}

impl Error for InstallError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Openssl(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ErrorStack> for InstallError {
    fn from(error: ErrorStack) -> Self {
        Self::Openssl(error)
    }
}
