//! Session ids and session id contexts: short byte strings, inline and of bounded length.

use crate::error::{SessionIdContextError, SessionIdError};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A TLS session id: 1 to 32 bytes, stored inline.
///
/// In TLS 1.2 this is the server's session id (RFC 5246, section 7.4.1.3); for a stateful TLS 1.3 ticket it is the
/// ticket itself (RFC 8446, section 4.6.1). Bytes that came from a peer are untrusted: parse them with
/// [`SessionId::new`] and treat a refusal as a miss. `SSL_SESSION_get_id` and `SSL_SESSION_set1_id` are the
/// OpenSSL calls that speak of the same bytes.
///
/// `Debug` prints the length and the first two bytes only: whoever knows an id can offer it.
///
/// ```
/// use resumption::SessionId;
/// let id = SessionId::new(&[7; 32])?;
/// assert_eq!(id.as_bytes(), &[7; 32]);
/// assert!(SessionId::new(&[]).is_err());
/// assert!(SessionId::new(&[0; 33]).is_err());
/// # Ok::<(), resumption::SessionIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct SessionId {
    // Bytes past `len` are `len`, so that whole arrays can be hashed and compared, and ids that differ in trailing zeros
    // only have hashes of their own.
    pub(super) bytes: [u8; Self::MAX_LEN],
    pub(super) len: u16,
}

impl SessionId {
    /// The longest session id TLS allows, in bytes.
    pub const MAX_LEN: usize = 32;

    /// Copies `bytes` into a session id.
    ///
    /// # Errors
    ///
    /// [`SessionIdError::Empty`] for no bytes at all (a session without an id cannot be cached) and
    /// [`SessionIdError::TooLong`] for more than 32.
    #[inline]
    pub fn new(bytes: &[u8]) -> Result<Self, SessionIdError> {
        if bytes.is_empty() {
            return Err(SessionIdError::Empty);
        }
        if bytes.len() > Self::MAX_LEN {
            return Err(SessionIdError::TooLong { len: bytes.len() });
        }
        let len = bytes.len() as u8;
        Ok(Self { bytes: pad(bytes, len), len: u16::from(len) })
    }

    /// The bytes of the id.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Number of bytes, 1 to 32.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // an id is never empty
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The id padded with its length to its full width.
    #[inline]
    pub(crate) fn padded(&self) -> &[u8; Self::MAX_LEN] {
        &self.bytes
    }
}

impl PartialOrd for SessionId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of the bytes.
impl Ord for SessionId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for SessionId {
    /// Two writes of fixed length, whatever the id's: what the engine's own table hashes too.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (halves, _) = self.bytes.as_chunks::<16>();
        for half in halves {
            state.write_u128(u128::from_ne_bytes(*half));
        }
    }
}

impl TryFrom<&[u8]> for SessionId {
    type Error = SessionIdError;

    fn try_from(bytes: &[u8]) -> Result<Self, SessionIdError> {
        Self::new(bytes)
    }
}

impl From<[u8; 32]> for SessionId {
    fn from(bytes: [u8; 32]) -> Self {
        Self { bytes, len: 32 }
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(f, "SessionId", self.as_bytes())
    }
}

/// A session id context: 0 to 32 bytes that say where a session may be resumed.
///
/// A lookup under another context is a miss and leaves the entry where it is. The engine has no default: derive one
/// from everything that a resumption would skip checking (certificate, verify mode, client CAs, server names). See
/// `SSL_CTX_set_session_id_context(3)`.
///
/// ```
/// use resumption::SessionIdContext;
/// let context = SessionIdContext::new(b"api.example, no client auth")?;
/// assert_ne!(context, SessionIdContext::EMPTY);
/// // A longer description is refused: digest it first.
/// assert!(SessionIdContext::new(&[0; 33]).is_err());
/// # Ok::<(), resumption::SessionIdContextError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionIdContext {
    bytes: [u8; Self::MAX_LEN],
    len: u8,
}

impl SessionIdContext {
    /// The longest session id context, in bytes (`SSL_MAX_SID_CTX_LENGTH`).
    pub const MAX_LEN: usize = 32;

    /// The context of no bytes. It equals only itself.
    pub const EMPTY: Self = Self { bytes: [0; Self::MAX_LEN], len: 0 };

    /// Copies `bytes` into a session id context.
    ///
    /// # Errors
    ///
    /// [`SessionIdContextError`] for more than 32 bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, SessionIdContextError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(SessionIdContextError { len: bytes.len() });
        }
        Ok(Self { bytes: pad(bytes, 0), len: bytes.len() as u8 })
    }

    /// The bytes of the context.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The context padded with zeros to its full width.
    #[inline]
    pub(crate) fn padded(&self) -> &[u8; Self::MAX_LEN] {
        &self.bytes
    }

    /// Its length as it is stored.
    #[inline]
    pub(crate) fn stored_len(&self) -> u8 {
        self.len
    }

    /// Whether the context has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl From<[u8; 32]> for SessionIdContext {
    fn from(bytes: [u8; 32]) -> Self {
        Self { bytes, len: 32 }
    }
}

impl TryFrom<&[u8]> for SessionIdContext {
    type Error = SessionIdContextError;

    fn try_from(bytes: &[u8]) -> Result<Self, SessionIdContextError> {
        Self::new(bytes)
    }
}

impl fmt::Debug for SessionIdContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(f, "SessionIdContext", self.as_bytes())
    }
}

/// At most 32 bytes, and as many of `padding` as are missing.
fn pad(bytes: &[u8], padding: u8) -> [u8; 32] {
    let mut padded = [padding; 32];
    padded[..bytes.len()].copy_from_slice(bytes);
    padded
}

fn redacted(f: &mut fmt::Formatter<'_>, name: &str, bytes: &[u8]) -> fmt::Result {
    match bytes {
        [a, b, _, _, _, _, _, _, ..] => write!(f, "{name}({a:02x}{b:02x}.., {} bytes)", bytes.len()),
        _ => write!(f, "{name}({} bytes)", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_at_the_edges() {
        assert_eq!(SessionId::new(&[]), Err(SessionIdError::Empty));
        assert_eq!(SessionId::new(&[1]).unwrap().as_bytes(), [1]);
        assert_eq!(SessionId::new(&[1; 32]).unwrap().len(), 32);
        assert_eq!(SessionId::new(&[1; 33]), Err(SessionIdError::TooLong { len: 33 }));
        assert!(SessionIdContext::new(&[]).unwrap().is_empty());
        assert_eq!(SessionIdContext::new(&[0; 33]), Err(SessionIdContextError { len: 33 }));
    }

    #[test]
    fn trailing_zeros_count() {
        assert_ne!(SessionId::new(&[1]).unwrap(), SessionId::new(&[1, 0]).unwrap());
        assert_ne!(SessionIdContext::EMPTY, SessionIdContext::new(&[0]).unwrap());
        assert_ne!(SessionId::new(&[31; 31]).unwrap(), SessionId::new(&[31; 32]).unwrap());
    }

    #[test]
    fn ids_are_ordered_as_their_bytes_are() {
        let mut ids = [&[2, 0][..], &[2], &[1; 32], &[2, 2], &[1]].map(|id| SessionId::new(id).unwrap());
        ids.sort();
        assert_eq!(
            ids.map(|id| id.as_bytes().to_vec()),
            [vec![1], vec![1; 32], vec![2], vec![2, 0], vec![2, 2]]
        );
    }

    #[test]
    fn debug_does_not_tell_the_id() {
        let id = SessionId::new(&[0xab; 32]).unwrap();
        assert_eq!(format!("{id:?}"), "SessionId(abab.., 32 bytes)");
        assert_eq!(format!("{:?}", SessionId::new(&[0xab; 7]).unwrap()), "SessionId(7 bytes)");
    }
}
