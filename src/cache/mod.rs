//! A bounded map of sessions that expire: the table, the eviction hand and the account of room, put together.
//!
//! Nothing here calls out: what left the cache is handed up in [`Departures`], and the context tells whom it concerns
//! once the update is over.
#![forbid(unsafe_code)]

#[allow(clippy::module_inception)]
mod cache;
mod capacity;
mod departures;
mod evict;
mod insert;
mod pockets;
mod recent;
mod upkeep;

pub(crate) use cache::{Cache, Found, Refusal, Wanted};
pub(crate) use capacity::MAX_CAPACITY;
#[cfg(resumption_loom)]
pub use capacity::ModelCapacity;
pub(crate) use departures::Departures;
pub use departures::RemoveReason;
pub(crate) use insert::{CacheInsert, Terms};
