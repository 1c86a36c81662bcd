//! Room that threads keep to themselves, so that who takes sessions out and puts others in does not write to a word that
//! all other threads write to.
//!
//! A unit of room is in one place: held by a session, free below the limit, or in a pocket. [`Capacity`](super::capacity)
//! counts what is in pockets as used. Who finds no room left empties all pockets before anything is evicted, so a cache
//! holds as many sessions as it may whoever pocketed what, and whether or not that thread is alive.
//!
//! A pocket that may have something in it has its bit set in one word. Who adds to a pocket looks at its bit afterwards,
//! and sets it if it is not set; who empties clears the bit first. Both are sequentially consistent: if the look comes
//! before the clearing, the addition comes before the emptying, which finds it; if after, the bit is set again.

use crate::sync::{AtomicU32, AtomicU64, Ordering, Rule, fence_in_models, is_broken};
use crossbeam_utils::CachePadded;

/// Threads that have a pocket.
const POCKETS: usize = if cfg!(resumption_loom) { 3 } else { 64 };

/// The most that a pocket holds.
const MOST: u32 = if cfg!(resumption_loom) { 2 } else { 32 };

/// A pocket has a line of its own.
#[repr(align(64))]
struct Pocket(AtomicU32);

/// The pockets of one cache.
pub(super) struct Pockets {
    // One bit for each pocket that may have something in it. Seldom written.
    open: CachePadded<AtomicU64>,
    pockets: Box<[Pocket]>,
}

impl Pockets {
    pub(super) fn new() -> Self {
        let pockets = (0..POCKETS).map(|_| Pocket(AtomicU32::new(0))).collect();
        Self { open: CachePadded::new(AtomicU64::new(0)), pockets }
    }

    /// Takes a unit out of the pocket of the thread with this index.
    #[inline]
    pub(super) fn take(&self, thread: usize) -> bool {
        let Some(Pocket(pocket)) = self.pockets.get(thread) else { return false };
        let held = pocket.load(Ordering::Relaxed);
        // Relaxed: units order nothing. A failure means that somebody has emptied it.
        held > 0 && pocket.compare_exchange(held, held - 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Puts a unit into that pocket. Returns how many had to be taken out for it to fit, and are the caller's to free; all of
    /// them, this one included, if the thread has no pocket.
    #[inline]
    pub(super) fn put(&self, thread: usize) -> usize {
        let Some(Pocket(pocket)) = self.pockets.get(thread) else { return 1 };
        if pocket.load(Ordering::Relaxed) >= MOST {
            return 1 + pocket.swap(0, Ordering::Relaxed) as usize;
        }
        if is_broken(Rule::PocketOpens) {
            self.set_open(thread);
        }
        // SeqCst: pairs with the swap in `empty`.
        pocket.fetch_add(1, Ordering::SeqCst);
        fence_in_models();
        if !is_broken(Rule::PocketOpens) {
            self.set_open(thread);
        }
        0
    }

    #[inline]
    fn set_open(&self, thread: usize) {
        // SeqCst: pairs with the clearing in `empty`.
        if self.open.load(Ordering::SeqCst) & 1 << thread == 0 {
            self.open.fetch_or(1 << thread, Ordering::Relaxed);
        }
    }

    /// Whether something may be in a pocket.
    #[inline]
    pub(super) fn are_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) != 0
    }

    /// Empties all pockets; returns how much there was.
    #[cold]
    pub(super) fn empty(&self) -> usize {
        // SeqCst: pairs with the load in `set_open`.
        let open = self.open.swap(0, Ordering::SeqCst);
        fence_in_models();
        let of = |(thread, Pocket(pocket)): (usize, &Pocket)| {
            let is_open = open & 1 << thread != 0;
            // SeqCst: pairs with the addition in `put`.
            if is_open { pocket.swap(0, Ordering::SeqCst) as usize } else { 0 }
        };
        self.pockets.iter().enumerate().map(of).sum()
    }

    /// How much is in all pockets.
    pub(super) fn sum(&self) -> usize {
        if !self.are_open() {
            return 0;
        }
        self.pockets.iter().map(|Pocket(pocket)| pocket.load(Ordering::Relaxed) as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pocket_gives_what_was_put_there_and_no_more() {
        let pockets = Pockets::new();
        assert!(!pockets.take(0) && !pockets.are_open());
        assert_eq!((pockets.put(0), pockets.put(0), pockets.put(1), pockets.sum()), (0, 0, 0, 3));
        assert!(pockets.take(0) && pockets.take(0) && !pockets.take(0));
        assert_eq!((pockets.sum(), pockets.empty(), pockets.empty()), (1, 1, 0));
        assert!(!pockets.take(1) && !pockets.are_open());
    }

    #[test]
    fn a_full_pocket_is_emptied() {
        let pockets = Pockets::new();
        assert!((0..MOST).all(|_| pockets.put(5) == 0));
        assert_eq!(pockets.put(5), MOST as usize + 1);
        assert_eq!((pockets.sum(), pockets.put(5), pockets.sum()), (0, 0, 1));
    }

    #[test]
    fn threads_without_a_pocket_keep_nothing() {
        let pockets = Pockets::new();
        assert_eq!((pockets.put(POCKETS), pockets.put(usize::MAX >> 1)), (1, 1));
        assert!(!pockets.take(POCKETS) && !pockets.are_open());
    }
}
