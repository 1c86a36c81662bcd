//! The raw core: pointers to headers in slots. Who owns an entry, and what it is, is the shell's business.

use super::array::Array;
use super::bucket::Line;
use super::slot::{Slot, SlotWord};
use crate::epoch::{self, Guard};
use crate::session::{Header, SessionId};
use crate::sync::{AtomicPtr, Ordering};
use ahash::RandomState;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// The keyed hash of a session id. The version is left out, so that the sessions of one id share a bucket and a lookup
/// under the wrong version can say so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash(pub(crate) u64);

impl Hash {
    /// The bits of the hash that a slot keeps. The bucket comes from the other end.
    #[inline]
    pub(super) fn tag(self) -> u16 {
        self.0 as u16
    }
}

/// A lookup found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Miss {
    /// The id is there, under another protocol version.
    pub(crate) other_version: bool,
}

/// The table's memory could not be allocated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutOfMemory {
    pub(crate) bytes: usize,
}

/// A pointer to an entry that was read under a guard.
#[derive(Clone, Copy)]
pub(super) struct Entry<'g> {
    pointer: NonNull<Header>,
    _guard: PhantomData<&'g Guard>,
}

impl<'g> Entry<'g> {
    /// # Safety
    ///
    /// `pointer` was read from a table's word, or is owned by the caller, while the guard of `'g` was held.
    #[inline]
    pub(super) unsafe fn new(pointer: NonNull<Header>) -> Self {
        Self { pointer, _guard: PhantomData }
    }

    /// The pointer as it was stored, with the provenance of the whole entry.
    #[inline]
    pub(super) fn pointer(self) -> NonNull<Header> {
        self.pointer
    }

    #[inline]
    pub(super) fn header(self) -> &'g Header {
        // SAFETY: by `new`, the entry was reachable while the guard was held; rule R1 and the grace period keep it.
        unsafe { self.pointer.as_ref() }
    }
}

/// A live slot as it was seen: enough to unlink exactly that entry.
#[derive(Clone, Copy)]
pub(super) struct Seen<'g> {
    pub(super) root: &'g Line,
    pub(super) slot: &'g Slot,
    pub(super) word: SlotWord,
    _guard: PhantomData<&'g Guard>,
}

impl<'g> Seen<'g> {
    /// # Safety
    ///
    /// `word` is live and was read from `slot`, of the bucket of `root`, while the guard of `'g` was held.
    #[inline]
    pub(super) unsafe fn new(root: &'g Line, slot: &'g Slot, word: SlotWord) -> Self {
        Self { root, slot, word, _guard: PhantomData }
    }

    #[inline]
    pub(super) fn entry(self) -> Entry<'g> {
        // SAFETY: by `new`, the word was read under the guard.
        unsafe { Entry::new(self.word.entry()) }
    }
}

/// The table of entries.
pub(super) struct RawTable {
    // The oldest array that still has buckets of its own.
    root: AtomicPtr<Array>,
    hasher: RandomState,
}

impl RawTable {
    pub(super) fn new(buckets: usize, hasher: RandomState) -> Result<Self, OutOfMemory> {
        Ok(Self { root: AtomicPtr::new(Box::into_raw(Array::new(buckets)?)), hasher })
    }

    #[inline]
    pub(super) fn hash(&self, id: &SessionId) -> Hash {
        // The padding is hashed with the id: a fixed length costs less than it saves, and the padding tells lengths apart.
        Hash(self.hasher.hash_one(id))
    }

    /// The array where every operation begins.
    #[inline]
    pub(super) fn array<'g>(&self, _guard: &'g Guard) -> &'g Array {
        // Acquire: pairs with the AcqRel in `finish_growth`, so that the array is seen initialised.
        let root = self.root.load(Ordering::Acquire);
        // SAFETY: the root is never null, and an array that stops being the root is retired, not freed, so the guard
        // keeps it.
        unsafe { &*root }
    }

    /// Makes `next` the root in place of `old`, whose buckets have all moved there; returns the old array, to retire,
    /// to the one caller that did.
    pub(super) fn replace_root(&self, old: &Array, next: *mut Array) -> Option<NonNull<Array>> {
        let old = std::ptr::from_ref(old).cast_mut();
        // AcqRel: the Release half pairs with the Acquire in `array`.
        let replaced = self.root.compare_exchange(old, next, Ordering::AcqRel, Ordering::Relaxed);
        replaced.ok().and_then(NonNull::new)
    }
}

impl Drop for RawTable {
    fn drop(&mut self) {
        // The entries are gone: the shell retired them. What was seen of the arrays stays valid under its guard.
        let guard = epoch::pin_to_drop();
        let mut array = self.root.load(Ordering::Relaxed);
        while let Some(pointer) = NonNull::new(array) {
            // SAFETY: arrays come from `Box::into_raw` and are retired once: here, or when they stop being the root.
            unsafe {
                array = pointer.as_ref().next_pointer();
                guard.defer(move || drop(Box::from_raw(pointer.as_ptr())));
            }
        }
        // What was deferred would otherwise wait in a bag of this thread, which may fall asleep.
        guard.flush();
    }
}
