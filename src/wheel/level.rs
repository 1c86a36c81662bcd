//! Which slot an instant belongs to, and when a slot opens: arithmetic on ticks.

/// The logarithm of the slots in a level.
const SLOT_BITS: u32 = if cfg!(resumption_loom) { 1 } else { 6 };

/// Slots in a level.
pub(super) const SLOTS: u32 = 1 << SLOT_BITS;

/// Levels of the wheel: the fewest whose slots cover all of a u32.
pub(super) const LEVELS: usize = if cfg!(resumption_loom) { 2 } else { 6 };

const TOP: usize = LEVELS - 1;

/// Slots in the top level: its slots are so wide that few of them cover what is left of a u32.
const TOP_SLOTS: u32 = if cfg!(resumption_loom) { SLOTS } else { (u32::MAX >> shift(TOP)) + 1 };

/// All slots of the wheel.
pub(super) const COUNT: usize = (TOP << SLOT_BITS) + TOP_SLOTS as usize;

/// The logarithm of the ticks that a slot of `level` covers.
const fn shift(level: usize) -> u32 {
    level as u32 * SLOT_BITS
}

/// A slot of the wheel.
///
/// A slot of level L covers 64^L ticks, and number i of them opens at every tick t that is a multiple of 64^L and has
/// (t >> 6L) & 63 = i.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) level: usize,
    pub(super) index: usize,
}

impl Slot {
    /// Where to file a `death` that is later than `tick`: the finest level on which the slot of `death` does not open
    /// before its time.
    #[inline]
    pub(super) fn of(death: u32, tick: u32) -> Self {
        debug_assert!(death > tick);
        let level = ((death - tick).ilog2() / SLOT_BITS).min(TOP as u32) as usize;
        Self { level, index: ((death >> shift(level)) & (SLOTS - 1)) as usize }
    }

    /// The place of the slot among all slots: levels one after the other.
    #[inline]
    pub(super) fn number(self) -> usize {
        self.level << SLOT_BITS | self.index
    }

    /// The slot with this number.
    pub(super) fn from_number(number: usize) -> Self {
        Self { level: number >> SLOT_BITS, index: number & (SLOTS as usize - 1) }
    }

    /// The instant at which the slot opens for `death`, which was filed in it: `death` at the latest, and later than
    /// the tick that `of` was told.
    ///
    /// Whatever the tick is later set to, as long as it is before this instant, the slot opens next at this instant or
    /// earlier: it opens at every multiple of its level's ticks that has its index, and this is one of them.
    #[inline]
    pub(super) fn opens_for(self, death: u32) -> u32 {
        death >> shift(self.level) << shift(self.level)
    }

    /// The first tick after `tick` at which the slot opens; `None` when that is beyond a u32.
    pub(super) fn opens_after(self, tick: u32) -> Option<u32> {
        let present = tick >> shift(self.level);
        let ahead = (self.index as u32).wrapping_sub(present) & (SLOTS - 1);
        let ahead = if ahead == 0 { SLOTS } else { ahead };
        u32::try_from((u64::from(present) + u64::from(ahead)) << shift(self.level)).ok()
    }
}

/// A bit for each slot of `level` that opens when the tick moves from `from` to `to`.
pub(super) fn opened(level: usize, from: u32, to: u32) -> u64 {
    let before = from >> shift(level);
    let all = u64::MAX >> (u64::BITS - SLOTS);
    match (to >> shift(level)) - before {
        count if count >= SLOTS => all,
        count => {
            let first = before.wrapping_add(1) & (SLOTS - 1);
            let wide = ((1_u128 << count) - 1) << first;
            (wide | wide >> SLOTS) as u64 & all
        }
    }
}
