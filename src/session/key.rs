//! The cache key: a protocol version and a session id.

use super::SessionId;
use crate::error::SessionIdError;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A TLS or DTLS protocol version, as on the wire (RFC 8446, section 4.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProtocolVersion(pub u16);

impl ProtocolVersion {
    /// TLS 1.0.
    pub const TLS1_0: Self = Self(0x0301);
    /// TLS 1.1.
    pub const TLS1_1: Self = Self(0x0302);
    /// TLS 1.2.
    pub const TLS1_2: Self = Self(0x0303);
    /// TLS 1.3.
    pub const TLS1_3: Self = Self(0x0304);
    /// DTLS 1.0.
    pub const DTLS1_0: Self = Self(0xfeff);
    /// DTLS 1.2.
    pub const DTLS1_2: Self = Self(0xfefd);
    /// DTLS 1.3.
    pub const DTLS1_3: Self = Self(0xfefc);

    /// Whether sessions of this version are tickets that came after the handshake (TLS 1.3 and DTLS 1.3).
    pub const fn has_tickets_only(self) -> bool {
        self.0 == Self::TLS1_3.0 || self.0 == Self::DTLS1_3.0
    }
}

impl fmt::Debug for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TLS1_0 => f.write_str("TLS1_0"),
            Self::TLS1_1 => f.write_str("TLS1_1"),
            Self::TLS1_2 => f.write_str("TLS1_2"),
            Self::TLS1_3 => f.write_str("TLS1_3"),
            Self::DTLS1_0 => f.write_str("DTLS1_0"),
            Self::DTLS1_2 => f.write_str("DTLS1_2"),
            Self::DTLS1_3 => f.write_str("DTLS1_3"),
            Self(other) => write!(f, "ProtocolVersion({other:#06x})"),
        }
    }
}

/// What a session is filed under: protocol version and session id.
///
/// The same id under another version is another session; a lookup never crosses versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)] // so that the version follows the id's length: see `Header::matches`
pub struct SessionKey {
    id: SessionId,
    version: ProtocolVersion,
}

impl SessionKey {
    /// The key of session `id` of protocol `version`.
    #[inline]
    pub const fn new(version: ProtocolVersion, id: SessionId) -> Self {
        Self { id, version }
    }

    /// The key of the session whose id is `bytes`, as a peer sent them.
    ///
    /// # Errors
    ///
    /// As [`SessionId::new`]: no bytes, or more than 32. A server treats both as a miss.
    #[inline]
    pub fn parse(version: ProtocolVersion, bytes: &[u8]) -> Result<Self, SessionIdError> {
        Ok(Self::new(version, SessionId::new(bytes)?))
    }

    /// The protocol version.
    #[inline]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The session id.
    #[inline]
    pub const fn id(&self) -> &SessionId {
        &self.id
    }
}

impl Hash for SessionKey {
    /// The id alone: one id under two versions is too rare to spend instructions on.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.version, self.id)
    }
}
