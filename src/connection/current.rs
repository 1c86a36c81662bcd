//! A connection's session, as any thread may read it.

use crate::epoch::{self, ArcSlot, Guard};
use crate::session::{Payload, Session};
use std::fmt;
use std::sync::Arc;

/// A connection's current session, readable from any thread while the connection is driven by another: made by
/// [`Connection::current_session`](crate::Connection::current_session).
///
/// A TLS 1.3 connection changes its session with every ticket. What was read before stays valid: a borrow until its
/// guard is gone, a counted reference until it is dropped. Once the connection is gone there is no session here.
pub struct CurrentSession<T: Payload> {
    slot: Arc<ArcSlot<Session<T>>>,
}

impl<T: Payload> CurrentSession<T> {
    pub(super) fn new() -> Self {
        Self { slot: Arc::new(ArcSlot::empty()) }
    }

    /// The connection's session, as [`Connection::session`](crate::Connection::session) (get0): wait-free.
    #[inline]
    pub fn session<'g>(&self, guard: &'g Guard) -> Option<&'g Session<T>> {
        self.slot.load(guard)
    }

    /// The connection's session, as [`Connection::session_arc`](crate::Connection::session_arc) (get1).
    pub fn session_arc(&self) -> Option<Arc<Session<T>>> {
        self.slot.to_arc(&epoch::pin())
    }

    pub(super) fn replace(&self, session: Option<Arc<Session<T>>>) {
        let guard = epoch::pin();
        let is_retiring = self.slot.load(&guard).is_some();
        self.slot.replace(session, &guard);
        if is_retiring {
            // This thread may go to sleep now: what it has retired must not wait for it, so others may free it.
            guard.flush();
        }
    }
}

impl<T: Payload> Clone for CurrentSession<T> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot) }
    }
}

impl<T: Payload> fmt::Debug for CurrentSession<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CurrentSession").field(&self.session(&epoch::pin())).finish()
    }
}
