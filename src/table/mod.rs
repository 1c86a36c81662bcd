//! Where a session is: buckets of one cache line, six tagged slots each.
//!
//! The raw core ([`raw`]) moves pointers to entry headers and knows nothing of sessions; the typed shell ([`Table`])
//! turns them into borrowed sessions and retires them. Neither knows time, capacity or policy.
//!
//! Every operation on a key goes to one bucket (a root line and, seldom, overflow lines behind it):
//!
//! * **find** loads the slots and follows the one whose tag and id match. No write, no retry.
//! * **insert** announces the entry in the root's control word, puts it in its slot, clears the announcement; whoever
//!   meets the announcement finishes it.
//! * **unlink** and **replace** are one compare-and-swap of the slot.
//! * **grow** moves buckets to an array of twice as many, one by one: freeze, copy, redirect.
//!
//! Rules the rest rests on, each with a loom model that fails when it is broken:
//!
//! * **R1** Before an entry is retired it is in no slot and in no control word.
//! * **R2** A frozen slot is followed by nobody but who moves its bucket.
//! * **R3** An entry never changes slots, except when its bucket moves.
//! * **R4** After the announcement only an entry's expiry, mark and flags change.

mod array;
mod bucket;
mod filter;
mod find;
mod forward;
#[cfg(all(fuzzing, not(resumption_loom)))]
pub(crate) mod fuzzing;
mod glance;
mod grow;
mod hint;
mod insert;
mod iter;
#[cfg(resumption_loom)]
pub(crate) mod model;
mod overflow;
mod raw;
mod slot;
#[allow(clippy::module_inception)]
mod table;
mod unlink;
mod vector;

pub(crate) use glance::Glance;
pub(crate) use iter::Walk;
pub(crate) use raw::{Hash, Miss};
pub(crate) use table::{Attempt, Insertion, Member, New, Table, Unlinked};
