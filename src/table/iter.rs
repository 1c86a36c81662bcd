//! Walking buckets: for the eviction hand, for flushes and for users who want to see everything.

use super::array::Array;
use super::bucket::Line;
use super::raw::{Entry, RawTable, Seen};
use super::slot::{ControlWord, LiveSlots, SlotWord};
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::session::Header;
use crate::sync::{Ordering, prefetch};

/// Buckets of an interval that are prefetched.
const BUCKETS_AHEAD: usize = 4;

/// How far ahead of a walk headers are loaded: about as far as a hand goes, so that the next walk finds them.
const WALK_AHEAD: usize = 10;

/// Where a walk went: over `width` buckets from `from` on, of `buckets` there were.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    pub(crate) from: usize,
    pub(crate) width: usize,
    pub(crate) buckets: usize,
}

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

    /// Loads the root lines of these intervals of hashes together, then of what they point to the part that says when it
    /// dies, and then the rest of what is dead at `now`.
    pub(super) fn prefetch_hashes(&self, intervals: &[(u64, u64)], now: Timestamp, guard: &Guard) {
        let array = self.array(guard);
        let roots = || {
            let buckets = |&(first, last): &(u64, u64)| {
                let first = array.index_of(first);
                first..=array.index_of(last).min(first + BUCKETS_AHEAD - 1)
            };
            intervals.iter().flat_map(buckets).map(|bucket| array.root(bucket))
        };
        roots().for_each(|root| prefetch(root));
        roots().for_each(prefetch_marks);
        roots().for_each(|root| prefetch_dead(root, now, guard));
    }

    /// Walks the buckets from `from` on, over the end and on from the start, while `open` says so of what was seen and of
    /// how many buckets that took, but over each bucket once.
    pub(super) fn walk<'g, S>(
        &self,
        from: usize,
        guard: &'g Guard,
        state: &mut S,
        look_at: impl Fn(&mut S, Seen<'g>),
        open: impl Fn(&S, usize) -> bool,
    ) -> Walk {
        let array = self.array(guard);
        let buckets = array.count();
        let from = from % buckets;
        let (mut bucket, mut width) = (from, 0);
        while width < buckets && open(state, width) {
            let ahead = bucket + WALK_AHEAD;
            prefetch_marks(array.root(if ahead < buckets { ahead } else { ahead % buckets }));
            self.visit_bucket(array, bucket, guard, &mut |seen| look_at(state, seen));
            bucket = if bucket + 1 == buckets { 0 } else { bucket + 1 };
            width += 1;
        }
        Walk { from, width, buckets }
    }

    // Into each walk: a call for each bucket, which is three or four sessions, would cost as much as they do.
    #[inline(always)]
    fn visit_bucket<'g>(
        &self,
        array: &'g Array,
        index: usize,
        guard: &'g Guard,
        visit: &mut impl FnMut(Seen<'g>),
    ) {
        let root = array.root(index);
        let mut at = Some(root);
        while let Some(line) = at {
            let words = line.slots().each_ref().map(SlotWord::read);
            for slot in LiveSlots::of(&words) {
                // SAFETY: the word is live and was read from this bucket's slot under the guard.
                visit(unsafe { Seen::new(root, &line.slots()[slot], words[slot]) });
            }
            at = line.next();
        }
        // Acquire: pairs with the AcqRel that froze the word, before which the next array was installed.
        if ControlWord(root.control().load(Ordering::Acquire)).is_leaving() {
            self.visit_moved(array, index, guard, visit);
        }
    }

    #[cold]
    fn visit_moved<'g>(
        &self,
        array: &'g Array,
        index: usize,
        guard: &'g Guard,
        visit: &mut impl FnMut(Seen<'g>),
    ) {
        let next = self.move_bucket(array, index, guard);
        for index in [2 * index, 2 * index + 1] {
            self.visit_bucket(next, index, guard, visit);
        }
    }
}

/// Loads of each header that a line points to the part that says how long it stays.
#[inline(always)]
fn prefetch_marks(line: &Line) {
    // What is empty points nowhere: then the line itself, which is there.
    let line_itself = std::ptr::from_ref(line).addr();
    for slot in line.slots() {
        let header = SlotWord(slot.load(Ordering::Relaxed)).entry_or(line_itself);
        prefetch(std::ptr::without_provenance::<u8>(header.wrapping_add(Header::READ_FIRST)));
    }
}

/// Loads the rest of each header that a line points to and that is dead.
#[inline]
fn prefetch_dead(line: &Line, now: Timestamp, _guard: &Guard) {
    for slot in line.slots() {
        // Acquire: as in `find`, pairs with the AcqRel that filled the slot.
        let word = SlotWord(slot.load(Ordering::Acquire));
        if word.is_live() {
            // SAFETY: the word is live and was read from the table's slot under the guard.
            let entry: Entry<'_> = unsafe { Entry::new(word.entry()) };
            if now > entry.header().expires_at() {
                let header = entry.pointer().as_ptr();
                // The counts are before it.
                prefetch(header.wrapping_byte_sub(1));
                prefetch(header.wrapping_byte_add(Header::READ_LAST));
            }
        }
    }
}
