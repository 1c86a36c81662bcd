//! Walking buckets: for the eviction hand, for flushes and for users who want to see everything.

use super::array::Array;
use super::prefetch::prefetch;
use super::raw::{RawTable, Seen};
use super::slot::{ControlWord, SlotWord};
use crate::epoch::Guard;
use crate::sync::Ordering;

impl RawTable {
    /// Calls `visit` for each live slot of part `index` of `of`, where `of` is a number of buckets the table has or had.
    ///
    /// Entries that come or go meanwhile may be seen or not; while the table grows, one that stays may be seen twice.
    pub(super) fn visit<'g>(
        &self,
        index: usize,
        of: usize,
        guard: &'g Guard,
        mut visit: impl FnMut(Seen<'g>),
    ) {
        let array = self.array(guard);
        // The number of buckets only ever doubles, so a part is one bucket or a run of them.
        debug_assert!(array.count().is_multiple_of(of) && index < of);
        let run = array.count() / of;
        for bucket in index * run..(index + 1) * run {
            self.visit_bucket(array, bucket, guard, &mut visit);
        }
    }

    /// As [`visit`](Self::visit), for the buckets of the hashes from `first` to `last`.
    pub(super) fn visit_hashes<'g>(
        &self,
        first: u64,
        last: u64,
        guard: &'g Guard,
        mut visit: impl FnMut(Seen<'g>),
    ) {
        let array = self.array(guard);
        for bucket in array.index_of(first)..=array.index_of(last) {
            self.visit_bucket(array, bucket, guard, &mut visit);
        }
    }

    fn visit_bucket<'g>(
        &self,
        array: &'g Array,
        index: usize,
        guard: &'g Guard,
        visit: &mut dyn FnMut(Seen<'g>),
    ) {
        let root = array.root(index);
        let mut at = Some(root);
        while let Some(line) = at {
            // The headers of a bucket are loaded together, not one after the other.
            for slot in line.slots() {
                let word = SlotWord(slot.load(Ordering::Relaxed));
                if word.is_live() {
                    prefetch(word.entry().as_ptr());
                }
            }
            for slot in line.slots() {
                // Acquire: as in `find`, pairs with the AcqRel that filled the slot, or that froze it.
                let word = SlotWord(slot.load(Ordering::Acquire));
                if word.is_live() {
                    // SAFETY: the word is live and was read from this bucket's slot under the guard.
                    visit(unsafe { Seen::new(root, slot, word) });
                }
            }
            at = line.next();
        }
        // Acquire: pairs with the AcqRel that froze the word, before which the next array was installed.
        if ControlWord(root.control().load(Ordering::Acquire)).is_leaving() {
            let next = self.move_bucket(array, index, guard);
            self.visit_bucket(next, 2 * index, guard, visit);
            self.visit_bucket(next, 2 * index + 1, guard, visit);
        }
    }
}
