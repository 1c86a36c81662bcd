//! Operations on one table of a few buckets, each compared with a map; the table grows under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Arbitrary;
use resumption::fuzzing::{FuzzInsert, FuzzTable};
use resumption::{Guard, ProtocolVersion, Session, SessionId, SessionKey};

/// A session whose payload is on the heap, so that a sanitizer sees a read of one that was freed.
type FuzzSession = Session<Vec<u8>>;

/// A table and what is done with it.
#[derive(Debug, Arbitrary)]
pub struct Program {
    /// Decides what hashes where.
    seed: u8,
    buckets: u8,
    actions: Vec<Action>,
}

/// Keys are few, so that actions meet each other, and crowd their buckets.
#[derive(Debug, Clone, Arbitrary)]
pub enum Action {
    Insert(u8),
    /// Inserts a session that was inserted before, and may still be there.
    InsertAgain(u8),
    ReplaceOnly(u8),
    Find(u8),
    Take(u8),
    /// As the cache asks for it after an insert, with this many times the number of sessions.
    Grow(u8),
    Visit(u8),
    ForgetBorrows,
}

/// Runs the program.
///
/// # Panics
///
/// When the table does what a map does not.
pub fn run(program: &Program) {
    let mut driver = Driver {
        table: FuzzTable::new(usize::from(program.buckets % 4) + 1, u64::from(program.seed)),
        entries: BTreeMap::new(),
        sessions: Vec::new(),
    };
    // A piece ends where the program forgets its borrows: until then every borrow must stay readable.
    for piece in program.actions.split_inclusive(|action| matches!(action, Action::ForgetBorrows)) {
        let guard = resumption::pin();
        let mut borrows: Vec<(u32, &[u8])> = Vec::new();
        for action in piece {
            borrows.extend(driver.act(action, &guard).map(|payload| (serial_of(payload), payload)));
            borrows.iter().for_each(|&(serial, payload)| assert_eq!(serial_of(payload), serial));
        }
        driver.compare(&guard);
        drop(borrows);
        drop(guard);
        resumption::idle();
    }
}

struct Driver {
    table: FuzzTable<Vec<u8>>,
    /// Id and version, and the serial number of the session there.
    entries: BTreeMap<(u8, u16), u32>,
    sessions: Vec<Arc<FuzzSession>>,
}

impl Driver {
    fn act<'g>(&mut self, action: &Action, guard: &'g Guard) -> Option<&'g [u8]> {
        match *action {
            Action::Insert(key) => {
                let session = self.make(key);
                self.insert(session, true, guard)
            }
            Action::InsertAgain(which) => {
                let count = self.sessions.len();
                let session = self.sessions.get(usize::from(which) % count.max(1)).map(Arc::clone)?;
                self.insert(session, true, guard)
            }
            Action::ReplaceOnly(key) => {
                let session = self.make(key);
                self.insert(session, false, guard)
            }
            Action::Find(key) => {
                let (described, key) = key_of(key);
                let found = self.table.find(&key, guard).map(|session| &session.payload()[..]);
                let known = self.entries.get(&described);
                assert_eq!(found.ok().map(serial_of), known.copied(), "found");
                if let Err(other_version) = found {
                    assert_eq!(other_version, self.entries.keys().any(|(id, _)| *id == described.0));
                }
                found.ok()
            }
            Action::Take(key) => {
                let (described, key) = key_of(key);
                let taken = self.table.take(&key, guard).map(|session| &session.payload()[..]);
                assert_eq!(taken.map(serial_of), self.entries.remove(&described), "taken");
                taken
            }
            Action::Grow(times) => {
                self.table.grow(self.entries.len() * usize::from(times % 4), guard);
                None
            }
            Action::Visit(part) => {
                let of = self.table.buckets(guard);
                let seen = self.table.visit(usize::from(part) % of, of, guard).into_iter().next();
                seen.map(|session| &session.payload()[..])
            }
            Action::ForgetBorrows => None,
        }
    }

    fn insert<'g>(&mut self, session: Arc<FuzzSession>, add: bool, guard: &'g Guard) -> Option<&'g [u8]> {
        let described = (session.id().as_bytes()[0], session.version().0);
        let serial = serial_of(session.payload());
        let known = self.entries.get(&described).copied();
        match (self.table.insert(session, add, guard), known) {
            (FuzzInsert::Added, None) if add => {
                self.entries.insert(described, serial);
                None
            }
            (FuzzInsert::Replaced(old), Some(known)) => {
                assert_eq!(serial_of(old), known, "replaced");
                assert_ne!(serial, known, "a session does not replace itself");
                self.entries.insert(described, serial);
                Some(old)
            }
            (FuzzInsert::Unchanged, Some(known)) if known == serial => None,
            (FuzzInsert::Absent, None) if !add => None,
            // A bucket has room for 24, and all keys may hash to one bucket.
            (FuzzInsert::NoRoom, None) if self.entries.len() >= 24 => None,
            (other, known) => panic!("{other:?} where the map has {known:?}"),
        }
    }

    fn make(&mut self, key: u8) -> Arc<FuzzSession> {
        let serial = self.sessions.len() as u32;
        let session = FuzzSession::builder(key_of(key).1).build(serial.to_be_bytes().to_vec());
        self.sessions.push(Arc::new(session));
        Arc::clone(&self.sessions[self.sessions.len() - 1])
    }

    /// Everything is there once, and nothing else.
    fn compare(&self, guard: &Guard) {
        let of = self.table.buckets(guard);
        let mut there: Vec<u32> = (0..of)
            .flat_map(|index| self.table.visit(index, of, guard))
            .map(|session| serial_of(session.payload()))
            .collect();
        let mut known: Vec<u32> = self.entries.values().copied().collect();
        there.sort_unstable();
        known.sort_unstable();
        assert_eq!(there, known);
    }
}

fn serial_of(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().expect("a serial number"))
}

/// 64 ids, each under two versions.
fn key_of(key: u8) -> ((u8, u16), SessionKey) {
    let version = if key & 1 == 0 { ProtocolVersion::TLS1_2 } else { ProtocolVersion::TLS1_3 };
    let id = key >> 1 & 63;
    ((id, version.0), SessionKey::new(version, SessionId::new(&[id]).expect("1 byte")))
}
