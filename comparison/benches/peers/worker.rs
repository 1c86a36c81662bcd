//! What the benchmark asks of a session cache, and what it asks a cache for.

use crate::load::{Item, LATER, NOW, policy};
use resumption::{SessionIdContext, SessionKey, Timestamp};

/// What a TLS stack stores.
pub(crate) type Payload = [u8; 200];

/// The payload of every session. Its first byte is what a lookup returns: the sums at the end of a run tell that sessions
/// were found and read.
pub(crate) const PAYLOAD: Payload = [1; 200];

/// What the peers keep for a session: what the engine keeps too, for a session cache must check it.
pub(crate) struct Stored {
    policy: SessionIdContext,
    expiry: Timestamp,
    payload: Payload,
}

impl Stored {
    pub(crate) fn until(expiry: Timestamp) -> Self {
        Self { policy: policy(), expiry, payload: PAYLOAD }
    }

    /// The first byte of the payload, if the session may be resumed.
    #[inline]
    pub(crate) fn admit(&self, wanted: &Wanted) -> u64 {
        let valid = self.policy == wanted.policy && wanted.now <= self.expiry;
        if valid { u64::from(self.payload[0]) } else { 0 }
    }

    #[inline]
    pub(crate) fn lives(&self, now: Timestamp) -> bool {
        now <= self.expiry
    }
}

/// What the one who looks up knows.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) policy: SessionIdContext,
    pub(crate) now: Timestamp,
}

impl Wanted {
    pub(crate) fn new() -> Self {
        Self { policy: policy(), now: NOW }
    }
}

/// One thread's access to a cache.
pub(crate) trait Worker {
    /// Looks up: the first byte of the payload, which is 1, or 0 if there is no session that may be resumed.
    fn find(&mut self, key: &SessionKey) -> u64;

    /// Looks all of them up.
    #[inline]
    fn find_all(&mut self, keys: &[SessionKey]) -> u64 {
        keys.iter().map(|key| self.find(key)).sum()
    }

    /// Makes a session and adds it, in the place of one that has the key.
    fn insert(&mut self, item: &Item, expiry: Timestamp);

    /// Removes a session: as `find`.
    fn take(&mut self, item: &Item) -> u64;

    /// Adds all of them.
    fn fill(&mut self, items: &[Item]) {
        for item in items {
            self.insert(item, LATER);
        }
    }
}

/// A cache that threads share.
pub(crate) trait Shared: Sync {
    type Worker<'a>: Worker
    where
        Self: 'a;

    /// The calling thread's access.
    fn worker(&self) -> Self::Worker<'_>;
}

/// A peer that can be built.
pub(crate) trait Peer: Shared + Sized {
    /// Room for this many sessions; exactly this many if it evicts and `exact` is set, and otherwise enough.
    fn new(capacity: usize, exact: bool) -> Self;
}

impl<S: Shared> Shared for &S {
    type Worker<'a>
        = S::Worker<'a>
    where
        Self: 'a;

    fn worker(&self) -> S::Worker<'_> {
        (**self).worker()
    }
}
