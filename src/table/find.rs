//! Finding an entry: two dependent cache lines, no write, no retry.

use super::bucket::Line;
use super::raw::{Hash, Miss, RawTable, Seen};
use super::slot::SlotWord;
use crate::epoch::Guard;
use crate::session::{Header, SessionKey};
use crate::sync::Ordering;

impl RawTable {
    /// The slot that holds `key`.
    ///
    /// A hit takes effect at the load of the slot. A miss is linearizable by rule R3: if the key was in one slot at
    /// some instant of the scan and in another later, it was absent in between, and that gap lies within the scan
    /// whatever the order of the loads.
    #[inline]
    pub(super) fn find<'t, 'g>(
        &'t self,
        hash: Hash,
        key: &SessionKey,
        _guard: &'g Guard,
    ) -> Result<Seen<'t, 'g>, Miss> {
        let root = self.lines.root_of(hash.0);
        let mut miss = Miss { other_version: false };
        let mut line = root;
        loop {
            if let Some(seen) = find_in_line(root, line, hash, key, &mut miss) {
                return Ok(seen);
            }
            match line.next() {
                None => return Err(miss),
                Some(next) => line = next,
            }
        }
    }
}

#[inline]
fn find_in_line<'t, 'g>(
    root: &'t Line,
    line: &'t Line,
    hash: Hash,
    key: &SessionKey,
    miss: &mut Miss,
) -> Option<Seen<'t, 'g>> {
    let mut candidates = line.candidates(hash.tag());
    while candidates != 0 {
        let slot = line.candidate(candidates);
        candidates &= candidates - 1;
        // Acquire: pairs with the AcqRel that put the entry in the slot, so that its header is seen initialised.
        let word = SlotWord(slot.load(Ordering::Acquire));
        if !word.has_tag(hash.tag()) {
            // The entry went since the tags were compared, so at this instant this slot does not hold the key.
            continue;
        }
        // SAFETY: the word is live and was read from this bucket's slot under the caller's guard.
        let seen = unsafe { Seen::new(root, slot, word) };
        let header: &Header = seen.entry().header();
        if header.matches(key) {
            return Some(seen);
        }
        miss.other_version |= header.has_id(key.id());
    }
    None
}
