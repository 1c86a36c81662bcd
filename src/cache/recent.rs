//! A lossy memory of the sessions that left lately, so that a miss can say why.

use crate::sync::{AtomicU32, Ordering};
use crate::table::Hash;

/// Why a session is no longer here, as far as the cache remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Evicted,
    Consumed,
    Expired,
}

/// Fingerprints of departed sessions, one a cell, newest wins. For diagnosis only: it forgets, and about once in 2^30
/// probes it is wrong.
pub(crate) struct Recent {
    cells: Box<[AtomicU32]>,
}

const REASON_BITS: u32 = 2;

impl Recent {
    /// Memory for a cache of this capacity: 4 bytes for each of 64 to 65,536 cells.
    pub(crate) fn new(capacity: usize) -> Self {
        let most = if cfg!(resumption_loom) { 1 } else { 1 << 16 };
        let cells = (capacity / 2).next_power_of_two().clamp(64.min(most), most);
        Self { cells: (0..cells).map(|_| AtomicU32::new(0)).collect() }
    }

    #[inline]
    pub(crate) fn remember(&self, hash: Hash, left: Left) {
        if let Some(cell) = self.cell(hash) {
            cell.store(fingerprint(hash) | (left as u32 + 1), Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn recall(&self, hash: Hash) -> Option<Left> {
        let word = self.cell(hash)?.load(Ordering::Relaxed);
        match word.wrapping_sub(fingerprint(hash)) {
            1 => Some(Left::Evicted),
            2 => Some(Left::Consumed),
            3 => Some(Left::Expired),
            _ => None,
        }
    }

    /// There always is one; but a call that panics would cost every miss two instructions.
    #[inline]
    fn cell(&self, Hash(hash): Hash) -> Option<&AtomicU32> {
        self.cells.get((hash >> 32) as usize & self.cells.len().wrapping_sub(1))
    }
}

#[inline]
fn fingerprint(Hash(hash): Hash) -> u32 {
    (hash as u32) << REASON_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_reason_is_recalled() {
        let recent = Recent::new(1_000);
        let (a, b) = (Hash(0x1234_5678_9abc_def0), Hash(0x1234_5678_9abc_def1));
        assert_eq!(recent.recall(a), None);
        for left in [Left::Evicted, Left::Consumed, Left::Expired] {
            recent.remember(a, left);
            assert_eq!((recent.recall(a), recent.recall(b)), (Some(left), None));
        }
        recent.remember(b, Left::Evicted);
        assert_eq!((recent.recall(a), recent.recall(b)), (None, Some(Left::Evicted)));
    }
}
