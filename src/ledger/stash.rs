//! Retired entries on their way to the collector.

use crate::session::Header;
use crate::sync::{AtomicPtr, AtomicU64, Ordering, Rule, is_broken};
use std::ptr;

/// Entries a stash holds.
pub(crate) const STASH: usize = if cfg!(resumption_loom) { 1 } else { 64 };

/// An entry and the function that gives it back, as a bare address.
pub(crate) type Retired = (*mut Header, *mut ());

struct Cell {
    entry: AtomicPtr<Header>,
    release: AtomicPtr<()>,
}

/// Retired entries of one thread. Its owner adds, anyone may take all.
pub(crate) struct Stash {
    cells: [Cell; STASH],
    // The owner's next cell.
    added: AtomicU64,
}

impl Stash {
    #[cfg(not(resumption_loom))]
    pub(super) const fn new() -> Self {
        let cells = [const {
            Cell { entry: AtomicPtr::new(ptr::null_mut()), release: AtomicPtr::new(ptr::null_mut()) }
        }; STASH];
        Self { cells, added: AtomicU64::new(0) }
    }

    #[cfg(resumption_loom)]
    pub(super) fn new() -> Self {
        let cell =
            || Cell { entry: AtomicPtr::new(ptr::null_mut()), release: AtomicPtr::new(ptr::null_mut()) };
        let cells = std::array::from_fn(|_| cell());
        Self { cells, added: AtomicU64::new(0) }
    }

    /// Adds an entry; `false` when the next cell is taken: then take all and add again. Only for the owner.
    pub(crate) fn add(&self, (entry, release): Retired) -> bool {
        let added = self.added.load(Ordering::Relaxed);
        let cell = &self.cells[added as usize % STASH];
        // Acquire: pairs with the AcqRel that emptied the cell, whose taker has read `release` by then.
        if !cell.entry.load(Ordering::Acquire).is_null() && !is_broken(Rule::StashWaits) {
            return false;
        }
        cell.release.store(release, Ordering::Relaxed);
        // Release: publishes `release`, and the entry as its retirer left it (partner: the Acquire in `take`).
        cell.entry.store(entry, Ordering::Release);
        self.added.store(added.wrapping_add(1), Ordering::Relaxed);
        true
    }

    /// Takes what is there, each entry to exactly one taker. The caller is pinned: an entry that it sees cannot be freed
    /// and come back to the same cell meanwhile, so what it read beside it belongs to it.
    pub(crate) fn take(&self, mut taken: impl FnMut(Retired)) {
        for cell in &self.cells {
            // Acquire: pairs with the Release in `add`.
            let entry = cell.entry.load(Ordering::Acquire);
            if entry.is_null() {
                continue;
            }
            let release = cell.release.load(Ordering::Relaxed);
            // AcqRel: the Release half pairs with the Acquire in `add`, so that `release` was read before it is replaced.
            let mine =
                cell.entry.compare_exchange(entry, ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed);
            if mine.is_ok() {
                taken((entry, release));
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
        let mut taken = Vec::new();
        self.0.take(|(entry, release)| {
            assert_eq!(entry.addr(), release.addr(), "an entry with another's release");
            taken.push(entry.addr());
        });
        taken
    }
}
