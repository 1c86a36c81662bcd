//! The raw table as the models in `loom-tests` drive it: real buckets, real words, entries that check themselves.
//! Compiled under `--cfg resumption_loom` only.

use super::insert::RawInsert;
use super::raw::{Hash, RawTable};
use crate::clock::Timestamp;
use crate::epoch::{self, Guard};
use crate::session::{Header, ProtocolVersion, SessionId, SessionIdContext, SessionKey};
use crate::sync::{AtomicUsize, Ordering};
use ahash::RandomState;
use loom::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::Mutex;

/// An entry whose payload loom watches: reading it without the publishing edge is a data race.
#[repr(C)]
struct Tracked {
    header: Header,
    value: UnsafeCell<u32>,
    retired: AtomicUsize,
}

// loom runs all threads of a model on one thread of the system.
std::thread_local! {
    static FILTERS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the arrays of the model have filters.
pub(super) fn has_filters() -> bool {
    FILTERS.get()
}

/// A table of few buckets, and the graveyard of what was unlinked.
pub struct ModelTable {
    raw: Option<RawTable>,
    graveyard: Mutex<Vec<NonNull<Header>>>,
}

// SAFETY: the pointers in the graveyard are entries that the model owns until it ends.
unsafe impl Send for ModelTable {}
// SAFETY: as above; the Mutex guards the list.
unsafe impl Sync for ModelTable {}

impl ModelTable {
    /// An empty table.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::with_buckets(1)
    }

    /// An empty table of so many buckets.
    pub fn with_buckets(count: usize) -> Self {
        FILTERS.set(false);
        Self::of(count)
    }

    /// An empty table of so many buckets with a filter, as will have the ones it grows into.
    pub fn with_filter(count: usize) -> Self {
        FILTERS.set(true);
        Self::of(count)
    }

    fn of(count: usize) -> Self {
        let raw = RawTable::new(count, RandomState::with_seeds(1, 2, 3, 4)).ok();
        Self { raw: Some(raw.expect("a few lines of memory")), graveyard: Mutex::new(Vec::new()) }
    }

    /// The bucket that a key belongs to, before the table grows.
    pub fn bucket_of(&self, key: u8) -> usize {
        let (hash, _) = self.key(key);
        self.raw().array(&Guard::for_model()).index_of(hash.0)
    }

    fn raw(&self) -> &RawTable {
        self.raw.as_ref().expect("there until the model is dropped")
    }

    fn key(&self, key: u8) -> (Hash, SessionKey) {
        let key = SessionKey::new(ProtocolVersion::TLS1_2, SessionId::from([key; 32]));
        (self.raw().hash(key.id()), key)
    }

    /// Inserts `value`, or replaces what has the key; `Some(old)` in that case.
    pub fn insert(&self, key: u8, value: u32) -> Option<u32> {
        let (hash, key) = self.key(key);
        let entry = Box::new(Tracked {
            header: Header::new(&key, SessionIdContext::EMPTY, Timestamp::NEVER, 0, 0),
            value: UnsafeCell::new(value),
            retired: AtomicUsize::new(0),
        });
        let entry = NonNull::from(Box::leak(entry)).cast();
        let guard = Guard::for_model();
        // SAFETY: the entry is new and ours.
        match unsafe { self.raw().insert(hash, &key, entry, || true, |_| false, &guard) } {
            RawInsert::Added => None,
            RawInsert::Replaced(old) => Some(self.bury(old.pointer())),
            _ => panic!("no room in the model's bucket"),
        }
    }

    /// The value under the key.
    pub fn get(&self, key: u8) -> Option<u32> {
        let (hash, key) = self.key(key);
        let guard = Guard::for_model();
        if self.raw().is_absent(hash, &guard) { None } else { self.find(hash, &key) }
    }

    /// The value under the key, which the filter is not asked about.
    pub fn get_past_filter(&self, key: u8) -> Option<u32> {
        let (hash, key) = self.key(key);
        self.find(hash, &key)
    }

    fn find(&self, hash: Hash, key: &SessionKey) -> Option<u32> {
        let guard = Guard::for_model();
        let seen = self.raw().find(hash, key, &guard).ok()?;
        Some(read(seen.entry().pointer()))
    }

    /// Removes the key and returns its value to one caller.
    pub fn take(&self, key: u8) -> Option<u32> {
        let (hash, key) = self.key(key);
        let guard = Guard::for_model();
        let accept = |_| Ok::<(), ()>(());
        let taken = self.raw().unlink_key(hash, &key, accept, &guard).ok()?.ok()?;
        Some(self.bury(taken.pointer()))
    }

    /// Installs the array that the table grows into, twice as large.
    pub fn start_growth(&self) {
        let guard = Guard::for_model();
        let array = self.raw().array(&guard);
        let next = crate::table::array::Array::new(array.count() * 2);
        let _ = array.set_next(next.ok().expect("a few lines of memory"));
    }

    /// Moves a bucket, as a writer does on its way.
    pub fn move_some(&self) {
        let guard = Guard::for_model();
        let array = self.raw().array(&guard);
        if array.next().is_some() {
            self.raw().move_some(array, &guard);
        }
    }

    /// How many buckets the table has.
    pub fn buckets(&self) -> usize {
        self.raw().array(&Guard::for_model()).count()
    }

    /// How many live slots hold the key.
    pub fn copies(&self, key: u8) -> usize {
        let (_, key) = self.key(key);
        let guard = Guard::for_model();
        let mut copies = 0;
        self.raw().visit(0, 1, &guard, |seen| copies += usize::from(seen.entry().header().matches(&key)));
        copies
    }

    /// What retiring would do, with the check of rule R1 in place of the free.
    fn bury(&self, entry: NonNull<Header>) -> u32 {
        let guard = Guard::for_model();
        self.raw()
            .visit(0, 1, &guard, |seen| assert!(seen.entry().pointer() != entry, "retired while in a slot"));
        let mut array = Some(self.raw().array(&guard));
        while let Some(at) = array {
            for bucket in 0..at.count() {
                assert!(at.root(bucket).announced() != Some(entry), "retired while in the control word");
            }
            array = at.next();
        }
        let value = read(entry);
        // SAFETY: entries live until the model ends.
        let tracked = unsafe { entry.cast::<Tracked>().as_ref() };
        assert_eq!(tracked.retired.fetch_add(1, Ordering::Relaxed), 0, "retired twice");
        self.graveyard.lock().expect("no model panics with the lock held").push(entry);
        value
    }
}

fn read(entry: NonNull<Header>) -> u32 {
    // SAFETY: entries live until the model ends.
    let tracked = unsafe { entry.cast::<Tracked>().as_ref() };
    // SAFETY: written once, before the entry was announced; loom checks that this is so.
    tracked.value.with(|value| unsafe { *value })
}

impl Drop for ModelTable {
    fn drop(&mut self) {
        FILTERS.set(false);
        if std::thread::panicking() {
            // A model that failed leaves everything as it is: an entry may be in two places.
            std::mem::forget(self.raw.take());
            epoch::end_of_model();
            return;
        }
        let guard = Guard::for_model();
        let mut entries = std::mem::take(&mut *self.graveyard.lock().expect("as above"));
        self.raw().visit(0, 1, &guard, |seen| entries.push(seen.entry().pointer()));
        for entry in entries {
            // SAFETY: `insert` leaked it, and the model is over.
            drop(unsafe { Box::from_raw(entry.cast::<Tracked>().as_ptr()) });
        }
        drop(self.raw.take());
        epoch::end_of_model();
    }
}
