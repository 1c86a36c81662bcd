//! What a bucket does not hold, in four bytes: a Bloom filter for each bucket of a table that is too large for the
//! processor's second-level cache. A lookup of a key that nobody has then reads a word among a sixteenth as many.
//!
//! A word has 16 bits, two for each entry of the bucket, taken from its tag; a flag that the bucket is leaving for the next
//! array; and a version. **The bits of an entry are set before it is put in a slot, and until it has left.** What sets them
//! is a read-modify-write by whoever is about to put the entry: the inserter, a helper, or who moves the bucket.
//!
//! Removals leave their bits behind. The next insert into the bucket clears them: behind its announcement no other entry
//! can be added, so what it sees in the slots, and its own, is all there is. An insert that was helped meanwhile, and others
//! after it, would clear the bits of these; so each setting of bits raises the version, and an insert clears by a
//! compare-and-swap of the word as it was before its announcement. The version wraps after 2^15 inserts into one bucket,
//! which a thread would have to sleep through between two instructions, and wake up at exactly that one.

use super::bucket::Line;
use super::raw::{Hash, OutOfMemory};
use super::slot::SlotWord;
use crate::sync::{AtomicU32, Ordering, Rule, is_broken};

/// Buckets from which on a table has a filter: 2 MiB of lines.
const FROM: usize = if cfg!(any(test, fuzzing)) { 2 } else { 1 << 15 };

const BITS: u32 = 0xffff;
const LEAVING: u32 = 1 << 16;
const VERSION: u32 = 1 << 17;

/// A word for each bucket of an array.
pub(super) struct Filter(Box<[AtomicU32]>);

/// The word of one bucket.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a>(&'a AtomicU32);

/// What was in a cell.
#[derive(Clone, Copy)]
pub(super) struct Held(u32);

/// The bits of an entry with this tag.
#[inline]
fn bits(tag: u16) -> u32 {
    1 << (tag & 15) | 1 << (tag >> 4 & 15)
}

/// The bits of all that the bucket of this root line holds.
fn bits_in(root: &Line) -> u32 {
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
        let bytes = buckets.saturating_mul(size_of::<AtomicU32>());
        let layout = Layout::array::<AtomicU32>(buckets).map_err(|_| OutOfMemory { bytes })?;
        // SAFETY: the layout's size is not zero.
        let cells = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OutOfMemory { bytes })?;
        super::array::want_huge_pages(cells, bytes);
        // SAFETY: just allocated with the layout of this slice, by the allocator that a box uses; all-zero memory is a valid
        // AtomicU32.
        Ok(Some(Self(unsafe { Box::from_raw(slice_from_raw_parts_mut(cells.as_ptr().cast(), buckets)) })))
    }

    /// A filter if the model wants one.
    #[cfg(resumption_loom)]
    pub(super) fn new(buckets: usize) -> Result<Option<Self>, OutOfMemory> {
        let _ = FROM;
        Ok(super::model::has_filters().then(|| Self((0..buckets).map(|_| AtomicU32::new(0)).collect())))
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// The cell of a bucket of the array that the filter was made for.
    #[inline(always)]
    pub(super) fn cell(&self, bucket: usize) -> Cell<'_> {
        Cell(&self.0[bucket])
    }
}

impl Cell<'_> {
    /// Where it is, to ask for it.
    pub(super) fn place(self) -> *const u32 {
        std::ptr::from_ref(self.0).cast()
    }

    #[inline(always)]
    pub(super) fn read(self) -> Held {
        // Acquire: pairs with the AcqRel in `publish`, so that who finds a bit cleared finds the entry gone, in every way
        // of looking.
        Held(self.0.load(Ordering::Acquire))
    }

    /// Sets the bits of an entry that is about to be put, and clears those of what has left. Only for the insert whose
    /// announcement stands in the root line, or did; `seen` was read before that was made.
    pub(super) fn publish(self, seen: Held, root: &Line, tag: u16) {
        if seen.0 & LEAVING == 0 {
            let held = bits_in(root) | bits(tag) | next_version(seen.0);
            // AcqRel: Release pairs with the Acquire in `read`. The entry's own bits are published with the entry, by what
            // puts it.
            if self.0.compare_exchange(seen.0, held, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return;
            }
        }
        self.raise(tag);
    }

    /// Sets the bits of an entry that is about to be put.
    pub(super) fn raise(self, tag: u16) {
        let mut seen = self.0.load(Ordering::Relaxed);
        while seen & LEAVING == 0 {
            let held = (seen & BITS) | bits(tag) | next_version(seen);
            // AcqRel: carries on what `publish` released (partner: the Acquire in `read`). The entry's own bits are
            // published with the entry.
            match self.0.compare_exchange(seen, held, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    /// The bucket leaves: from now on its cell says nothing.
    pub(super) fn leave(self) {
        // AcqRel: carries on what `publish` released (partner: the Acquire in `read`). What is added to the next array comes
        // after, and whoever knows of it sees this, since the bucket was said to have moved in between.
        self.0.fetch_or(BITS | LEAVING, Ordering::AcqRel);
    }
}

impl Held {
    /// Whether the bucket may hold an entry with this hash.
    #[inline(always)]
    pub(super) fn may_be(self, hash: Hash) -> bool {
        let bits = bits(hash.tag());
        self.0 & bits == bits
    }
}

/// The next version, in its place.
fn next_version(seen: u32) -> u32 {
    let version = seen & !(BITS | LEAVING);
    if is_broken(Rule::FilterVersion) { version } else { version.wrapping_add(VERSION) }
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
        let inserted = table.insert(hash(table, number), attempt, true, guard);
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
        assert!((6_000..9_900).contains(&known), "{known} of 10,000");
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
        assert!((6_000..9_900).contains(&known), "{known} of 10,000");
    }

    #[test]
    fn a_small_table_has_none() {
        let (table, guard) = (table(1), pin());
        assert!(!table.has_filter(&guard) && !table.is_absent(hash(&table, 1), &guard));
    }
}
