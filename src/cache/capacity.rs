//! The account of room: a bound that holds, in sessions and, if asked for, in bytes.

use super::pockets::Pockets;
use crate::sync::{AtomicUsize, Ordering, Rule, fence, fence_in_models, is_broken};
use crossbeam_utils::CachePadded;

/// One part in so many of the capacity is free while room is pocketed.
const SPARE: usize = 16;

/// The largest capacity in sessions: what a table's 48-bit addresses leave room for, by far.
pub(crate) const MAX_CAPACITY: usize = 1 << 36;

/// How many sessions are in the cache or on their way into it, and how many may be.
///
/// An insert that adds reserves room before it announces, so the table never holds more than was reserved. A thread that
/// finds no room evicts and passes the victim's room on; one that finds nothing to evict, since all room is held by
/// inserts under way, goes over by its one session, and every insert settles what is over once it is done.
///
/// What counts, sets a limit or claims, and the looks at these in `exceeds`, are sequentially consistent: of two threads
/// that each change one word and then look at the other's, the second in that order sees the first's change. On x86-64 that
/// costs nothing, where a fence would cost as much as the insert's compare-and-swaps. Nothing else is ordered by them.
///
/// What a session gives back stays in the [pocket](super::pockets) of the thread that took it out, for its next insert, as
/// long as there is room to spare. It counts as used.
pub(crate) struct Capacity {
    limit: AtomicUsize,
    byte_limit: Option<AtomicUsize>,
    used: CachePadded<Used>,
    pockets: Pockets,
}

struct Used {
    // With what is in pockets.
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
            pockets: Pockets::new(),
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
        // SeqCst: pairs with the loads in `bytes_over`.
        self.byte_limit.as_ref().map(|old| old.swap(limit, Ordering::SeqCst))
    }

    /// Sessions in the cache, with those on their way in.
    pub(crate) fn count(&self) -> usize {
        self.used().saturating_sub(self.pockets.sum())
    }

    /// The same, and what is in pockets.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used.sessions.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn counts_bytes(&self) -> bool {
        self.byte_limit.is_some()
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

    /// Reserves room for a session of this weight, on behalf of the thread with this index; `false` when there is none.
    #[inline]
    pub(crate) fn try_reserve(&self, weight: u32, thread: usize) -> bool {
        if self.byte_limit.is_none() && self.pockets.take(thread) {
            return true;
        }
        if self.bytes_over(weight) || (self.used() >= most(self.limit()) && !self.free_pockets()) {
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
            // SeqCst: pairs with the loads in `bytes_over`.
            self.used.bytes.fetch_add(weight as usize, Ordering::SeqCst);
        }
    }

    /// Frees what is in pockets; `true` if that makes room.
    #[cold]
    fn free_pockets(&self) -> bool {
        if self.pockets.are_open() {
            self.empty_pockets();
        }
        self.used() < most(self.limit())
    }

    /// Gives the room of a session of this weight back, or keeps it for the next insert of the thread with this index.
    #[inline]
    pub(crate) fn give_back(&self, weight: u32, thread: usize) {
        let limit = most(self.limit());
        // In a full cache inserts would have to empty pockets all the time.
        if self.byte_limit.is_some() || self.used() >= limit - limit / SPARE {
            return self.free(weight);
        }
        let freed = self.pockets.put(thread);
        if freed > 0 {
            self.used.sessions.fetch_sub(freed, Ordering::Relaxed);
        }
    }

    /// Gives the room of a session of this weight back, for whoever needs it.
    #[inline]
    fn free(&self, weight: u32) {
        self.used.sessions.fetch_sub(1, Ordering::Relaxed);
        if self.byte_limit.is_some() {
            self.used.bytes.fetch_sub(weight as usize, Ordering::Relaxed);
        }
    }

    /// Passes a key from a session of weight `old` on to one of weight `new`, for which room was reserved, or was not. Of
    /// sessions there are no more at any instant than there were, so nobody evicts one on account of this.
    #[inline]
    pub(crate) fn replace(&self, reserved: bool, new: u32, old: u32, thread: usize) {
        if reserved {
            return self.give_back(old, thread);
        }
        if self.byte_limit.is_some() {
            // SeqCst: pairs with the loads in `bytes_over`.
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
        self.free(victim);
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
        let mut evict = || {
            // SeqCst: pairs with the put in the table. An insert that has not seen the lowered limit, or has seen a claim that
            // was given up before this, has put its entry before, and the look over the table finds it, whatever the way there
            // (`src/wheel/mod.rs`, at its head).
            fence(Ordering::SeqCst);
            evict()
        };
        let mut missed = false;
        while !missed && self.claim() {
            let victim = evict();
            if let Some(weight) = victim {
                self.free(weight);
            }
            self.unclaim();
            missed = victim.is_none();
        }
        // An insert that ended while our claim was out has left its excess to us, and our look over the table may have
        // missed that very entry. So we look once more, without a claim that others could rely on. (Nobody claims bytes.)
        while (missed && self.exceeds()) || self.bytes_over(0) {
            match evict() {
                Some(weight) => self.free(weight),
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
        let used = self.used.sessions.load(Ordering::SeqCst);
        let most = self.most().saturating_add(settling);
        used > most && !is_broken(Rule::Settle) && (!self.pockets.are_open() || self.empty_pockets() > most)
    }

    /// Frees what is in pockets; returns what is used then.
    #[cold]
    fn empty_pockets(&self) -> usize {
        let freed = self.pockets.empty();
        self.used.sessions.fetch_sub(freed, Ordering::Relaxed) - freed
    }

    /// Takes on the eviction of one session too many, so that no two threads evict for one.
    fn claim(&self) -> bool {
        while self.exceeds() {
            // SeqCst: pairs with the load in `exceeds`; its Acquire half with the Release half in `unclaim`, so that the count
            // below has what that claimer evicted.
            let others = self.used.settling.fetch_add(1, Ordering::SeqCst);
            if self.used() > self.most().saturating_add(others) {
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

    pub fn try_reserve(&self, thread: usize) -> bool {
        self.0.try_reserve(0, thread)
    }

    pub fn overdraw(&self) {
        self.0.overdraw(0);
    }

    pub fn give_back(&self, thread: usize) {
        self.0.give_back(0, thread);
    }

    pub fn settle(&self, evict: impl Fn() -> bool) {
        self.0.settle(|| evict().then_some(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index of a thread without a pocket.
    const NOBODY: usize = usize::MAX;

    #[test]
    fn room_is_reserved_up_to_the_limit() {
        let room = Capacity::new(2, None);
        assert!(room.try_reserve(9, NOBODY) && room.try_reserve(9, NOBODY) && !room.try_reserve(9, NOBODY));
        room.settle(|| panic!("nothing is over"));
        room.give_back(9, NOBODY);
        assert!(room.try_reserve(9, NOBODY));
        assert_eq!((room.count(), room.bytes()), (2, None));
    }

    #[test]
    fn no_limit_is_no_limit() {
        let room = Capacity::new(0, None);
        (0..1000).for_each(|_| assert!(room.try_reserve(9, NOBODY)));
        room.settle(|| panic!("nothing is over"));
        assert_eq!(room.count(), 1000);
    }

    #[test]
    fn what_is_over_is_evicted_and_no_more() {
        let room = Capacity::new(3, None);
        (0..3).for_each(|_| assert!(room.try_reserve(9, NOBODY)));
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
            room.give_back(9, NOBODY);
            room.give_back(9, NOBODY);
            assert_eq!(room.count(), 0);
            None
        });
        assert_eq!(room.count(), 0);
    }

    #[test]
    fn bytes_are_a_bound_of_their_own() {
        let room = Capacity::new(10, Some(100));
        assert!(
            room.try_reserve(60, NOBODY) && !room.try_reserve(41, NOBODY) && room.try_reserve(40, NOBODY)
        );
        assert_eq!(room.set_byte_limit(50), Some(100));
        room.settle(|| Some(60));
        assert_eq!((room.count(), room.bytes()), (1, Some(40)));
        assert!(!room.pass_on(40));
        assert_eq!((room.count(), room.bytes()), (0, Some(0)));
    }

    #[test]
    fn room_in_a_pocket_is_used_by_its_owner_first_and_by_others_before_they_evict() {
        let room = Capacity::new(4, None);
        assert!((0..3).all(|_| room.try_reserve(9, 0)));
        room.give_back(9, 0);
        room.give_back(9, 1);
        assert_eq!((room.used(), room.count()), (3, 1), "two in pockets");
        assert!(room.try_reserve(9, 0));
        assert_eq!((room.used(), room.count()), (3, 2));
        assert!((0..2).all(|_| room.try_reserve(9, 2)), "the free one, and the one in another's pocket");
        assert_eq!((room.used(), room.count(), room.try_reserve(9, 1)), (4, 4, false));
    }

    #[test]
    fn a_lowered_limit_finds_pockets_before_it_evicts() {
        let room = Capacity::new(8, None);
        assert!((0..6).all(|_| room.try_reserve(9, 0)));
        (0..4).for_each(|_| room.give_back(9, 0));
        assert_eq!((room.set_limit(2), room.count()), (8, 2));
        room.settle(|| panic!("two are allowed"));
        assert_eq!((room.used(), room.try_reserve(9, 0)), (2, false));
    }
}
