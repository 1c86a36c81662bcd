//! loom's atomics: same names, explored exhaustively.
#![forbid(unsafe_code)]

pub(crate) use loom::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
