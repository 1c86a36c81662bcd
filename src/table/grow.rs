//! Growing: the table doubles bucket by bucket, while everything else goes on. Steps are numbered as in the design
//! document.
//!
//! Whoever needs a bucket that is being moved moves it to the end; whoever inserts moves a few more. Nobody waits.

use super::array::Array;
use super::bucket::Line;
use super::insert::help;
use super::raw::{Entry, RawTable};
use super::slot::{Control, ControlWord, SlotWord};
use crate::epoch::Guard;
use crate::sync::{Ordering, Rule, is_broken};
use std::ptr::NonNull;
use std::sync::Arc;

/// Buckets a writer moves on its way. A table that starts to grow at four entries a bucket has moved when an eighth of
/// the room that the growth makes is used.
const BUCKETS_PER_WRITE: usize = if cfg!(resumption_loom) { 1 } else { 8 };

/// Entries a bucket, on average, from which on the table doubles: 11 % of buckets then have an overflow line.
const CROWDED: usize = 4;

impl RawTable {
    /// Starts to grow when `entries` are too many for the buckets there are, and moves a few buckets if it is growing.
    /// Bounded work; called by writers.
    pub(super) fn grow(&self, entries: usize, guard: &Guard) {
        let array = self.array(guard);
        if array.next().is_none() {
            if entries <= array.count() * CROWDED {
                return;
            }
            // Without memory the table stays as it is: buckets get longer, and evict within when they are full.
            let Ok(next) = Array::new(array.count() * 2) else { return };
            // If somebody else was first, theirs is as good.
            let _ = array.set_next(next);
        }
        self.move_some(array, guard);
    }

    /// Moves the next few buckets of a growing table.
    pub(super) fn move_some<'g>(&self, array: &'g Array, guard: &'g Guard) {
        let from = array.claimed.fetch_add(BUCKETS_PER_WRITE, Ordering::Relaxed);
        for index in from..from + BUCKETS_PER_WRITE {
            // On a second lap buckets are met whose claimer sleeps: they are moved without it.
            self.move_bucket(array, index % array.count(), guard);
        }
        // Acquire: pairs with the AcqRel additions of the movers, so that whoever starts at the new root sees their copies.
        if array.moved.load(Ordering::Acquire) >= array.count() {
            self.finish_growth(array, guard);
        }
    }

    /// Moves bucket `index` of `array`, which has a next one, if that is not done yet; returns the next array.
    ///
    /// Every thread that does this computes the same: the words are frozen before they are copied.
    pub(super) fn move_bucket<'g>(&self, array: &'g Array, index: usize, guard: &'g Guard) -> &'g Array {
        let root = array.root(index);
        let Some(next) = array.next() else {
            debug_assert!(false, "a bucket moves only when there is an array to move to");
            return array;
        };
        loop {
            // SeqCst: pairs with the swap to moved, as in `insert`: a moved bucket's entries are seen in the next array. Its
            // Acquire half pairs with the announcement too.
            let control = ControlWord(root.control().load(Ordering::SeqCst));
            match control.state() {
                Control::Moved => return next,
                Control::Pending(announced) => help(array, index, announced, guard),
                // Step 1: no more inserts. AcqRel: the freezing of the slots comes after (partner: the Acquire fence in
                // `find`, behind a slot that was read frozen).
                Control::Idle(version) => {
                    let frozen = ControlWord::frozen(version);
                    let _ = root.control().compare_exchange(
                        control.0,
                        frozen.0,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    );
                }
                Control::Frozen(version) => {
                    if let Some(cell) = array.cell(index)
                        && !is_broken(Rule::FilterLeaves)
                    {
                        cell.leave();
                    }
                    if !is_broken(Rule::CopyFirst) {
                        self.copy_bucket(root, index, next);
                    }
                    // Step 4: what was copied is the truth. SeqCst: publishes the copies to who reads `moved` (partner: the
                    // load above); and it comes after any fence in the single order whose setter still finds the bucket here.
                    let moved = ControlWord::moved(version);
                    let done = root.control().compare_exchange(
                        control.0,
                        moved.0,
                        Ordering::SeqCst,
                        Ordering::Relaxed,
                    );
                    if is_broken(Rule::CopyFirst) {
                        self.copy_bucket(root, index, next);
                    }
                    // AcqRel: its partners are the other movers' additions.
                    if done.is_ok() && array.moved.fetch_add(1, Ordering::AcqRel) + 1 == array.count() {
                        self.finish_growth(array, guard);
                    }
                }
            }
        }
    }

    /// Steps 2 and 3: freezes each slot and copies what it holds to its place in the next array.
    fn copy_bucket(&self, root: &Line, index: usize, next: &Array) {
        let mut halves = [2 * index, 2 * index + 1].map(|half| Place::new(next, half));
        let mut at = Some(root);
        while let Some(line) = at {
            for slot in line.slots() {
                let word = loop {
                    // Acquire: pairs with the AcqRel that filled the slot: the entry's id is hashed below.
                    let word = SlotWord(slot.load(Ordering::Acquire));
                    if word.is_frozen() || is_broken(Rule::Freeze) {
                        break word.thawed();
                    }
                    // AcqRel: Release, whose partner is the fence in `find`; Acquire as above.
                    let freeze =
                        slot.compare_exchange(word.0, word.frozen().0, Ordering::AcqRel, Ordering::Relaxed);
                    if freeze.is_ok() {
                        break word;
                    }
                };
                if word.is_live() {
                    // SAFETY: the bucket was frozen and not moved when the caller, who is pinned, read its control word,
                    // so the entry was in the table then (rule R2).
                    let entry: Entry<'_> = unsafe { Entry::new(word.entry()) };
                    let half = next.index_of(self.hash(&entry.header().id()).0) - 2 * index;
                    halves[half].put(word);
                }
            }
            at = line.next();
        }
    }

    /// Makes the next array the root, once all buckets of `array` have moved, and retires `array`.
    fn finish_growth(&self, array: &Array, guard: &Guard) {
        if let Some(old) = self.replace_root(array, array.next_pointer()) {
            // It is the root no more and its predecessor was retired before, so no guard made from now on reaches it.
            guard.lend(Arc::new(Left(old)));
        }
    }
}

/// An array that is the root no more, and is read under older guards. Not a box, which would claim it for itself before they
/// are gone.
struct Left(NonNull<Array>);

// SAFETY: an array is Send, and this owns one.
unsafe impl Send for Left {}
// SAFETY: an array is Sync.
unsafe impl Sync for Left {}

impl Drop for Left {
    fn drop(&mut self) {
        // SAFETY: it came from `Box::into_raw`, the swap that made it leave had one winner, and the guards are gone.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The next free place in one half of a bucket that is being moved.
struct Place<'g> {
    array: &'g Array,
    bucket: usize,
    line: &'g Line,
    slot: usize,
}

impl<'g> Place<'g> {
    fn new(array: &'g Array, bucket: usize) -> Self {
        Self { array, bucket, line: array.root(bucket), slot: 0 }
    }

    /// Puts `word` here, unless another thread has, and moves on.
    fn put(&mut self, word: SlotWord) {
        if self.slot == self.line.slots().len() {
            self.line = self.line.next().unwrap_or_else(|| self.line.grow(self.array));
            self.slot = 0;
        }
        if let Some(cell) = self.array.cell(self.bucket)
            && !is_broken(Rule::CopyRaises)
        {
            cell.raise(word.tag());
        }
        // If it fails, another thread has put the same word here, which may have left the slot since: then its sequence
        // number says so. AcqRel: Release publishes the entry (partner: the Acquire in `find`).
        let _ = self.line.slots()[self.slot].compare_exchange(
            SlotWord::empty(0).0,
            word.0,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        self.slot += 1;
    }
}
