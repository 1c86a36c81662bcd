//! Overflow lines: made in chunks, and given back with the array that they belong to, without a walk over its buckets.

use super::bucket::Line;
use crate::sync::{AtomicPtr, AtomicUsize, Ordering};
use std::ptr;

/// Lines in a chunk, which is a page of memory with its header.
const LINES: usize = if cfg!(resumption_loom) { 1 } else { 63 };

struct Chunk {
    lines: [Line; LINES],
    used: AtomicUsize,
    // The chunk that was made before. Owned.
    older: *mut Chunk,
}

/// The overflow lines of one array.
pub(super) struct Overflow {
    // The youngest chunk, or null. Owned.
    youngest: AtomicPtr<Chunk>,
}

impl Overflow {
    pub(super) fn new() -> Self {
        Self { youngest: AtomicPtr::new(ptr::null_mut()) }
    }

    /// A line that nobody else has, as good as `self`.
    pub(super) fn line(&self) -> &Line {
        loop {
            // Acquire: pairs with the AcqRel below, so that the chunk is seen initialised.
            let youngest = self.youngest.load(Ordering::Acquire);
            // SAFETY: null, or installed below and freed only with `self`.
            if let Some(chunk) = unsafe { youngest.as_ref() }
                // Relaxed: the lines were made before the chunk was installed.
                && let Some(line) = chunk.lines.get(chunk.used.fetch_add(1, Ordering::Relaxed))
            {
                return line;
            }
            self.add_chunk(youngest);
        }
    }

    /// Makes a chunk, unless somebody else has made one after `youngest`.
    #[cold]
    fn add_chunk(&self, youngest: *mut Chunk) {
        let lines = std::array::from_fn(|_| Line::new());
        let chunk = Box::into_raw(Box::new(Chunk { lines, used: AtomicUsize::new(0), older: youngest }));
        // AcqRel: the Release half pairs with the Acquire in `line`.
        let installed = self.youngest.compare_exchange(youngest, chunk, Ordering::AcqRel, Ordering::Relaxed);
        if installed.is_err() {
            // SAFETY: nobody has seen the chunk.
            drop(unsafe { Box::from_raw(chunk) });
        }
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        // Relaxed: whoever drops the array has seen all that was done to it.
        let mut chunk = self.youngest.load(Ordering::Relaxed);
        while !chunk.is_null() {
            // SAFETY: chunks come from `Box::into_raw` above, and we are their only owner now.
            chunk = unsafe { Box::from_raw(chunk) }.older;
        }
    }
}

#[cfg(all(test, not(resumption_loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_line_is_given_out_once() {
        let overflow = Overflow::new();
        let lines: Vec<usize> = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| {
                    scope
                        .spawn(|| (0..200).map(|_| ptr::from_ref(overflow.line()).addr()).collect::<Vec<_>>())
                })
                .collect();
            takers.into_iter().flat_map(|taker| taker.join().expect("no panic")).collect()
        });
        assert_eq!(lines.iter().collect::<HashSet<_>>().len(), 800);
        assert!(lines.iter().all(|line| line.is_multiple_of(64)));
    }
}
