//! Where a thread's batches wait, before their grace period and after it.
//!
//! Before it: a batch that is handed to the collector lies in a bag of whoever hands it over, out of anyone else's reach
//! until that thread hands the bag on. A thread that retires in the middle of something hands nothing on, and may fall
//! asleep afterwards; so it puts the batch into its outbox, which it empties when it next lets something be freed, or
//! whoever keeps time for it.
//!
//! After it: the collector runs what was deferred on whichever thread collects, which with two busy threads is as often as
//! not the other one. It would free memory that is in the first one's cache and belongs to its part of the allocator, and
//! both would wait for each other. So what is deferred only puts the batch into the inbox of the thread that retired it,
//! which frees it when it next lets something be freed; or whoever flushes, or keeps time, since threads may sleep or
//! end; or whoever fills an inbox that nobody empties.

use super::freeing::{is_freeing, one_at_a_time, quietly};
use super::guard::Release;
use super::stack::{Node, Stack};
use crate::ledger::{self, Lent, Page, Retired};
use crate::sync::{AtomicU32, Ordering, prefetch};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::mem;
use std::ptr::{self, NonNull};

/// Entries and loans that go together.
pub(super) struct Batch {
    retired: Vec<Retired>,
    lent: Vec<*mut Lent>,
}

/// The batches of one thread.
pub(super) struct Home {
    outbox: Stack<Batch>,
    inbox: Stack<Batch>,
    // What its owner has taken out of the inbox and goes on with, the first to come first.
    opened: Stack<Batch>,
    // Batches in both, in somebody's hands, or on their way into the inbox.
    held: AtomicU32,
    // Batches that the collector has.
    away: AtomicU32,
}

/// How many batches an inbox holds before whoever adds one empties it. Between two times that a busy thread does, those
/// of as many collections can come that others make, each of a few bags.
const FULL: u32 = 16;

thread_local! {
    // Sessions that this thread has freed, and loans that it has given back.
    static FREED: Cell<u64> = const { Cell::new(0) };
}

/// Takes one step after the other until `patience` of them on end have freed nothing, or all together about so many sessions
/// and loans. Whether it was so many.
pub(super) fn free_up_to(most: usize, patience: u32, mut step: impl FnMut()) -> bool {
    let (first, mut in_vain) = (FREED.get(), 0);
    while in_vain < patience && FREED.get() - first < most as u64 {
        let before = FREED.get();
        step();
        in_vain = if FREED.get() == before { in_vain + 1 } else { 0 };
    }
    in_vain < patience
}

/// How many batches of a thread the collector has at most, as a rule: those of two epochs, and of the one that ends.
const AWAY: u32 = 8;

/// So many entries are freed at once, every so many that are retired, and more if more were under one guard: fewer than
/// allocators keep for a thread's next allocations (the C library seven of a size). What is more goes back to where it was
/// allocated, perhaps under another thread's lock, and its neighbours are touched, which are in no cache.
pub(super) const FEW: usize = 6;

/// How many batches may be left in an inbox while its thread goes on.
const SPARE: u32 = 2;

/// One for each thread with a page, and one for all others.
static HOMES: [CachePadded<Home>; ledger::PAGES + 1] =
    [const { CachePadded::new(Home::new()) }; ledger::PAGES + 1];

/// The home of the thread with this index.
pub(super) fn of(thread: usize) -> &'static Home {
    &HOMES[thread.min(ledger::PAGES)]
}

pub(super) fn all() -> impl Iterator<Item = &'static Home> {
    HOMES.iter().map(|home| &**home)
}

impl Home {
    const fn new() -> Self {
        Self {
            outbox: Stack::new(),
            inbox: Stack::new(),
            opened: Stack::new(),
            held: AtomicU32::new(0),
            away: AtomicU32::new(0),
        }
    }

    /// Puts away what was retired, for whoever next empties the outbox.
    pub(super) fn post(&self, batch: Batch) {
        if !batch.is_empty() {
            self.outbox.put(Node::new(batch));
        }
    }

    pub(super) fn has_posted(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// What is to be handed to the collector, up to so many batches.
    pub(super) fn posted(&self, most: usize) -> impl Iterator<Item = Box<Node<Batch>>> {
        self.outbox.take().take(most)
    }

    /// A batch goes to the collector.
    pub(super) fn send(&self) {
        self.away.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the collector has some.
    pub(super) fn has_sent(&self) -> bool {
        self.away.load(Ordering::Relaxed) != 0
    }

    /// Whether the collector has more than it would have if every thread let it pass now and then. The threads without a page
    /// send single sessions.
    pub(super) fn is_held_up(&self) -> bool {
        let most = if ptr::eq(self, &raw const *HOMES[ledger::PAGES]) { 64 * AWAY } else { AWAY };
        self.away.load(Ordering::Relaxed) > most
    }

    /// Puts a batch where it is to be freed.
    ///
    /// # Safety
    ///
    /// The grace period of all that is in it is over.
    pub(super) unsafe fn receive(&'static self, batch: Box<Node<Batch>>) {
        self.away.fetch_sub(1, Ordering::Relaxed);
        let full = self.held.fetch_add(1, Ordering::Relaxed) >= FULL;
        self.inbox.put(batch);
        if full && !is_freeing() {
            // The collector would lose what else it has in hand.
            quietly(|| self.free());
        }
    }

    /// Frees what is in the inbox, opened or not.
    pub(super) fn free(&'static self) {
        for batch in self.opened.take().chain(self.inbox.take()) {
            one_at_a_time(move || {
                self.release(batch, usize::MAX, None);
            });
        }
    }

    /// Frees as many as its owner, who has this page, has retired since, and one more while there are more batches than may be
    /// left: batch by batch, about in the order in which they came.
    pub(super) fn free_few(&'static self, page: &'static Page) {
        // Asked also if there is nothing to free: what is made up for later is freed at once.
        let retired = page.retired_since();
        if self.held.load(Ordering::Relaxed) == 0 {
            return;
        }
        one_at_a_time(move || {
            // Not more while a batch or two are left: to free more now and nothing later is what allocators keep too few for.
            let more = self.held.load(Ordering::Relaxed) > SPARE;
            let mut left = retired.max(1) + usize::from(more);
            while left > 0
                && let Some(batch) = self.open()
            {
                let (freed, rest) = self.release(batch, left, Some(page));
                left -= freed;
                if let Some(rest) = rest {
                    self.opened.put(rest);
                }
            }
        });
    }

    /// The next batch to go on with. The others stay where a tick or a flush finds them: a destructor may take long.
    fn open(&self) -> Option<Box<Node<Batch>>> {
        let mut batches = self.opened.take();
        if batches.is_empty() {
            self.inbox.take().for_each(|batch| batches.put_back(batch));
        }
        batches.next()
    }

    /// Frees up to so many entries of a batch, which whoever has this page counts there; how many, and what is left.
    fn release(
        &self,
        batch: Box<Node<Batch>>,
        most: usize,
        page: Option<&Page>,
    ) -> (usize, Option<Box<Node<Batch>>>) {
        let mut rest = Rest { home: self, page, batch: Some(batch), sessions: 0, bytes: 0, loans: 0 };
        let Rest { batch: Some(batch), sessions, bytes, loans, .. } = &mut rest else { return (0, None) };
        for (entry, _) in batch.value.retired.iter().rev().skip(most).take(most) {
            // For the next time: the counts, which are before the header, and what is wiped.
            prefetch(entry.wrapping_byte_sub(16));
            prefetch(entry.wrapping_byte_add(48));
        }
        let mut freed = 0;
        while freed < most
            && let Some((entry, release)) = batch.value.retired.pop()
        {
            freed += 1;
            let Some(entry) = NonNull::new(entry) else { continue };
            *sessions += 1;
            // SAFETY: by the promise of `retire`, the entry is alive until it is released, which is now.
            *bytes += u64::from(unsafe { entry.as_ref() }.weight());
            // SAFETY: `retire` made the address from a function of this very type.
            let release = unsafe { mem::transmute::<*mut (), Release>(release) };
            // SAFETY: the grace period is over, as `receive` was promised, and the entry was put away and taken once.
            unsafe { release(entry) };
        }
        while let Some(lent) = batch.value.lent.pop() {
            *loans += 1;
            // SAFETY: `lend` made it from a box, and it was put away and taken once.
            drop(unsafe { Box::from_raw(lent) });
        }
        (freed, rest.batch.take_if(|batch| !batch.value.is_empty()))
    }
}

/// What is not freed yet of a batch. Goes back into the inbox if a destructor panics.
struct Rest<'a> {
    home: &'a Home,
    page: Option<&'a Page>,
    // Taken when this is dropped, or before if something is left.
    batch: Option<Box<Node<Batch>>>,
    sessions: u64,
    bytes: u64,
    loans: u64,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        FREED.set(FREED.get().wrapping_add(self.sessions + self.loans));
        match self.page {
            Some(page) => page.count_freed(self.sessions, self.bytes),
            None => ledger::count_freed(self.sessions, self.bytes),
        }
        match self.batch.take() {
            Some(batch) if batch.value.is_empty() => {
                self.home.held.fetch_sub(1, Ordering::Relaxed);
            }
            Some(batch) => self.home.inbox.put(batch),
            None => {}
        }
    }
}

impl Batch {
    /// Everything that waits in a page.
    pub(super) fn of(page: &Page) -> Self {
        let mut batch = Self { retired: page.stash.take(), lent: Vec::new() };
        page.loans.take(|lent| batch.lent.push(lent));
        batch
    }

    pub(super) fn of_one(retired: Retired) -> Self {
        Self { retired: vec![retired], lent: Vec::new() }
    }

    pub(super) fn of_loan(lent: *mut Lent) -> Self {
        Self { retired: Vec::new(), lent: vec![lent] }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.retired.is_empty() && self.lent.is_empty()
    }
}
