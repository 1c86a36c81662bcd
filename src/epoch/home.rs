//! Batches whose grace period is over go home, to the thread that retired them, and are freed there.
//!
//! The collector runs what was deferred on whichever thread collects, which with two busy threads is as often as not the
//! other one. It would free memory that is in the first one's cache and belongs to its part of the allocator, and both
//! would wait for each other. So what is deferred only puts the batch on a stack of its home, from which that thread takes
//! them when it next lets something be freed; or whoever flushes, or keeps time, since threads may sleep or end.

use super::freeing::one_at_a_time;
use super::guard::Release;
use crate::ledger::{self, Lent, Retired};
use crate::sync::{AtomicPtr, Ordering};
use crossbeam_utils::CachePadded;
use std::ptr::{self, NonNull};

/// Entries and loans whose grace period has begun.
pub(super) struct Batch {
    pub(super) retired: Vec<Retired>,
    pub(super) lent: Vec<*mut Lent>,
    // The one below it, when it has come home.
    below: *mut Batch,
}

/// The batches of one thread that may be freed.
struct Home(AtomicPtr<Batch>);

static HOMES: [CachePadded<Home>; ledger::PAGES] =
    [const { CachePadded::new(Home(AtomicPtr::new(ptr::null_mut()))) }; ledger::PAGES];

impl Home {
    fn put(&self, batch: Box<Batch>) {
        let batch = Box::into_raw(batch);
        let mut top = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: just made from a box, and seen by nobody else until the exchange succeeds.
            unsafe { (*batch).below = top };
            // Release: publishes the batch (partner: the Acquire in `free`). Those below are published by the same word's
            // earlier exchanges.
            match self.0.compare_exchange(top, batch, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => top = other,
            }
        }
    }

    fn free(&self) {
        if self.0.load(Ordering::Relaxed).is_null() {
            return;
        }
        // Acquire: pairs with the Release in `put`.
        let mut top = self.0.swap(ptr::null_mut(), Ordering::Acquire);
        while let Some(batch) = NonNull::new(top) {
            // SAFETY: `put` made it from a box, and the swap gave the stack to us alone.
            let batch = *unsafe { Box::from_raw(batch.as_ptr()) };
            top = batch.below;
            one_at_a_time(move || batch.release());
        }
    }
}

/// Puts a batch where it is to be freed, if its thread has a place for it.
///
/// # Safety
///
/// The grace period of all that is in it is over.
pub(super) unsafe fn send(batch: Box<Batch>, thread: usize) {
    match HOMES.get(thread) {
        Some(home) => home.put(batch),
        None => one_at_a_time(move || batch.release()),
    }
}

/// Frees what has come home to the thread with this index.
pub(super) fn free(thread: usize) {
    if let Some(home) = HOMES.get(thread) {
        home.free();
    }
}

/// Frees what has come home to any thread.
pub(super) fn free_all() {
    HOMES.iter().for_each(|home| home.free());
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { retired: Vec::new(), lent: Vec::new(), below: ptr::null_mut() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.retired.is_empty() && self.lent.is_empty()
    }

    fn release(self) {
        let (mut sessions, mut bytes) = (0, 0);
        for (entry, release) in self.retired {
            let Some(entry) = NonNull::new(entry) else { continue };
            sessions += 1;
            // SAFETY: by the promise of `retire`, the entry is alive until it is released, which is now.
            bytes += u64::from(unsafe { entry.as_ref() }.weight());
            // SAFETY: `retire` made the address from a function of this very type.
            let release = unsafe { std::mem::transmute::<*mut (), Release>(release) };
            // SAFETY: the grace period is over, as `send` was promised, and the entry was stashed, taken and sent once.
            unsafe { release(entry) };
        }
        ledger::count_freed(sessions, bytes);
        for lent in self.lent {
            // SAFETY: `lend` made it from a box, and it was stashed, taken and sent once.
            drop(unsafe { Box::from_raw(lent) });
        }
    }
}
