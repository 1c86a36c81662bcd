//! What can be refused, and why. A refused call changed nothing.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;

/// Why bytes are not a session id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionIdError {
    /// No bytes. A session without an id cannot be cached.
    Empty,
    /// More than 32 bytes.
    TooLong {
        /// How many there were.
        len: usize,
    },
}

impl fmt::Display for SessionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a session id has at least 1 byte"),
            Self::TooLong { len } => write!(f, "a session id has at most 32 bytes, not {len}"),
        }
    }
}

impl Error for SessionIdError {}

/// The bytes are too long for a session id context: more than 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionIdContextError {
    /// How many there were.
    pub len: usize,
}

impl fmt::Display for SessionIdContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a session id context has at most 32 bytes, not {}", self.len)
    }
}

impl Error for SessionIdContextError {}

/// Why a session was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddError {
    /// The session weighs more than the configured largest session.
    TooLarge {
        /// Its weight in bytes.
        weight: usize,
        /// The largest weight allowed, in bytes.
        limit: usize,
    },
    /// The session lies at an address above 2^48, whose upper bits the table needs for itself. Not seen on any
    /// mainstream 64-bit system; hardware-tagged heaps do it.
    Address,
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { weight, limit } => {
                write!(f, "the session weighs {weight} bytes, more than the largest allowed, {limit}")
            }
            Self::Address => f.write_str("the session's address does not fit in 48 bits"),
        }
    }
}

impl Error for AddError {}

/// The capacity is more sessions than any table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityError {
    /// The capacity asked for.
    pub asked: usize,
    /// The largest capacity there is.
    pub limit: usize,
}

impl CapacityError {
    pub(crate) fn check(asked: usize, limit: usize) -> Result<(), Self> {
        if asked > limit { Err(Self { asked, limit }) } else { Ok(()) }
    }
}

impl fmt::Display for CapacityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "capacity {} is above the largest possible, {}", self.asked, self.limit)
    }
}

impl Error for CapacityError {}

/// Why a context could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The capacity was refused.
    Capacity(CapacityError),
    /// The table's memory could not be allocated.
    OutOfMemory {
        /// Bytes asked for.
        bytes: usize,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity(refused) => refused.fmt(f),
            Self::OutOfMemory { bytes } => write!(f, "no memory for a table of {bytes} bytes"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Capacity(refused) => Some(refused),
            Self::OutOfMemory { .. } => None,
        }
    }
}

impl From<CapacityError> for BuildError {
    fn from(refused: CapacityError) -> Self {
        Self::Capacity(refused)
    }
}
