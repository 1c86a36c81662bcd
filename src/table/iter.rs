//! Walking buckets: for the eviction hand, for flushes and for users who want to see everything.

use super::raw::{RawTable, Seen};
use super::slot::SlotWord;
use crate::epoch::Guard;
use crate::sync::Ordering;

impl RawTable {
    /// Calls `visit` for each live slot of bucket `index`. Entries that come or go meanwhile may be seen or not.
    pub(super) fn visit<'t, 'g>(
        &'t self,
        index: usize,
        _guard: &'g Guard,
        mut visit: impl FnMut(Seen<'t, 'g>),
    ) {
        let root = self.lines.root(index);
        let mut line = root;
        loop {
            for slot in line.slots() {
                // Acquire: as in `find`, pairs with the AcqRel that filled the slot.
                let word = SlotWord(slot.load(Ordering::Acquire));
                if word.is_live() {
                    // SAFETY: the word is live and was read from this bucket's slot under the guard.
                    visit(unsafe { Seen::new(root, slot, word) });
                }
            }
            match line.next() {
                None => return,
                Some(next) => line = next,
            }
        }
    }
}
