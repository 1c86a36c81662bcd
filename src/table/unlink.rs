//! Unlinking: one compare-and-swap, one winner.

use super::insert::withdraw;
use super::raw::{Entry, Hash, Miss, RawTable, Seen};
use super::slot::SlotWord;
use crate::epoch::Guard;
use crate::session::SessionKey;
use crate::sync::{Ordering, Rule, is_broken};

impl RawTable {
    /// Removes the entry under `key` if `accept` agrees, and hands it to the one caller that removed it, to retire.
    /// `accept`'s refusal is passed on.
    #[inline]
    pub(super) fn unlink_key<'g, R>(
        &self,
        hash: Hash,
        key: &SessionKey,
        mut accept: impl FnMut(Seen<'g>) -> Result<(), R>,
        guard: &'g Guard,
    ) -> Result<Result<Entry<'g>, R>, Miss> {
        loop {
            let seen = self.find(hash, key, guard)?;
            if let Err(refusal) = accept(seen) {
                return Ok(Err(refusal));
            }
            if let Some(entry) = self.unlink(seen) {
                return Ok(Ok(entry));
            }
        }
    }

    /// Removes exactly the entry that was seen; `None` when its slot has changed since.
    #[inline]
    pub(super) fn unlink<'g>(&self, seen: Seen<'g>) -> Option<Entry<'g>> {
        let entry = seen.entry();
        let seq = entry.header().seq();
        // Never 0 again: that is a slot into which a mover may still put what it copies.
        let empty = SlotWord::empty(if is_broken(Rule::Sequence) { seq } else { seq.wrapping_add(1).max(1) });
        if is_broken(Rule::OneWinner) {
            seen.slot.store(empty.0, Ordering::Release);
            withdraw(seen.root, entry.pointer());
            return Some(entry);
        }
        // A removal takes effect here, and only one thread's can succeed. AcqRel: Release, so that what we read of the
        // entry stays before it; Acquire pairs with the AcqRel that put the entry.
        seen.slot.compare_exchange(seen.word.0, empty.0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        withdraw(seen.root, entry.pointer());
        Some(entry)
    }
}
