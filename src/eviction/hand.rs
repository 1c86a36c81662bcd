//! The windowed hand: look at the next entries in bucket order, evict the one with the smallest (mark, expiry).
//!
//! No queue, no list, no write on a hit of a saturated entry. Marks rise with hits and fall only when the hand had to
//! evict a marked entry, so a flood of sessions that are never used evicts itself.
//!
//! To look at a window costs many times what it costs to evict, so the hand remembers who goes next: the unmarked entries
//! that expire first, and what has expired. The next evictions take them in order, each if it is still there and still
//! unmarked, and look at a new window when none is left. What is remembered are hints, numbers that mean something to the
//! table only: they hold nothing, nothing is evicted before its room is needed, and a hint that is wrong costs a look.

use crate::clock::Timestamp;
use crate::sync::{AtomicU64, AtomicUsize, Ordering};
use crossbeam_utils::CachePadded;
use std::num::NonZeroU64;

/// How soon an entry goes: the smallest goes first. Expired before live, then by mark, then by expiry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Rank(u64);

/// Whether the entry is live, above its mark, above its expiry: one comparison decides.
const LIVE: u64 = 1 << 40;
const MARK: u64 = 1 << 32;

impl Rank {
    /// Nothing goes later.
    pub(super) const LAST: Self = Self(u64::MAX);

    /// The first rank that [ages the window](Self::ages_window).
    pub(super) const FIRST_TO_AGE: Self = Self(LIVE + MARK);

    #[inline]
    pub(crate) fn new(mark: u8, expiry: Timestamp, now: Timestamp) -> Self {
        let live = if now <= expiry { LIVE } else { 0 };
        Self(live | (u64::from(mark) * MARK) | u64::from(expiry.ticks()))
    }

    /// Whether the entry has expired.
    pub(crate) fn is_expired(self) -> bool {
        self.0 < LIVE
    }

    /// Whether evicting this one must age the others: the window held nothing expired and nothing unmarked.
    #[inline]
    pub(crate) fn ages_window(self) -> bool {
        self >= Self::FIRST_TO_AGE
    }
}

/// Positions in bucket order, one for each of a few groups of threads, spread over the table.
pub(crate) struct Hands {
    hands: Box<[CachePadded<Hand>; Hands::COUNT]>,
}

struct Hand {
    position: AtomicUsize,
    // The next victims, first in order; 0 where there is none.
    remembered: [AtomicU64; Hands::REMEMBERED],
}

impl Hands {
    /// Entries to look at before one is chosen. Simulated: at 32 the hand keeps 0.93 of a hot set of 15,000 in a cache
    /// of 20,480 under 20 useless inserts per visit, at 16 only 0.81.
    pub(super) const WINDOW: usize = 32;

    /// Entries to look at while all of them are marked. Without it a stretch of the table that happens to hold marked
    /// entries only would give one up with every turn of the hand, though there are unmarked ones next to it.
    pub(super) const WIDE_WINDOW: usize = 128;

    /// Buckets after which the hand takes what it has. Only in a table much too wide for what it holds, after the capacity
    /// was lowered or under a budget of bytes, are there so few entries in so many.
    pub(super) const BUCKETS: usize = 256;

    /// Victims of one window that are remembered besides the one that goes at once; with the position they fill a line.
    /// Simulated: with none single use keeps what a queue keeps, with 3 it has 0.0005 less, with 7 0.002.
    pub(super) const REMEMBERED: usize = if cfg!(resumption_loom) { 0 } else { 7 };

    const COUNT: usize = if cfg!(resumption_loom) { 1 } else { 8 };

    /// Hands at different places, whatever the number of buckets.
    pub(crate) fn new() -> Self {
        let hand = |i: usize| {
            CachePadded::new(Hand {
                position: AtomicUsize::new(i.wrapping_mul(0x9e37_79b9)),
                remembered: std::array::from_fn(|_| AtomicU64::new(0)),
            })
        };
        Self { hands: Box::new(std::array::from_fn(hand)) }
    }

    /// The bucket at the hand of the thread with this index.
    pub(crate) fn position(&self, thread: usize) -> usize {
        self.hand(thread).position.load(Ordering::Relaxed)
    }

    /// Moves that hand. Of two threads that move one hand at once, one wins: their windows overlap, nothing worse.
    pub(crate) fn set_position(&self, thread: usize, bucket: usize) {
        self.hand(thread).position.store(bucket, Ordering::Relaxed);
    }

    /// Remembers, in place of what that hand remembers, hints at the victims that it should have next.
    pub(crate) fn remember(&self, thread: usize, hints: impl IntoIterator<Item = NonZeroU64>) {
        let mut hints = hints.into_iter();
        for place in &self.hand(thread).remembered {
            place.store(hints.next().map_or(0, NonZeroU64::get), Ordering::Relaxed);
        }
    }

    /// The first hint that the hand remembers, which it then forgets. Two threads may be given one.
    #[inline]
    pub(crate) fn recall(&self, thread: usize) -> Option<NonZeroU64> {
        self.hand(thread).remembered.iter().find_map(|place| {
            let hint = NonZeroU64::new(place.load(Ordering::Relaxed))?;
            place.store(0, Ordering::Relaxed);
            Some(hint)
        })
    }

    #[inline]
    fn hand(&self, thread: usize) -> &Hand {
        &self.hands[thread % Self::COUNT]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(mark: u8, expiry: u64) -> Rank {
        Rank::new(mark, Timestamp::from_unix(expiry), Timestamp::from_unix(100))
    }

    #[test]
    fn expired_first_then_mark_then_expiry() {
        let mut ranks = [rank(0, 300), rank(2, 101), rank(3, 99), rank(0, 200), rank(0, 100)];
        ranks.sort();
        assert_eq!(ranks, [rank(3, 99), rank(0, 100), rank(0, 200), rank(0, 300), rank(2, 101)]);
        assert!(ranks[0].is_expired() && !ranks[1].is_expired());
    }

    #[test]
    fn only_a_marked_live_victim_ages_the_rest() {
        assert!(rank(1, 200).ages_window());
        assert!(!rank(0, 200).ages_window());
        assert!(!rank(3, 50).ages_window());
    }

    #[test]
    fn hands_are_spread_and_move_alone() {
        let hands = Hands::new();
        assert_eq!((hands.position(0), hands.position(8)), (0, 0));
        assert_ne!(hands.position(1) % 6827, hands.position(2) % 6827);
        hands.set_position(1, 12);
        assert_eq!((hands.position(0), hands.position(1), hands.position(9)), (0, 12, 12));
    }

    #[test]
    fn a_hand_remembers_a_few_hints_and_gives_each_once() {
        let hands = Hands::new();
        let hint = |n: u64| NonZeroU64::new(n).expect("not 0");
        let recalled =
            |thread| Vec::from_iter(std::iter::from_fn(|| hands.recall(thread).map(NonZeroU64::get)));
        assert_eq!(recalled(0), []);
        hands.remember(0, (1..=100).map(hint));
        hands.remember(1, [hint(200)]);
        assert_eq!(recalled(0), Vec::from_iter(1..=Hands::REMEMBERED as u64));
        assert_eq!((recalled(0), recalled(9)), (vec![], vec![200]));
        hands.remember(0, (1..=100).map(hint));
        hands.remember(0, [hint(101), hint(102)]);
        assert_eq!(recalled(0), [101, 102]);
    }
}
