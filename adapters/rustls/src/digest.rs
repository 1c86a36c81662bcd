//! SHA-256 over fields that cannot run into each other.

use sha2::{Digest as _, Sha256};

/// The length of every digest here, which is also the longest session id context.
pub(crate) const LEN: usize = 32;

/// A digest whose every field carries its length, so that no two lists of fields have the same encoding.
pub(crate) struct FieldDigest(Sha256);

impl FieldDigest {
    /// Starts a digest of its own `domain`: equal fields under two domains give different digests.
    pub(crate) fn new(domain: &str) -> Self {
        let mut digest = Self(Sha256::new());
        digest.field(domain.as_bytes());
        digest
    }

    /// Adds one field.
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.update(bytes);
    }

    /// Adds a number, such as how many fields follow.
    pub(crate) fn count(&mut self, count: usize) {
        self.0.update((count as u64).to_be_bytes());
    }

    /// Adds a list, in order.
    pub(crate) fn list<T: AsRef<[u8]>>(&mut self, items: &[T]) {
        self.count(items.len());
        for item in items {
            self.field(item.as_ref());
        }
    }

    pub(crate) fn finish(self) -> [u8; LEN] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_join_to_the_same_bytes_differ() {
        let digest = |items: &[&str]| {
            let mut digest = FieldDigest::new("test");
            digest.list(items);
            digest.finish()
        };
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["ab"]), digest(&["ab", ""]));
        let two_lists = |one: &[&str], other: &[&str]| {
            let mut digest = FieldDigest::new("test");
            digest.list(one);
            digest.list(other);
            digest.finish()
        };
        assert_ne!(two_lists(&["a"], &["b"]), two_lists(&["a", "b"], &[]));
        assert_ne!(FieldDigest::new("one").finish(), FieldDigest::new("two").finish());
    }
}
