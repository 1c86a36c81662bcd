//! Owned bytes that are wiped before their memory is given back.

use super::Payload;
use std::fmt;
use zeroize::Zeroize;

/// Bytes that must not outlive their use: wiped on drop, never printed, never cloned by accident.
///
/// ```
/// let secret = resumption::Secret::from(vec![1, 2, 3]);
/// assert_eq!(secret.as_bytes(), [1, 2, 3]);
/// assert_eq!(format!("{secret:?}"), "Secret(3 bytes)");
/// ```
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes ownership of `bytes`; the whole buffer, spare capacity included, is wiped on drop.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Payload for Secret {
    fn weight(&self) -> usize {
        self.0.capacity()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}
