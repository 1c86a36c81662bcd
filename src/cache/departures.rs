//! What left the cache during an operation, for the layer above to announce.

use crate::session::Session;
use std::sync::Arc;

/// Why a session left a context, as told to the remove callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemoveReason {
    /// `remove_session` was called.
    Removed,
    /// The cache was full and this session was the one least worth keeping. It is not marked not resumable.
    Evicted,
    /// Its lifetime was over.
    Expired,
    /// It was flushed before its time: `flush_all`, or `flush_sessions` with a time to come.
    Flushed,
    /// A connection ended without a close_notify of its own.
    UncleanClose,
    /// A fatal alert was sent or received.
    FatalAlert,
    /// It was taken: single use.
    Consumed,
    /// `purge` was called for its session id context.
    Purged,
    /// The context was dropped.
    ContextDropped,
}

impl RemoveReason {
    /// Whether a session that leaves for this reason is marked not resumable for all its holders. Eviction is not
    /// invalidation.
    pub(crate) fn marks(self) -> bool {
        self != Self::Evicted
    }

    /// Whether an external store must forget its copy. Eviction makes room in memory and expiry is known everywhere;
    /// a context that ends leaves the shared tier to the others.
    pub(crate) fn concerns_external(self) -> bool {
        !matches!(self, Self::Evicted | Self::Expired | Self::ContextDropped)
    }
}

/// Sessions that left, in order.
pub(crate) struct Departures<T> {
    list: Vec<(Arc<Session<T>>, RemoveReason)>,
    // Whether anybody wants to know. If not, nothing is counted or allocated.
    wanted: bool,
    evicted: usize,
}

impl<T> Departures<T> {
    pub(crate) fn new(wanted: bool) -> Self {
        Self { list: Vec::new(), wanted, evicted: 0 }
    }

    /// Counts a session that had to go because the cache was full, whatever it is then told to have died of.
    pub(crate) fn count_evicted(&mut self) {
        self.evicted += 1;
    }

    pub(crate) fn push(&mut self, reason: RemoveReason, session: impl FnOnce() -> Arc<Session<T>>) {
        if self.wanted {
            self.list.push((session(), reason));
        }
    }

    /// Whether there is nobody to announce.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many had to go because the cache was full.
    pub(crate) fn evicted(&self) -> usize {
        self.evicted
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Arc<Session<T>>, RemoveReason)> + '_ {
        self.list.drain(..)
    }
}
