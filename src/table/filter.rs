//! What a bucket does not hold, in four bytes: a Bloom filter for each bucket of a table that is too large for the
//! processor's second-level cache. A lookup of a key that nobody has then reads a word among a sixteenth as many.
//!
//! Two neighbours share a word: 24 bits for each, three of which are an entry's, taken from its tag; and a version. **The
//! bits of an entry are set before it is put in a slot, and until it has left.** What sets them is a read-modify-write by
//! whoever is about to put the entry: the inserter, a helper, or who moves the bucket. A bucket that has moved to the next
//! array has all its bits.
//!
//! Removals leave their bits behind. The next insert into the bucket clears them: behind its announcement no other entry
//! can be added, so what it sees in the slots, and its own, is all there is. An insert that was helped meanwhile, and others
//! after it, would clear the bits of these; so whatever sets bits raises the version, and an insert clears by a
//! compare-and-swap of the word as it was before its announcement. What the neighbour sets meanwhile makes it fail too, and
//! then the insert only adds its bits. The version wraps after 2^16 changes of the word, each an insert into one of two
//! buckets, a helper's or a mover's share in one; a thread would have to sleep through them between its look at the slots
//! and the swap, wake up at exactly that one, and find all other bits as they were.

use super::bucket::Line;
use super::raw::{Hash, OutOfMemory};
use super::slot::SlotWord;
use crate::sync::{AtomicU64, Ordering, Rule, is_broken};

/// Buckets from which on a table has a filter: 2 MiB of lines.
const FROM: usize = if cfg!(any(test, fuzzing)) { 2 } else { 1 << 15 };

/// Bits of a bucket, which are three parts of eight. Those of a bucket with an odd number are above its neighbour's.
const WIDTH: u32 = 24;
const BITS: u64 = (1 << WIDTH) - 1;
const VERSION: u64 = 1 << (2 * WIDTH);

/// A word for every two buckets of an array.
pub(super) struct Filter(Box<[AtomicU64]>);

/// What is known of one bucket.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    word: &'a AtomicU64,
    // Where in the word its bits begin.
    shift: u32,
}

/// What was in a word.
#[derive(Clone, Copy)]
pub(super) struct Held(u64);

/// The bits of an entry with this tag, one in each part.
#[inline]
fn bits(tag: u16) -> u64 {
    let part = |part: u32| 1 << (8 * part + u32::from(tag >> (3 * part) & 7));
    part(0) | part(1) | part(2)
}

/// The bits of all that the bucket of this root line holds.
fn bits_in(root: &Line) -> u64 {
    let (mut held, mut line) = (0, Some(root));
    while let Some(at) = line {
        for slot in at.slots() {
            // Acquire: pairs with the AcqRel that emptied the slot: whoever finds the bit cleared finds the entry gone.
            let word = SlotWord(slot.load(Ordering::Acquire));
            if word.is_live() {
                held |= bits(word.tag());
            }
        }
        line = at.next();
    }
    held
}

impl Filter {
    /// A filter for an array of so many buckets, if it is to have one.
    #[cfg(not(resumption_loom))]
    pub(super) fn new(buckets: usize) -> Result<Option<Self>, OutOfMemory> {
        use std::alloc::{Layout, alloc_zeroed};
        use std::ptr::{NonNull, slice_from_raw_parts_mut};
        if buckets < FROM {
            return Ok(None);
        }
        let words = buckets.div_ceil(2);
        let bytes = words.saturating_mul(size_of::<AtomicU64>());
        let layout = Layout::array::<AtomicU64>(words).map_err(|_| OutOfMemory { bytes })?;
        // SAFETY: the layout's size is not zero.
        let first = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OutOfMemory { bytes })?;
        super::array::want_huge_pages(first, bytes);
        // SAFETY: just allocated with the layout of this slice, by the allocator that a box uses; all-zero memory is a valid
        // AtomicU64.
        Ok(Some(Self(unsafe { Box::from_raw(slice_from_raw_parts_mut(first.as_ptr().cast(), words)) })))
    }

    /// A filter if the model wants one.
    #[cfg(resumption_loom)]
    pub(super) fn new(buckets: usize) -> Result<Option<Self>, OutOfMemory> {
        let _ = FROM;
        let words = || (0..buckets.div_ceil(2)).map(|_| AtomicU64::new(0)).collect();
        Ok(super::model::has_filters().then(|| Self(words())))
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// The cell of a bucket of the array that the filter was made for.
    #[inline(always)]
    pub(super) fn cell(&self, bucket: usize) -> Cell<'_> {
        Cell::of(&self.0[bucket / 2], bucket)
    }

    /// # Safety
    ///
    /// The array that the filter was made for has this bucket.
    #[inline(always)]
    pub(super) unsafe fn cell_unchecked(&self, bucket: usize) -> Cell<'_> {
        debug_assert!(bucket / 2 < self.0.len());
        // SAFETY: there is a word for every two buckets, so by the caller there is this one.
        Cell::of(unsafe { self.0.get_unchecked(bucket / 2) }, bucket)
    }
}

impl<'a> Cell<'a> {
    #[inline(always)]
    fn of(word: &'a AtomicU64, bucket: usize) -> Self {
        Self { word, shift: (bucket % 2) as u32 * WIDTH }
    }

    /// Where it is, to ask for it.
    pub(super) fn place(self) -> *const u64 {
        std::ptr::from_ref(self.word).cast()
    }

    #[inline(always)]
    pub(super) fn read(self) -> Held {
        // Acquire: pairs with the AcqRel in `publish`, so that who finds a bit cleared finds the entry gone, in every way
        // of looking.
        Held(self.word.load(Ordering::Acquire))
    }

    /// Whether the bucket may hold an entry with this hash.
    #[inline(always)]
    pub(super) fn may_hold(self, hash: Hash) -> bool {
        let bits = bits(hash.tag());
        self.read().0 >> self.shift & bits == bits
    }

    /// Sets the bits of an entry that is about to be put, and clears those of what has left. Only for the insert whose
    /// announcement stands in the root line, or did; `seen` was read before that was made.
    pub(super) fn publish(self, Held(seen): Held, root: &Line, tag: u16) {
        let neighbour = if is_broken(Rule::FilterNeighbour) { 0 } else { seen & !(BITS << self.shift) };
        let held = next_version(neighbour | (bits_in(root) | bits(tag)) << self.shift);
        // AcqRel: Release pairs with the Acquire in `read`. The entry's own bits are published with the entry, by what
        // puts it.
        if self.word.compare_exchange(seen, held, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            self.raise(tag);
        }
    }

    /// Sets the bits of an entry that is about to be put.
    pub(super) fn raise(self, tag: u16) {
        self.set(bits(tag));
    }

    /// The bucket has been frozen, so whoever still clears bits has read the word before: from now on its cell says nothing.
    pub(super) fn leave(self) {
        self.set(BITS);
    }

    fn set(self, bits: u64) {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            let held = next_version(seen | bits << self.shift);
            // AcqRel: carries on what `publish` released (partner: the Acquire in `read`). The entry's own bits are
            // published with the entry. What is added to the next array comes after, and whoever knows of it sees that the
            // bucket has left, since it was said to have moved in between.
            match self.word.compare_exchange(seen, held, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }
}

/// The same with the next version.
fn next_version(held: u64) -> u64 {
    if is_broken(Rule::FilterVersion) { held } else { held.wrapping_add(VERSION) }
}

#[cfg(test)]
mod tests {
    use crate::clock::Timestamp;
    use crate::epoch::{Guard, pin};
    use crate::session::{Membership, ProtocolVersion, Session, SessionId, SessionKey};
    use crate::table::{Hash, Insertion, Table};
    use ahash::RandomState;
    use std::sync::Arc;

    const TERMS: Membership = Membership { expiry: Timestamp::NEVER, external: false, fetched: false };

    fn key(number: u64) -> SessionKey {
        let id = SessionId::new(&number.to_le_bytes()).expect("8 bytes");
        SessionKey::new(ProtocolVersion::TLS1_3, id)
    }

    fn table(buckets: usize) -> Table<u64> {
        Table::new(buckets, RandomState::with_seeds(1, 2, 3, 4)).expect("memory")
    }

    fn hash(table: &Table<u64>, number: u64) -> Hash {
        table.hash(key(number).id())
    }

    fn add(table: &Table<u64>, number: u64, guard: &Guard) {
        let session = Arc::new(Session::<u64>::builder(key(number)).build(number));
        let attempt = table.prepare(session, TERMS).expect("an address of the system's allocator");
        let inserted = table.insert(hash(table, number), attempt, || true, guard);
        assert!(matches!(inserted, Insertion::Added(_)));
    }

    fn take(table: &Table<u64>, number: u64, guard: &Guard) {
        let taken = table.unlink_key(hash(table, number), &key(number), |_| Ok::<(), ()>(()), guard);
        assert!(matches!(taken, Ok(Ok(_))));
    }

    fn said_absent(table: &Table<u64>, numbers: impl Iterator<Item = u64>, guard: &Guard) -> usize {
        numbers.filter(|number| table.is_absent(hash(table, *number), guard)).count()
    }

    #[test]
    fn what_is_there_is_never_said_to_be_absent_and_what_has_left_is_forgotten() {
        let (table, guard) = (table(64), pin());
        // At any time 200 in 64 buckets.
        for number in 0..20_000 {
            add(&table, number, &guard);
            if number >= 200 {
                take(&table, number - 200, &guard);
            }
            if number % 97 == 0 {
                assert_eq!(said_absent(&table, number.saturating_sub(199)..=number, &guard), 0);
            }
        }
        let known = said_absent(&table, 1_000_000..1_010_000, &guard);
        assert!((9_000..9_900).contains(&known), "{known} of 10,000");
    }

    #[test]
    fn a_table_that_grows_has_a_filter_for_both_arrays() {
        let (table, guard) = (table(4), pin());
        for number in 0..5_000 {
            add(&table, number, &guard);
            table.grow(number as usize + 1, &guard);
            if number % 61 == 0 {
                assert_eq!(said_absent(&table, 0..=number, &guard), 0, "after {number}");
            }
        }
        assert!(table.has_filter(&guard) && table.buckets(&guard) >= 1024);
        let known = said_absent(&table, 1_000_000..1_010_000, &guard);
        assert!((9_000..9_900).contains(&known), "{known} of 10,000");
    }

    #[test]
    fn a_small_table_has_none() {
        let (table, guard) = (table(1), pin());
        assert!(!table.has_filter(&guard) && !table.is_absent(hash(&table, 1), &guard));
    }
}
