//! SHA-256 over fields that cannot run into each other.

use openssl::sha::Sha256;

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
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// Adds a number, such as how many fields follow.
    pub(crate) fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    /// Adds a list, in order.
    pub(crate) fn list<T: AsRef<[u8]>>(&mut self, items: &[T]) {
        self.number(items.len() as u64);
        for item in items {
            self.field(item.as_ref());
        }
    }

    /// Adds a set: neither order nor repetition matters.
    pub(crate) fn set(&mut self, mut items: Vec<Vec<u8>>) {
        items.sort_unstable();
        items.dedup();
        self.list(&items);
    }

    pub(crate) fn finish(self) -> [u8; LEN] {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(fill: impl FnOnce(&mut FieldDigest)) -> [u8; LEN] {
        let mut digest = FieldDigest::new("test");
        fill(&mut digest);
        digest.finish()
    }

    #[test]
    fn lists_that_join_to_the_same_bytes_differ() {
        let list = |items: &[&str]| digest(|digest| digest.list(items));
        assert_eq!(list(&["ab", "c"]), list(&["ab", "c"]));
        assert_ne!(list(&["ab", "c"]), list(&["a", "bc"]));
        assert_ne!(list(&["ab"]), list(&["ab", ""]));
        let two_lists = |one: &[&str], other: &[&str]| {
            digest(|digest| {
                digest.list(one);
                digest.list(other);
            })
        };
        assert_ne!(two_lists(&["a"], &["b"]), two_lists(&["a", "b"], &[]));
        assert_ne!(FieldDigest::new("one").finish(), FieldDigest::new("two").finish());
    }

    #[test]
    fn a_set_has_no_order_and_no_repetition() {
        let set = |items: &[&str]| {
            digest(|digest| digest.set(items.iter().map(|item| item.as_bytes().to_vec()).collect()))
        };
        assert_eq!(set(&["a", "b", "a"]), set(&["b", "a"]));
        assert_ne!(set(&["a", "b"]), set(&["a"]));
    }
}
