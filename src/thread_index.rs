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

impl Registry {
    #[cfg(not(resumption_loom))]
    fn acquire(&mut self, unused: impl Fn(usize) -> bool) -> u32 {
        if let Some(found) = self.lost.iter().position(|index| unused(*index as usize)) {
            return self.lost.swap_remove(found);
        }
        self.free.pop().map_or_else(
            || {
                self.next += 1;
                self.next - 1
            },
            |Reverse(index)| index,
        )
    }
}

// A lock is right here: it is taken when a thread first uses the crate and when it ends, and the hand-over of an index
// through it orders the old owner's last write to its statistics before the new owner's first.
static REGISTRY: Mutex<Option<Registry>> = Mutex::new(None);

fn with_registry<R>(call: impl FnOnce(&mut Registry) -> R) -> R {
    call(REGISTRY.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Registry::default))
}

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
        Self(with_registry(|registry| registry.acquire(unused)))
    }

    /// Gives the index up, though it is still used.
    pub(crate) fn lose(self) {
        with_registry(|registry| registry.lost.push(self.0));
        std::mem::forget(self);
    }

    #[inline]
    pub(crate) fn get(&self) -> usize {
        self.0 as usize
    }
}

impl Drop for ThreadIndex {
    fn drop(&mut self) {
        with_registry(|registry| registry.free.push(Reverse(self.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Registries of their own: that of the process serves the threads of all other tests meanwhile.

    #[test]
    fn the_smallest_free_index_is_reused_and_none_is_shared() {
        let mut registry = Registry::default();
        let taken: Vec<_> = (0..3).map(|_| registry.acquire(|_| true)).collect();
        assert_eq!(taken, [0, 1, 2]);
        registry.free.extend([Reverse(2), Reverse(0)]);
        let taken: Vec<_> = (0..3).map(|_| registry.acquire(|_| true)).collect();
        assert_eq!(taken, [0, 2, 3]);
    }

    #[test]
    fn a_lost_index_is_reused_when_it_is_unused() {
        let mut registry = Registry::default();
        assert_eq!(registry.acquire(|_| false), 0);
        registry.lost.push(0);
        assert_eq!((registry.acquire(|_| false), registry.acquire(|index| index != 0)), (1, 2));
        assert_eq!((registry.acquire(|index| index == 0), registry.acquire(|_| true)), (0, 3));
    }

    #[test]
    fn two_live_threads_have_different_indices() {
        let (one, other) = (ThreadIndex::acquire(|_| false), ThreadIndex::acquire(|_| false));
        assert_ne!(one.get(), other.get());
    }
}
