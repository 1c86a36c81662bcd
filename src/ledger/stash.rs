//! Retired entries on their way to the collector.

use crate::session::Header;
use crate::sync::{AtomicPtr, AtomicU64, Ordering, Rule, is_broken};
use std::ptr;

/// Entries a stash holds.
const STASH: usize = if cfg!(resumption_loom) { 1 } else { 64 };

/// An entry and the function that gives it back, as a bare address.
pub(crate) type Retired = (*mut Header, *mut ());

struct Cell {
    entry: AtomicPtr<Header>,
    release: AtomicPtr<()>,
}

/// Retired entries of one thread, in a ring. Its owner adds, anyone may take all.
pub(crate) struct Stash {
    cells: [Cell; STASH],
    // Entries that were ever added and ever taken. Those between are there.
    added: AtomicU64,
    taken: AtomicU64,
}

impl Stash {
    #[cfg(not(resumption_loom))]
    pub(super) const fn new() -> Self {
        let cells = [const {
            Cell { entry: AtomicPtr::new(ptr::null_mut()), release: AtomicPtr::new(ptr::null_mut()) }
        }; STASH];
        Self { cells, added: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }

    #[cfg(resumption_loom)]
    pub(super) fn new() -> Self {
        let cell =
            || Cell { entry: AtomicPtr::new(ptr::null_mut()), release: AtomicPtr::new(ptr::null_mut()) };
        let cells = std::array::from_fn(|_| cell());
        Self { cells, added: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }

    /// Adds an entry; `false` when the ring is full: then take all and add again. Only for the owner.
    #[inline]
    pub(crate) fn add(&self, (entry, release): Retired) -> bool {
        let added = self.added.load(Ordering::Relaxed);
        // Acquire: pairs with the Release in `take`, which has read what this cell held by then.
        let held = added.wrapping_sub(self.taken.load(Ordering::Acquire));
        if held >= STASH as u64 && !is_broken(Rule::StashWaits) {
            return false;
        }
        let cell = &self.cells[added as usize % STASH];
        cell.entry.store(entry, Ordering::Relaxed);
        cell.release.store(release, Ordering::Relaxed);
        // Release: publishes the cell, and the entry as its retirer left it (partner: the Acquire in `take`).
        self.added.store(added.wrapping_add(1), Ordering::Release);
        true
    }

    /// How many have ever been added. For the owner.
    #[cfg(not(resumption_loom))]
    #[inline]
    pub(crate) fn added(&self) -> u64 {
        self.added.load(Ordering::Relaxed)
    }

    /// Takes what is there, all of it to one taker: one exchange for all.
    pub(crate) fn take(&self) -> Vec<Retired> {
        loop {
            let taken = self.taken.load(Ordering::Relaxed);
            // If this is older than the load above, there is nothing to take yet.
            // Acquire: pairs with the Release in `add`.
            let added = self.added.load(Ordering::Acquire);
            let range = taken..added.min(taken.wrapping_add(STASH as u64));
            let held = range.map(|number| {
                let cell = &self.cells[number as usize % STASH];
                (cell.entry.load(Ordering::Relaxed), cell.release.load(Ordering::Relaxed))
            });
            let held: Vec<_> = held.collect();
            // Release: pairs with the Acquire in `add`, so that the cells were read before they are written again. If somebody else has taken them meanwhile, what was read may be anything, and counts for nothing.
            let mine = held.is_empty()
                || self.taken.compare_exchange(taken, added, Ordering::Release, Ordering::Relaxed).is_ok();
            if mine {
                return held;
            }
        }
    }
}

/// A stash as the models drive it. The entries are mere numbers.
#[cfg(resumption_loom)]
pub struct ModelStash(Stash);

#[cfg(resumption_loom)]
impl ModelStash {
    /// An empty stash, of one cell.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Stash::new())
    }

    /// The owner adds an entry whose release has the same number.
    pub fn add(&self, number: usize) -> bool {
        self.0.add((ptr::without_provenance_mut(number), ptr::without_provenance_mut(number)))
    }

    /// Takes what is there.
    pub fn take(&self) -> Vec<usize> {
        let number = |(entry, release): Retired| {
            assert_eq!(entry.addr(), release.addr(), "an entry with another's release");
            entry.addr()
        };
        self.0.take().into_iter().map(number).collect()
    }
}
