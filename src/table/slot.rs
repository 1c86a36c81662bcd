//! The two kinds of word in a bucket: slot and control.

use super::bucket::SLOTS;
use crate::session::Header;
use crate::sync::{AtomicPtr, Ordering};
use std::ptr::{self, NonNull};

/// A slot of a bucket.
pub(super) type Slot = AtomicPtr<Header>;

/// Bits of an address that the words below use for themselves: entries are aligned to 8 bytes.
const STATE_WIDTH: u32 = 3;
const STATE_BITS: usize = (1 << STATE_WIDTH) - 1;
const TAG_SHIFT: u32 = 48;
const ADDRESS_BITS: usize = (1 << TAG_SHIFT) - 1 - STATE_BITS;
const LIVE: usize = 1;
const FROZEN: usize = 2;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("slots keep 16 hash bits above a 48-bit address: 64-bit targets only");

const _: () = assert!(align_of::<Header>() > STATE_BITS);

/// What a slot holds.
///
/// | bits | live | empty |
/// |---|---|---|
/// | 63..48 | tag: 16 bits of the key's hash | zero |
/// | 47..3 | address of the entry's header | sequence number, 32 bits |
/// | 2 | zero | zero |
/// | 1 | frozen: the bucket is being moved, or was; nobody follows or changes the word any more | the same |
/// | 0 | 1 | 0 |
///
/// The sequence number counts the entries that have left the slot, so that a helper that comes late cannot put an
/// entry back that was taken: the slot no longer holds the empty word the announcement names. It wraps after 2^32
/// entries, all of which would have to pass while one helper sleeps between two instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotWord(pub(super) *mut Header);

impl SlotWord {
    /// An empty slot. All-zero memory is `empty(0)`.
    pub(super) fn empty(seq: u32) -> Self {
        Self(ptr::without_provenance_mut((seq as usize) << STATE_WIDTH))
    }

    /// A slot with `entry` in it. `fits` must hold for the entry.
    pub(super) fn live(entry: NonNull<Header>, tag: u16) -> Self {
        Self(entry.as_ptr().map_addr(|address| (usize::from(tag) << TAG_SHIFT) | address | LIVE))
    }

    /// Whether `entry`'s address leaves room for the tag.
    pub(super) fn fits(entry: NonNull<Header>) -> bool {
        entry.addr().get() & !ADDRESS_BITS == 0
    }

    /// What is in a slot, for whoever means to follow it.
    #[inline]
    pub(super) fn read(slot: &Slot) -> Self {
        // Acquire: as in `find`, pairs with the AcqRel that filled the slot, or that froze it.
        Self(slot.load(Ordering::Acquire))
    }

    /// Whether an entry is in the slot and may be followed (rule R2: a frozen word may not).
    #[inline]
    pub(super) fn is_live(self) -> bool {
        self.0.addr() & (LIVE | FROZEN) == LIVE
    }

    pub(super) fn is_frozen(self) -> bool {
        self.0.addr() & FROZEN != 0
    }

    /// The same word, frozen.
    pub(super) fn frozen(self) -> Self {
        Self(self.0.map_addr(|word| word | FROZEN))
    }

    /// The same word, as it was before it was frozen.
    pub(super) fn thawed(self) -> Self {
        Self(self.0.map_addr(|word| word & !FROZEN))
    }

    /// What is where a live slot has its tag.
    #[inline]
    pub(super) fn tag(self) -> u16 {
        (self.0.addr() >> TAG_SHIFT) as u16
    }

    /// Whether an entry with this tag is in the slot and may be followed.
    #[inline]
    pub(super) fn has_tag(self, tag: u16) -> bool {
        self.0.addr() & !ADDRESS_BITS == (usize::from(tag) << TAG_SHIFT) | LIVE
    }

    /// The entry, if one with this tag is in the slot and may be followed.
    #[inline(always)]
    pub(super) fn entry_tagged(self, tag: u16) -> Option<NonNull<Header>> {
        // A subtraction, since that is one instruction also for a pointer with provenance. Of a live word with this tag it
        // leaves the address; of any other it leaves something in the highest 16 or the lowest 3 bits, which a rotation
        // puts side by side.
        let entry = self.0.wrapping_byte_sub((usize::from(tag) << TAG_SHIFT) | LIVE);
        let rest = entry.addr().rotate_left(usize::BITS - TAG_SHIFT);
        let none_of = (1 << (usize::BITS - TAG_SHIFT + STATE_WIDTH)) - 1;
        // SAFETY: a live word was made by `live` from a NonNull.
        (rest & none_of == 0).then(|| unsafe { NonNull::new_unchecked(entry) })
    }

    /// The entry of a live slot.
    #[inline]
    pub(super) fn entry(self) -> NonNull<Header> {
        let entry = self.0.map_addr(|word| word & ADDRESS_BITS);
        debug_assert!(self.is_live() && !entry.is_null());
        // SAFETY: a live word was made by `live` from a NonNull.
        unsafe { NonNull::new_unchecked(entry) }
    }

    /// The address of a live slot's entry, else this one. Without a branch: which slots are live is random.
    #[inline(always)]
    pub(super) fn entry_or(self, other: usize) -> usize {
        let live = usize::from(self.is_live()).wrapping_neg();
        other ^ (other ^ self.0.addr() & ADDRESS_BITS) & live
    }

    /// The sequence number of an empty slot.
    pub(super) fn seq(self) -> u32 {
        debug_assert!(self.0.addr() & LIVE == 0);
        (self.0.addr() >> STATE_WIDTH) as u32
    }
}

/// The live ones among a line's slots, by index.
pub(super) struct LiveSlots(u32);

const STATES: u32 = (LIVE | FROZEN) as u32;

impl LiveSlots {
    /// No branch for each slot: which are live is random.
    #[inline(always)]
    pub(super) fn of(words: &[SlotWord; SLOTS]) -> Self {
        let states = words.iter().rev().fold(0, |all, word| 4 * all + (word.0.addr() as u32 & STATES));
        // Of the two bits of each slot, the lower one alone.
        Self(states & !(states >> 1) & 0x5555_5555)
    }
}

impl Iterator for LiveSlots {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let lowest = (self.0 != 0).then(|| self.0.trailing_zeros() as usize / 2);
        self.0 &= self.0.wrapping_sub(1);
        lowest
    }
}

/// What a root line's control word holds.
///
/// | bits | idle | pending | frozen | moved |
/// |---|---|---|---|---|
/// | 63..3 | version, 32 bits | address of the announced entry | version | version |
/// | 2..0 | 000 | 001 | 010 | 100 |
///
/// A bucket goes from idle to pending and back with every insert, and once, when the table grows, from idle to frozen
/// (its words are being frozen and its entries copied) and to moved (the next array has them).
///
/// The version counts the inserts into the bucket: an inserter that announces over the idle word it read before its
/// scan knows that no other insert came between, so the key is still absent. It wraps after 2^32 inserts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ControlWord(pub(super) *mut Header);

const PENDING: usize = 1;
const FREEZING: usize = 2;
const MOVED: usize = 4;

impl ControlWord {
    /// No insert is under way. All-zero memory is `idle(0)`.
    pub(super) fn idle(version: u32) -> Self {
        Self(ptr::without_provenance_mut((version as usize) << STATE_WIDTH))
    }

    /// `entry` is announced.
    pub(super) fn pending(entry: NonNull<Header>) -> Self {
        Self(entry.as_ptr().map_addr(|address| address | PENDING))
    }

    /// No more inserts: the bucket is being moved.
    pub(super) fn frozen(version: u32) -> Self {
        Self(ptr::without_provenance_mut((version as usize) << STATE_WIDTH | FREEZING))
    }

    /// The bucket's entries are in the next array.
    pub(super) fn moved(version: u32) -> Self {
        Self(ptr::without_provenance_mut((version as usize) << STATE_WIDTH | MOVED))
    }

    /// Whether the bucket is frozen or moved: operations go on in the next array.
    #[inline]
    pub(super) fn is_leaving(self) -> bool {
        // One bit for each of the states that the word's lowest bits may say; one branch for all.
        const LEAVING: u32 = 1 << FREEZING | 1 << MOVED;
        LEAVING >> (self.0.addr() & (PENDING | FREEZING | MOVED)) & 1 != 0
    }

    pub(super) fn state(self) -> Control {
        let version = (self.0.addr() >> STATE_WIDTH) as u32;
        if self.0.addr() & PENDING != 0 {
            let entry = self.0.map_addr(|word| word & ADDRESS_BITS);
            // SAFETY: a pending word was made by `pending` from a NonNull.
            return Control::Pending(unsafe { NonNull::new_unchecked(entry) });
        }
        match self.0.addr() & (FREEZING | MOVED) {
            0 => Control::Idle(version),
            FREEZING => Control::Frozen(version),
            _ => Control::Moved,
        }
    }
}

/// A control word taken apart.
pub(super) enum Control {
    Idle(u32),
    Pending(NonNull<Header>),
    Frozen(u32),
    Moved,
}

#[cfg(all(test, not(resumption_loom)))]
mod tests {
    use super::*;

    #[test]
    fn live_slots_are_those_that_may_be_followed() {
        let entry = NonNull::<Header>::dangling();
        let (live, empty) = (SlotWord::live(entry, 0xffff), SlotWord::empty(u32::MAX));
        let kinds = [live, live.frozen(), empty, empty.frozen()];
        for choice in 0..kinds.len().pow(SLOTS as u32) {
            let words: [_; SLOTS] = std::array::from_fn(|i| kinds[choice >> (2 * i) & 3]);
            let expected = (0..SLOTS).filter(|&i| words[i].is_live());
            assert!(LiveSlots::of(&words).eq(expected), "{choice:o}");
        }
        assert_eq!(live.entry_or(0x40), entry.addr().get());
        assert_eq!((empty.entry_or(0x40), live.frozen().entry_or(0x40)), (0x40, 0x40));
    }
}
