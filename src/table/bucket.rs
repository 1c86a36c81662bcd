//! The bucket: one cache line, and its array.

use super::raw::OutOfMemory;
use super::slot::{ControlWord, Slot, SlotWord};
use crate::session::Header;
use crate::sync::{AtomicPtr, Ordering};
use std::ptr::{self, NonNull};

/// Slots in a line: what is left of 64 bytes after the control word and the overflow pointer.
pub(super) const SLOTS: usize = if cfg!(resumption_loom) { 2 } else { 6 };

/// Lines in a bucket, the root included. At three entries a bucket and under a keyed hash a fifth line would be needed
/// about once in 10^14 buckets; the cache makes room in the bucket then.
pub(super) const MAX_LINES: usize = if cfg!(resumption_loom) { 2 } else { 4 };

/// One line of a bucket. In an overflow line the control word is not used.
#[repr(C, align(64))]
pub(super) struct Line {
    control: AtomicPtr<Header>,
    next: AtomicPtr<Line>,
    slots: [Slot; SLOTS],
}

#[cfg(not(resumption_loom))]
const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    fn new() -> Self {
        Self {
            control: AtomicPtr::new(ControlWord::idle(0).0),
            next: AtomicPtr::new(ptr::null_mut()),
            slots: std::array::from_fn(|_| Slot::new(ptr::null_mut())),
        }
    }

    #[inline]
    pub(super) fn control(&self) -> &AtomicPtr<Header> {
        &self.control
    }

    #[inline]
    pub(super) fn slots(&self) -> &[Slot; SLOTS] {
        &self.slots
    }

    /// One bit for each slot whose word has this tag.
    ///
    /// All slots are compared without a branch: which slot holds a key is random, and a branch on it would be
    /// mispredicted at every lookup. Only a hint: who follows an entry loads its slot again, with Acquire.
    #[inline]
    pub(super) fn candidates(&self, tag: u16) -> u32 {
        let bit = |(i, slot): (usize, &Slot)| {
            u32::from(SlotWord(slot.load(Ordering::Relaxed)).has_tag(tag)) << i
        };
        self.slots.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit)
    }

    /// The first slot of a mask that [`candidates`](Self::candidates) made and that is not empty.
    #[inline]
    pub(super) fn candidate(&self, candidates: u32) -> &Slot {
        let index = candidates.trailing_zeros() as usize;
        debug_assert!(index < SLOTS);
        // SAFETY: a mask has bits for existing slots only, and the caller has one left.
        unsafe { self.slots.get_unchecked(index) }
    }

    /// The overflow line behind this one.
    #[inline]
    pub(super) fn next(&self) -> Option<&Line> {
        // Acquire: pairs with the AcqRel in `grow`, so that the new line is seen initialised.
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: `next` is null or was installed by `grow`; lines live until the array is dropped, which needs
        // exclusive access to what `self` is borrowed from.
        unsafe { next.as_ref() }
    }

    /// The entry that the control word announces.
    #[cfg(resumption_loom)]
    pub(super) fn announced(&self) -> Option<NonNull<Header>> {
        match ControlWord(self.control.load(Ordering::Acquire)).state() {
            super::slot::Control::Pending(entry) => Some(entry),
            super::slot::Control::Idle(_) => None,
        }
    }

    /// Appends an overflow line, or finds that someone else has.
    pub(super) fn grow(&self) -> &Line {
        let line = Box::into_raw(Box::new(Line::new()));
        // AcqRel: the Release half pairs with the Acquire in `next`; Acquire on failure, to see the winner's line.
        match self.next.compare_exchange(ptr::null_mut(), line, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: `line` is now owned by the chain, which outlives `&self`.
            Ok(_) => unsafe { &*line },
            Err(theirs) => {
                // SAFETY: nobody has seen `line`.
                drop(unsafe { Box::from_raw(line) });
                // SAFETY: as in `next`.
                unsafe { &*theirs }
            }
        }
    }
}

/// The array of root lines, fixed in size.
pub(super) struct Lines {
    first: NonNull<Line>,
    count: usize,
}

// SAFETY: a Line is made of atomics; the array is freed by its one owner.
unsafe impl Send for Lines {}
// SAFETY: shared access to a Line goes through its atomics only.
unsafe impl Sync for Lines {}

impl Lines {
    pub(super) fn new(count: usize) -> Result<Self, OutOfMemory> {
        let bytes = count.saturating_mul(size_of::<Line>());
        let first = Self::allocate(count).ok_or(OutOfMemory { bytes })?;
        Ok(Self { first, count })
    }

    #[cfg(not(resumption_loom))]
    fn allocate(count: usize) -> Option<NonNull<Line>> {
        let layout = std::alloc::Layout::array::<Line>(count).ok().filter(|layout| layout.size() > 0)?;
        // SAFETY: the layout's size is not zero. All-zero memory is a valid Line: idle(0), no next, empty(0) slots.
        NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }.cast())
    }

    // loom's atomics are not all-zero, so its lines are built one by one.
    #[cfg(resumption_loom)]
    fn allocate(count: usize) -> Option<NonNull<Line>> {
        let lines: Box<[Line]> = (0..count).map(|_| Line::new()).collect();
        NonNull::new(Box::into_raw(lines).cast())
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The root line of bucket `index`, which must be below `count`.
    #[inline]
    pub(super) fn root(&self, index: usize) -> &Line {
        assert!(index < self.count);
        // SAFETY: the index is in bounds and the array lives as long as `self`.
        unsafe { self.first.add(index).as_ref() }
    }

    /// The bucket that `hash` belongs to: the hash scaled to the number of buckets.
    #[inline]
    pub(super) fn index_of(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.count as u128) >> 64) as usize
    }

    /// The root line of the bucket that `hash` belongs to.
    #[inline]
    pub(super) fn root_of(&self, hash: u64) -> &Line {
        let index = self.index_of(hash);
        debug_assert!(index < self.count);
        // SAFETY: hash / 2^64 is below 1, so the index is below `count`; the array lives as long as `self`.
        unsafe { self.first.add(index).as_ref() }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        for index in 0..self.count {
            let mut next = self.root(index).next.load(Ordering::Relaxed);
            while !next.is_null() {
                // SAFETY: overflow lines come from `Box::into_raw` in `grow`; we are their only owner now.
                let line = unsafe { Box::from_raw(next) };
                next = line.next.load(Ordering::Relaxed);
            }
        }
        #[cfg(not(resumption_loom))]
        if let Ok(layout) = std::alloc::Layout::array::<Line>(self.count) {
            // SAFETY: allocated in `allocate` with this very layout. A Line needs no drop of its own.
            unsafe { std::alloc::dealloc(self.first.as_ptr().cast(), layout) };
        }
        #[cfg(resumption_loom)]
        // SAFETY: `allocate` made it from a boxed slice of this length.
        drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(self.first.as_ptr(), self.count)) });
    }
}
