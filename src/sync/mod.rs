//! The one door to atomics: the standard library's, or loom's under `--cfg resumption_loom`.
//!
//! Nothing else in the crate names `std::sync::atomic` or `loom`, so every interleaving the models explore is one of
//! the code that ships.
//!
//! Each rule the protocol rests on can be broken under loom, and only there, so that a model can show that it fails
//! without the rule.
#![forbid(unsafe_code)]

#[cfg(resumption_loom)]
#[path = "loom.rs"]
pub(crate) mod imp;
#[cfg(not(resumption_loom))]
#[path = "std.rs"]
mod imp;

pub(crate) use imp::*;

/// A rule of the table's protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(resumption_loom), allow(unreachable_pub, dead_code))]
pub enum Rule {
    /// R1: an entry is withdrawn from the control word before it is retired.
    Withdraw,
    /// Each insert gives the control word a new version.
    Version,
    /// Each removal gives the empty slot a new sequence number.
    Sequence,
    /// A removal is a compare-and-swap, not a store.
    OneWinner,
    /// A bucket's slots are frozen before they are copied.
    Freeze,
    /// A bucket's entries are copied before its control word says that it has moved.
    CopyFirst,
    /// Whoever meets an announcement puts the entry before clearing it.
    HelpPuts,
    /// A connection's session is published by a Release.
    PublishCurrent,
    /// A connection's replaced session is retired, not freed.
    RetireCurrent,
}
