//! Cache modes, with OpenSSL's names and values.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// What a context does by itself: the bits of `SSL_CTX_set_session_cache_mode(3)`, with the same values.
///
/// ```
/// use resumption::SessionCacheMode;
/// let mode = SessionCacheMode::SERVER | SessionCacheMode::NO_AUTO_CLEAR;
/// assert_eq!(mode.bits(), 0x82);
/// assert!(mode.contains(SessionCacheMode::SERVER));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionCacheMode(u32);

impl SessionCacheMode {
    /// Nothing happens by itself: no lookup, no callback, no store. Explicit add, remove and flush still work.
    pub const OFF: Self = Self(0);
    /// Sessions of clients are stored.
    pub const CLIENT: Self = Self(1);
    /// Sessions of servers are stored: the default.
    pub const SERVER: Self = Self(2);
    /// Both are.
    pub const BOTH: Self = Self(3);
    /// No automatic removal of what has expired: only `flush_sessions` reclaims, and a lookup that meets an expired session
    /// of TLS 1.2 or older. Lookups still never return it.
    pub const NO_AUTO_CLEAR: Self = Self(0x80);
    /// Lookups ask the external store only.
    pub const NO_INTERNAL_LOOKUP: Self = Self(0x100);
    /// Nothing is stored here automatically; explicit add still is.
    pub const NO_INTERNAL_STORE: Self = Self(0x200);
    /// Neither: the cache is external.
    pub const NO_INTERNAL: Self = Self(0x300);
    /// A hit renews the entry's expiry.
    pub const UPDATE_TIME: Self = Self(0x400);

    /// The mode with these bits. Unknown bits are kept and mean nothing.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether neither side's bit is set.
    #[inline]
    pub const fn is_off(self) -> bool {
        self.0 & Self::BOTH.0 == 0
    }

    /// Whether lookups ask the internal table.
    #[inline]
    pub(crate) const fn looks_inside(self) -> bool {
        !self.is_off() && !self.contains(Self::NO_INTERNAL_LOOKUP)
    }

    /// The mode as a context keeps it: the bits, and above them, where a lookup finds it by a glance at the sign, whether
    /// lookups ask the internal table and change nothing in it.
    pub(super) const fn to_word(self) -> u64 {
        let plain = self.looks_inside() && !self.contains(Self::UPDATE_TIME);
        (self.0 as u64) | ((plain as u64) << 63)
    }

    #[allow(clippy::cast_possible_truncation)] // the bits are the lower half
    pub(super) const fn from_word(word: u64) -> Self {
        Self(word as u32)
    }

    #[inline]
    pub(super) const fn is_plain_word(word: u64) -> bool {
        word.cast_signed() < 0
    }

    /// Whether what is stored automatically goes into the internal table too.
    #[inline]
    pub(crate) const fn stores_inside(self) -> bool {
        !self.contains(Self::NO_INTERNAL_STORE)
    }

    pub(crate) const fn stores_for(self, side: Side) -> bool {
        self.contains(match side {
            Side::Client => Self::CLIENT,
            Side::Server => Self::SERVER,
        })
    }
}

impl Default for SessionCacheMode {
    fn default() -> Self {
        Self::SERVER
    }
}

impl BitOr for SessionCacheMode {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for SessionCacheMode {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for SessionCacheMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(u32, &str); 6] = [
            (1, "CLIENT"),
            (2, "SERVER"),
            (0x80, "NO_AUTO_CLEAR"),
            (0x100, "NO_INTERNAL_LOOKUP"),
            (0x200, "NO_INTERNAL_STORE"),
            (0x400, "UPDATE_TIME"),
        ];
        let mut rest = self.0;
        f.write_str("SessionCacheMode(")?;
        let mut separator = "";
        for (bit, name) in NAMES.into_iter().filter(|(bit, _)| self.0 & bit != 0) {
            write!(f, "{separator}{name}")?;
            separator = " | ";
            rest &= !bit;
        }
        match (rest, separator) {
            (0, "") => f.write_str("OFF)"),
            (0, _) => f.write_str(")"),
            (rest, _) => write!(f, "{separator}{rest:#x})"),
        }
    }
}

/// Which end of a connection a session belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client's: it offers the session.
    Client,
    /// The server's: it looks the session up.
    Server,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_openssl() {
        let values = [
            (SessionCacheMode::OFF, 0),
            (SessionCacheMode::CLIENT, 1),
            (SessionCacheMode::SERVER, 2),
            (SessionCacheMode::BOTH, 3),
            (SessionCacheMode::NO_AUTO_CLEAR, 0x80),
            (SessionCacheMode::NO_INTERNAL_LOOKUP, 0x100),
            (SessionCacheMode::NO_INTERNAL_STORE, 0x200),
            (SessionCacheMode::NO_INTERNAL, 0x300),
            (SessionCacheMode::UPDATE_TIME, 0x400),
        ];
        for (mode, bits) in values {
            assert_eq!(mode.bits(), bits);
        }
    }

    #[test]
    fn debug_names_the_bits() {
        assert_eq!(format!("{:?}", SessionCacheMode::OFF), "SessionCacheMode(OFF)");
        assert_eq!(
            format!("{:?}", SessionCacheMode::from_bits(0x1082)),
            "SessionCacheMode(SERVER | NO_AUTO_CLEAR | 0x1000)"
        );
    }
}
