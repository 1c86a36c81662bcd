//! Threads that take part in reclamation, and how they pin.

#[cfg(not(resumption_loom))]
use super::freeing::{one_at_a_time, quietly, without_freeing};
use super::guard::{Guard, INDEX};
#[cfg(not(resumption_loom))]
use super::home;
#[cfg(resumption_loom)]
use super::model::{self as home, ModelPin, Part};
#[cfg(not(resumption_loom))]
use crate::ledger::{self, Page};
use crate::thread_index::ThreadIndex;
use crossbeam_epoch::{Collector, LocalHandle};
use std::cell::Cell;
use std::mem::ManuallyDrop;
#[cfg(not(resumption_loom))]
use std::ptr;

struct Participant {
    #[cfg(not(resumption_loom))]
    handle: ManuallyDrop<LocalHandle>,
    #[cfg(resumption_loom)]
    handle: Part<LocalHandle>,
    index: ManuallyDrop<ThreadIndex>,
    // What guards have as their `thread`.
    thread: Cell<usize>,
}

impl Participant {
    fn new() -> Self {
        #[cfg(not(resumption_loom))]
        let handle = ManuallyDrop::new(COLLECTOR.register());
        #[cfg(resumption_loom)]
        let handle = Part::new(COLLECTOR.register());
        let index = ThreadIndex::acquire(is_unused);
        Self { handle, thread: Cell::new(index.get()), index: ManuallyDrop::new(index) }
    }

    #[inline]
    fn pin(&self) -> Guard {
        let thread = self.thread.get();
        let guard = Guard::new(own_pin(self.handle.pin()), thread);
        #[cfg(not(resumption_loom))]
        match guard.page() {
            Some(page) if page.pin() => guard.free_due(page),
            Some(_) => {}
            None => guard.free_without_page(),
        }
        guard
    }
}

impl Drop for Participant {
    /// The thread ends: what it has retired goes to the collector.
    fn drop(&mut self) {
        #[cfg(not(resumption_loom))]
        {
            HERE.set(ptr::null());
            // A panic would end the process here.
            quietly(|| self.pin().flush());
        }
        // SAFETY: taken once, here, and not used again.
        let index = unsafe { ManuallyDrop::take(&mut self.index) };
        // A guard may outlive its participant, in another thread-local. It still writes to the page of this index, which
        // goes to nobody else until then.
        if self.handle.is_pinned() {
            index.lose();
        }
        #[cfg(not(resumption_loom))]
        {
            // The collector pins once more, and may collect.
            // SAFETY: dropped once, here, and not used again.
            without_freeing(|| unsafe { ManuallyDrop::drop(&mut self.handle) });
            // Frees what was left to the next call, since there is none.
            quietly(|| one_at_a_time(|| {}));
        }
    }
}

/// Whether no guard of a thread that has ended writes to the page of this index any more.
pub(super) fn is_unused(index: usize) -> bool {
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
    // Where it is, while it is there. To ask this is one load, since it has no destructor.
    static HERE: Cell<*const Participant> = const { Cell::new(ptr::null()) };
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
pub(super) type Pin = crossbeam_epoch::Guard;

/// The models of the table's own protocol pin nothing: they keep every entry until they end.
#[cfg(resumption_loom)]
pub(super) type Pin = ModelPin;

#[inline]
fn own_pin(guard: crossbeam_epoch::Guard) -> Pin {
    #[cfg(resumption_loom)]
    let guard = ModelPin(Some(guard));
    guard
}

/// The index of a thread that has none any more.
pub(super) const UNKNOWN_THREAD: usize = INDEX;

/// Pins the current thread: sessions borrowed under the guard stay readable until it is dropped.
///
/// The same as [`SessionContext::pin`](crate::SessionContext::pin): a guard is good for every context. Costs one full
/// memory barrier (about 7 ns) for the first guard of a thread and next to nothing for a nested one, so one guard over
/// many lookups is the fast way.
// A hint, and not more: the best is inlined into a caller's loop and the lookup called from there. A function around both
// pops behind the barrier what it has pushed before, which keeps the processor from looking ahead to the next lookup.
#[inline]
pub fn pin() -> Guard {
    #[cfg(resumption_loom)]
    if !super::model::has_collector() {
        return Guard::for_model();
    }
    #[cfg(not(resumption_loom))]
    {
        let here = HERE.get();
        if !here.is_null() {
            // SAFETY: this thread's participant put its address there, and takes it away before it ends.
            return unsafe { &*here }.pin();
        }
    }
    first_guard()
}

/// A guard for a thread that takes part for the first time.
#[cold]
#[inline(never)]
fn first_guard() -> Guard {
    let begin = |participant: &Participant| {
        #[cfg(not(resumption_loom))]
        HERE.set(participant);
        participant.pin()
    };
    PARTICIPANT.try_with(begin).unwrap_or_else(|_| late_guard())
}

/// A guard for a thread whose own participant is gone already: its thread-locals are being destroyed.
#[cold]
fn late_guard() -> Guard {
    let inner = own_pin(COLLECTOR.register().pin());
    Guard::new(inner, UNKNOWN_THREAD)
}

/// Has the next guards of the current thread begin with this as their `thread`.
#[cfg(not(resumption_loom))]
pub(super) fn remember(thread: usize) {
    let _ = PARTICIPANT.try_with(|participant| participant.thread.set(thread));
}

/// The guard under which a table gives its arrays back.
pub(crate) fn pin_to_drop() -> Guard {
    pin()
}

/// Gives back what the current thread has retired, as far as other threads' guards allow.
///
/// For event loops to call before they sleep: an idle thread would otherwise keep the last sessions it removed, wiped
/// only when some thread next collects. Never blocks; does nothing useful while the current thread holds a guard. Frees
/// some 65,000 sessions a call, so who has removed a million calls it again. In a payload's destructor
/// it does nothing but ask whoever runs that to do the same.
pub fn idle() {
    free_up_to(1 << 16);
}

/// As [`idle`], of another number of sessions.
pub(crate) fn free_up_to(most: usize) {
    // The epoch moves at most once per collection and has to move twice before what was just retired may go.
    home::free_up_to(most, 3, || pin().flush());
}
