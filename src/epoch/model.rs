//! Guards for models, which may keep what is retired until they end; and a model of retirement itself.

use super::Guard;
use crate::session::{Header, ProtocolVersion, Session, SessionId, SessionKey};
use crate::sync::{AtomicPtr, Ordering};
use crossbeam_epoch::{Collector, LocalHandle};
use std::ptr::{self, NonNull};
use std::sync::Arc;

std::thread_local! {
    // What a model without a collector has retired. loom runs a model's threads on one thread of the system.
    static UNTIL_THE_END: std::cell::RefCell<Vec<Box<dyn FnOnce()>>> = const { std::cell::RefCell::new(Vec::new()) };
}

std::thread_local! {
    static HAS_COLLECTOR: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether the current thread's models pin crossbeam's collector. Otherwise they pin nothing, and keep every entry until
/// they end.
pub fn with_collector(yes: bool) {
    HAS_COLLECTOR.set(yes);
}

pub(super) fn has_collector() -> bool {
    HAS_COLLECTOR.get()
}

/// Frees what a model without a collector has retired; or forgets it, if the model failed.
pub fn end_of_model() {
    let list = UNTIL_THE_END.take();
    for free in list {
        if std::thread::panicking() { std::mem::forget(free) } else { free() }
    }
}

/// Forgets what a model that failed has retired.
pub fn abandon_model() {
    std::mem::forget(UNTIL_THE_END.take());
}

/// Part of the collector, which cannot be taken apart once its model has failed: it is then left as it is.
pub(super) struct Part<T>(std::mem::ManuallyDrop<T>);

impl<T> Part<T> {
    pub(super) fn new(part: T) -> Self {
        Self(std::mem::ManuallyDrop::new(part))
    }
}

impl<T> std::ops::Deref for Part<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Part<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: dropped once, here, and not used again.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.0) };
        }
    }
}

/// loom runs a model's threads on one thread of the system, so nothing may be left to a call further up its stack.
pub(super) fn one_at_a_time(free: impl FnOnce() + 'static) {
    free();
}

/// Models do not count what they free: as if each step were in vain.
pub(super) fn free_up_to(_most: usize, patience: u32, mut step: impl FnMut()) -> bool {
    (0..patience).for_each(|_| step());
    false
}

/// The guard of the collector, or none.
pub(super) struct ModelPin(pub(super) Option<crossbeam_epoch::Guard>);

impl ModelPin {
    /// # Safety
    ///
    /// As for the collector's guard.
    pub(super) unsafe fn defer_unchecked(&self, free: impl FnOnce() + 'static) {
        match &self.0 {
            // SAFETY: the caller's promise is what crossbeam asks for.
            Some(guard) => unsafe { guard.defer_unchecked(free) },
            None => UNTIL_THE_END.with_borrow_mut(|list| list.push(Box::new(free))),
        }
    }

    pub(super) fn defer(&self, free: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Some(guard) => guard.defer(free),
            None => UNTIL_THE_END.with_borrow_mut(|list| list.push(Box::new(free))),
        }
    }

    pub(super) fn flush(&self) {
        if let Some(guard) = &self.0 {
            guard.flush();
        }
    }

    pub(super) fn repin(&mut self) {
        if let Some(guard) = &mut self.0 {
            guard.repin();
        }
    }
}

/// A place for one session, and a collector: what the table does with the sessions that leave it. The model keeps a count
/// of each session, so that one that is given up too early is seen by its count and not by what happens to the memory.
pub struct ModelPlace {
    collector: Collector,
    place: AtomicPtr<Header>,
    kept: Vec<Arc<Session<u64>>>,
}

/// One thread's part in the collector. It ends within the thread: loom lets a thread be joined before its thread-locals
/// are dropped, so one that is in a thread-local would be seen pinned, for the last time, after the join.
pub struct ModelParticipant(LocalHandle);

impl ModelPlace {
    /// An empty place, and `count` sessions that can be put there.
    pub fn new(count: u8) -> Self {
        let session = |number: u8| {
            let key = SessionKey::new(ProtocolVersion::TLS1_2, SessionId::from([number; 32]));
            Arc::new(Session::<u64>::builder(key).build(u64::from(number)))
        };
        Self {
            collector: Collector::new(),
            place: AtomicPtr::new(ptr::null_mut()),
            kept: (0..count).map(session).collect(),
        }
    }

    /// Registers the current thread.
    pub fn participant(&self) -> ModelParticipant {
        ModelParticipant(self.collector.register())
    }

    /// Puts session `index` there, in place of what was there.
    pub fn put(&self, index: usize, participant: &ModelParticipant) {
        let session = Arc::into_raw(Arc::clone(&self.kept[index])).cast_mut().cast();
        self.replace(session, participant);
    }

    /// Removes what is there; whether there was anything.
    pub fn take(&self, participant: &ModelParticipant) -> bool {
        self.replace(ptr::null_mut(), participant)
    }

    fn replace(&self, new: *mut Header, participant: &ModelParticipant) -> bool {
        let guard = participant.pin();
        let old = NonNull::new(self.place.swap(new, Ordering::AcqRel));
        if let Some(old) = old {
            // SAFETY: the swap gave the session to us alone, with the count that `put` made.
            unsafe { guard.retire(old, release) };
        }
        old.is_some()
    }

    /// Borrows what is there; whether it was still owned after it was read, or `None` if nothing was there.
    pub fn read(&self, participant: &ModelParticipant) -> Option<bool> {
        self.read_under(Some(&participant.pin()))
    }

    /// The same under a guard, or something that stands for one.
    pub(super) fn read_under(&self, _guard: Option<&Guard>) -> Option<bool> {
        let kept = self.find()?;
        let _number = kept.is_resumable();
        Some(Arc::strong_count(kept) > 1)
    }

    pub(super) fn collector(&self) -> &Collector {
        &self.collector
    }

    /// Counts what is there and lets go of the guard; whether somebody else than the model and we owned it meanwhile, as
    /// nobody could give it a count otherwise.
    pub fn count(&self, participant: &ModelParticipant) -> Option<bool> {
        let guard = participant.pin();
        let kept = self.find()?;
        let _number = kept.is_resumable();
        let was_owned = Arc::strong_count(kept) > 1;
        let counted = Arc::clone(kept);
        drop(guard);
        Some(was_owned && Arc::strong_count(&counted) > 1)
    }

    fn find(&self) -> Option<&Arc<Session<u64>>> {
        let found = self.place.load(Ordering::Acquire);
        self.kept.iter().find(|kept| ptr::eq(Arc::as_ptr(kept).cast(), found))
    }

    /// Whether nobody owns any session any more, once the place is empty and everything has been collected.
    pub fn is_all_freed(&self) -> bool {
        let participant = self.participant();
        self.take(&participant);
        participant.collect();
        self.kept.iter().all(|kept| Arc::strong_count(kept) == 1)
    }
}

impl ModelParticipant {
    fn pin(&self) -> Guard {
        Guard::of(ModelPin(Some(self.0.pin())))
    }

    pub(super) fn collector_guard(&self) -> crossbeam_epoch::Guard {
        self.0.pin()
    }

    /// As [`idle`](super::idle).
    pub fn collect(&self) {
        for _ in 0..3 {
            self.collect_once();
        }
    }

    /// One step of it.
    pub fn collect_once(&self) {
        self.0.pin().flush();
    }
}

/// # Safety
///
/// `entry` has a count of a session that [`ModelPlace::put`] made.
unsafe fn release(entry: NonNull<Header>) {
    // SAFETY: the header is the session's first field, and the pointer came from `into_raw`.
    drop(unsafe { Arc::from_raw(entry.as_ptr().cast::<Session<u64>>()) });
}
