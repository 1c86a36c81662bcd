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

    /// What `Cache::insert` does with the account.
    fn insert(&self, most: usize) {
        if !self.room.try_reserve() && !self.evict() {
            self.room.overdraw();
        }
        let entries = self.entries.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(entries <= most, "more entries than the capacity and the inserts under way");
        self.room.settle(|| self.evict());
    }
}

models! {
    fn room_for_one_and_two_inserts() {
        let cache = Cache::new(1);
        let other = Arc::clone(&cache);
        let inserter = thread::spawn(move || other.insert(3));
        cache.insert(3);
        inserter.join().unwrap();
        let entries = cache.entries.load(Ordering::Relaxed);
        assert_eq!(cache.room.count(), entries, "the account agrees with the table");
        assert_eq!(entries, 1, "settles at the capacity");
    }

    /// A full cache, two inserts, and a take that gives room back at the same time.
    fn full_cache_two_inserts_and_a_take() {
        let cache = Cache::new(1);
        cache.insert(1);
        let (a, b) = (Arc::clone(&cache), Arc::clone(&cache));
        let inserter = thread::spawn(move || a.insert(3));
        let taker = thread::spawn(move || {
            if b.evict() {
                b.room.give_back();
            }
        });
        cache.insert(3);
        inserter.join().unwrap();
        taker.join().unwrap();
        let entries = cache.entries.load(Ordering::Relaxed);
        assert_eq!(cache.room.count(), entries, "the account agrees with the table");
        assert!(entries <= 1, "settles at or below the capacity");
    }

    /// The capacity is lowered while an insert is under way: one of the two settles.
    fn capacity_is_lowered_during_an_insert() {
        let cache = Cache::new(2);
        cache.insert(2);
        let other = Arc::clone(&cache);
        let inserter = thread::spawn(move || other.insert(3));
        cache.room.set_limit(1);
        cache.room.settle(|| cache.evict());
        inserter.join().unwrap();
        let entries = cache.entries.load(Ordering::Relaxed);
        assert_eq!(cache.room.count(), entries);
        assert!(entries <= 1, "settles at or below the lowered capacity, not at {entries}");
    }
}

twins! {
    room_that_is_not_settled: Settle breaks room_for_one_and_two_inserts;
    capacity_is_lowered_without_the_fence: SettleFence breaks capacity_is_lowered_during_an_insert;
}
