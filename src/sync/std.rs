//! The standard library's atomics.
#![forbid(unsafe_code)]

#[cfg(not(resumption_tsan))]
pub(crate) use std::sync::atomic::fence;
pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// ThreadSanitizer does not model fences. In its place each changes one word, so that of two the second sees what came
/// before the first: all that a fence does, and more.
#[cfg(resumption_tsan)]
pub(crate) fn fence(_: Ordering) {
    static ORDER: AtomicU8 = AtomicU8::new(0);
    ORDER.fetch_add(1, Ordering::SeqCst);
}

#[cfg(resumption_planted)]
pub(crate) use super::broken::is_broken;
#[cfg(resumption_planted)]
pub use super::broken::{Rule, break_rule};

/// No rule is ever broken in code that ships: the compiler drops the broken branch.
#[cfg(not(resumption_planted))]
#[inline(always)]
pub(crate) const fn is_broken(_: super::Rule) -> bool {
    false
}
