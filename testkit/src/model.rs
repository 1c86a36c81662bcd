//! A session context as one thread sees it: a map and a few rules, slow and obviously right.
//!
//! The model does not act, it judges: a driver makes a [`Call`] on the engine, notes what it [saw](Seen), and
//! [`Model::judge`] says whether the rules allow that and follows. Where the rules leave the engine a choice (which session
//! is evicted, when an expired one is reclaimed) the model accepts each allowed choice and nothing else.
//!
//! The rules are those of the project's semantics: what OpenSSL does, with the departures that its users asked for. The
//! external store and the callbacks' own actions are not part of the model.

mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Protocol version (as on the wire) and session id: what a session is filed under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The session id.
    pub id: Vec<u8>,
    /// The version, for instance 0x0303 for TLS 1.2.
    pub version: u16,
}

/// A session. Two sessions are the same object exactly when their serial numbers are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Tells this session from all others that the driver ever makes.
    pub serial: u64,
    /// What it is filed under.
    pub key: Key,
    /// The session id context.
    pub id_context: Vec<u8>,
    /// When it was created, in seconds.
    pub time: u64,
    /// How many seconds it lives from then.
    pub timeout: u64,
    /// The second after which nothing prolongs it; [`NEVER`] when there is none.
    pub end_of_life: u64,
}

/// The second that does not come. Everything beyond it saturates to it.
pub const NEVER: u64 = u32::MAX as u64;

/// What the driver did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// `add_session`.
    Add(Session),
    /// `remove_session`.
    Remove(Session),
    /// `lookup` or `lookup_arc` of a key under a session id context.
    Lookup(Key, Vec<u8>),
    /// `take` or `take_borrowed` of a key under a session id context.
    Take(Key, Vec<u8>),
    /// `flush_sessions` at this second.
    Flush(u64),
    /// `flush_all`.
    FlushAll,
    /// `purge` of a session id context.
    Purge(Vec<u8>),
    /// `set_capacity`.
    SetCapacity(usize),
    /// `mark_not_resumable` on the session with this serial number.
    Mark(u64),
    /// `tick`: some of what has expired leaves.
    Tick,
    /// Dropping the context.
    Drop,
}

/// What the call returned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Nothing, from calls that return nothing.
    Nothing,
    /// The key was free.
    Added,
    /// The session with this serial number had the key.
    Replaced(u64),
    /// This very session had the key.
    Unchanged,
    /// Whether `remove_session` found a session.
    Removed(bool),
    /// The serial number of the session that a lookup or take returned, and the one outcome that it was counted as.
    Found(Option<u64>, Outcome),
    /// How many sessions were flushed or purged.
    Count(usize),
    /// The previous capacity.
    Capacity(usize),
}

/// The outcome that a lookup or take was counted as; exactly one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the engine's counters, where they are explained")]
pub enum Outcome {
    Hit,
    Unknown,
    Expired,
    Evicted,
    Consumed,
    OtherContext,
    OtherVersion,
    Marked,
    Mode,
}

/// Why a session left, as the remove callback was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are those of the engine's reasons, where they are explained")]
pub enum Reason {
    Removed,
    Evicted,
    Expired,
    Flushed,
    Consumed,
    Purged,
    ContextDropped,
}

/// Everything that one call showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it returned.
    pub answer: Answer,
    /// What the remove callback was told meanwhile: serial number and reason.
    pub departures: Vec<(u64, Reason)>,
}

/// What the engine did that the rules do not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disagreement {
    /// The call.
    pub call: Call,
    /// The second in which it was made.
    pub now: u64,
    /// What it showed.
    pub seen: Seen,
    /// What is wrong with that.
    pub complaint: String,
}

/// The state of a context, as the rules say it must be.
#[derive(Debug, Clone)]
pub struct Model {
    entries: BTreeMap<Key, Entry>,
    marked: BTreeSet<u64>,
    capacity: usize,
    looks_inside: bool,
    renews: bool,
}

/// A session in the cache.
#[derive(Debug, Clone)]
struct Entry {
    session: Session,
    /// When this membership expires; a renewal moves it.
    expires_at: u64,
}

impl Model {
    /// An empty context that holds `capacity` sessions; 0 for any number.
    pub fn new(capacity: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            marked: BTreeSet::new(),
            capacity,
            looks_inside: true,
            renews: false,
        }
    }

    /// Says whether the mode lets lookups ask the internal table.
    pub fn set_looks_inside(&mut self, looks_inside: bool) {
        self.looks_inside = looks_inside;
    }

    /// Says whether the mode has UPDATE_TIME, so that a hit renews the expiry of its entry.
    pub fn set_renews(&mut self, renews: bool) {
        self.renews = renews;
    }

    /// How many sessions are cached.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether any session has this key.
    pub fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// Whether the session with this serial number was not marked.
    pub fn is_resumable(&self, serial: u64) -> bool {
        !self.marked.contains(&serial)
    }

    /// The serial numbers of the cached sessions, ascending.
    pub fn serials(&self) -> Vec<u64> {
        let mut serials: Vec<u64> = self.entries.values().map(|entry| entry.session.serial).collect();
        serials.sort_unstable();
        serials
    }
}

impl Session {
    /// The last second of this session when its lifetime begins at `start`.
    pub fn expiry_from(&self, start: u64) -> u64 {
        start.saturating_add(self.timeout).min(self.end_of_life).min(NEVER)
    }

    /// Whether sessions of this version are tickets only (TLS 1.3 and DTLS 1.3). An expired one is ignored by a lookup; an
    /// older one is removed by it.
    fn has_tickets_only(&self) -> bool {
        matches!(self.key.version, 0x0304 | 0xfefc)
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, now, seen, complaint } = self;
        write!(f, "{complaint}\n  at second {now}\n  call {call:?}\n  seen {seen:?}")
    }
}

impl std::error::Error for Disagreement {}

#[cfg(test)]
mod tests;
