//! Inserting, and the bound that holds.

use super::Cache;
use super::departures::Departures;
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::error::AddError;
use crate::session::{Header, Membership, Payload, Session};
use crate::table::{Attempt, Hash, Insertion};
use std::sync::Arc;

/// How an insert ended.
pub(crate) enum CacheInsert<T> {
    Added,
    Replaced(Arc<Session<T>>),
    Unchanged,
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
    /// Adds a session whose key has this hash, evicting others when there is no room.
    #[inline]
    pub(crate) fn insert(
        &self,
        session: Arc<Session<T>>,
        hash: Hash,
        terms: Terms,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Result<CacheInsert<T>, AddError> {
        let weight = session.header().weight();
        let mut attempt = self.table.prepare(session, terms.membership).ok_or(AddError::Address)?;
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
                    return Ok(CacheInsert::Added);
                }
                Insertion::Replaced(header, old) => {
                    self.capacity.replace(reserved, weight, old.header().weight(), guard.thread());
                    self.file(hash, terms);
                    self.settle(Some(header), terms.now, departures, guard);
                    return Ok(CacheInsert::Replaced(old.to_arc()));
                }
                Insertion::Unchanged(header) => {
                    if !terms.membership.fetched {
                        // A lookup has brought it in, and may not keep it; who adds it may.
                        header.adopt();
                    }
                    if reserved {
                        self.capacity.give_back(weight, guard.thread());
                    }
                    return Ok(CacheInsert::Unchanged);
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
