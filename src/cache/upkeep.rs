//! Upkeep: what has expired leaves when the wheel says so, and whatever is asked to leave in a walk over the table.

use super::departures::{Departures, RemoveReason};
use super::recent::Left;
use super::{Cache, Terms};
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::session::{Header, Payload, Session};
use crate::sync::Ordering;
use crate::table::{Hash, Member};
use crate::wheel::{self, Opening, Progress, Scheduled};

impl<T: Payload> Cache<T> {
    /// Tells the wheel when a new membership dies.
    #[inline]
    pub(super) fn file(&self, hash: Hash, terms: Terms) {
        let (now, death) = (terms.now.ticks(), wheel::death(terms.membership.expiry.ticks()));
        if self.wheel.schedule(hash.0, death, now) == Scheduled::Due {
            // Dead when it was added, which is allowed: it leaves with the next tick, or with a flush.
            // A swap, so that of two changes one sees the other. Release: pairs with the AcqRel in `wheel_knows_all`.
            self.filed_late.swap(true, Ordering::Release);
            let _ = self.wheel.schedule(hash.0, now.saturating_add(1), now);
        }
    }

    /// Removes sessions that have expired, at a cost of about `budget` sessions looked at. Returns how many were removed.
    #[inline]
    pub(crate) fn reap(
        &self,
        now: Timestamp,
        budget: usize,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> (Progress, usize) {
        let mut removed = 0;
        let announce = |visits: &[(u64, u64)]| self.table.prefetch_hashes(visits, now, guard);
        let progress = self.wheel.advance(now.ticks(), budget, announce, |opening, first, last| {
            1 + self.reap_hashes((Hash(first), Hash(last)), now, opening, &mut removed, departures, guard)
        });
        (progress, removed)
    }

    /// Removes what has expired among these hashes and files the rest again. Returns how many sessions it looked at.
    fn reap_hashes(
        &self,
        (first, last): (Hash, Hash),
        now: Timestamp,
        opening: &Opening<'_>,
        removed: &mut usize,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> usize {
        let mut looked_at = 0;
        loop {
            let mut contended = false;
            self.table.visit_hashes(first, last, guard, |member| {
                looked_at += 1;
                let expiry = member.header().expires_at();
                if now <= expiry {
                    // Of an entry that is not between these hashes, though in their bucket, an older filing stands.
                    let hash = || self.table.hash(&member.session().id()).0;
                    let _ = opening.refile((first.0, last.0), hash, wheel::death(expiry.ticks()));
                } else if self.remove_member(member, RemoveReason::Expired, departures, guard) {
                    *removed += 1;
                } else {
                    contended = true;
                }
            });
            if !contended {
                return looked_at;
            }
        }
    }

    /// Whether the wheel alone knows of everything that has expired at `now`, as soon as it has got there.
    pub(crate) fn wheel_knows_all(&self) -> bool {
        // AcqRel: Acquire pairs with the Release in `file`.
        !self.filed_late.swap(false, Ordering::AcqRel)
    }

    /// The first second in which the wheel has something to do.
    pub(crate) fn next_upkeep(&self, now: Timestamp) -> Option<u32> {
        self.wheel.next_due(now.ticks())
    }

    /// Follows a table that has grown.
    pub(crate) fn grow_wheel(&self, guard: &Guard) {
        let partitions = self.table.buckets(guard).div_ceil(2);
        if partitions > self.wheel.partitions() {
            self.wheel.grow(partitions);
        }
    }

    /// Removes the sessions of part `index` of `of` for which `reason` names one. Returns how many.
    pub(crate) fn sweep(
        &self,
        (index, of): (usize, usize),
        reason: impl Fn(&Header, &Session<T>) -> Option<RemoveReason>,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> usize {
        let mut removed = 0;
        loop {
            let mut contended = false;
            self.table.visit(index, of, guard, |member| {
                if let Some(reason) = reason(member.header(), member.session()) {
                    match self.remove_member(member, reason, departures, guard) {
                        true => removed += 1,
                        // Somebody else removed it, or its bucket is being moved and it is elsewhere now: look again.
                        false => contended = true,
                    }
                }
            });
            if !contended {
                return removed;
            }
        }
    }

    fn remove_member(
        &self,
        member: Member<'_, T>,
        reason: RemoveReason,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> bool {
        let Some(unlinked) = self.table.unlink(member, guard) else { return false };
        self.capacity.give_back(unlinked.header().weight(), guard.thread());
        if reason.marks() {
            unlinked.session().mark_not_resumable();
        }
        if reason == RemoveReason::Expired {
            self.recent.remember(self.table.hash(&unlinked.session().id()), Left::Expired);
        }
        departures.push(reason, || unlinked.to_arc());
        true
    }

    /// Calls `visit` for each session in part `index` of `of`.
    pub(crate) fn visit(
        &self,
        (index, of): (usize, usize),
        guard: &Guard,
        mut visit: impl FnMut(&Session<T>),
    ) {
        self.table.visit(index, of, guard, |member| visit(member.session()));
    }
}
