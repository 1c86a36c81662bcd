//! The pages of the threads, and the sums over them.

use super::{Pins, Reclamation, Stash};
use crate::clock;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crossbeam_utils::CachePadded;
use std::ptr;
use std::time::Duration;

/// A counted reference that a guard lends.
pub(crate) type Lent = std::sync::Arc<dyn std::any::Any + Send + Sync>;

/// References that one thread's guards lend. Its owner adds, anyone may take all.
pub(crate) struct Loans([AtomicPtr<Lent>; 16]);

impl Loans {
    const fn new() -> Self {
        Self([const { AtomicPtr::new(ptr::null_mut()) }; 16])
    }

    /// Adds one; `false` when there is no place for it: then take all and add again. Only for the owner.
    pub(crate) fn add(&self, lent: *mut Lent) -> bool {
        // Relaxed: who emptied the cell has taken all there was to it.
        let Some(cell) = self.0.iter().find(|cell| cell.load(Ordering::Relaxed).is_null()) else {
            return false;
        };
        // Release: publishes the reference (partner: the Acquire in `take`).
        cell.store(lent, Ordering::Release);
        true
    }

    /// Takes what is there, each to exactly one taker.
    pub(crate) fn take(&self, mut taken: impl FnMut(*mut Lent)) {
        for cell in &self.0 {
            if cell.load(Ordering::Relaxed).is_null() {
                continue;
            }
            // Acquire: pairs with the Release in `add`.
            let lent = cell.swap(ptr::null_mut(), Ordering::Acquire);
            if !lent.is_null() {
                taken(lent);
            }
        }
    }
}

/// A thread's page.
pub(crate) struct Page {
    pub(crate) stash: Stash,
    pub(crate) loans: Loans,
    pub(crate) pins: Pins,
    sessions: AtomicU64,
    bytes: AtomicU64,
    // What the stash had been given when its owner last asked.
    asked: AtomicU64,
}

impl Page {
    const fn new() -> Self {
        Self {
            stash: Stash::new(),
            loans: Loans::new(),
            pins: Pins::new(),
            sessions: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }
    }

    /// The owner has retired a session of this weight.
    #[inline]
    pub(crate) fn count_retired(&self, weight: u32) {
        self.sessions.store(self.sessions.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.bytes
            .store(self.bytes.load(Ordering::Relaxed).wrapping_add(u64::from(weight)), Ordering::Relaxed);
    }

    /// How many the owner, who asks, has retired since it last asked.
    pub(crate) fn retired_since(&self) -> usize {
        let added = self.stash.added();
        let before = self.asked.load(Ordering::Relaxed);
        self.asked.store(added, Ordering::Relaxed);
        added.wrapping_sub(before) as usize
    }

    /// The owner has freed sessions of this weight together, whoever retired them: the sums over all pages are what counts.
    pub(crate) fn count_freed(&self, sessions: u64, bytes: u64) {
        self.sessions.store(self.sessions.load(Ordering::Relaxed).wrapping_sub(sessions), Ordering::Relaxed);
        self.bytes.store(self.bytes.load(Ordering::Relaxed).wrapping_sub(bytes), Ordering::Relaxed);
    }
}

// Threads that have a page.
pub(crate) const PAGES: usize = 64;

static BOOK: [CachePadded<Page>; PAGES] = [const { CachePadded::new(Page::new()) }; PAGES];

// Of threads without a page, and of what was freed by others than its owner or all at once.
static SESSIONS: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));
static BYTES: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));

static COLLECTED_AT: AtomicU32 = AtomicU32::new(0);

/// All pages, in the order of their threads' indices.
pub(crate) fn pages() -> impl Iterator<Item = &'static Page> + Clone {
    BOOK.iter().map(|page| &**page)
}

/// The page of the thread with this index.
#[inline]
pub(crate) fn page(thread: usize) -> Option<&'static Page> {
    BOOK.get(thread).map(|page| &**page)
}

/// A thread without a page has retired a session.
pub(crate) fn count_retired(weight: u32) {
    SESSIONS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(u64::from(weight), Ordering::Relaxed);
}

/// Sessions of this weight together were freed.
pub(crate) fn count_freed(sessions: u64, bytes: u64) {
    SESSIONS.fetch_sub(sessions, Ordering::Relaxed);
    BYTES.fetch_sub(bytes, Ordering::Relaxed);
}

/// Whether it is this caller's turn to collect for the process: about once a second.
pub(crate) fn time_to_collect() -> bool {
    let now = clock::uptime();
    let last = COLLECTED_AT.load(Ordering::Relaxed);
    now != last && COLLECTED_AT.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// What waits now.
pub(crate) fn reclamation() -> Reclamation {
    let now = clock::uptime();
    let (sessions, bytes) = (SESSIONS.load(Ordering::Relaxed), BYTES.load(Ordering::Relaxed));
    let mut total = Reclamation { sessions, bytes, oldest_pin: Duration::ZERO };
    let mut oldest = 0;
    for page in pages() {
        // The sums wrap below zero and back: what was freed is subtracted where that was done.
        total.sessions = total.sessions.wrapping_add(page.sessions.load(Ordering::Relaxed));
        total.bytes = total.bytes.wrapping_add(page.bytes.load(Ordering::Relaxed));
        oldest = oldest.max(page.pins.held_for(now));
    }
    // One that is freed by another thread may be missed among what was retired, and the sum be below zero for an instant.
    for sum in [&mut total.sessions, &mut total.bytes] {
        *sum = if *sum > i64::MAX as u64 { 0 } else { *sum };
    }
    total.oldest_pin = Duration::from_secs(u64::from(oldest));
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loan_is_taken_once() {
        let loans = Loans::new();
        let places: Vec<_> = (1..=16).map(|n| ptr::without_provenance_mut::<Lent>(n * 8)).collect();
        assert!(places.iter().all(|lent| loans.add(*lent)));
        assert!(!loans.add(places[0]), "no room");
        let mut taken = Vec::new();
        loans.take(|lent| taken.push(lent));
        assert_eq!(taken, places);
        loans.take(|lent| panic!("{lent:?} was taken"));
        assert!(loans.add(places[3]));
    }
}
