//! The standard library's atomics for fuzzing: a fuzzer may stop a thread before each access and let another one go on.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic as inner;

pub(crate) use std::sync::atomic::Ordering;

super::watched! {
    [const]
    AtomicU8: u8,
    AtomicU16: u16,
    AtomicU32: u32,
    AtomicU64: u64,
    AtomicUsize: usize,
}

pub(crate) fn fence(order: Ordering) {
    begin();
    inner::fence(order);
}

thread_local! {
    static STEP: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Has the current thread call `step` before each access, or nothing.
pub fn on_step(step: Option<fn()>) {
    STEP.set(step);
}

#[inline]
fn begin() {
    if let Some(step) = STEP.try_with(Cell::get).ok().flatten() {
        step();
    }
}

#[inline]
fn adjust(order: Ordering, _: usize) -> Ordering {
    order
}

#[inline]
fn end(_: &'static str, _: Ordering, _: Option<Result<u64, u64>>) {}

pub(crate) use super::broken::is_broken;
pub use super::broken::{Rule, break_rule};
