//! What the threads work on, behind one face.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{KEYS, Kind, LIVE};
use resumption::fuzzing::{FuzzInsert, FuzzTable};
use resumption::{
    Added, Guard, ManualClock, Payload, ProtocolVersion, Session, SessionContext, SessionId,
    SessionIdContext, SessionKey, Timestamp,
};
use resumption_testkit::history::Outcome;

/// A serial number on the heap, so that a sanitizer sees a read of one that was freed; counted while it lives.
pub(super) struct Serial(Box<u64>);

impl Serial {
    fn new(serial: u64) -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self(Box::new(serial))
    }

    pub(super) fn serial(&self) -> u64 {
        *self.0
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Payload for Serial {
    fn weight(&self) -> usize {
        size_of::<u64>()
    }
}

pub(super) type Shared = Arc<Session<Serial>>;

pub(super) enum Subject {
    Table(FuzzTable<Serial>),
    Context { context: Box<SessionContext<Serial>>, clock: ManualClock, capacity: usize },
}

/// What one thread has added or found under each key.
pub(super) struct Memory {
    known: [Option<Shared>; KEYS as usize],
    next_serial: u64,
    reuses: bool,
}

const START: u64 = 1_000_000;
const HERE: SessionIdContext = SessionIdContext::EMPTY;

impl Memory {
    /// A memory that gives out sessions to add again, or not.
    pub(super) fn new(thread: usize, reuses: bool) -> Self {
        Self { known: [const { None }; KEYS as usize], next_serial: 1000 * thread as u64, reuses }
    }

    pub(super) fn make(&mut self, key: u8, is_short: bool) -> Shared {
        self.next_serial += 1;
        let timeout = Duration::from_secs(if is_short { 5 } else { 1_000_000 });
        let builder =
            Session::<Serial>::builder(key_of(key)).time(Timestamp::from_unix(START)).timeout(timeout);
        let session = Arc::new(builder.build(Serial::new(self.next_serial)));
        self.known[usize::from(key)] = Some(Arc::clone(&session));
        session
    }

    /// A session to add once more.
    pub(super) fn known(&self, key: u8) -> Option<Shared> {
        self.known[usize::from(key)].clone().filter(|_| self.reuses)
    }

    pub(super) fn learn(&mut self, key: u8, found: Option<Shared>) {
        let known = &mut self.known[usize::from(key)];
        *known = found.or(known.take());
    }
}

impl Subject {
    pub(super) fn new(kind: Kind) -> Self {
        let capacity = match kind {
            Kind::Table => return Self::Table(FuzzTable::new(1, 7)),
            Kind::Context => 64,
            Kind::Full(two) => 1 + usize::from(two),
        };
        let clock = ManualClock::new(Timestamp::from_unix(START));
        let context = SessionContext::builder().capacity(capacity).clock(clock.clone()).build();
        Self::Context { context: Box::new(context.expect("a small table")), clock, capacity }
    }

    /// Whether a session may be gone because there is no room.
    pub(super) fn evicts(&self) -> bool {
        matches!(self, Self::Context { capacity: 1 | 2, .. })
    }

    pub(super) fn add(&self, session: Shared) -> Outcome {
        match self {
            Self::Table(table) => match table.insert(session, true, &resumption::pin()) {
                FuzzInsert::Added => Outcome::Added,
                FuzzInsert::Replaced(old) => Outcome::Replaced(old.serial()),
                FuzzInsert::Unchanged => Outcome::Unchanged,
                FuzzInsert::Absent | FuzzInsert::NoRoom => panic!("there is room for a few keys"),
            },
            Self::Context { context, .. } => match context.add_session(session) {
                Ok(Added::Added) => Outcome::Added,
                Ok(Added::Replaced(old)) => Outcome::Replaced(old.payload().serial()),
                Ok(Added::Unchanged) => Outcome::Unchanged,
                Err(error) => panic!("{error}"),
            },
        }
    }

    /// A removal of whatever has the key, if the subject has one.
    pub(super) fn remover(&self, key: u8) -> Option<impl Fn() -> bool + '_> {
        let Self::Context { context, .. } = self else { return None };
        // Not the cached object, which would be marked and could not be added again by who holds it.
        let named = Arc::new(Session::<Serial>::builder(key_of(key)).build(Serial::new(u64::MAX)));
        Some(move || context.remove_session(&named))
    }

    pub(super) fn lookup<'g>(&self, key: u8, guard: &'g Guard) -> Option<&'g Serial> {
        match self {
            Self::Table(table) => table.find(&key_of(key), guard).ok().map(|session| session.payload()),
            Self::Context { context, .. } => {
                context.lookup(&key_of(key), &HERE, guard).map(|session| session.payload())
            }
        }
    }

    pub(super) fn lookup_counted(&self, key: u8, guard: &Guard) -> Option<Shared> {
        match self {
            Self::Table(table) => table.find_counted(&key_of(key), guard),
            Self::Context { context, .. } => context.lookup_arc(&key_of(key), &HERE),
        }
    }

    pub(super) fn take(&self, key: u8, guard: &Guard) -> Option<u64> {
        match self {
            Self::Table(table) => table.take(&key_of(key), guard).map(|session| session.payload().serial()),
            Self::Context { context, .. } => {
                context.take(&key_of(key), &HERE).map(|session| session.payload().serial())
            }
        }
    }

    pub(super) fn take_borrowed<'g>(&self, key: u8, guard: &'g Guard) -> Option<&'g Serial> {
        match self {
            Self::Table(table) => table.take(&key_of(key), guard).map(|session| session.payload()),
            Self::Context { context, .. } => {
                context.take_borrowed(&key_of(key), &HERE, guard).map(|session| session.payload())
            }
        }
    }

    pub(super) fn grow(&self, guard: &Guard) {
        match self {
            Self::Table(table) if table.buckets(guard) < 16 => table.grow(1000, guard),
            Self::Table(_) => {}
            Self::Context { clock, .. } => clock.advance(Duration::from_secs(6)),
        }
    }

    pub(super) fn tick(&self) {
        if let Self::Context { context, .. } = self {
            let _ = context.tick();
        }
    }

    /// What must hold when nobody is at work.
    pub(super) fn check_at_rest(&self) {
        let mut count = 0;
        let guard = resumption::pin();
        match self {
            Self::Table(table) => {
                let of = table.buckets(&guard);
                let all: Vec<_> = (0..of).flat_map(|index| table.visit(index, of, &guard)).collect();
                for key in 0..KEYS {
                    let found = table.find(&key_of(key), &guard).is_ok();
                    let copies = all.iter().filter(|session| session.key() == key_of(key)).count();
                    assert_eq!(copies, usize::from(found), "copies of a key");
                }
            }
            Self::Context { context, capacity, .. } => {
                context.for_each(&guard, |_| count += 1);
                assert_eq!(context.len(), count, "the account agrees with the table");
                assert!(count <= *capacity, "{count} sessions in a cache of {capacity}");
            }
        }
    }
}

fn key_of(key: u8) -> SessionKey {
    SessionKey::new(ProtocolVersion::TLS1_3, SessionId::from([key + 1; 32]))
}
