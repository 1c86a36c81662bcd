//! The table as the fuzz targets in `fuzz` drive it, without capacity and time above it. Compiled under `--cfg fuzzing`
//! only.

use super::{Insertion, Table};
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::session::{Membership, Payload, Session, SessionKey};
use ahash::RandomState;
use std::sync::Arc;

/// A table of sessions.
pub struct FuzzTable<T: Payload>(Table<T>);

/// How an insert ended.
#[derive(Debug, PartialEq, Eq)]
pub enum FuzzInsert<'g, T> {
    /// The key was absent.
    Added,
    /// The session with this payload had the key.
    Replaced(&'g T),
    /// This very session had the key.
    Unchanged,
    /// The key was absent and was not to be added.
    Absent,
    /// The key's bucket is full.
    NoRoom,
}

impl<T: Payload> FuzzTable<T> {
    /// An empty table. What hashes where follows from `seed`.
    pub fn new(buckets: usize, seed: u64) -> Self {
        Self(Table::new(buckets, RandomState::with_seeds(seed, 2, 3, 4)).expect("a small table"))
    }

    /// Inserts a session; with `add` false, only in place of another.
    pub fn insert<'g>(&self, session: Arc<Session<T>>, add: bool, guard: &'g Guard) -> FuzzInsert<'g, T> {
        let hash = self.0.hash(&session.id());
        let terms = Membership { expiry: Timestamp::NEVER, external: false, fetched: false };
        let attempt = self.0.prepare(session, terms).expect("an address of the system's allocator");
        match self.0.insert(hash, attempt, || add, guard) {
            Insertion::Added(_) => FuzzInsert::Added,
            Insertion::Replaced(_, old) => FuzzInsert::Replaced(old.session().payload()),
            Insertion::Unchanged(_) => FuzzInsert::Unchanged,
            Insertion::Absent(_) => FuzzInsert::Absent,
            Insertion::NoRoom(_) => FuzzInsert::NoRoom,
        }
    }

    /// The session under the key; or whether the id is there under another version.
    pub fn find<'g>(&self, key: &SessionKey, guard: &'g Guard) -> Result<&'g Session<T>, bool> {
        if self.0.is_absent(self.0.hash(key.id()), guard) {
            return Err(false);
        }
        let found = self.0.find(self.0.hash(key.id()), key, guard);
        found.map(|member| member.session()).map_err(|miss| miss.other_version)
    }

    /// The session under the key, counted.
    pub fn find_counted(&self, key: &SessionKey, guard: &Guard) -> Option<Arc<Session<T>>> {
        let found = self.0.find(self.0.hash(key.id()), key, guard);
        found.ok().map(|member| member.to_arc())
    }

    /// Removes the key and lends its session to one caller.
    pub fn take<'g>(&self, key: &SessionKey, guard: &'g Guard) -> Option<&'g Session<T>> {
        let taken = self.0.unlink_key(self.0.hash(key.id()), key, |_| Ok::<(), ()>(()), guard);
        taken.ok()?.ok().map(|unlinked| unlinked.session())
    }

    /// As the cache calls it after an insert: grows when `entries` are many for the buckets there are.
    pub fn grow(&self, entries: usize, guard: &Guard) {
        self.0.grow(entries, guard);
    }

    /// How many buckets there are.
    pub fn buckets(&self, guard: &Guard) -> usize {
        self.0.buckets(guard)
    }

    /// The sessions in part `index` of `of`.
    pub fn visit<'g>(&self, index: usize, of: usize, guard: &'g Guard) -> Vec<&'g Session<T>> {
        let mut sessions = Vec::new();
        self.0.visit(index, of, guard, |member| sessions.push(member.session()));
        sessions
    }
}
