//! The account of room: never more than the capacity and the inserts under way, and at most the capacity in the end.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use resumption::model::ModelCapacity;

const COLLECTS: bool = false;

/// A cache reduced to its account and the number of entries in its table.
struct Cache {
    room: ModelCapacity,
    entries: AtomicUsize,
}

impl Cache {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { room: ModelCapacity::new(limit), entries: AtomicUsize::new(0) })
    }

    /// Takes an entry out of the table, if there is one.
    fn evict(&self) -> bool {
        let mut entries = self.entries.load(Ordering::Relaxed);
        while entries > 0 {
            match self.entries.compare_exchange(entries, entries - 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => entries = now,
            }
        }
        false
    }

    /// What `Cache::insert` does with the account, by the thread with this index. Models with a thread 9 have no pockets.
    fn insert(&self, most: usize, thread: usize) {
        if !self.room.try_reserve(thread) && !self.evict() {
            self.room.overdraw();
        }
        let entries = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(entries <= most, "more entries than the capacity and the inserts under way");
        self.room.settle(|| self.evict());
    }
}

/// Lowers the capacity to 1 while the thread with this index inserts: one of the two settles.
fn lower_during_an_insert(cache: &Arc<Cache>, thread: usize) {
    let other = Arc::clone(cache);
    let inserter = thread::spawn(move || other.insert(3, thread));
    cache.room.set_limit(1);
    cache.room.settle(|| cache.evict());
    inserter.join().unwrap();
    let entries = cache.entries.load(Ordering::Relaxed);
    assert_eq!(cache.room.count(), entries);
    assert!(entries <= 1, "settles at or below the lowered capacity, not at {entries}");
}

models! {
    fn room_for_one_and_two_inserts() {
        let cache = Cache::new(1);
        let other = Arc::clone(&cache);
        let inserter = thread::spawn(move || other.insert(3, 9));
        cache.insert(3, 9);
        inserter.join().unwrap();
        let entries = cache.entries.load(Ordering::Relaxed);
        assert_eq!(cache.room.count(), entries, "the account agrees with the table");
        assert_eq!(entries, 1, "settles at the capacity");
    }

    /// A full cache, two inserts, and a take that gives room back at the same time.
    fn full_cache_two_inserts_and_a_take() {
        let cache = Cache::new(1);
        cache.insert(1, 9);
        let (a, b) = (Arc::clone(&cache), Arc::clone(&cache));
        let inserter = thread::spawn(move || a.insert(3, 9));
        let taker = thread::spawn(move || {
            if b.evict() {
                b.room.give_back(9);
            }
        });
        cache.insert(3, 9);
        inserter.join().unwrap();
        taker.join().unwrap();
        let entries = cache.entries.load(Ordering::Relaxed);
        assert_eq!(cache.room.count(), entries, "the account agrees with the table");
        assert!(entries <= 1, "settles at or below the capacity");
    }

    /// The capacity is lowered while an insert is under way: one of the two settles.
    fn capacity_is_lowered_during_an_insert() {
        let cache = Cache::new(2);
        cache.insert(2, 9);
        lower_during_an_insert(&cache, 9);
    }

    /// A thread pockets room while another looks for some: what is in a pocket is not lost to the others.
    fn pocket_meets_insert() {
        let cache = Cache::new(2);
        assert!(cache.room.try_reserve(0), "the first of two");
        let other = Arc::clone(&cache);
        let taker = thread::spawn(move || other.room.give_back(0));
        let reserved = usize::from(cache.room.try_reserve(1)) + usize::from(cache.room.try_reserve(1));
        taker.join().unwrap();
        assert_eq!(cache.room.count(), reserved);
        let more = (0..3).filter(|_| cache.room.try_reserve(2)).count();
        assert_eq!(reserved + more, 2, "as many as there is room for");
    }

    /// Two threads empty pockets, whose owner takes from one and puts into it.
    fn pocket_meets_two_inserts() {
        let cache = Cache::new(3);
        assert!(cache.room.try_reserve(0) && cache.room.try_reserve(0));
        cache.room.give_back(0);
        let (a, b) = (Arc::clone(&cache), Arc::clone(&cache));
        let owner = thread::spawn(move || {
            let reserved = a.room.try_reserve(0);
            a.room.give_back(0);
            usize::from(reserved)
        });
        let first = thread::spawn(move || (0..2).filter(|_| b.room.try_reserve(1)).count());
        let ours = (0..2).filter(|_| cache.room.try_reserve(2)).count();
        // Two were there, and the owner gave one back.
        let reserved = 1 + owner.join().unwrap() + first.join().unwrap() + ours - 1;
        assert_eq!(cache.room.count(), reserved);
        let more = (0..4).filter(|_| cache.room.try_reserve(2)).count();
        // Those that look for room together may go over by one each, and settle when they have used it.
        assert!((3..=5).contains(&(reserved + more)), "as many as there is room for");
    }

    /// The capacity is lowered while a session goes into room from a pocket.
    fn capacity_is_lowered_during_an_insert_from_a_pocket() {
        let cache = Cache::new(3);
        cache.insert(3, 0);
        cache.insert(3, 0);
        assert!(cache.evict());
        cache.room.give_back(0);
        lower_during_an_insert(&cache, 0);
    }
}

twins! {
    room_in_a_pocket_that_nobody_knows_of: PocketOpens breaks pocket_meets_insert;
    room_that_is_not_settled: Settle breaks room_for_one_and_two_inserts;
    capacity_is_lowered_without_the_fence: SettleFence breaks capacity_is_lowered_during_an_insert;
}
