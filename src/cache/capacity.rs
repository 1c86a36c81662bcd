//! The account of room: a bound that holds.

use crate::sync::{AtomicUsize, Ordering};
use crossbeam_utils::CachePadded;

/// The largest capacity: what a table's 48-bit addresses leave room for, by far.
pub(crate) const MAX_CAPACITY: usize = 1 << 36;

/// How many sessions are in the cache or on their way into it, and how many may be.
///
/// An insert reserves room before it touches the table, so the table never holds more than was reserved. A thread that
/// finds no room evicts and passes the victim's room on; one that finds nothing to evict, since all room is held by
/// inserts under way, goes over by its one session, and every insert settles what is over once it is done.
pub(crate) struct Capacity {
    limit: AtomicUsize,
    count: CachePadded<AtomicUsize>,
}

impl Capacity {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: AtomicUsize::new(limit), count: CachePadded::new(AtomicUsize::new(0)) }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the limit and returns the previous one.
    pub(crate) fn set_limit(&self, limit: usize) -> usize {
        self.limit.swap(limit, Ordering::Relaxed)
    }

    /// Sessions in the cache, with those on their way in.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Reserves room for one session; `false` when there is none.
    pub(crate) fn try_reserve(&self) -> bool {
        if self.count() >= self.limit() {
            return false;
        }
        // Not a compare-and-swap: threads that pass the check together may go over by one each, and settle afterwards.
        self.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Reserves room that is not there.
    pub(crate) fn overdraw(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives the room of one session back.
    pub(crate) fn give_back(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes on one session's worth of what is over the limit: the caller evicts one, or calls
    /// [`overdraw`](Self::overdraw) again.
    pub(crate) fn claim_debt(&self) -> bool {
        let mut count = self.count();
        while count > self.limit() {
            match self.count.compare_exchange_weak(count, count - 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_reserved_up_to_the_limit() {
        let room = Capacity::new(2);
        assert!(room.try_reserve() && room.try_reserve() && !room.try_reserve());
        assert!(!room.claim_debt());
        room.give_back();
        assert!(room.try_reserve());
        assert_eq!(room.count(), 2);
    }

    #[test]
    fn each_debt_is_claimed_once() {
        let room = Capacity::new(3);
        (0..3).for_each(|_| assert!(room.try_reserve()));
        assert_eq!(room.set_limit(1), 3);
        assert!(room.claim_debt() && room.claim_debt() && !room.claim_debt());
        assert_eq!(room.count(), 1);
    }
}
