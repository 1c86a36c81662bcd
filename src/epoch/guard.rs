//! Guards.

#[cfg(not(resumption_loom))]
use super::freeing::{is_freeing, one_at_a_time};
#[cfg(not(resumption_loom))]
use super::home::{self, Batch};
#[cfg(resumption_loom)]
use super::model::{ModelPin, one_at_a_time};
#[cfg(not(resumption_loom))]
use super::participant::UNKNOWN_THREAD;
#[cfg(resumption_loom)]
use super::participant::is_unused;
#[cfg(not(resumption_loom))]
use super::pin::Pin;
#[cfg(not(resumption_loom))]
use super::stack::Node;
#[cfg(not(resumption_loom))]
use super::standing;
#[cfg(not(resumption_loom))]
use crate::ledger::{self, Lent, Page};
use crate::session::Header;
use crate::sync::{Rule, fence_between_loads, is_broken};
#[cfg(resumption_loom)]
use crate::thread_index::ThreadIndex;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

/// Beside the index: the thread's last lookup found nothing.
pub(super) const DOUBT: usize = 1 << 31;

/// The bits of an index, which are few enough for one instruction to name them.
pub(super) const INDEX: usize = DOUBT - 1;

/// Batches that are handed to the collector at once, if it is not somebody's turn to keep time.
#[cfg(not(resumption_loom))]
const BATCHES: usize = 1024;

/// After how many things that it put away a thread without a page lets something be freed.
#[cfg(not(resumption_loom))]
const PER_FLUSH: u32 = 64;

#[cfg(not(resumption_loom))]
thread_local! {
    // What a thread without a page has put away since it last let something be freed.
    static POSTED: Cell<u32> = const { Cell::new(0) };
}

/// Keeps what is borrowed from the cache readable. Made by [`pin`](crate::pin) or
/// [`SessionContext::pin`](crate::SessionContext::pin).
///
/// While a guard lives, nothing that was reachable when it was made is freed, in this thread or any other, nor some of what
/// had been removed shortly before (during up to 128 guards of the same thread): hold it for a batch of lookups, not for a
/// connection. It is not `Send`, so it cannot live across an `.await` of a task that
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
    #[cfg(not(resumption_loom))]
    inner: Pin,
    // The models of the table's own protocol pin nothing: they keep every entry until they end.
    #[cfg(resumption_loom)]
    inner: ModelPin,
    // The thread's index, with `DOUBT` or without.
    thread: Cell<usize>,
    // crossbeam's guard is !Send by its raw pointer; this says that we rely on it.
    _not_send: PhantomData<*mut ()>,
}

impl Guard {
    /// The guard that holds this pin. `thread` is the thread's index, with [`DOUBT`] or without.
    #[inline(always)]
    pub(super) fn new(
        #[cfg(not(resumption_loom))] inner: Pin,
        #[cfg(resumption_loom)] inner: ModelPin,
        thread: usize,
    ) -> Self {
        Self { inner, thread: Cell::new(thread), _not_send: PhantomData }
    }

    /// Lets reclamation pass this guard, as dropping it and pinning again would, for the price of some loads and a store. The
    /// `&mut` proves that nothing is borrowed any more. Now and then, when the thread has removed some dozens of sessions, it
    /// also hands these to the collector and frees what nobody can read any more.
    #[inline]
    pub fn repin(&mut self) {
        #[cfg(not(resumption_loom))]
        if self.inner.enter_again() {
            return;
        }
        self.repin_closely();
    }

    #[inline(never)]
    fn repin_closely(&mut self) {
        #[cfg(not(resumption_loom))]
        {
            match self.page() {
                Some(page) if page.pins.is_due() => self.free_due(),
                Some(_) => {}
                None => self.free_without_page(),
            }
            // After what may have made guards.
            let begun = self.page().map(|page| page.pins.begin_again());
            let thread = self.thread();
            // SAFETY: the `&mut` proves that nothing is borrowed.
            unsafe { self.inner.pass(begun.is_some_and(|begun| begun.first), thread) };
            if begun.is_some_and(|begun| begun.round) {
                super::participant::end_round();
            }
        }
        #[cfg(resumption_loom)]
        self.inner.repin();
        // What is read from here on is read after the epoch was, which the collector leaves to the processor.
        fence_between_loads();
    }

    /// Some were retired, or the page was full: hands to the collector what was put away, and frees a few of what nobody can
    /// read any more; but a destructor leaves this to whoever runs it.
    #[cold]
    #[inline(never)]
    #[cfg(not(resumption_loom))]
    pub(super) fn free_due(&self) {
        let Some(page) = self.page().filter(|_| !is_freeing()) else { return };
        page.pins.clear_due();
        let home = home::of(self.thread());
        if home.has_posted() {
            self.hand_on(home);
        }
        home.free_few(page);
    }

    /// Hands to the collector what this thread has put away, or all have who have no page.
    #[cfg(not(resumption_loom))]
    fn hand_on(&self, home: &home::Home) {
        // What waits in the collector's bag goes on at once: otherwise it would take some thousand removals until the
        // first of them is freed, and memory that is still in the processor's cache would not be used again.
        self.collect(self.thread(), BATCHES);
        self.inner.flush();
        if home.is_held_up() {
            standing::take_down_idle();
        }
    }

    /// The same for a thread without a page, if it has put away enough.
    #[cold]
    #[inline(never)]
    #[cfg(not(resumption_loom))]
    pub(super) fn free_without_page(&self) {
        if POSTED.get() >= PER_FLUSH && !is_freeing() {
            POSTED.set(0);
            let home = home::of(self.thread());
            self.hand_on(home);
            home.free();
        }
    }

    /// Hands the collector's own bag on, and frees what has come home to any thread.
    #[cold]
    fn free_all(&self) {
        self.inner.flush();
        #[cfg(not(resumption_loom))]
        home::all().for_each(home::Home::free);
    }

    /// Hands what this thread has retired to the collector, and frees some of what nobody can read any more. In a
    /// destructor that the crate runs it only asks whoever runs it to do so.
    pub fn flush(&self) {
        #[cfg(not(resumption_loom))]
        if is_freeing() {
            return match self.page() {
                Some(page) => self.make_room(page),
                None => POSTED.set(PER_FLUSH),
            };
        }
        #[cfg(not(resumption_loom))]
        for thread in [self.thread(), ledger::PAGES] {
            self.collect(thread, BATCHES);
        }
        #[cfg(not(resumption_loom))]
        standing::take_down_idle();
        self.free_all();
        #[cfg(not(resumption_loom))]
        self.pass_soon();
    }

    /// Has the thread's next guard let the collector pass, whom the standing pin holds up as long as this thread only flushes.
    #[cfg(not(resumption_loom))]
    fn pass_soon(&self) {
        if let Some(page) = self.page() {
            page.pins.pass_soon();
        }
    }

    /// Does for all threads what [`flush`](Self::flush) does for one, about once a second for the whole process: of
    /// those who call it then, one does it. Goes on while there is something, up to about so many sessions.
    #[cfg_attr(resumption_loom, allow(unused_variables))]
    pub(crate) fn flush_all_threads(&self, most: usize) {
        #[cfg(not(resumption_loom))]
        if !is_freeing() && ledger::time_to_collect() {
            (0..=ledger::PAGES).for_each(|thread| self.collect(thread, most));
            standing::take_down_idle();
            home::free_up_to(most, 1, || self.free_all());
            self.pass_soon();
        }
    }

    #[cfg(not(resumption_loom))]
    #[inline]
    pub(super) fn page(&self) -> Option<&'static Page> {
        ledger::page(self.thread())
    }

    /// Hands to the collector what the thread with this index has retired, or what all have who have no page, up to so many
    /// batches. What is handed over waits in a bag of this thread, which its caller hands on.
    #[cfg(not(resumption_loom))]
    fn collect(&self, thread: usize, most: usize) {
        let home = home::of(thread);
        if let Some(page) = ledger::page(thread) {
            home.post(Batch::of(page));
        }
        for batch in home.posted(most) {
            // SAFETY: each entry was retired under the promise of `retire`, and taking gave it to us alone. It was
            // unlinked before it was put away, so whoever can reach it holds a guard that exists now. Whoever was lent a
            // session holds its guard still, or has no use for it any more.
            unsafe { self.send_home(batch, thread) };
        }
    }

    /// Has a batch received at home once every guard that exists now is gone.
    ///
    /// # Safety
    ///
    /// As [`retire`](Self::retire), for each of its entries.
    #[cfg(not(resumption_loom))]
    unsafe fn send_home(&self, batch: Box<Node<Batch>>, thread: usize) {
        home::of(thread).send();
        // SAFETY: the collector calls this after the grace period, and the caller's promise is what crossbeam asks for.
        unsafe { self.inner.defer_unchecked(move || home::of(thread).receive(batch)) };
    }

    /// Puts away what a thread without a page has.
    #[cfg(not(resumption_loom))]
    fn post(&self, batch: Batch) {
        if self.thread() == UNKNOWN_THREAD {
            // The collector's record of such a guard goes with it, and hands its bag on then.
            // SAFETY: as in `collect`.
            return unsafe { self.send_home(Node::new(batch), self.thread()) };
        }
        POSTED.set(POSTED.get().saturating_add(1));
        home::of(self.thread()).post(batch);
    }

    /// Puts what is in the page away until something may be freed, which a destructor and the middle of an operation are no
    /// place for.
    #[cold]
    #[cfg(not(resumption_loom))]
    fn make_room(&self, page: &Page) {
        page.pins.set_due();
        home::of(self.thread()).post(Batch::of(page));
    }

    /// The index of the thread that holds this guard.
    #[inline]
    pub(crate) fn thread(&self) -> usize {
        self.thread.get() & INDEX
    }

    /// The same while the thread is not [in doubt](Self::is_in_doubt), and otherwise more than any index: so that one
    /// comparison tells a lookup both that it has counters of its own and that it need not ask a filter.
    #[inline(always)]
    pub(crate) fn thread_without_doubt(&self) -> usize {
        self.thread.get()
    }

    /// Whether the thread's last lookup found nothing, so that the next is likely to find nothing either.
    #[inline]
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.thread.get() & DOUBT != 0
    }

    /// Notes what is likely for the thread's next lookup, under this guard or another.
    #[inline]
    pub(crate) fn set_doubt(&self, doubt: bool) {
        if self.is_in_doubt() != doubt {
            self.change_doubt();
        }
    }

    #[inline(never)]
    fn change_doubt(&self) {
        let thread = self.thread.get() ^ DOUBT;
        self.thread.set(thread);
        #[cfg(not(resumption_loom))]
        super::participant::remember(thread);
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
                    self.make_room(page);
                }
                if page.stash.added().is_multiple_of(home::FEW as u64) {
                    page.pins.set_due();
                }
            } else {
                ledger::count_retired(weight);
                self.post(Batch::of_one(retired));
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

    /// Keeps `session` alive until this guard is gone and every other that exists now, and lends it for as long.
    pub(crate) fn lend<T: Send + Sync + 'static>(&self, session: Arc<T>) -> &T {
        let lent: *const T = Arc::as_ptr(&session);
        #[cfg(not(resumption_loom))]
        {
            let loan: *mut Lent = Box::into_raw(Box::new(session));
            if let Some(page) = self.page() {
                while !page.loans.add(loan) {
                    self.make_room(page);
                }
            } else {
                self.post(Batch::of_loan(loan));
            }
        }
        #[cfg(resumption_loom)]
        self.inner.defer(move || drop(session));
        // SAFETY: the count that was put away is given back only after every guard that exists now is gone, this one
        // included; the returned borrow cannot outlive this one, nor a `repin` of it.
        unsafe { &*lent }
    }
}

impl Drop for Guard {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(not(resumption_loom))]
        self.inner.end(self.thread.get() & INDEX);
    }
}

/// What gives an entry back.
pub(crate) type Release = unsafe fn(NonNull<Header>);

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
        Self::new(inner, ThreadIndex::acquire(is_unused).get())
    }
}
