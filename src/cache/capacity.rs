//! The account of room: a bound that holds, in sessions and, if asked for, in bytes.

use crate::sync::{AtomicUsize, Ordering, Rule, fence_in_models, is_broken};
use crossbeam_utils::CachePadded;

/// The largest capacity in sessions: what a table's 48-bit addresses leave room for, by far.
pub(crate) const MAX_CAPACITY: usize = 1 << 36;

/// How many sessions are in the cache or on their way into it, and how many may be.
///
/// An insert reserves room before it touches the table, so the table never holds more than was reserved. A thread that
/// finds no room evicts and passes the victim's room on; one that finds nothing to evict, since all room is held by
/// inserts under way, goes over by its one session, and every insert settles what is over once it is done.
///
/// What counts, sets a limit or claims, and the looks at these in `exceeds`, are sequentially consistent: of two threads
/// that each change one word and then look at the other's, the second in that order sees the first's change. On x86-64 that
/// costs nothing, where a fence would cost as much as the insert's compare-and-swaps. Nothing else is ordered by them.
pub(crate) struct Capacity {
    limit: AtomicUsize,
    byte_limit: Option<AtomicUsize>,
    used: CachePadded<Used>,
}

struct Used {
    sessions: AtomicUsize,
    bytes: AtomicUsize,
    // Sessions that settlers are about to evict, still counted in `sessions`: what is counted is there, so that no count
    // can fall below zero while somebody else removes what a settler was after.
    settling: AtomicUsize,
}

impl Capacity {
    /// Room for `limit` sessions, 0 for any number, and for `bytes` bytes if they are to be counted.
    pub(crate) fn new(limit: usize, bytes: Option<usize>) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            byte_limit: bytes.map(AtomicUsize::new),
            used: CachePadded::new(Used {
                sessions: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
                settling: AtomicUsize::new(0),
            }),
        }
    }

    /// The capacity in sessions; 0 is unlimited.
    #[inline]
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Sets the capacity in sessions and returns the previous one.
    pub(crate) fn set_limit(&self, limit: usize) -> usize {
        // SeqCst: pairs with the loads in `exceeds`.
        self.limit.swap(limit, Ordering::SeqCst)
    }

    /// The capacity in bytes, if bytes are counted.
    pub(crate) fn byte_limit(&self) -> Option<usize> {
        self.byte_limit.as_ref().map(|limit| limit.load(Ordering::Relaxed))
    }

    /// Sets the capacity in bytes and returns the previous one; `None` when bytes are not counted.
    pub(crate) fn set_byte_limit(&self, limit: usize) -> Option<usize> {
        // SeqCst: pairs with the loads in `bytes_exceed`.
        self.byte_limit.as_ref().map(|old| old.swap(limit, Ordering::SeqCst))
    }

    /// Sessions in the cache, with those on their way in.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.used.sessions.load(Ordering::Relaxed)
    }

    /// Their bytes, if they are counted.
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.byte_limit.as_ref().map(|_| self.bytes_used())
    }

    /// A replace in a full cache counts the new session's bytes when it is in; if it is taken before that, the sum is below
    /// zero for that instant.
    fn bytes_used(&self) -> usize {
        // SeqCst: pairs with what counts bytes, as `bytes_over` says.
        let bytes = self.used.bytes.load(Ordering::SeqCst);
        if bytes > isize::MAX as usize { 0 } else { bytes }
    }

    /// The most sessions that the limit allows.
    #[inline]
    fn most(&self) -> usize {
        // SeqCst: pairs with the swap in `set_limit`.
        most(self.limit.load(Ordering::SeqCst))
    }

    #[inline]
    fn bytes_over(&self, weight: u32) -> bool {
        self.byte_limit.as_ref().is_some_and(|limit| {
            // SeqCst: pairs with the swap in `set_byte_limit`.
            self.bytes_used().saturating_add(weight as usize) > limit.load(Ordering::SeqCst)
        })
    }

    /// Reserves room for a session of this weight; `false` when there is none.
    #[inline]
    pub(crate) fn try_reserve(&self, weight: u32) -> bool {
        if self.count() >= most(self.limit()) || self.bytes_over(weight) {
            return false;
        }
        // Not a compare-and-swap: threads that pass the check together may go over by one each, and settle afterwards.
        self.overdraw(weight);
        true
    }

    /// Reserves room whether or not there is any.
    #[inline]
    pub(crate) fn overdraw(&self, weight: u32) {
        // SeqCst: pairs with the loads in `exceeds`.
        self.used.sessions.fetch_add(1, Ordering::SeqCst);
        if self.byte_limit.is_some() {
            // SeqCst: pairs with the loads in `bytes_exceed`.
            self.used.bytes.fetch_add(weight as usize, Ordering::SeqCst);
        }
    }

    /// Gives the room of a session of this weight back.
    #[inline]
    pub(crate) fn give_back(&self, weight: u32) {
        self.used.sessions.fetch_sub(1, Ordering::Relaxed);
        if self.byte_limit.is_some() {
            self.used.bytes.fetch_sub(weight as usize, Ordering::Relaxed);
        }
    }

    /// Passes a key from a session of weight `old` on to one of weight `new`, for which room was reserved, or was not. Of
    /// sessions there are no more at any instant than there were, so nobody evicts one on account of this.
    #[inline]
    pub(crate) fn replace(&self, reserved: bool, new: u32, old: u32) {
        if reserved {
            return self.give_back(old);
        }
        if self.byte_limit.is_some() {
            // SeqCst: pairs with the loads in `bytes_exceed`.
            self.used.bytes.fetch_add(new as usize, Ordering::SeqCst);
            self.used.bytes.fetch_sub(old as usize, Ordering::Relaxed);
        }
    }

    /// Passes the room of an evicted session on to a new one. If bytes are counted the victim's room is given back
    /// instead, since it may not be enough, and the answer is `false`.
    pub(crate) fn pass_on(&self, victim: u32) -> bool {
        if self.byte_limit.is_none() {
            return true;
        }
        self.give_back(victim);
        false
    }

    /// Evicts, by `evict`, what is over a limit. `evict` returns the weight of what it evicted, or `None` when it found
    /// nothing: then what is over is on its way in, and settles itself.
    #[inline]
    pub(crate) fn settle(&self, evict: impl FnMut() -> Option<u32>) {
        if self.exceeds() || self.bytes_over(0) {
            self.evict_excess(evict);
        }
    }

    #[cold]
    fn evict_excess(&self, mut evict: impl FnMut() -> Option<u32>) {
        let mut missed = false;
        while !missed && self.claim() {
            let victim = evict();
            if let Some(weight) = victim {
                self.give_back(weight);
            }
            self.unclaim();
            missed = victim.is_none();
        }
        // An insert that ended while our claim was out has left its excess to us, and our look over the table may have
        // missed that very entry. So we look once more, without a claim that others could rely on. (Nobody claims bytes.)
        while (missed && self.exceeds()) || self.bytes_over(0) {
            match evict() {
                Some(weight) => self.give_back(weight),
                None => return,
            }
        }
    }

    /// Whether there are more sessions than are allowed and than others are about to evict.
    #[inline]
    fn exceeds(&self) -> bool {
        // An insert has counted before and looks at the limit after; who lowers the limit has set it before and looks at the
        // count after. Whichever looks second in the single order sees the other's change, and settles.
        if !is_broken(Rule::SettleFence) {
            fence_in_models();
        }
        // SeqCst: pairs with `claim` and `unclaim`. An insert that does not see a claim given up has counted before the
        // claimer looks again.
        let settling = self.used.settling.load(Ordering::SeqCst);
        // SeqCst: pairs with the addition in `overdraw`.
        let count = self.used.sessions.load(Ordering::SeqCst);
        count > self.most().saturating_add(settling) && !is_broken(Rule::Settle)
    }

    /// Takes on the eviction of one session too many, so that no two threads evict for one.
    fn claim(&self) -> bool {
        while self.exceeds() {
            // SeqCst: pairs with the load in `exceeds`; its Acquire half with the Release half in `unclaim`, so that the count
            // below has what that claimer evicted.
            let others = self.used.settling.fetch_add(1, Ordering::SeqCst);
            if self.count() > self.most().saturating_add(others) {
                return true;
            }
            self.unclaim();
        }
        false
    }

    fn unclaim(&self) {
        // SeqCst: pairs with the load in `exceeds`; its Release half with the Acquire half in `claim`.
        self.used.settling.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The most sessions that a limit allows, of which 0 is none.
#[inline]
fn most(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}

/// The account as the models drive it.
#[cfg(resumption_loom)]
pub struct ModelCapacity(Capacity);

#[cfg(resumption_loom)]
#[allow(missing_docs)]
impl ModelCapacity {
    pub fn new(limit: usize) -> Self {
        Self(Capacity::new(limit, None))
    }

    pub fn set_limit(&self, limit: usize) {
        self.0.set_limit(limit);
    }

    pub fn count(&self) -> usize {
        self.0.count()
    }

    pub fn try_reserve(&self) -> bool {
        self.0.try_reserve(0)
    }

    pub fn overdraw(&self) {
        self.0.overdraw(0);
    }

    pub fn give_back(&self) {
        self.0.give_back(0);
    }

    pub fn settle(&self, evict: impl Fn() -> bool) {
        self.0.settle(|| evict().then_some(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_reserved_up_to_the_limit() {
        let room = Capacity::new(2, None);
        assert!(room.try_reserve(9) && room.try_reserve(9) && !room.try_reserve(9));
        room.settle(|| panic!("nothing is over"));
        room.give_back(9);
        assert!(room.try_reserve(9));
        assert_eq!((room.count(), room.bytes()), (2, None));
    }

    #[test]
    fn no_limit_is_no_limit() {
        let room = Capacity::new(0, None);
        (0..1000).for_each(|_| assert!(room.try_reserve(9)));
        room.settle(|| panic!("nothing is over"));
        assert_eq!(room.count(), 1000);
    }

    #[test]
    fn what_is_over_is_evicted_and_no_more() {
        let room = Capacity::new(3, None);
        (0..3).for_each(|_| assert!(room.try_reserve(9)));
        assert_eq!(room.set_limit(1), 3);
        let mut evicted = 0;
        room.settle(|| {
            evicted += 1;
            Some(9)
        });
        assert_eq!((evicted, room.count()), (2, 1));
    }

    #[test]
    fn what_cannot_be_evicted_stays_counted() {
        let room = Capacity::new(1, None);
        room.overdraw(9);
        room.overdraw(9);
        room.settle(|| None);
        assert_eq!(room.count(), 2);
        // Somebody takes everything while a settler looks for a victim: the count does not fall below zero.
        room.settle(|| {
            room.give_back(9);
            room.give_back(9);
            assert_eq!(room.count(), 0);
            None
        });
        assert_eq!(room.count(), 0);
    }

    #[test]
    fn bytes_are_a_bound_of_their_own() {
        let room = Capacity::new(10, Some(100));
        assert!(room.try_reserve(60) && !room.try_reserve(41) && room.try_reserve(40));
        assert_eq!(room.set_byte_limit(50), Some(100));
        room.settle(|| Some(60));
        assert_eq!((room.count(), room.bytes()), (1, Some(40)));
        assert!(!room.pass_on(40));
        assert_eq!((room.count(), room.bytes()), (0, Some(0)));
    }
}
