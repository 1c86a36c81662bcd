//! Pin, guard, retire: the only module that names crossbeam-epoch.
//!
//! One collector serves this crate: not the process-wide default, whose guards other crates may hold for long while our
//! secrets wait, and not one per context, since a guard of one would then have to be checked against another.

#[cfg(not(resumption_loom))]
use crate::ledger::{self, Retired, Stash};
use crate::session::Header;
use crate::sync::{AtomicPtr, Ordering, Rule, is_broken};
use crate::thread_index::ThreadIndex;
use crossbeam_epoch::{Collector, LocalHandle};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

struct Participant {
    handle: LocalHandle,
    index: ThreadIndex,
}

impl Participant {
    #[inline]
    fn pin(&self) -> Guard {
        let outermost = !self.handle.is_pinned();
        let guard = Guard {
            inner: own_pin(self.handle.pin()),
            thread: self.index.get(),
            outermost,
            _not_send: PhantomData,
        };
        if outermost {
            turn(guard.thread, 1);
        }
        guard
    }
}

impl Drop for Participant {
    /// The thread ends: what it has retired goes to the collector.
    fn drop(&mut self) {
        if !cfg!(resumption_loom) {
            self.pin().flush();
        }
    }
}

/// Notes in the thread's page that its outermost guard comes (1), goes (1) or is as good as a new one (2).
#[inline]
fn turn(thread: usize, by: u64) {
    #[cfg(not(resumption_loom))]
    if let Some(page) = ledger::page(thread) {
        page.turn(by);
    }
    #[cfg(resumption_loom)]
    let _ = (thread, by);
}

#[cfg(not(resumption_loom))]
static COLLECTOR: std::sync::LazyLock<Collector> = std::sync::LazyLock::new(Collector::new);

#[cfg(not(resumption_loom))]
thread_local! {
    static PARTICIPANT: Participant =
        Participant { handle: COLLECTOR.register(), index: ThreadIndex::acquire() };
}

#[cfg(resumption_loom)]
loom::lazy_static! {
    static ref COLLECTOR: Collector = Collector::new();
}

#[cfg(resumption_loom)]
loom::thread_local! {
    static PARTICIPANT: Participant =
        Participant { handle: COLLECTOR.register(), index: ThreadIndex::acquire() };
}

#[cfg(not(resumption_loom))]
type Pin = crossbeam_epoch::Guard;

/// The models of the table's own protocol pin nothing: they keep every entry until they end.
#[cfg(resumption_loom)]
type Pin = ModelPin;

#[inline]
fn own_pin(guard: crossbeam_epoch::Guard) -> Pin {
    #[cfg(resumption_loom)]
    let guard = ModelPin(Some(guard));
    guard
}

/// The index of a thread that has none any more.
const UNKNOWN_THREAD: usize = usize::MAX;

/// Pins the current thread: sessions borrowed under the guard stay readable until it is dropped.
///
/// The same as [`SessionContext::pin`](crate::SessionContext::pin): a guard is good for every context. Costs one full
/// memory barrier (about 7 ns) for the first guard of a thread and next to nothing for a nested one, so one guard over
/// many lookups is the fast way.
#[inline]
pub fn pin() -> Guard {
    PARTICIPANT.try_with(Participant::pin).unwrap_or_else(|_| late_guard())
}

/// A guard for a thread whose own participant is gone already: its thread-locals are being destroyed.
#[cold]
fn late_guard() -> Guard {
    let inner = own_pin(COLLECTOR.register().pin());
    Guard { inner, thread: UNKNOWN_THREAD, outermost: false, _not_send: PhantomData }
}

/// The guard under which a table gives its arrays back.
pub(crate) fn pin_to_drop() -> Guard {
    #[cfg(resumption_loom)]
    return Guard::for_model();
    #[cfg(not(resumption_loom))]
    pin()
}

/// Gives back what the current thread has retired, as far as other threads' guards allow.
///
/// For event loops to call before they sleep: an idle thread would otherwise keep the last sessions it removed, wiped
/// only when some thread next collects. Never blocks; does nothing useful while the current thread holds a guard.
pub fn idle() {
    // The epoch moves at most once per collection and has to move twice before what was just retired may go.
    for _ in 0..3 {
        pin().flush();
    }
}

/// Keeps what is borrowed from the cache readable. Made by [`pin`] or
/// [`SessionContext::pin`](crate::SessionContext::pin).
///
/// While a guard lives, nothing that was reachable when it was made is freed, in this thread or any other: hold it for
/// a batch of lookups, not for a connection. It is not `Send`, so it cannot live across an `.await` of a task that
/// moves between threads, and every borrow ends before [`repin`](Self::repin) or the end of the guard.
///
/// A borrow cannot outlive its guard:
///
/// ```compile_fail,E0597
/// # use resumption::{ProtocolVersion, Session, SessionContext, SessionId, SessionIdContext, SessionKey};
/// # let context = SessionContext::<u64>::new();
/// # let key = SessionKey::new(ProtocolVersion::TLS1_2, SessionId::new(&[1]).unwrap());
/// let session: Option<&Session<u64>> = {
///     let guard = context.pin();
///     context.lookup(&key, &SessionIdContext::EMPTY, &guard)
/// };
/// assert!(session.is_none());
/// ```
///
/// nor a `repin`:
///
/// ```compile_fail,E0502
/// # use resumption::{ProtocolVersion, Session, SessionContext, SessionId, SessionIdContext, SessionKey};
/// # let context = SessionContext::<u64>::new();
/// # let key = SessionKey::new(ProtocolVersion::TLS1_2, SessionId::new(&[1]).unwrap());
/// let mut guard = context.pin();
/// let session = context.lookup(&key, &SessionIdContext::EMPTY, &guard);
/// guard.repin();
/// assert!(session.is_none());
/// ```
///
/// A guard stays on its thread:
///
/// ```compile_fail,E0277
/// let guard = resumption::pin();
/// std::thread::spawn(move || drop(guard));
/// ```
///
/// and so a future that holds one across an `.await` cannot be spawned on a work-stealing runtime:
///
/// ```compile_fail
/// fn spawn(task: impl Future<Output = ()> + Send) {}
/// spawn(async {
///     let guard = resumption::pin();
///     std::future::ready(()).await;
///     drop(guard);
/// });
/// ```
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct Guard {
    inner: Pin,
    thread: usize,
    outermost: bool,
    // crossbeam's guard is !Send by its raw pointer; this says that we rely on it.
    _not_send: PhantomData<*mut ()>,
}

impl Guard {
    /// Lets reclamation pass this guard: as dropping it and pinning again, for the price of a load when nothing has
    /// changed. The `&mut` proves that nothing is borrowed any more.
    #[inline]
    pub fn repin(&mut self) {
        self.inner.repin();
        if self.outermost {
            turn(self.thread, 2);
        }
    }

    /// Hands what this thread has retired to the collector, and frees some of what nobody can read any more.
    pub fn flush(&self) {
        #[cfg(not(resumption_loom))]
        if let Some(page) = ledger::page(self.thread) {
            self.collect(&page.stash);
        }
        self.inner.flush();
    }

    /// Does for all threads what [`flush`](Self::flush) does for one, about once a second for the whole process: of
    /// those who call it then, one does it.
    pub(crate) fn flush_all_threads(&self) {
        #[cfg(not(resumption_loom))]
        if ledger::time_to_collect() {
            for page in ledger::pages() {
                self.collect(&page.stash);
            }
            self.inner.flush();
        }
    }

    /// Hands what is in a stash to the collector, in one piece.
    #[cfg(not(resumption_loom))]
    fn collect(&self, stash: &Stash) {
        let mut batch = Batch(Vec::new());
        stash.take(|retired| batch.0.push(retired));
        if !batch.0.is_empty() {
            // SAFETY: each entry was retired under the promise of `retire`, and `take` gave it to us alone. It was
            // unlinked before it was stashed, so whoever can reach it holds a guard that exists now.
            unsafe { self.defer(move || batch.release()) };
        }
    }

    /// The index of the thread that holds this guard.
    #[inline]
    pub(crate) fn thread(&self) -> usize {
        self.thread
    }

    /// Calls `release(entry)` once no thread can have a pointer to `entry` any more.
    ///
    /// # Safety
    ///
    /// `entry` is in no slot and no control word of any table (rule R1) and is retired this once; `release` may be
    /// called on it from any thread, and does not panic.
    pub(crate) unsafe fn retire(&self, entry: NonNull<Header>, release: Release) {
        #[cfg(not(resumption_loom))]
        {
            // SAFETY: the caller owns the entry until it is released.
            let weight = unsafe { entry.as_ref() }.weight();
            if let Some(page) = ledger::page(self.thread) {
                page.count_retired(weight);
                while !page.stash.add((entry.as_ptr(), release as *mut ())) {
                    self.collect(&page.stash);
                }
            } else {
                ledger::count_retired(weight);
                let batch = Batch(vec![(entry.as_ptr(), release as *mut ())]);
                // SAFETY: the caller's promise, as in `collect`.
                unsafe { self.defer(move || batch.release()) };
            }
        }
        #[cfg(resumption_loom)]
        // SAFETY: the caller guarantees that no new pointer to the entry can be had, so those that exist are under
        // guards; crossbeam calls the closure once all of these are gone. The closure owns nothing borrowed.
        unsafe {
            self.defer(move || release(entry))
        };
    }

    /// Calls `free` once every guard that exists now is gone.
    ///
    /// # Safety
    ///
    /// What `free` frees can be reached by no guard that is made from now on, it may be called on any thread, and it
    /// does not panic.
    pub(crate) unsafe fn defer(&self, free: impl FnOnce() + 'static) {
        // SAFETY: the caller's promise is what crossbeam asks for.
        unsafe { self.inner.defer_unchecked(free) };
    }

    /// Keeps `session` alive until this guard is gone, and lends it for as long.
    pub(crate) fn lend<T: Send + Sync + 'static>(&self, session: Arc<T>) -> &T {
        let lent: *const T = Arc::as_ptr(&session);
        self.inner.defer(move || drop(session));
        // Out of this thread's own bag: nobody else could empty that, should the thread go to sleep.
        self.inner.flush();
        // SAFETY: the count that the closure holds is given back only after every guard that exists now is gone, this
        // one included; the returned borrow cannot outlive this one, nor a `repin` of it.
        unsafe { &*lent }
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        if self.outermost {
            turn(self.thread, 1);
        }
    }
}

/// What gives an entry back.
pub(crate) type Release = unsafe fn(NonNull<Header>);

/// Entries whose grace period has begun.
#[cfg(not(resumption_loom))]
struct Batch(Vec<Retired>);

#[cfg(not(resumption_loom))]
impl Batch {
    fn release(self) {
        let (mut sessions, mut bytes) = (0, 0);
        for (entry, release) in self.0 {
            let Some(entry) = NonNull::new(entry) else { continue };
            sessions += 1;
            // SAFETY: by the promise of `retire`, the entry is alive until it is released, which is now.
            bytes += u64::from(unsafe { entry.as_ref() }.weight());
            // SAFETY: `retire` made the address from a function of this very type.
            let release = unsafe { std::mem::transmute::<*mut (), Release>(release) };
            // SAFETY: the grace period is over, and the entry was stashed, taken and deferred once.
            unsafe { release(entry) };
        }
        ledger::count_freed(sessions, bytes);
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

/// An `Option<Arc<T>>` that its owner replaces while others read it under guards, without touching the count.
pub(crate) struct ArcSlot<T: Send + Sync + 'static> {
    // From `Arc::into_raw`, with a count that the slot owns; or null.
    pointer: AtomicPtr<T>,
    // Makes the slot Send and Sync as an Arc is, and no more.
    _owns: PhantomData<Arc<T>>,
}

impl<T: Send + Sync + 'static> ArcSlot<T> {
    pub(crate) fn empty() -> Self {
        Self { pointer: AtomicPtr::new(std::ptr::null_mut()), _owns: PhantomData }
    }

    /// What is in the slot, readable until the guard is gone, whatever is put there meanwhile.
    #[inline]
    pub(crate) fn load<'g>(&self, _guard: &'g Guard) -> Option<&'g T> {
        // Acquire: pairs with the Release in `replace`, so that the value is seen whole.
        let current = self.pointer.load(Ordering::Acquire);
        // SAFETY: the slot held a count of it at the load, which came after the guard was made; `replace` gives that
        // count back only once every guard that existed at the time of the swap is gone, this one included.
        unsafe { current.as_ref() }
    }

    /// What is in the slot, counted.
    pub(crate) fn to_arc(&self, guard: &Guard) -> Option<Arc<T>> {
        let current: *const T = self.load(guard)?;
        // SAFETY: it came from `Arc::into_raw`, and as `load` says its count stays above zero until the guard is gone.
        unsafe { Arc::increment_strong_count(current) };
        // SAFETY: the count is the one that was just added.
        Some(unsafe { Arc::from_raw(current) })
    }

    /// Puts `new` into the slot and gives back the count of what was there once no guard can read it any more.
    pub(crate) fn replace(&self, new: Option<Arc<T>>, guard: &Guard) {
        let new = new.map_or(std::ptr::null_mut(), |new| Arc::into_raw(new).cast_mut());
        // AcqRel: Release pairs with the Acquire in `load`; Acquire pairs with the Release of the swap that put what is
        // taken out here, whose last owner this may be.
        let order = if is_broken(Rule::PublishCurrent) { Ordering::Relaxed } else { Ordering::AcqRel };
        let Some(old) = NonNull::new(self.pointer.swap(new, order)) else { return };
        // SAFETY: the slot owned this count, and the swap has passed it on to this closure alone.
        let release = move || drop(unsafe { Arc::from_raw(old.as_ptr()) });
        if is_broken(Rule::RetireCurrent) {
            return release();
        }
        // SAFETY: the pointer is in no slot any more, so no guard made from now on reaches it through one. T is Send and
        // Sync, so any thread may drop it; it does not panic, as `Payload` asks.
        unsafe { guard.defer(release) };
    }
}

impl<T: Send + Sync + 'static> Drop for ArcSlot<T> {
    fn drop(&mut self) {
        // Borrows may outlive the slot: they are bound to their guards.
        // Relaxed: whoever drops the slot has seen all that was done to it.
        if !self.pointer.load(Ordering::Relaxed).is_null() {
            self.replace(None, &pin_to_drop());
        }
    }
}

#[cfg(resumption_loom)]
std::thread_local! {
    // What a model without a collector has retired. loom runs a model's threads on one thread of the system.
    static UNTIL_THE_END: std::cell::RefCell<Vec<Box<dyn FnOnce()>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Frees what a model without a collector has retired; or forgets it, if the model failed.
#[cfg(resumption_loom)]
pub(crate) fn end_of_model() {
    let list = UNTIL_THE_END.take();
    for free in list {
        if std::thread::panicking() { std::mem::forget(free) } else { free() }
    }
}

#[cfg(resumption_loom)]
struct ModelPin(Option<crossbeam_epoch::Guard>);

#[cfg(resumption_loom)]
impl ModelPin {
    unsafe fn defer_unchecked(&self, free: impl FnOnce() + 'static) {
        match &self.0 {
            // SAFETY: the caller's promise is what crossbeam asks for.
            Some(guard) => unsafe { guard.defer_unchecked(free) },
            None => UNTIL_THE_END.with_borrow_mut(|list| list.push(Box::new(free))),
        }
    }

    fn defer(&self, free: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Some(guard) => guard.defer(free),
            None => UNTIL_THE_END.with_borrow_mut(|list| list.push(Box::new(free))),
        }
    }

    fn flush(&self) {
        if let Some(guard) = &self.0 {
            guard.flush();
        }
    }

    fn repin(&mut self) {
        if let Some(guard) = &mut self.0 {
            guard.repin();
        }
    }
}

#[cfg(resumption_loom)]
impl Guard {
    /// A guard for models that keep every entry until they end.
    pub(crate) fn for_model() -> Self {
        Self { inner: ModelPin(None), thread: 0, outermost: false, _not_send: PhantomData }
    }
}
