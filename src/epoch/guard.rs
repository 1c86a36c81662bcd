//! Participants and their guards.

#[cfg(not(resumption_loom))]
use super::freeing::{is_freeing, one_at_a_time};
#[cfg(resumption_loom)]
use super::model::{ModelPin, Part, is_freeing, one_at_a_time};
#[cfg(not(resumption_loom))]
use crate::ledger::{self, Lent, Page, Retired};
use crate::session::Header;
use crate::sync::{Rule, fence_between_loads, is_broken};
use crate::thread_index::ThreadIndex;
use crossbeam_epoch::{Collector, LocalHandle};
#[cfg(not(resumption_loom))]
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

struct Participant {
    #[cfg(not(resumption_loom))]
    handle: LocalHandle,
    #[cfg(resumption_loom)]
    handle: Part<LocalHandle>,
    index: ManuallyDrop<ThreadIndex>,
}

impl Participant {
    fn new() -> Self {
        let handle = COLLECTOR.register();
        #[cfg(resumption_loom)]
        let handle = Part::new(handle);
        Self { handle, index: ManuallyDrop::new(ThreadIndex::acquire(is_unused)) }
    }

    #[inline(always)]
    fn pin(&self) -> Guard {
        let inner = own_pin(self.handle.pin());
        let guard = Guard { inner, thread: self.index.get(), _not_send: PhantomData };
        #[cfg(not(resumption_loom))]
        if let Some(page) = guard.page()
            && page.pin()
        {
            guard.free_due(page);
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
        // SAFETY: taken once, here, and not used again.
        let index = unsafe { ManuallyDrop::take(&mut self.index) };
        // A guard may outlive its participant, in another thread-local. It still writes to the page of this index, which
        // goes to nobody else until then.
        if self.handle.is_pinned() {
            index.lose();
        }
    }
}

/// Whether no guard of a thread that has ended writes to the page of this index any more.
fn is_unused(index: usize) -> bool {
    #[cfg(not(resumption_loom))]
    return ledger::page(index).is_none_or(Page::has_no_guards);
    #[cfg(resumption_loom)]
    return index != UNKNOWN_THREAD;
}

#[cfg(not(resumption_loom))]
static COLLECTOR: std::sync::LazyLock<Collector> = std::sync::LazyLock::new(Collector::new);

#[cfg(not(resumption_loom))]
thread_local! {
    static PARTICIPANT: Participant = Participant::new();
    // Of a thread without a page.
    static REPINS: Cell<u32> = const { Cell::new(0) };
}

#[cfg(resumption_loom)]
loom::lazy_static! {
    static ref COLLECTOR: Part<Collector> = Part::new(Collector::new());
}

#[cfg(resumption_loom)]
loom::thread_local! {
    static PARTICIPANT: Participant = Participant::new();
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

/// After how many repins a thread without a page collects. Pins nested in a guard collect nothing, so a thread that lives
/// under one guard has to do it by itself.
#[cfg(not(resumption_loom))]
const REPINS_PER_FLUSH: u32 = 64;

/// Pins the current thread: sessions borrowed under the guard stay readable until it is dropped.
///
/// The same as [`SessionContext::pin`](crate::SessionContext::pin): a guard is good for every context. Costs one full
/// memory barrier (about 7 ns) for the first guard of a thread and next to nothing for a nested one, so one guard over
/// many lookups is the fast way.
#[inline]
pub fn pin() -> Guard {
    #[cfg(resumption_loom)]
    if !super::model::has_collector() {
        return Guard::for_model();
    }
    // The pinning is left out of the closure, so that what is in it is small enough to be inlined, and the guard is not
    // passed through memory.
    match PARTICIPANT.try_with(|participant| NonNull::from(participant)) {
        // SAFETY: the thread's participant lives until its thread-locals are destroyed, which is not during this call.
        Ok(participant) => unsafe { participant.as_ref() }.pin(),
        Err(_) => late_guard(),
    }
}

/// A guard for a thread whose own participant is gone already: its thread-locals are being destroyed.
#[cold]
fn late_guard() -> Guard {
    let inner = own_pin(COLLECTOR.register().pin());
    Guard { inner, thread: UNKNOWN_THREAD, _not_send: PhantomData }
}

/// The guard under which a table gives its arrays back.
pub(crate) fn pin_to_drop() -> Guard {
    pin()
}

/// Gives back what the current thread has retired, as far as other threads' guards allow.
///
/// For event loops to call before they sleep: an idle thread would otherwise keep the last sessions it removed, wiped
/// only when some thread next collects. Never blocks; does nothing useful while the current thread holds a guard. Frees
/// some ten thousand sessions a call at most, so who has removed a million calls it again.
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
    // crossbeam's guard is !Send by its raw pointer; this says that we rely on it.
    _not_send: PhantomData<*mut ()>,
}

impl Guard {
    /// Lets reclamation pass this guard: as dropping it and pinning again, for the price of a load when nothing has
    /// changed. The `&mut` proves that nothing is borrowed any more. Now and then, when the thread has
    /// removed some dozens of sessions, it also hands these to the collector and frees what nobody can read any more.
    #[inline]
    pub fn repin(&mut self) {
        #[cfg(not(resumption_loom))]
        if let Some(page) = self.page() {
            if page.take_due() {
                self.flush();
            }
            page.repin();
        } else {
            REPINS.set(REPINS.get().wrapping_add(1));
            if REPINS.get().is_multiple_of(REPINS_PER_FLUSH) {
                self.free_some();
            }
        }
        self.inner.repin();
        // What is read from here on is read after the epoch was, which the collector leaves to the processor.
        fence_between_loads();
    }

    /// Lets the collector free what has waited since the stash was full. What waits in the collector's own bag goes on too:
    /// otherwise it would take some thousand removals until the first of them is freed, and memory that is still in the
    /// processor's cache would not be used again.
    #[cold]
    #[inline(never)]
    #[cfg(not(resumption_loom))]
    fn free_due(&self, page: &Page) {
        if page.take_due() {
            self.free_some();
        }
    }

    /// Hands the collector's own bag on, and frees some of what nobody can read any more; but a destructor leaves the
    /// freeing to whoever runs it.
    #[cold]
    fn free_some(&self) {
        if !is_freeing() {
            self.inner.flush();
        }
    }

    /// Hands what this thread has retired to the collector, and frees some of what nobody can read any more.
    pub fn flush(&self) {
        #[cfg(not(resumption_loom))]
        if let Some(page) = self.page() {
            self.collect(page);
        }
        self.free_some();
    }

    /// Does for all threads what [`flush`](Self::flush) does for one, about once a second for the whole process: of
    /// those who call it then, one does it.
    pub(crate) fn flush_all_threads(&self) {
        #[cfg(not(resumption_loom))]
        if ledger::time_to_collect() {
            for page in ledger::pages() {
                self.collect(page);
            }
            self.free_some();
        }
    }

    #[cfg(not(resumption_loom))]
    #[inline]
    fn page(&self) -> Option<&'static Page> {
        ledger::page(self.thread)
    }

    /// Hands what waits in a page to the collector, in one piece.
    #[cfg(not(resumption_loom))]
    fn collect(&self, page: &Page) {
        let mut batch = Batch { retired: Vec::new(), lent: Vec::new() };
        page.stash.take(|retired| {
            // All room at once, when there is a first one.
            if batch.retired.is_empty() {
                batch.retired.reserve_exact(ledger::STASH);
            }
            batch.retired.push(retired);
        });
        page.loans.take(|lent| batch.lent.push(lent));
        if !(batch.retired.is_empty() && batch.lent.is_empty()) {
            // SAFETY: each entry was retired under the promise of `retire`, and `take` gave it to us alone. It was
            // unlinked before it was stashed, so whoever can reach it holds a guard that exists now. Whoever was lent a
            // session holds its guard still, or has no use for it any more.
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
        if is_broken(Rule::RetireEntry) {
            // SAFETY: none, which is what models and sanitizers are to find out.
            return unsafe { release(entry) };
        }
        #[cfg(not(resumption_loom))]
        {
            // SAFETY: the caller owns the entry until it is released.
            let weight = unsafe { entry.as_ref() }.weight();
            let retired = (entry.as_ptr(), release as *mut ());
            if let Some(page) = self.page() {
                page.count_retired(weight);
                while !page.stash.add(retired) {
                    page.set_due();
                    self.collect(page);
                }
            } else {
                ledger::count_retired(weight);
                let batch = Batch { retired: vec![retired], lent: Vec::new() };
                // SAFETY: the caller's promise, as in `collect`.
                unsafe { self.defer(move || batch.release()) };
            }
        }
        #[cfg(resumption_loom)]
        if is_broken(Rule::FreeEntry) {
            return;
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
        unsafe { self.inner.defer_unchecked(move || one_at_a_time(free)) };
    }

    /// Keeps `session` alive until this guard is gone, and lends it for as long.
    pub(crate) fn lend<T: Send + Sync + 'static>(&self, session: Arc<T>) -> &T {
        let lent: *const T = Arc::as_ptr(&session);
        #[cfg(not(resumption_loom))]
        if let Some(page) = self.page() {
            let loan: *mut Lent = Box::into_raw(Box::new(session));
            while !page.loans.add(loan) {
                page.set_due();
                self.collect(page);
            }
        } else {
            self.inner.defer(move || one_at_a_time(move || drop(session)));
            self.inner.flush();
        }
        #[cfg(resumption_loom)]
        self.inner.defer(move || drop(session));
        // SAFETY: the count that was put away is given back only after every guard that exists now is gone, this one
        // included; the returned borrow cannot outlive this one, nor a `repin` of it.
        unsafe { &*lent }
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        #[cfg(not(resumption_loom))]
        if let Some(page) = self.page() {
            page.unpin();
        }
    }
}

/// What gives an entry back.
pub(crate) type Release = unsafe fn(NonNull<Header>);

/// Entries and loans whose grace period has begun.
#[cfg(not(resumption_loom))]
struct Batch {
    retired: Vec<Retired>,
    lent: Vec<*mut Lent>,
}

#[cfg(not(resumption_loom))]
impl Batch {
    fn release(self) {
        let (mut sessions, mut bytes) = (0, 0);
        for (entry, release) in self.retired {
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
        for lent in self.lent {
            // SAFETY: `lend` made it from a box, and it was stashed, taken and deferred once.
            drop(unsafe { Box::from_raw(lent) });
        }
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

#[cfg(resumption_loom)]
impl Guard {
    /// A guard for models that keep every entry until they end.
    pub(crate) fn for_model() -> Self {
        Self::of(ModelPin(None))
    }

    pub(super) fn of(inner: ModelPin) -> Self {
        let thread = ThreadIndex::acquire(is_unused).get();
        Self { inner, thread, _not_send: PhantomData }
    }
}
