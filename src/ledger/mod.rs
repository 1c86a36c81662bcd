//! Who is pinned, and what was retired and waits: one page for each thread, written by its owner.
//!
//! A retired entry first goes to its thread's stash, and from there in batches to the collector: by the thread itself
//! when the stash is full, or by whoever keeps time for the process, so that the last secrets a thread removed before it
//! went to sleep do not wait for it to wake up. Moving an entry to the collector late is harmless: it was unlinked
//! before, so every guard that can reach it is older still.
#![forbid(unsafe_code)]

#[cfg(not(resumption_loom))]
mod page;
mod pins;
mod stash;

use std::time::Duration;

#[cfg(not(resumption_loom))]
pub(crate) use page::{
    Lent, PAGES, Page, count_freed, count_retired, page, pages, reclamation, time_to_collect,
};
pub(crate) use pins::{Begun, Pins};
#[cfg(resumption_loom)]
pub use stash::ModelStash;
#[cfg(not(resumption_loom))]
pub(crate) use stash::{Retired, Stash};

/// After so many guards, a power of two, a thread sees to more than the guard.
pub(crate) const ROUND: u32 = 128;

/// What waits to be freed, and since when somebody keeps it waiting. Counted for the process: guards are good for every
/// context, and so hold back every context's sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reclamation {
    /// Sessions that have left a cache and are not freed yet.
    pub sessions: u64,
    /// Their [weight](crate::Session::weight) in bytes.
    pub bytes: u64,
    /// For how long the oldest guard is known to be held, in whole seconds: counted from the first time that it was
    /// noticed, by a tick or by asking for statistics.
    pub oldest_pin: Duration,
}

/// Models have no process to keep a book for.
#[cfg(resumption_loom)]
pub(crate) fn reclamation() -> Reclamation {
    Reclamation::default()
}
