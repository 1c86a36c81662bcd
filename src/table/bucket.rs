//! The bucket: one cache line, and seldom overflow lines behind it.

use super::array::Array;
use super::slot::{ControlWord, Slot};
use super::vector;
use crate::session::Header;
use crate::sync::{AtomicPtr, Ordering};
use std::ptr;

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
    /// Where the slots are, for who reads them by vectors.
    #[cfg(all(target_arch = "x86_64", not(miri), not(fuzzing), not(resumption_loom)))]
    pub(super) const SLOTS_AT: usize = std::mem::offset_of!(Line, slots);

    pub(super) fn new() -> Self {
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
    /// mispredicted at every lookup. Only a hint: who follows an entry loads its slot again, with Acquire, and looks at
    /// its state. A slot that has the tag throughout has its bit.
    #[inline]
    pub(super) fn candidates(&self, tag: u16) -> u32 {
        vector::candidates(self, tag)
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
        // SeqCst: pairs with the swap in `grow`: what is put in the line that is seen here comes after the swap in the single
        // order too, and with it after whatever fence somebody set who still missed the line. Its Acquire half shows the
        // new line initialised.
        let next = self.next.load(Ordering::SeqCst);
        // SAFETY: `next` is null or was installed by `grow`; lines live until their array is dropped, and
        // `self` is borrowed from it.
        unsafe { next.as_ref() }
    }

    /// The entry that the control word announces.
    #[cfg(resumption_loom)]
    pub(super) fn announced(&self) -> Option<std::ptr::NonNull<Header>> {
        match ControlWord(self.control.load(Ordering::Acquire)).state() {
            super::slot::Control::Pending(entry) => Some(entry),
            _ => None,
        }
    }

    /// Appends an overflow line of `array`, whose line this is, or finds that someone else has.
    pub(super) fn grow<'a>(&'a self, array: &'a Array) -> &'a Line {
        let line = array.overflow.line();
        let pointer = ptr::from_ref(line).cast_mut();
        // SeqCst: pairs with the load in `next`, as there, also on failure, which sees the winner's line. Ours is then not
        // used: inserts into one full bucket seldom meet.
        match self.next.compare_exchange(ptr::null_mut(), pointer, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => line,
            // SAFETY: as in `next`.
            Err(theirs) => unsafe { &*theirs },
        }
    }
}
