//! The rule that is broken on purpose, in builds for fuzzing and for sanitizers: to show that they find that out.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU8, Ordering};

pub use super::Rule;

/// The rule plus 1, or 0.
static BROKEN: AtomicU8 = AtomicU8::new(0);

/// Breaks `rule` from now on.
pub fn break_rule(rule: Rule) {
    BROKEN.store(rule as u8 + 1, Ordering::Relaxed);
}

#[inline]
pub(crate) fn is_broken(rule: Rule) -> bool {
    BROKEN.load(Ordering::Relaxed) == rule as u8 + 1
}
