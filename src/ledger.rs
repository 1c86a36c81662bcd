//! Who is pinned, and what was retired and waits: one page for each thread, written by its owner.
//!
//! A retired entry first goes to its thread's stash, and from there in batches to the collector: by the thread itself
//! when the stash is full, or by whoever keeps time for the process, so that the last secrets a thread removed before it
//! went to sleep do not wait for it to wake up. Moving an entry to the collector late is harmless: it was unlinked
//! before, so every guard that can reach it is older still.
#![forbid(unsafe_code)]

use crate::session::Header;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, Rule, is_broken};
use std::ptr;
use std::time::Duration;

/// What waits to be freed, and since when somebody keeps it waiting. Counted for the process: guards are good for every
/// context, and so hold back every context's sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reclamation {
    /// Sessions that have left a cache and are not freed yet.
    pub sessions: u64,
    /// Their [weight](crate::Session::weight) in bytes.
    pub bytes: u64,
    /// For how long the oldest guard is known to be held, in whole seconds: counted from the first time that it was
    /// noticed, by a tick or by asking for statistics.
    pub oldest_pin: Duration,
}

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
    const fn new() -> Self {
        let cells = [const {
            Cell { entry: AtomicPtr::new(ptr::null_mut()), release: AtomicPtr::new(ptr::null_mut()) }
        }; STASH];
        Self { cells, added: AtomicU64::new(0) }
    }

    #[cfg(resumption_loom)]
    pub(crate) fn new() -> Self {
        let cell =
            || Cell { entry: AtomicPtr::new(ptr::null_mut()), release: AtomicPtr::new(ptr::null_mut()) };
        Self { cells: std::array::from_fn(|_| cell()), added: AtomicU64::new(0) }
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

/// A thread's page.
pub(crate) struct Page {
    pub(crate) stash: Stash,
    // Odd while the owner is pinned; a new number for each pin.
    pin: AtomicU64,
    // The pin that was last noticed here by another thread, and when.
    noticed: AtomicU64,
    noticed_at: AtomicU32,
    sessions: AtomicU64,
    bytes: AtomicU64,
}

impl Page {
    #[cfg(not(resumption_loom))]
    const fn new() -> Self {
        Self {
            stash: Stash::new(),
            pin: AtomicU64::new(0),
            noticed: AtomicU64::new(0),
            noticed_at: AtomicU32::new(0),
            sessions: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// The owner pins, unpins or (twice) repins.
    #[inline]
    pub(crate) fn turn(&self, by: u64) {
        self.pin.store(self.pin.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    /// The owner has retired a session of this weight.
    #[inline]
    pub(crate) fn count_retired(&self, weight: u32) {
        self.sessions.store(self.sessions.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.bytes
            .store(self.bytes.load(Ordering::Relaxed).wrapping_add(u64::from(weight)), Ordering::Relaxed);
    }

    /// For how long the owner is known to be under its present pin.
    fn pinned_for(&self, now: u32) -> u32 {
        let pin = self.pin.load(Ordering::Relaxed);
        if pin.is_multiple_of(2) {
            return 0;
        }
        if self.noticed.swap(pin, Ordering::Relaxed) != pin {
            self.noticed_at.store(now, Ordering::Relaxed);
            return 0;
        }
        now.saturating_sub(self.noticed_at.load(Ordering::Relaxed))
    }
}

#[cfg(not(resumption_loom))]
mod pages {
    use super::{AtomicU32, AtomicU64, Duration, Ordering, Page, Reclamation};
    use crate::clock;
    use crossbeam_utils::CachePadded;

    // Threads that have a page. Those beyond hand each entry to the collector at once.
    const PAGES: usize = 64;

    static BOOK: [CachePadded<Page>; PAGES] = [const { CachePadded::new(Page::new()) }; PAGES];

    // Of threads without a page, and of all that was freed: written once for each batch.
    static SESSIONS: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));
    static BYTES: CachePadded<AtomicU64> = CachePadded::new(AtomicU64::new(0));

    static COLLECTED_AT: AtomicU32 = AtomicU32::new(0);

    /// The page of the thread with this index.
    #[inline]
    pub(crate) fn page(thread: usize) -> Option<&'static Page> {
        BOOK.get(thread).map(|page| &**page)
    }

    /// All pages, for who keeps time.
    pub(crate) fn pages() -> impl Iterator<Item = &'static Page> {
        BOOK.iter().map(|page| &**page)
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
            // The sums wrap below zero and back: what was freed is subtracted from one place for all.
            total.sessions = total.sessions.wrapping_add(page.sessions.load(Ordering::Relaxed));
            total.bytes = total.bytes.wrapping_add(page.bytes.load(Ordering::Relaxed));
            oldest = oldest.max(page.pinned_for(now));
        }
        total.oldest_pin = Duration::from_secs(u64::from(oldest));
        total
    }
}

/// Models have no process to keep a book for.
#[cfg(resumption_loom)]
pub(crate) fn reclamation() -> Reclamation {
    Reclamation::default()
}

#[cfg(not(resumption_loom))]
pub(crate) use pages::{count_freed, count_retired, page, pages, reclamation, time_to_collect};

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
