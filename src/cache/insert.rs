//! Inserting, and the bound that holds.

use super::Cache;
use super::departures::Departures;
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::error::AddError;
use crate::session::{Header, Membership, Payload, Session};
use crate::table::{Attempt, Hash, Insertion, New, Unlinked};
use std::sync::Arc;

/// How an insert ended.
pub(crate) enum CacheInsert<R> {
    Added,
    /// This has left, or what is made of it.
    Replaced(R),
    Unchanged,
}

impl<R> CacheInsert<R> {
    #[inline]
    pub(crate) fn map<S>(self, replaced: impl FnOnce(R) -> S) -> CacheInsert<S> {
        match self {
            Self::Added => CacheInsert::Added,
            Self::Replaced(old) => CacheInsert::Replaced(replaced(old)),
            Self::Unchanged => CacheInsert::Unchanged,
        }
    }
}

/// What an insert needs to know besides the session.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) membership: Membership,
    pub(crate) now: Timestamp,
}

/// Evictions under one guard when a capacity is lowered.
const EVICTIONS_PER_STEP: usize = 256;

impl<T: Payload> Cache<T> {
    /// Prepares a session to be [inserted](Self::insert) on these terms.
    #[inline]
    pub(crate) fn prepare(&self, session: Arc<Session<T>>, terms: Terms) -> Result<Attempt<T>, AddError> {
        self.table.prepare(session, terms.membership).ok_or(AddError::Address)
    }

    /// The same for a session that nobody else has.
    #[inline]
    pub(crate) fn prepare_new(&self, session: New<T>, terms: Terms) -> Result<Attempt<T>, AddError> {
        self.table.prepare_new(session, terms.membership).ok_or(AddError::Address)
    }

    /// Adds a session that was prepared on these terms and whose key has this hash, evicting others when there is no room.
    #[inline]
    pub(crate) fn insert<'g>(
        &self,
        mut attempt: Attempt<T>,
        hash: Hash,
        terms: Terms,
        departures: &mut Departures<T>,
        guard: &'g Guard,
    ) -> CacheInsert<Unlinked<'g, T>> {
        let weight = attempt.header().weight();
        // Only who adds needs room for a session, and not who replaces; for bytes both do.
        let mut reserved = self.capacity.counts_bytes() && self.capacity.try_reserve(weight, guard.thread());
        loop {
            let reserve = || {
                reserved = reserved || self.capacity.try_reserve(weight, guard.thread());
                reserved
            };
            match self.table.insert(hash, attempt, reserve, guard) {
                Insertion::Added(header) => {
                    self.file(hash, terms);
                    self.settle(Some(header), terms.now, departures, guard);
                    self.table.grow(self.capacity.used(), guard);
                    return CacheInsert::Added;
                }
                Insertion::Replaced(header, old) => {
                    self.capacity.replace(reserved, weight, old.header().weight(), guard.thread());
                    self.file(hash, terms);
                    self.settle(Some(header), terms.now, departures, guard);
                    return CacheInsert::Replaced(old);
                }
                Insertion::Unchanged(header) => {
                    if !terms.membership.fetched {
                        // A lookup has brought it in, and may not keep it; who adds it may.
                        header.adopt();
                    }
                    if reserved {
                        self.capacity.give_back(weight, guard.thread());
                    }
                    return CacheInsert::Unchanged;
                }
                Insertion::Absent(again) => {
                    self.make_room(weight, terms.now, departures, guard);
                    (attempt, reserved) = (again, true);
                }
                Insertion::NoRoom(again) => {
                    attempt = self.make_room_in_bucket(again, hash, terms, departures, guard)
                }
            }
        }
    }

    /// Reserves room for a new session in a full cache.
    fn make_room(&self, weight: u32, now: Timestamp, departures: &mut Departures<T>, guard: &Guard) {
        loop {
            match self.evict(None, now, departures, guard) {
                Some(victim) if self.capacity.pass_on(victim) => return,
                Some(_) if self.capacity.try_reserve(weight, guard.thread()) => return,
                Some(_) => {}
                None => return self.capacity.overdraw(weight),
            }
        }
    }

    /// Evicts one session of a bucket that is full to the last line.
    fn make_room_in_bucket(
        &self,
        attempt: Attempt<T>,
        hash: Hash,
        terms: Terms,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Attempt<T> {
        if let Some(victim) = self.evict_in_bucket(hash, terms.now, departures, guard) {
            self.capacity.give_back(victim, guard.thread());
        }
        attempt
    }

    /// Sets the capacity in sessions and returns the previous one. What is over it is [evicted](Self::settle_some) next.
    pub(crate) fn set_capacity(&self, limit: usize) -> usize {
        self.capacity.set_limit(limit)
    }

    /// Sets the capacity in bytes and returns the previous one; `None` if bytes are not counted.
    pub(crate) fn set_byte_capacity(&self, limit: usize) -> Option<usize> {
        self.capacity.set_byte_limit(limit)
    }

    /// Evicts some of what is over the capacity; `true` when there may be more.
    pub(crate) fn settle_some(&self, now: Timestamp, departures: &mut Departures<T>, guard: &Guard) -> bool {
        let mut steps = 0..EVICTIONS_PER_STEP;
        self.capacity.settle(|| steps.next().and_then(|_| self.evict(None, now, departures, guard)));
        steps.is_empty()
    }

    /// Evicts what is over the capacity, but not `keep`.
    #[inline]
    fn settle(&self, keep: Option<&Header>, now: Timestamp, departures: &mut Departures<T>, guard: &Guard) {
        self.capacity.settle(|| self.evict(keep, now, departures, guard));
    }
}
