//! The bit sets: for each slot, which partitions have something in it.

use super::level::{COUNT, SLOTS, Slot};
use crate::sync::{AtomicU64, Ordering};

/// The logarithm of the partitions that share a bit above level 0.
///
/// In a dense wheel nearly all bits of the higher levels are set anyway; in a sparse one a visit of eight partitions
/// costs little more than a visit of one.
const COARSE_SHIFT: u32 = 3;

/// Slots of level 0.
const FINE_SLOTS: usize = SLOTS as usize;

/// The bit sets of all slots, for one division of the hashes into partitions.
///
/// Partition `i` of `n` is the hashes that scale to it: those with `i == hash * n >> 64`. In a table of `n` buckets
/// that is bucket `i`, and in one of `n << k` buckets it is `1 << k` neighbouring ones.
pub(super) struct Bits {
    partitions: usize,
    fine_words: usize,
    coarse_words: usize,
    words: Box<[AtomicU64]>,
}

/// A bit of a slot.
pub(super) struct Mark<'b> {
    word: &'b AtomicU64,
    bit: u64,
}

impl PartialEq for Mark<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.word, other.word) && self.bit == other.bit
    }
}

impl Mark<'_> {
    /// Sets the bit. Writes only when it is not set: in a busy wheel it nearly always is.
    #[inline]
    pub(super) fn set(&self) {
        // SeqCst, both: their partners are fences O and T.
        if self.word.load(Ordering::SeqCst) & self.bit == 0 {
            self.word.fetch_or(self.bit, Ordering::SeqCst);
        }
    }
}

/// Words a slot needs for `partitions` that share bits in groups of `1 << shift`.
fn words_for(partitions: usize, shift: u32) -> usize {
    partitions.div_ceil(1 << shift).div_ceil(u64::BITS as usize)
}

fn total_words(partitions: usize) -> Option<usize> {
    let fine = words_for(partitions, 0).checked_mul(FINE_SLOTS)?;
    let coarse = words_for(partitions, COARSE_SHIFT).checked_mul(COUNT - FINE_SLOTS)?;
    fine.checked_add(coarse)
}

impl Bits {
    /// Bytes that the sets for `partitions` need, saturating.
    pub(super) fn bytes(partitions: usize) -> usize {
        total_words(partitions).unwrap_or(usize::MAX).saturating_mul(size_of::<AtomicU64>())
    }

    /// Empty sets, or `None` when there is no memory for them.
    pub(super) fn new(partitions: usize) -> Option<Self> {
        let partitions = partitions.max(1);
        let total = total_words(partitions)?;
        let mut words = Vec::new();
        words.try_reserve_exact(total).ok()?;
        words.resize_with(total, || AtomicU64::new(0));
        Some(Self {
            partitions,
            fine_words: words_for(partitions, 0),
            coarse_words: words_for(partitions, COARSE_SHIFT),
            words: words.into_boxed_slice(),
        })
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions
    }

    /// The words of `slot`.
    #[inline]
    pub(super) fn words(&self, slot: Slot) -> &[AtomicU64] {
        let (start, count) = if slot.level == 0 {
            (slot.index * self.fine_words, self.fine_words)
        } else {
            let before = FINE_SLOTS * self.fine_words;
            (before + (slot.number() - FINE_SLOTS) * self.coarse_words, self.coarse_words)
        };
        &self.words[start..start + count]
    }

    /// The bit of `slot` that stands for `hash`.
    #[inline]
    pub(super) fn mark(&self, slot: Slot, hash: u64) -> Mark<'_> {
        let partition = ((u128::from(hash) * self.partitions as u128) >> 64) as usize;
        let place = partition >> shift(slot);
        let word = place / u64::BITS as usize;
        Mark { word: &self.words(slot)[word], bit: 1 << (place % u64::BITS as usize) }
    }

    /// The first and the last hash that bit `bit` of word `word` of `slot` stands for.
    pub(super) fn interval(&self, slot: Slot, word: usize, bit: u32) -> (u64, u64) {
        let place = word * u64::BITS as usize + bit as usize;
        let first = place << shift(slot);
        let after = (first + (1 << shift(slot))).min(self.partitions);
        (self.first_hash(first) as u64, (self.first_hash(after) - 1) as u64)
    }

    /// The smallest hash of `partition`; 2^64 for the one after the last.
    fn first_hash(&self, partition: usize) -> u128 {
        ((partition as u128) << 64).div_ceil(self.partitions as u128)
    }
}

/// The logarithm of the partitions that a bit of `slot` stands for.
#[inline]
fn shift(slot: Slot) -> u32 {
    if slot.level == 0 { 0 } else { COARSE_SHIFT }
}
