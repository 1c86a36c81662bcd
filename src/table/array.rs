//! An array of buckets. The table has one, and two while it grows.

use super::bucket::Line;
use super::filter::{Cell, Filter};
use super::overflow::Overflow;
use super::raw::OutOfMemory;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use crossbeam_utils::CachePadded;
use std::ptr::{self, NonNull};

/// Root lines, fixed in number, and where they go when the table grows.
pub(super) struct Array {
    first: NonNull<Line>,
    count: usize,
    next: AtomicPtr<Array>,
    filter: Option<Filter>,
    pub(super) overflow: Overflow,
    pub(super) claimed: CachePadded<AtomicUsize>,
    pub(super) moved: CachePadded<AtomicUsize>,
    #[cfg(not(resumption_loom))]
    memory: (NonNull<u8>, std::alloc::Layout),
}

// SAFETY: a Line is made of atomics; the array is freed by its one owner.
unsafe impl Send for Array {}
// SAFETY: shared access to a Line goes through its atomics only.
unsafe impl Sync for Array {}

impl Array {
    #[cfg(not(resumption_loom))]
    pub(super) fn new(count: usize) -> Result<Box<Self>, OutOfMemory> {
        use std::alloc::{Layout, alloc_zeroed};
        const ALIGN: usize = align_of::<Line>();
        let filter = Filter::new(count)?;
        let bytes = count.saturating_mul(size_of::<Line>()).saturating_add(ALIGN);
        // Asked for with a small alignment, and aligned by hand: the allocator then takes zeroed pages from the system
        // instead of writing the zeros, which at a million buckets is the difference between microseconds and a stall.
        let layout = Layout::from_size_align(bytes, 16).map_err(|_| OutOfMemory { bytes })?;
        // SAFETY: the layout's size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(OutOfMemory { bytes })?;
        want_huge_pages(start, bytes);
        let padding = start.align_offset(ALIGN);
        debug_assert!(padding < ALIGN);
        // SAFETY: the padding is below the alignment, which the allocation has to spare. All-zero memory is a valid
        // Line: idle(0), no next, empty(0) slots.
        let first = unsafe { start.add(padding) }.cast();
        Ok(Box::new(Self {
            first,
            count,
            next: AtomicPtr::new(ptr::null_mut()),
            filter,
            overflow: Overflow::new(),
            claimed: CachePadded::new(AtomicUsize::new(0)),
            moved: CachePadded::new(AtomicUsize::new(0)),
            memory: (start, layout),
        }))
    }

    // loom's atomics are not all-zero, so its lines are built one by one.
    #[cfg(resumption_loom)]
    pub(super) fn new(count: usize) -> Result<Box<Self>, OutOfMemory> {
        let lines: Box<[Line]> = (0..count).map(|_| Line::new()).collect();
        Ok(Box::new(Self {
            first: NonNull::from(Box::leak(lines)).cast(),
            count,
            next: AtomicPtr::new(ptr::null_mut()),
            filter: Filter::new(count)?,
            overflow: Overflow::new(),
            claimed: CachePadded::new(AtomicUsize::new(0)),
            moved: CachePadded::new(AtomicUsize::new(0)),
        }))
    }

    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The bucket that `hash` belongs to: the hash scaled to the number of buckets. When the number doubles, what was in
    /// bucket `b` is in `2b` and `2b + 1`.
    #[inline]
    pub(super) fn index_of(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.count as u128) >> 64) as usize
    }

    /// The root line of the bucket that `hash` belongs to.
    #[inline]
    pub(super) fn root_of(&self, hash: u64) -> &Line {
        let index = self.index_of(hash);
        debug_assert!(index < self.count);
        // SAFETY: hash / 2^64 is below 1, so the index is below `count`; the lines live as long as `self`.
        unsafe { self.first.add(index).as_ref() }
    }

    /// The root line of bucket `index`, which must be below `count`.
    #[inline]
    pub(super) fn root(&self, index: usize) -> &Line {
        assert!(index < self.count);
        // SAFETY: the index is in bounds and the lines live as long as `self`.
        unsafe { self.first.add(index).as_ref() }
    }

    #[inline]
    pub(super) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// The cell of the filter for the bucket that `hash` belongs to, if the array has one.
    #[inline(always)]
    pub(super) fn cell_of(&self, hash: u64) -> Option<Cell<'_>> {
        let index = self.index_of(hash);
        // SAFETY: as in `root_of`, the index is below `count`, which the filter was made for.
        self.filter.as_ref().map(|filter| unsafe { filter.cell_unchecked(index) })
    }

    /// The cell of the filter for bucket `index`, if the array has one.
    #[inline(always)]
    pub(super) fn cell(&self, index: usize) -> Option<Cell<'_>> {
        self.filter.as_ref().map(|filter| filter.cell(index))
    }

    /// The index of the bucket that has this root line; `None` when it is no root line of this array.
    pub(super) fn index_of_root(&self, root: &Line) -> Option<usize> {
        let bytes = ptr::from_ref(root).addr().wrapping_sub(self.first.addr().get());
        (bytes < self.count * size_of::<Line>()).then_some(bytes / size_of::<Line>())
    }

    /// The array that this one's buckets move to.
    #[inline]
    pub(super) fn next(&self) -> Option<&Array> {
        // Acquire: pairs with the AcqRel in `set_next`, so that the array is seen initialised.
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: installed by `set_next`, and retired after this array. The guard under which this one is borrowed is older
        // than its retirement, and so keeps the next one too.
        unsafe { next.as_ref() }
    }

    /// The address of the next array, as it was installed.
    pub(super) fn next_pointer(&self) -> *mut Array {
        self.next.load(Ordering::Acquire) // pairs with `set_next`, as in `next`
    }

    /// Installs the array to move to; gives it back when there is one already.
    pub(super) fn set_next(&self, array: Box<Array>) -> Result<(), Box<Array>> {
        let array = Box::into_raw(array);
        // AcqRel: the Release half pairs with the Acquire in `next`.
        match self.next.compare_exchange(ptr::null_mut(), array, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            // SAFETY: nobody has seen the array.
            Err(_) => Err(unsafe { Box::from_raw(array) }),
        }
    }

    /// Bytes of the root lines and of the filter.
    pub(super) fn bytes(&self) -> usize {
        self.count * size_of::<Line>() + self.filter.as_ref().map_or(0, Filter::bytes)
    }
}

/// Asks for huge pages under these bytes, if they are many: lookups in a large table otherwise miss the processor's table of
/// pages nearly every time, and giving its memory back takes a call that is long by the number of pages.
#[cfg(not(resumption_loom))]
pub(super) fn want_huge_pages(start: NonNull<u8>, bytes: usize) {
    const FEW: usize = 8 << 20;
    #[cfg(all(target_os = "linux", not(miri)))]
    if bytes >= FEW {
        const PAGE: usize = 4096;
        let unaligned = start.align_offset(PAGE);
        let pages = (bytes - unaligned) / PAGE * PAGE;
        // SAFETY: the pages are inside the caller's allocation, and the advice changes nothing that a program can see. A
        // system without huge pages, or with larger pages, refuses.
        let _ = unsafe {
            rustix::mm::madvise(
                start.add(unaligned).as_ptr().cast(),
                pages,
                rustix::mm::Advice::LinuxHugepage,
            )
        };
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (start, bytes, FEW);
}

impl Drop for Array {
    fn drop(&mut self) {
        #[cfg(not(resumption_loom))]
        // SAFETY: allocated in `new` with this very layout. A Line needs no drop of its own.
        unsafe {
            std::alloc::dealloc(self.memory.0.as_ptr(), self.memory.1);
        }
        #[cfg(resumption_loom)]
        // SAFETY: `new` made it from a boxed slice of this length.
        drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(self.first.as_ptr(), self.count)) });
    }
}
