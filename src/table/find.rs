//! Finding an entry: two dependent cache lines, no write, no retry.

use super::bucket::Line;
use super::raw::{Entry, Hash, Miss, RawTable, Seen};
use super::slot::{ControlWord, SlotWord};
use crate::epoch::Guard;
use crate::session::{Header, SessionKey};
use crate::sync::{Ordering, fence};

/// What one look at a root line says.
pub(super) enum Glance<'g> {
    /// This entry was asked about, and admitted.
    Entry(Entry<'g>, Seen<'g>),
    /// No entry with this hash is in the table.
    Absent,
    /// A closer look is needed.
    Unclear,
}

impl RawTable {
    /// What the root line of the bucket says, in one look: nearly always all there is to know.
    ///
    /// `admit` is asked about the first entry whose tag fits. This is the whole of a hit, and meant to be inlined into
    /// its caller: whatever is not clear at once is [`find`](Self::find)'s business.
    #[inline(always)]
    pub(super) fn glance<'g>(
        &self,
        hash: Hash,
        admit: impl FnOnce(Entry<'g>) -> bool,
        guard: &'g Guard,
    ) -> Glance<'g> {
        let root = self.array(guard).root_of(hash.0);
        let candidates = root.candidates(hash.tag());
        if candidates != 0 {
            let slot = root.candidate(candidates);
            // Acquire: pairs as in `find_in_line`.
            let word = SlotWord(slot.load(Ordering::Acquire));
            let Some(entry) = word.entry_tagged(hash.tag()) else { return Glance::Unclear };
            // SAFETY: the word is live and was read from this bucket's slot under the caller's guard.
            let (entry, seen) = unsafe { (Entry::new(entry), Seen::new(root, slot, word)) };
            return if admit(entry) { Glance::Entry(entry, seen) } else { Glance::Unclear };
        }
        if root.next().is_some() {
            return Glance::Unclear;
        }
        fence(Ordering::Acquire); // pairs as in `find_anywhere`
        // Acquire: pairs as in `find_anywhere`.
        if ControlWord(root.control().load(Ordering::Acquire)).is_leaving() {
            return Glance::Unclear;
        }
        Glance::Absent
    }

    /// Whether the table's filter says that no entry has this hash; `false` if there is no filter, or it does not know.
    ///
    /// Takes effect at the load of the bucket's cell: the bits of an entry are there while it is in a slot, and a bucket
    /// that has moved has all bits.
    #[inline(always)]
    pub(super) fn is_absent(&self, hash: Hash, guard: &Guard) -> bool {
        self.array(guard).cell_of(hash.0).is_some_and(|cell| !cell.may_hold(hash))
    }

    /// The slot that holds `key`.
    ///
    /// A hit takes effect at the load of the slot. A miss is linearizable by rule R3: if the key was in one slot at
    /// some instant of the scan and in another later, it was absent in between, and that gap lies within the scan
    /// whatever the order of the loads. Only the move to another array changes a slot without a gap, and that is why a
    /// miss looks at the control word last.
    #[inline]
    pub(super) fn find<'g>(&self, hash: Hash, key: &SessionKey, guard: &'g Guard) -> Result<Seen<'g>, Miss> {
        match self.glance(hash, |entry| entry.header().matches(key), guard) {
            Glance::Entry(_, seen) => Ok(seen),
            Glance::Absent => Err(Miss { other_version: false }),
            Glance::Unclear => self.find_anywhere(hash, key, guard),
        }
    }

    /// As `find`, in every line of the bucket, and of those that it has moved to: at most a bucket's work for each, whatever
    /// others do.
    fn find_anywhere<'g>(&self, hash: Hash, key: &SessionKey, guard: &'g Guard) -> Result<Seen<'g>, Miss> {
        let mut array = self.array(guard);
        loop {
            let root = array.root_of(hash.0);
            let mut miss = Miss { other_version: false };
            let mut line = Some(root);
            while let Some(at) = line {
                if let Some(seen) = find_in_line(root, at, hash, key, &mut miss) {
                    return Ok(seen);
                }
                line = at.next();
            }
            // Acquire: if a slot was read frozen, this pairs with the AcqRel that froze it, before which the control word
            // was frozen; so that the load below says so. If none was, the bucket was whole when its slots were read.
            fence(Ordering::Acquire);
            // Acquire: pairs with the AcqRel that froze the word, before which the next array was installed.
            if !ControlWord(root.control().load(Ordering::Acquire)).is_leaving() {
                return Err(miss);
            }
            array = self.move_bucket(array, array.index_of(hash.0), guard);
        }
    }
}

#[inline]
fn find_in_line<'g>(
    root: &'g Line,
    line: &'g Line,
    hash: Hash,
    key: &SessionKey,
    miss: &mut Miss,
) -> Option<Seen<'g>> {
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
