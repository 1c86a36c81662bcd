//! What a driver has yet to do: kept between turns, so that each turn may be short.

use super::level::{LEVELS, Slot, opened};
use crate::sync::{AtomicU64, Ordering};

/// The driver's own state. Only the driver touches it; the dial hands it on, so relaxed accesses do.
pub(super) struct Backlog {
    /// For each level, the slots that have opened and were not looked at yet.
    pending: [AtomicU64; LEVELS],
    cursor: AtomicU64,
    /// The bits of the word before the cursor's that were taken and not visited yet.
    bits: AtomicU64,
}

/// Where in the slot that is being emptied the driver is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cursor {
    pub(super) slot: Slot,
    pub(super) generation: usize,
    /// The next word to look at.
    pub(super) word: usize,
}

const NUMBER_BITS: u32 = 9;
const GENERATION_BITS: u32 = 6;
const SOME: u64 = 1 << 63;

impl Cursor {
    /// The first word of a slot.
    pub(super) fn first(slot: Slot) -> Self {
        Self { slot, generation: 0, word: 0 }
    }

    fn pack(self) -> u64 {
        debug_assert!(self.generation < 1 << GENERATION_BITS && self.word < 1 << 48);
        let number = self.slot.number() as u64;
        let generation = (self.generation as u64) << NUMBER_BITS;
        SOME | (self.word as u64) << (NUMBER_BITS + GENERATION_BITS) | generation | number
    }

    fn unpack(word: u64) -> Option<Self> {
        let field = |shift: u32, bits: u32| ((word & !SOME) >> shift & ((1 << bits) - 1)) as usize;
        (word & SOME != 0).then(|| Self {
            slot: Slot::from_number(field(0, NUMBER_BITS)),
            generation: field(NUMBER_BITS, GENERATION_BITS),
            word: field(NUMBER_BITS + GENERATION_BITS, 48),
        })
    }
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self {
            pending: std::array::from_fn(|_| AtomicU64::new(0)),
            cursor: AtomicU64::new(0),
            bits: AtomicU64::new(0),
        }
    }

    /// The tick moved from `from` to `to`.
    pub(super) fn add(&self, from: u32, to: u32) {
        for (level, pending) in self.pending.iter().enumerate() {
            let slots = opened(level, from, to);
            // What does not open does not open on any coarser level either.
            if slots == 0 {
                return;
            }
            pending.store(pending.load(Ordering::Relaxed) | slots, Ordering::Relaxed);
        }
    }

    /// Removes the next slot to look at. The finest level goes first: what was filed there is due, and what a coarser
    /// slot holds and is not due moves to fine slots that are already behind us.
    pub(super) fn next_slot(&self) -> Option<Slot> {
        for (level, pending) in self.pending.iter().enumerate() {
            let slots = pending.load(Ordering::Relaxed);
            if slots != 0 {
                pending.store(slots & (slots - 1), Ordering::Relaxed);
                return Some(Slot { level, index: slots.trailing_zeros() as usize });
            }
        }
        None
    }

    pub(super) fn cursor(&self) -> Option<Cursor> {
        Cursor::unpack(self.cursor.load(Ordering::Relaxed))
    }

    pub(super) fn set_cursor(&self, cursor: Option<Cursor>) {
        self.cursor.store(cursor.map_or(0, Cursor::pack), Ordering::Relaxed);
    }

    pub(super) fn bits(&self) -> u64 {
        self.bits.load(Ordering::Relaxed)
    }

    pub(super) fn set_bits(&self, bits: u64) {
        self.bits.store(bits, Ordering::Relaxed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.cursor().is_none() && self.pending.iter().all(|pending| pending.load(Ordering::Relaxed) == 0)
    }
}
