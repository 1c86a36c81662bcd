//! Promise I: session bytes are wiped when they are freed. A global allocator looks through every block that is given back
//! for the bytes of ids, session id contexts and secrets.
//!
//! One binary, one test at a time: the allocator sees everybody's memory.

mod common;

use common::{NOW, eventually, seconds};
use crossbeam_utils::CachePadded;
use resumption::{
    ExternalStore, ManualClock, Payload, ProtocolVersion, Secret, Session, SessionCacheMode, SessionContext,
    SessionId, SessionIdContext, SessionKey, Side,
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What must not be found in freed memory. Ids that differ share it as their beginning.
const ID: [u8; 24] = *b"\xd1id: who knows may offer";
const CONTEXT: [u8; 24] = *b"\xc2context: names a policy";
const SECRET: [u8; 24] = *b"\xe3secret: resumes session";

static FOUND: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);

struct Searching;

// SAFETY: passes everything on to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Searching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        FREED.fetch_add(1, Ordering::Relaxed);
        // Blocks of counters are padded to whole cache lines, and an unoptimised build copies whatever lies on the stack
        // into the padding: this test's own keys.
        let padded = layout.align() >= align_of::<CachePadded<u8>>();
        // SAFETY: the block is ours until the last line, and this long.
        if !padded && unsafe { holds_marker(block, layout.size()) } {
            FOUND.fetch_add(1, Ordering::Relaxed);
            // Not to be found again in the unwritten part of the next block here.
            // SAFETY: as above.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Searching = Searching;

/// Whether a marker begins anywhere in the block.
///
/// # Safety
///
/// `len` bytes at `block` can be read.
unsafe fn holds_marker(block: *const u8, len: usize) -> bool {
    let last = len.checked_sub(ID.len());
    last.is_some_and(|last| {
        (0..=last).any(|start| {
            [&ID, &CONTEXT, &SECRET].into_iter().any(|marker| {
                marker.iter().enumerate().all(|(i, byte)| {
                    // SAFETY: start + i is below len. Volatile: parts of the block may never have been written, and
                    // the compiler is not to reason about that.
                    *byte == unsafe { block.add(start + i).read_volatile() }
                })
            })
        })
    })
}

fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A secret that can be waited for.
struct Watched {
    secret: Secret,
    alive: Arc<AtomicUsize>,
}

impl Payload for Watched {
    fn weight(&self) -> usize {
        self.secret.len()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

type Context = SessionContext<Watched>;

fn key(n: u8) -> SessionKey {
    let mut id = [n; 32];
    id[..ID.len()].copy_from_slice(&ID);
    SessionKey::new(ProtocolVersion::TLS1_2, SessionId::from(id))
}

fn id_context() -> SessionIdContext {
    SessionIdContext::new(&CONTEXT).expect("24 bytes")
}

struct Vault {
    context: Arc<Context>,
    clock: ManualClock,
    alive: Arc<AtomicUsize>,
}

impl Vault {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(
        configure: impl FnOnce(resumption::ContextBuilder<Watched>) -> resumption::ContextBuilder<Watched>,
    ) -> Self {
        let clock = ManualClock::new(NOW);
        let builder = configure(SessionContext::builder().capacity(4).clock(clock.clone()));
        Self { context: Arc::new(builder.build().expect("valid")), clock, alive: Arc::default() }
    }

    fn session(&self, n: u8) -> Arc<Session<Watched>> {
        self.alive.fetch_add(1, Ordering::SeqCst);
        let secret = Secret::from(SECRET.to_vec());
        let payload = Watched { secret, alive: Arc::clone(&self.alive) };
        Arc::new(self.context.session(key(n)).id_context(id_context()).build(payload))
    }

    fn add(&self, n: u8) -> Arc<Session<Watched>> {
        let session = self.session(n);
        self.context.add_session(Arc::clone(&session)).expect("it fits");
        session
    }

    fn lookup(&self, n: u8) -> Option<Arc<Session<Watched>>> {
        self.context.lookup_arc(&key(n), &id_context())
    }
}

/// Runs `act` in a new vault of sessions 1 to 3, waits until all that it made is freed, the context last, and returns how
/// many freed blocks still held a marker.
fn leaks(vault: Vault, act: impl FnOnce(&Vault)) -> usize {
    let (found, freed) = (FOUND.load(Ordering::SeqCst), FREED.load(Ordering::SeqCst));
    for n in 1..4 {
        vault.add(n);
    }
    act(&vault);
    let Vault { context, alive, .. } = vault;
    drop(context);
    assert!(eventually(|| alive.load(Ordering::SeqCst) == 0), "{alive:?} sessions were never freed");
    assert!(FREED.load(Ordering::SeqCst) >= freed + 3);
    FOUND.load(Ordering::SeqCst) - found
}

type Act = fn(&Vault);

/// Every way for a session to go.
const ENDS: [(&str, Act); 13] = [
    ("remove", |vault| assert!(vault.context.remove_session(&vault.lookup(1).expect("cached")))),
    ("remove what is absent", |vault| assert!(!vault.context.remove_session(&vault.session(9)))),
    ("take", |vault| assert!(vault.context.take(&key(1), &id_context()).is_some())),
    ("take, borrowed", |vault| {
        assert!(vault.context.take_borrowed(&key(1), &id_context(), &vault.context.pin()).is_some());
    }),
    ("replace", |vault| drop(vault.add(2))),
    ("evict", |vault| (10..40).for_each(|n| drop(vault.add(n)))),
    ("lower the capacity", |vault| assert_eq!(vault.context.set_capacity(1), Ok(4))),
    ("expire", |vault| {
        vault.clock.advance(seconds(301));
        assert!(vault.lookup(1).is_none());
    }),
    ("flush", |vault| assert_eq!(vault.context.flush_all(), 3)),
    ("purge", |vault| assert_eq!(vault.context.purge(&id_context()), 3)),
    ("grow", |vault| {
        vault.context.set_capacity(0).expect("unlimited");
        (10..250).for_each(|n| drop(vault.add(n)));
    }),
    ("come back in the grace period", |vault| {
        // Represented by entries of their own, which hold the id too.
        let guard = vault.context.pin();
        for _ in 0..20 {
            let session = vault.lookup(1).expect("cached");
            (10..30).for_each(|n| drop(vault.add(n)));
            vault.context.add_session(session).expect("it fits");
        }
        drop(guard);
    }),
    ("own to the end", |vault| {
        let owned = vault.lookup(1).expect("cached");
        assert_eq!(vault.context.flush_all(), 3);
        assert_eq!(owned.payload().secret.as_bytes(), SECRET);
    }),
];

#[test]
fn promise_i_whatever_leaves_is_wiped() {
    let _alone = alone();
    for (name, end) in ENDS {
        assert_eq!(leaks(Vault::new(), end), 0, "{name}");
    }
}

/// With callbacks, which are handed clones of the Arc.
#[test]
fn promise_i_callbacks_keep_nothing() {
    let _alone = alone();
    for (name, end) in ENDS {
        let vault = Vault::with(|builder| {
            builder.on_new(|_, _| ()).on_get(|_, _| None).on_remove(|_, session, _| {
                assert_eq!(session.payload().secret.as_bytes(), SECRET);
            })
        });
        assert_eq!(leaks(vault, end), 0, "{name}");
    }
}

/// A session in several contexts has an entry in each.
#[test]
fn promise_i_shared_sessions_are_wiped() {
    let _alone = alone();
    let found = leaks(Vault::new(), |vault| {
        let others: Vec<Context> =
            (0..3).map(|_| SessionContext::builder().capacity(4).build().expect("valid")).collect();
        for other in &others {
            for n in 1..4 {
                other.add_session(vault.lookup(n).expect("cached")).expect("it fits");
            }
        }
        assert_eq!(others[1].flush_all(), 3);
    });
    assert_eq!(found, 0);
}

/// A store in memory, as simple as can be.
#[derive(Default)]
struct Shelf(Mutex<Vec<Arc<Session<Watched>>>>);

impl ExternalStore<Watched> for Shelf {
    fn get(&self, key: &SessionKey) -> Option<Arc<Session<Watched>>> {
        self.0.lock().expect("no panic").iter().find(|session| session.key() == *key).cloned()
    }

    fn take(&self, key: &SessionKey) -> Option<Arc<Session<Watched>>> {
        let mut shelf = self.0.lock().expect("no panic");
        let index = shelf.iter().position(|session| session.key() == *key)?;
        Some(shelf.swap_remove(index))
    }

    fn put(&self, session: &Arc<Session<Watched>>) -> bool {
        self.0.lock().expect("no panic").push(Arc::clone(session));
        true
    }

    fn remove(&self, key: &SessionKey) {
        self.0.lock().expect("no panic").retain(|session| session.key() != *key);
    }
}

/// What comes from outside, is lent under a guard and is taken there leaves nothing either.
#[test]
fn promise_i_what_comes_from_outside_is_wiped() {
    let _alone = alone();
    for bits in [0x002, 0x302] {
        let vault =
            Vault::with(|builder| builder.external(Shelf::default()).mode(SessionCacheMode::from_bits(bits)));
        let found = leaks(vault, |vault| {
            for n in 10..20 {
                vault.context.store_session(vault.session(n), Side::Server).expect("it fits");
                let guard = vault.context.pin();
                let lent = vault.context.lookup(&key(n), &id_context(), &guard).expect("stored");
                assert_eq!(lent.payload().secret.as_bytes(), SECRET);
            }
            (10..15).for_each(|n| assert!(vault.context.take(&key(n), &id_context()).is_some()));
            for n in 15..20 {
                vault.context.remove_session(&vault.session(n));
            }
        });
        assert_eq!(found, 0, "mode {bits:#x}");
    }
}

/// `Debug` makes strings; none of them is a copy.
#[test]
fn promise_i_debug_makes_no_copies() {
    let _alone = alone();
    let found = leaks(Vault::new(), |vault| {
        let session = vault.lookup(1).expect("cached");
        let text = format!("{session:?} {:?} {:?}", session.payload().secret, vault.context);
        assert!(!text.contains("secret: resumes") && !text.contains("who knows"), "{text}");
    });
    assert_eq!(found, 0);
}

/// The searcher finds what is there: each marker, at the ends of a block and unaligned, in a block and in a plain payload.
#[test]
fn the_searcher_can_find() {
    let _alone = alone();
    for marker in [ID, CONTEXT, SECRET] {
        for offset in [0, 1, 7, 40] {
            let before = FOUND.load(Ordering::SeqCst);
            let mut block = vec![0_u8; 64];
            block[offset..offset + marker.len()].copy_from_slice(&marker);
            drop(std::hint::black_box(block));
            assert_eq!(FOUND.load(Ordering::SeqCst), before + 1, "at {offset}");
        }
    }
    let before = FOUND.load(Ordering::SeqCst);
    drop(std::hint::black_box(Session::<Vec<u8>>::builder(key(1)).build(SECRET.to_vec())));
    assert_eq!(FOUND.load(Ordering::SeqCst), before + 1, "a plain payload is not wiped, and is found");
}
