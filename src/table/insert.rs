//! Inserting: announce, put, clear. Steps are numbered as in the design document.

use super::array::Array;
use super::bucket::{Line, MAX_LINES};
use super::raw::{Entry, Hash, RawTable, Seen};
use super::slot::{Control, ControlWord, Slot, SlotWord};
use crate::epoch::Guard;
use crate::session::{Header, SessionKey};
use crate::sync::{Ordering, Rule, is_broken};
use std::ptr::NonNull;

/// How an insert ended.
pub(super) enum RawInsert<'g> {
    /// The key was absent; the entry is in.
    Added,
    /// Another entry had the key; ours took its slot and it is the caller's to retire.
    Replaced(Entry<'g>),
    /// `keep` asked to leave the entry that has the key.
    Kept(Entry<'g>),
    /// The key is absent and was not to be added.
    Absent,
    /// The key is absent and its bucket is full to the last line.
    NoRoom,
}

/// What one scan of a bucket saw.
enum Scan<'g> {
    /// The bucket was frozen while it was read.
    Leaving,
    Present(Seen<'g>),
    Free {
        slot: &'g Slot,
        seq: u32,
    },
    Full {
        last: &'g Line,
        lines: usize,
    },
}

impl RawTable {
    /// Puts `entry` under `key`, in place of the entry that has the key unless `keep` says to leave it. If the key is absent
    /// and `may_add` says no, it does nothing.
    ///
    /// # Safety
    ///
    /// `entry` is valid, fits a slot, has this key and is reachable by nobody else; on `Added` and `Replaced` it belongs
    /// to the table, otherwise still to the caller.
    #[inline]
    pub(super) unsafe fn insert<'g>(
        &self,
        hash: Hash,
        key: &SessionKey,
        entry: NonNull<Header>,
        mut may_add: impl FnMut() -> bool,
        keep: impl Fn(Entry<'g>) -> bool,
        guard: &'g Guard,
    ) -> RawInsert<'g> {
        let mut array = self.array(guard);
        let mut root = array.root_of(hash.0);
        // SAFETY: the caller owns the entry.
        let place = unsafe { entry.as_ref() };
        loop {
            // Step 1. SeqCst: pairs with the swap to moved in `move_bucket`: what is put into the next array comes after that
            // swap in the single order too. Its Acquire half pairs with the AcqRel of the announcement, so that a helper sees
            // the entry's place, and with that of the clearing, so that the scan sees what the last insert put.
            let control = ControlWord(root.control().load(Ordering::SeqCst));
            let version = match control.state() {
                Control::Idle(version) => version,
                Control::Pending(announced) => {
                    help(array, array.index_of(hash.0), announced, guard);
                    continue;
                }
                Control::Frozen(_) | Control::Moved => {
                    array = self.move_bucket(array, array.index_of(hash.0), guard);
                    root = array.root_of(hash.0);
                    continue;
                }
            };
            // Before the announcement: so no insert after it has set bits that are taken for old ones.
            let cell = array.cell_of(hash.0).map(|cell| (cell, cell.read()));
            // Step 2.
            match scan(root, hash, key, guard) {
                Scan::Present(seen) if keep(seen.entry()) => return RawInsert::Kept(seen.entry()),
                Scan::Present(seen) => {
                    let old = seen.entry();
                    place.set_place(slot_pointer(seen.slot), old.header().seq(), version, hash.tag());
                    let ours = SlotWord::live(entry, hash.tag());
                    // A replace takes effect here. SeqCst: it comes before the looks at the wheel in the single order (partner:
                    // fence T there); its Release half publishes the entry's header to whoever loads the slot (partner: the
                    // Acquire in `find`); Acquire pairs with the insert of the one replaced.
                    let swap =
                        seen.slot.compare_exchange(seen.word.0, ours.0, Ordering::SeqCst, Ordering::Relaxed);
                    if swap.is_ok() {
                        withdraw(root, old.pointer());
                        return RawInsert::Replaced(old);
                    }
                }
                Scan::Leaving => {}
                Scan::Free { .. } | Scan::Full { .. } if !may_add() => return RawInsert::Absent,
                // Step 3.
                Scan::Free { slot, seq } => {
                    let next = if is_broken(Rule::Version) { version } else { version.wrapping_add(1) };
                    place.set_place(slot_pointer(slot), seq, next, hash.tag());
                    let ours = ControlWord::pending(entry);
                    // Step 4. Success proves that no other insert came between the load above and here, so the key is
                    // still absent and the slot still empty. AcqRel: Release publishes the entry's place to helpers
                    // (partner: the Acquire loads of the control word).
                    let announce = root.control().compare_exchange(
                        control.0,
                        ours.0,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    );
                    if announce.is_ok() {
                        if let Some((cell, seen)) = cell {
                            cell.publish(seen, root, hash.tag());
                        }
                        finish(root, entry);
                        return RawInsert::Added;
                    }
                }
                Scan::Full { lines, .. } if lines >= MAX_LINES => return RawInsert::NoRoom,
                Scan::Full { last, .. } => {
                    last.grow(array);
                }
            }
        }
    }
}

/// Looks for the key and, failing that, for room.
#[inline]
fn scan<'g>(root: &'g Line, hash: Hash, key: &SessionKey, _guard: &'g Guard) -> Scan<'g> {
    let mut free = None;
    let mut lines = 1;
    let mut line = root;
    loop {
        // First the slots whose tags fit, which are few, as a lookup does.
        let mut candidates = line.candidates(hash.tag());
        while candidates != 0 {
            let slot = line.candidate(candidates);
            candidates &= candidates - 1;
            // Acquire: as in `find`, pairs with the AcqRel that filled the slot.
            let word = SlotWord(slot.load(Ordering::Acquire));
            if let Some(entry) = word.entry_tagged(hash.tag()) {
                // SAFETY: the word is live and was read from this bucket's slot under the guard.
                let (entry, seen) = unsafe { (Entry::new(entry), Seen::new(root, slot, word)) };
                if entry.header().matches(key) {
                    return Scan::Present(seen);
                }
            } else if word.is_frozen() {
                return Scan::Leaving;
            }
        }
        // Then the first that is empty. If the bucket is frozen meanwhile, the announcement finds out.
        for slot in line.slots() {
            if free.is_some() {
                break;
            }
            // Acquire: pairs as above.
            let word = SlotWord(slot.load(Ordering::Acquire));
            if word.is_frozen() {
                return Scan::Leaving;
            }
            if !word.is_live() {
                free = Some((slot, word.seq()));
            }
        }
        match line.next() {
            Some(next) => line = next,
            None => break,
        }
        lines += 1;
    }
    match free {
        Some((slot, seq)) => Scan::Free { slot, seq },
        None => Scan::Full { last: line, lines },
    }
}

/// Step 5 for an entry that somebody else has announced in bucket `index`, when its control word was just read.
pub(super) fn help(array: &Array, index: usize, announced: NonNull<Header>, _guard: &Guard) {
    if let Some(cell) = array.cell(index)
        && !is_broken(Rule::HelpRaises)
    {
        // SAFETY: as in `finish`.
        cell.raise(unsafe { announced.as_ref() }.tag());
    }
    finish(array.root(index), announced);
}

/// Step 5: puts the announced entry in its slot and clears the announcement. Anyone may do it, any number of times and
/// at any time later.
fn finish(root: &Line, announced: NonNull<Header>) {
    // SAFETY: the entry was announced when the caller, who is pinned, read the control word (or is the caller's own);
    // rule R1 keeps it from being retired before the announcement is cleared, and the guard keeps it after.
    let entry = unsafe { announced.as_ref() };
    let slot = entry.slot();
    // SAFETY: the slot was chosen in a line of this bucket, and lines live as long as the table.
    let slot = unsafe { &*slot };
    let live = SlotWord::live(announced, entry.tag());
    // An insert takes effect at the first of these that succeeds. If the entry was put already, and perhaps taken, the
    // slot's word is no longer the empty one with this sequence number, and this fails. SeqCst: it comes before the
    // inserter's looks at the wheel in the single order (partner: fence T there), and so does what a failure has seen, be
    // it the put of somebody who helped. Its Release half publishes the header (partner: the Acquire in `find`); Acquire
    // pairs with the unlink that emptied the slot.
    let empty = SlotWord::empty(entry.seq());
    if !is_broken(Rule::HelpPuts) {
        let _ = slot.compare_exchange(empty.0, live.0, Ordering::SeqCst, Ordering::SeqCst);
    }
    // AcqRel: whoever reads the cleared word (partner: the Acquire in step 1) sees the slot filled.
    let _ = root.control().compare_exchange(
        ControlWord::pending(announced).0,
        ControlWord::idle(entry.control()).0,
        Ordering::AcqRel,
        Ordering::Relaxed,
    );
}

/// Rule R1: called for an entry that was just removed from its slot, makes sure that it is not in the control word
/// either. One look is enough: an entry is announced once, before it is put.
#[inline]
pub(super) fn withdraw(root: &Line, removed: NonNull<Header>) {
    // Acquire: pairs with the AcqRel of the announcement, whose entry's place `finish` reads. That it is not too old a
    // value follows from coherence: the announcement happened before the put, which happened before we saw the slot.
    let control = ControlWord(root.control().load(Ordering::Acquire));
    if let Control::Pending(announced) = control.state()
        && announced == removed
        && !is_broken(Rule::Withdraw)
    {
        finish(root, announced);
    }
}

fn slot_pointer(slot: &Slot) -> *mut Slot {
    std::ptr::from_ref(slot).cast_mut()
}
