//! The forwarding entry: a membership of a session whose own header is taken.

use crate::session::{Header, Session};
use std::ptr::NonNull;
use std::sync::Arc;

/// Stands in a slot for a session that is in another table, or whose last membership here is in its grace period.
/// Lookups follow it to the session: one line more.
#[repr(C)] // the header comes first: an entry is the address of both
pub(super) struct Forward<T> {
    header: Header,
    target: Arc<Session<T>>,
}

impl<T> Forward<T> {
    pub(super) fn new(target: Arc<Session<T>>) -> Box<Self> {
        Box::new(Self { header: Header::forwarding(target.header()), target })
    }

    #[inline]
    pub(super) fn target(&self) -> &Session<T> {
        &self.target
    }

    pub(super) fn target_arc(&self) -> &Arc<Session<T>> {
        &self.target
    }

    /// # Safety
    ///
    /// `entry` came from [`into_entry`](Self::into_entry) of the same `T` and is not used again.
    pub(super) unsafe fn from_entry(entry: NonNull<Header>) -> Box<Self> {
        // SAFETY: the caller's promise; the header is the first field of a `repr(C)` struct.
        unsafe { Box::from_raw(entry.cast().as_ptr()) }
    }

    pub(super) fn into_entry(self: Box<Self>) -> NonNull<Header> {
        NonNull::from(Box::leak(self)).cast()
    }
}
