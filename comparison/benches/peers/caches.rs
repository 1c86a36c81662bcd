//! Caches that hold no more than their capacity, and rustls' own store.

use crate::load::Item;
use crate::maps::On;
use crate::worker::{PAYLOAD, Peer, Shared, Stored, Wanted, Worker};
use ahash::RandomState;
use quick_cache::UnitWeighter;
use quick_cache::sync::DefaultLifecycle;
use resumption::{SessionKey, Timestamp};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use std::sync::Arc;
use tinyufo::TinyUfo;

/// What a cache gets whose victims must not be sessions that are looked up later: these caches do not hold exactly what
/// they are built for.
fn roomy(capacity: usize, exact: bool) -> usize {
    if exact { capacity } else { capacity * 2 }
}

type MokaCache = moka::sync::Cache<SessionKey, Arc<Stored>, RandomState>;

/// `moka::sync::Cache`.
pub(crate) struct Moka(pub(crate) MokaCache);

impl Peer for Moka {
    fn new(capacity: usize, exact: bool) -> Self {
        let builder = moka::sync::Cache::builder().initial_capacity(capacity);
        Self(builder.max_capacity(roomy(capacity, exact) as u64).build_with_hasher(RandomState::new()))
    }
}

impl Shared for Moka {
    type Worker<'a> = On<'a, MokaCache>;

    fn worker(&self) -> On<'_, MokaCache> {
        On::new(&self.0)
    }
}

impl Worker for On<'_, MokaCache> {
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.map.get(key).map_or(0, |stored| stored.admit(&self.wanted))
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        self.map.insert(item.key, Arc::new(Stored::until(expiry)));
    }

    fn take(&mut self, item: &Item) -> u64 {
        self.map.remove(&item.key).map_or(0, |stored| stored.admit(&self.wanted))
    }
}

type QuickCache = quick_cache::sync::Cache<SessionKey, Arc<Stored>, UnitWeighter, RandomState>;

/// `quick_cache::sync::Cache`.
pub(crate) struct Quick(pub(crate) QuickCache);

impl Peer for Quick {
    fn new(capacity: usize, exact: bool) -> Self {
        let room = roomy(capacity, exact);
        let lifecycle = DefaultLifecycle::default();
        Self(QuickCache::with(room, room as u64, UnitWeighter, RandomState::new(), lifecycle))
    }
}

impl Quick {
    pub(crate) fn expire(&self, now: Timestamp) {
        self.0.retain(|_, stored| stored.lives(now));
    }
}

impl Shared for Quick {
    type Worker<'a> = On<'a, QuickCache>;

    fn worker(&self) -> On<'_, QuickCache> {
        On::new(&self.0)
    }
}

impl Worker for On<'_, QuickCache> {
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

// TinyUFO keeps the hash of a key and not the key. The id must be compared in full, so it is beside the session.
type Ufo = TinyUfo<SessionKey, Arc<(SessionKey, Stored)>>;

/// `TinyUFO`, with the hasher it brings (ahash).
pub(crate) struct Tiny(Ufo);

impl Peer for Tiny {
    fn new(capacity: usize, exact: bool) -> Self {
        let room = roomy(capacity, exact);
        Self(TinyUfo::new(room, room))
    }
}

impl Shared for Tiny {
    type Worker<'a> = On<'a, Ufo>;

    fn worker(&self) -> On<'_, Ufo> {
        On::new(&self.0)
    }
}

fn admit(key: &SessionKey, entry: &(SessionKey, Stored), wanted: &Wanted) -> u64 {
    if entry.0 == *key { entry.1.admit(wanted) } else { 0 }
}

impl Worker for On<'_, Ufo> {
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.map.get(key).map_or(0, |entry| admit(key, &entry, &self.wanted))
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        drop(self.map.put(item.key, Arc::new((item.key, Stored::until(expiry))), 1));
    }

    fn take(&mut self, item: &Item) -> u64 {
        self.map.remove(&item.key).map_or(0, |entry| admit(&item.key, &entry, &self.wanted))
    }
}

/// rustls' `ServerSessionMemoryCache`, through the calls that rustls makes. It checks neither context nor expiry, and has
/// SipHash inside.
pub(crate) struct Rustls(Arc<ServerSessionMemoryCache>);

impl Peer for Rustls {
    fn new(capacity: usize, _: bool) -> Self {
        Self(ServerSessionMemoryCache::new(capacity))
    }
}

impl Shared for Rustls {
    type Worker<'a> = On<'a, ServerSessionMemoryCache>;

    fn worker(&self) -> On<'_, ServerSessionMemoryCache> {
        On::new(&self.0)
    }
}

impl Worker for On<'_, ServerSessionMemoryCache> {
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.map.get(key.id().as_bytes()).map_or(0, |value| u64::from(value[0]))
    }

    fn insert(&mut self, item: &Item, _: Timestamp) {
        self.map.put(item.key.id().as_bytes().to_vec(), PAYLOAD.to_vec());
    }

    fn take(&mut self, item: &Item) -> u64 {
        self.map.take(item.key.id().as_bytes()).map_or(0, |value| u64::from(value[0]))
    }
}
