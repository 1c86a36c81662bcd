//! Maps that do not limit themselves.

use crate::load::Item;
use crate::worker::{Peer, Shared, Stored, Wanted, Worker};
use ahash::RandomState;
use dashmap::DashMap;
use resumption::{SessionKey, Timestamp};
use scc::HashIndex;
use std::sync::{Arc, PoisonError, RwLock};

/// `hashbrown::HashMap` of boxed sessions, without any synchronisation: what one thread can do.
pub(crate) struct Unsynchronised {
    map: hashbrown::HashMap<SessionKey, Box<Stored>, RandomState>,
    wanted: Wanted,
}

impl Unsynchronised {
    pub(crate) fn new(capacity: usize) -> Self {
        let map = hashbrown::HashMap::with_capacity_and_hasher(capacity, RandomState::new());
        Self { map, wanted: Wanted::new() }
    }

    pub(crate) fn expire(&mut self, now: Timestamp) {
        self.map.retain(|_, stored| stored.lives(now));
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }
}

impl Worker for &mut Unsynchronised {
    #[inline]
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.map.get(key).map_or(0, |stored| stored.admit(&self.wanted))
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        self.map.insert(item.key, Box::new(Stored::until(expiry)));
    }

    fn take(&mut self, item: &Item) -> u64 {
        self.map.remove(&item.key).map_or(0, |stored| stored.admit(&self.wanted))
    }
}

/// The same for several threads, as long as they only read: what the machine lets two threads do that share nothing.
pub(crate) struct OnlyRead<'m>(pub(crate) &'m Unsynchronised);

pub(crate) struct Reader<'m>(&'m Unsynchronised);

impl Shared for OnlyRead<'_> {
    type Worker<'a>
        = Reader<'a>
    where
        Self: 'a;

    fn worker(&self) -> Reader<'_> {
        Reader(self.0)
    }
}

impl Worker for Reader<'_> {
    #[inline]
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.0.map.get(key).map_or(0, |stored| stored.admit(&self.0.wanted))
    }

    fn insert(&mut self, _: &Item, _: Timestamp) {
        unreachable!("it is only read");
    }

    fn take(&mut self, _: &Item) -> u64 {
        unreachable!("it is only read");
    }
}

/// What a peer's worker is, unless it holds a guard: the map, and what is wanted of sessions.
pub(crate) struct On<'a, M> {
    pub(crate) map: &'a M,
    pub(crate) wanted: Wanted,
}

impl<'a, M> On<'a, M> {
    pub(crate) fn new(map: &'a M) -> Self {
        Self { map, wanted: Wanted::new() }
    }
}

type Locked = RwLock<hashbrown::HashMap<SessionKey, Arc<Stored>, RandomState>>;

/// `RwLock<HashMap>`, of the standard library and hashbrown.
pub(crate) struct Locking(Locked);

impl Peer for Locking {
    fn new(capacity: usize, _: bool) -> Self {
        let map = hashbrown::HashMap::with_capacity_and_hasher(capacity, RandomState::new());
        Self(RwLock::new(map))
    }
}

impl Locking {
    pub(crate) fn expire(&self, now: Timestamp) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, stored| stored.lives(now));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Shared for Locking {
    type Worker<'a> = On<'a, Locked>;

    fn worker(&self) -> On<'_, Locked> {
        On::new(&self.0)
    }
}

impl Worker for On<'_, Locked> {
    #[inline]
    fn find(&mut self, key: &SessionKey) -> u64 {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.get(key).map_or(0, |stored| stored.admit(&self.wanted))
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        let stored = Arc::new(Stored::until(expiry));
        // What it replaces is dropped after the lock.
        let _replaced = self.map.write().unwrap_or_else(PoisonError::into_inner).insert(item.key, stored);
    }

    fn take(&mut self, item: &Item) -> u64 {
        let taken = self.map.write().unwrap_or_else(PoisonError::into_inner).remove(&item.key);
        taken.map_or(0, |stored| stored.admit(&self.wanted))
    }
}

type Sharded = DashMap<SessionKey, Arc<Stored>, RandomState>;

/// `dashmap::DashMap`.
pub(crate) struct Dash(pub(crate) Sharded);

impl Peer for Dash {
    fn new(capacity: usize, _: bool) -> Self {
        Self(DashMap::with_capacity_and_hasher(capacity, RandomState::new()))
    }
}

impl Dash {
    pub(crate) fn expire(&self, now: Timestamp) {
        self.0.retain(|_, stored| stored.lives(now));
    }
}

impl Shared for Dash {
    type Worker<'a> = On<'a, Sharded>;

    fn worker(&self) -> On<'_, Sharded> {
        On::new(&self.0)
    }
}

impl Worker for On<'_, Sharded> {
    #[inline]
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.map.get(key).map_or(0, |stored| stored.admit(&self.wanted))
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        self.map.insert(item.key, Arc::new(Stored::until(expiry)));
    }

    fn take(&mut self, item: &Item) -> u64 {
        self.map.remove(&item.key).map_or(0, |(_, stored)| stored.admit(&self.wanted))
    }
}

type Lockless = papaya::HashMap<SessionKey, Arc<Stored>, RandomState>;

/// `papaya::HashMap`, pinned for each operation.
pub(crate) struct Papaya(pub(crate) Lockless);

impl Peer for Papaya {
    fn new(capacity: usize, _: bool) -> Self {
        Self(papaya::HashMap::builder().capacity(capacity).hasher(RandomState::new()).build())
    }
}

impl Papaya {
    pub(crate) fn expire(&self, now: Timestamp) {
        self.0.pin().retain(|_, stored| stored.lives(now));
    }
}

impl Shared for Papaya {
    type Worker<'a> = On<'a, Lockless>;

    fn worker(&self) -> On<'_, Lockless> {
        On::new(&self.0)
    }
}

impl Worker for On<'_, Lockless> {
    #[inline]
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.map.pin().get(key).map_or(0, |stored| stored.admit(&self.wanted))
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        self.map.pin().insert(item.key, Arc::new(Stored::until(expiry)));
    }

    fn take(&mut self, item: &Item) -> u64 {
        self.map.pin().remove(&item.key).map_or(0, |stored| stored.admit(&self.wanted))
    }
}

/// papaya, pinned once for all lookups.
pub(crate) struct PapayaOneGuard<'p>(pub(crate) &'p Papaya);

pub(crate) struct PapayaWorker<'a> {
    guard: papaya::LocalGuard<'a>,
    on: On<'a, Lockless>,
}

impl Shared for PapayaOneGuard<'_> {
    type Worker<'a>
        = PapayaWorker<'a>
    where
        Self: 'a;

    fn worker(&self) -> PapayaWorker<'_> {
        PapayaWorker { guard: self.0.0.guard(), on: On::new(&self.0.0) }
    }
}

impl Worker for PapayaWorker<'_> {
    #[inline]
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.on.map.get(key, &self.guard).map_or(0, |stored| stored.admit(&self.on.wanted))
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        self.on.insert(item, expiry);
    }

    fn take(&mut self, item: &Item) -> u64 {
        self.on.take(item)
    }
}

type Index = HashIndex<SessionKey, Arc<Stored>, RandomState>;

/// `scc::HashIndex`, with a guard for each operation.
pub(crate) struct Scc(pub(crate) Index);

impl Peer for Scc {
    fn new(capacity: usize, _: bool) -> Self {
        Self(HashIndex::with_capacity_and_hasher(capacity, RandomState::new()))
    }
}

impl Scc {
    pub(crate) fn expire(&self, now: Timestamp) {
        self.0.retain_sync(|_, stored| stored.lives(now));
    }
}

impl Shared for Scc {
    type Worker<'a> = On<'a, Index>;

    fn worker(&self) -> On<'_, Index> {
        On::new(&self.0)
    }
}

impl Worker for On<'_, Index> {
    #[inline]
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.map.peek_with(key, |_, stored| stored.admit(&self.wanted)).unwrap_or(0)
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        let stored = Arc::new(Stored::until(expiry));
        match self.map.entry_sync(item.key) {
            scc::hash_index::Entry::Occupied(mut entry) => entry.update(stored),
            scc::hash_index::Entry::Vacant(entry) => drop(entry.insert_entry(stored)),
        }
    }

    fn take(&mut self, item: &Item) -> u64 {
        let mut found = 0;
        let removed = self.map.remove_if_sync(&item.key, |stored| {
            found = stored.admit(&self.wanted);
            true
        });
        if removed { found } else { 0 }
    }
}

/// scc, under one guard for all lookups.
pub(crate) struct SccOneGuard<'s>(pub(crate) &'s Scc);

pub(crate) struct SccWorker<'a> {
    guard: scc::Guard,
    on: On<'a, Index>,
}

impl Shared for SccOneGuard<'_> {
    type Worker<'a>
        = SccWorker<'a>
    where
        Self: 'a;

    fn worker(&self) -> SccWorker<'_> {
        SccWorker { guard: scc::Guard::new(), on: On::new(&self.0.0) }
    }
}

impl Worker for SccWorker<'_> {
    #[inline]
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.on.map.peek(key, &self.guard).map_or(0, |stored| stored.admit(&self.on.wanted))
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        self.on.insert(item, expiry);
    }

    fn take(&mut self, item: &Item) -> u64 {
        self.on.take(item)
    }
}
