//! Eviction: the hand over the table.

use super::Cache;
use super::departures::{Departures, RemoveReason};
use super::recent::Left;
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::eviction::{Hands, Rank};
use crate::session::{Header, Payload};
use crate::table::{Hash, Member, Walk};

impl<T: Payload> Cache<T> {
    /// Evicts one session and returns its weight, its room still being reserved; `None` when there was nothing to evict.
    pub(super) fn evict(
        &self,
        keep: Option<&Header>,
        now: Timestamp,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Option<u32> {
        loop {
            let hand = self.hands.position(guard.thread());
            let mut window = Window { victim: None, seen: 0, keep, now };
            let walk = self.table.walk(hand, guard, &mut window, Window::look_at, Window::is_open);
            // The table may have grown since the last turn; these are the buckets of this one.
            let Walk { from, width, buckets } = walk;
            self.hands.set_position(guard.thread(), (from + width) % buckets);
            let Some((rank, victim)) = window.victim else {
                if width == buckets {
                    return None;
                }
                continue;
            };
            if rank.ages_window() {
                for bucket in from..from + width {
                    self.table.visit(bucket % buckets, buckets, guard, |member| member.header().age());
                }
            }
            // If the victim went by itself, somebody else got on.
            if let Some(weight) = self.evict_member(rank, victim, departures, guard) {
                return Some(weight);
            }
        }
    }

    /// Evicts one session of the bucket of `hash` and returns its weight.
    pub(super) fn evict_in_bucket(
        &self,
        hash: Hash,
        now: Timestamp,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Option<u32> {
        let mut window = Window { victim: None, seen: 0, keep: None, now };
        self.table.visit_hashes(hash, hash, guard, |member| window.look_at(member));
        let (rank, victim) = window.victim?;
        self.evict_member(rank, victim, departures, guard)
    }

    fn evict_member(
        &self,
        rank: Rank,
        victim: Member<'_, T>,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Option<u32> {
        let evicted = self.table.unlink(victim, guard)?;
        let (left, reason) = if rank.is_expired() {
            (Left::Expired, RemoveReason::Expired)
        } else {
            (Left::Evicted, RemoveReason::Evicted)
        };
        self.recent.remember(self.table.hash(&evicted.session().id()), left);
        if reason.marks() {
            evicted.session().mark_not_resumable();
        }
        departures.count_evicted();
        departures.push(reason, || evicted.to_arc());
        Some(evicted.header().weight())
    }
}

/// The entries under the hand, and the one of them that goes first.
struct Window<'g, 'k, T> {
    victim: Option<(Rank, Member<'g, T>)>,
    seen: usize,
    keep: Option<&'k Header>,
    now: Timestamp,
}

impl<'g, T: Payload> Window<'g, '_, T> {
    /// Whether to look further than `width` buckets: not enough was seen, or nothing among it that is unmarked and enough
    /// for that neither.
    #[inline]
    fn is_open(&self, width: usize) -> bool {
        if width >= Hands::BUCKETS && self.victim.is_some() {
            return false;
        }
        let marked = self.victim.is_none_or(|(rank, _)| rank.ages_window());
        self.seen < if marked { Hands::WIDE_WINDOW } else { Hands::WINDOW }
    }

    #[inline]
    fn look_at(&mut self, member: Member<'g, T>) {
        self.seen += 1;
        let rank = Rank::new(member.header().mark(), member.header().expires_at(), self.now);
        let first = self.victim.as_ref().is_none_or(|(best, _)| rank < *best);
        if first && self.keep.is_none_or(|keep| !member.is(keep)) {
            self.victim = Some((rank, member));
        }
    }
}
