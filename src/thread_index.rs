//! A small number for each live thread, so that statistics and eviction hands can be its own.
#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

/// The index of a live thread: unique among live threads, as small as possible, reused after the thread's end.
#[derive(Debug)]
pub(crate) struct ThreadIndex(u32);

#[derive(Default)]
struct Registry {
    #[cfg_attr(resumption_loom, allow(dead_code))]
    next: u32,
    free: BinaryHeap<Reverse<u32>>,
    // Of threads that ended while guards of theirs lived on.
    lost: Vec<u32>,
}

// A lock is right here: it is taken when a thread first uses the crate and when it ends, and the hand-over of an index
// through it orders the old owner's last write to its statistics before the new owner's first.
static REGISTRY: Mutex<Option<Registry>> = Mutex::new(None);

impl ThreadIndex {
    /// The number of the model's thread: the same in every run of an interleaving.
    #[cfg(resumption_loom)]
    pub(crate) fn acquire(_unused: impl Fn(usize) -> bool) -> Self {
        let id = format!("{:?}", loom::thread::current().id());
        let digits: String = id.chars().filter(char::is_ascii_digit).collect();
        Self(digits.parse().unwrap_or(u32::MAX))
    }

    /// Takes the smallest index that no live thread has, or one that was [lost](Self::lose) and is `unused` now.
    #[cfg(not(resumption_loom))]
    pub(crate) fn acquire(unused: impl Fn(usize) -> bool) -> Self {
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = registry.get_or_insert_with(Registry::default);
        if let Some(found) = registry.lost.iter().position(|index| unused(*index as usize)) {
            return Self(registry.lost.swap_remove(found));
        }
        let index = registry.free.pop().map_or_else(
            || {
                registry.next += 1;
                registry.next - 1
            },
            |Reverse(index)| index,
        );
        Self(index)
    }

    /// Gives the index up, though it is still used.
    pub(crate) fn lose(self) {
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        registry.get_or_insert_with(Registry::default).lost.push(self.0);
        std::mem::forget(self);
    }

    #[inline]
    pub(crate) fn get(&self) -> usize {
        self.0 as usize
    }
}

impl Drop for ThreadIndex {
    fn drop(&mut self) {
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        registry.get_or_insert_with(Registry::default).free.push(Reverse(self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_reused_and_never_shared() {
        let (a, b) = (ThreadIndex::acquire(|_| true), ThreadIndex::acquire(|_| true));
        assert_ne!(a.get(), b.get());
        let freed = a.get();
        drop(a);
        let c: Vec<_> = (0..8).map(|_| ThreadIndex::acquire(|_| true)).collect();
        assert!(c.iter().all(|i| i.get() != b.get()));
        assert!(c.iter().any(|i| i.get() == freed) || freed > 64);
    }

    #[test]
    fn a_lost_index_is_reused_when_it_is_unused() {
        let lost = ThreadIndex::acquire(|_| false);
        let index = lost.get();
        lost.lose();
        let others: Vec<_> = (0..8).map(|_| ThreadIndex::acquire(|other| other != index)).collect();
        assert!(others.iter().all(|other| other.get() != index));
        let found: Vec<_> = (0..8).map(|_| ThreadIndex::acquire(|other| other == index)).collect();
        assert!(found.iter().any(|found| found.get() == index));
    }
}
