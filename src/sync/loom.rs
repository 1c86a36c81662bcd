//! loom's atomics: same names, explored exhaustively; and the switches that break a rule on purpose.
#![forbid(unsafe_code)]

use std::cell::Cell;

pub(crate) use loom::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

pub use super::Rule;

std::thread_local! {
    // loom runs all threads of a model on one thread of the system, so this is the model's own.
    static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
}

/// Breaks `rule` in what the current thread's models run from now on.
pub fn break_rule(rule: Option<Rule>) {
    BROKEN.set(rule);
}

pub(crate) fn is_broken(rule: Rule) -> bool {
    BROKEN.get() == Some(rule)
}
