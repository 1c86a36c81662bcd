//! Asking for a cache line before it is needed.

/// Starts to load the line at `address` into the cache. A hint: any address will do, and where the target has no such
/// instruction nothing happens.
#[inline]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see, and faults on no address. SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// Starts to load what is about to be freed, up to some lines. An allocator makes the thread's next session of it, whose
/// writes would wait for the memory, and the first locked instruction behind them for the writes.
#[inline]
pub(crate) fn prefetch_all<T>(address: *const T) {
    const LINE: usize = 64;
    const MOST: usize = 16 * LINE;
    let size = size_of::<T>().min(MOST);
    for at in (0..size).step_by(LINE) {
        prefetch(address.wrapping_byte_add(at));
    }
    // It may begin in the middle of a line.
    if size > 0 {
        prefetch(address.wrapping_byte_add(size - 1));
    }
}
