//! Threads that take part in reclamation, and how they pin.

#[cfg(not(resumption_loom))]
use super::freeing::{one_at_a_time, quietly, without_freeing};
use super::guard::{Guard, INDEX};
#[cfg(not(resumption_loom))]
use super::home;
#[cfg(resumption_loom)]
use super::model::{self as home, ModelPin, Part};
#[cfg(not(resumption_loom))]
use super::pin::Pin;
#[cfg(not(resumption_loom))]
use super::standing::{self, StandingPin};
#[cfg(not(resumption_loom))]
use crate::ledger::{self, Begun, Pins, ROUND};
#[cfg(not(resumption_loom))]
use crate::sync::has_heavy_barrier;
use crate::thread_index::ThreadIndex;
use crossbeam_epoch::{Collector, LocalHandle};
#[cfg(not(resumption_loom))]
use std::cell::Cell;
#[cfg(not(resumption_loom))]
use std::mem;
use std::mem::ManuallyDrop;
#[cfg(not(resumption_loom))]
use std::ptr;

struct Participant {
    #[cfg(not(resumption_loom))]
    handle: ManuallyDrop<LocalHandle>,
    #[cfg(resumption_loom)]
    handle: Part<LocalHandle>,
    index: ManuallyDrop<ThreadIndex>,
    #[cfg(not(resumption_loom))]
    pins: &'static Pins,
    // Guards, counted in rounds if the thread has a page.
    #[cfg(not(resumption_loom))]
    made: Cell<u32>,
    // A round has ended as a guard was begun anew, so that no pin could be made to stand.
    #[cfg(not(resumption_loom))]
    owed: Cell<bool>,
}

/// After so many guards a thread lets the collector collect, which passes every thread's epoch through all processors' caches.
#[cfg(not(resumption_loom))]
const COLLECT: u32 = 8 * ROUND;

/// After so many it looks whether others hold up the collector.
#[cfg(not(resumption_loom))]
const LOOK: u32 = 16 * ROUND;

/// Of threads without a page, and of those whose pin does not stand.
#[cfg(not(resumption_loom))]
static CLOSED: Pins = Pins::closed();

impl Participant {
    fn new() -> Self {
        #[cfg(not(resumption_loom))]
        let handle = ManuallyDrop::new(COLLECTOR.register());
        #[cfg(resumption_loom)]
        let handle = Part::new(COLLECTOR.register());
        let index = ThreadIndex::acquire(is_unused);
        #[cfg(not(resumption_loom))]
        let pins = ledger::page(index.get()).map_or(&CLOSED, |page| &page.pins);
        #[cfg(not(resumption_loom))]
        if let Some(standing) = standing::of(index.get()).filter(|_| pins.has_fallen() && has_heavy_barrier())
        {
            // Here, so that no later guard allocates.
            // SAFETY: the index is ours, and it has fallen.
            unsafe { standing.register(&COLLECTOR) };
        }
        Self {
            handle,
            #[cfg(not(resumption_loom))]
            pins,
            #[cfg(not(resumption_loom))]
            made: Cell::new(0),
            #[cfg(not(resumption_loom))]
            owed: Cell::new(false),
            index: ManuallyDrop::new(index),
        }
    }

    #[cfg(resumption_loom)]
    fn pin(&self) -> Guard {
        Guard::new(ModelPin(Some(self.handle.pin())), self.index.get())
    }
}

#[cfg(not(resumption_loom))]
impl Participant {
    fn guard(&self, pin: Pin) -> Guard {
        Guard::new(pin, HERE.with(|here| here.thread.get()))
    }

    /// A guard under which there is something else to do, or that does not rely on the standing pin, or that is not the only
    /// one.
    fn pin_closely(&self) -> Guard {
        let Some(standing) = standing::of(self.index.get()) else {
            let guard = self.guard(Pin::own(self.handle.pin()));
            guard.free_without_page();
            self.let_collect(1);
            return guard;
        };
        if !has_heavy_barrier() && self.pins.is_standing() {
            // It is forbidden by now, so nobody else can take the pin down.
            standing::take_down_own(self.pins, standing);
        }
        let begun = self.pins.begin();
        let guard = self.guard(self.pin_of(begun, standing));
        if begun.due {
            guard.free_due();
        }
        if begun.round {
            self.let_collect(ROUND);
        }
        guard
    }

    /// What holds a guard that was begun.
    fn pin_of(&self, begun: Begun, standing: &StandingPin) -> Pin {
        let unless_it_panics = EndsGuard(self.pins);
        let mut holds = standing::holds(begun, self.pins, standing);
        let round = begun.round || begun.first && self.owed.take();
        if !holds && round && self.pins.has_fallen() && has_heavy_barrier() {
            // SAFETY: we are the owner, and it has fallen.
            unsafe { standing.erect(&COLLECTOR) };
            self.pins.erect();
            holds = true;
        }
        // While none stands it is not worth a look.
        HERE.with(|here| here.pins.set(if holds { self.pins } else { &CLOSED }));
        let pin = if holds { Pin::standing(self.pins) } else { Pin::own(self.handle.pin()) };
        mem::forget(unless_it_panics);
        pin
    }

    /// After so many more guards: lets the collector do some of what there is to do at times, since it does so by itself only
    /// when it pins; and sees to those who hold it up.
    fn let_collect(&self, guards: u32) {
        let made = self.made.get().wrapping_add(guards);
        self.made.set(made);
        if guards > 1 && made.is_multiple_of(COLLECT) {
            self.handle.pin().flush();
        }
        if made.is_multiple_of(LOOK) {
            standing::take_down_idle();
        }
    }

    /// For a thread that ends.
    fn last_guard(&self) -> Guard {
        if standing::of(self.index.get()).is_none() {
            return Guard::new(Pin::own(self.handle.pin()), self.index.get());
        }
        self.pins.begin();
        let unless_it_panics = EndsGuard(self.pins);
        let guard = Guard::new(Pin::own(self.handle.pin()), self.index.get());
        mem::forget(unless_it_panics);
        guard
    }
}

/// Ends a guard that was begun but is not made: the collector runs destructors as it pins, and one of them may panic.
#[cfg(not(resumption_loom))]
struct EndsGuard(&'static Pins);

#[cfg(not(resumption_loom))]
impl Drop for EndsGuard {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Participant {
    /// The thread ends: what it has retired goes to the collector.
    fn drop(&mut self) {
        #[cfg(not(resumption_loom))]
        {
            HERE.with(Here::leave);
            if let Some(standing) = standing::of(self.index.get()) {
                standing::take_down_own(self.pins, standing);
            }
            // A panic would end the process here.
            quietly(|| self.last_guard().flush());
        }
        let is_pinned = self.handle.is_pinned();
        #[cfg(not(resumption_loom))]
        let is_pinned = is_pinned || !is_unused(self.index.get());
        // SAFETY: taken once, here, and not used again.
        let index = unsafe { ManuallyDrop::take(&mut self.index) };
        // A guard may outlive its participant, in another thread-local. It still writes to the page of this index, which
        // goes to nobody else until then.
        if is_pinned {
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
    return ledger::page(index).is_none_or(|page| page.pins.has_no_guards());
    #[cfg(resumption_loom)]
    return index != UNKNOWN_THREAD;
}

#[cfg(not(resumption_loom))]
static COLLECTOR: std::sync::LazyLock<Collector> = std::sync::LazyLock::new(Collector::new);

#[cfg(not(resumption_loom))]
thread_local! {
    static PARTICIPANT: Participant = Participant::new();
    // To ask this takes no more than a load, since it has no destructor.
    static HERE: Here = const { Here::new() };
}

/// What a thread needs to make a guard, while its participant is there.
#[cfg(not(resumption_loom))]
struct Here {
    pins: Cell<&'static Pins>,
    // What guards have as their `thread`.
    thread: Cell<usize>,
    participant: Cell<*const Participant>,
}

#[cfg(not(resumption_loom))]
impl Here {
    const fn new() -> Self {
        Self {
            pins: Cell::new(&CLOSED),
            thread: Cell::new(UNKNOWN_THREAD),
            participant: Cell::new(ptr::null()),
        }
    }

    fn come(&self, participant: &Participant) {
        self.thread.set(participant.index.get());
        self.participant.set(participant);
    }

    fn leave(&self) {
        self.pins.set(&CLOSED);
        self.thread.set(UNKNOWN_THREAD);
        self.participant.set(ptr::null());
    }

    fn participant(&self) -> Option<&Participant> {
        // SAFETY: this thread's participant put its address there, and takes it away before it ends.
        unsafe { self.participant.get().as_ref() }
    }
}

#[cfg(resumption_loom)]
loom::lazy_static! {
    static ref COLLECTOR: Part<Collector> = Part::new(Collector::new());
}

#[cfg(resumption_loom)]
loom::thread_local! {
    static PARTICIPANT: Participant = Participant::new();
}

/// The index of a thread that has none any more.
pub(super) const UNKNOWN_THREAD: usize = INDEX;

/// Pins the current thread: sessions borrowed under the guard stay readable until it is dropped.
///
/// The same as [`SessionContext::pin`](crate::SessionContext::pin): a guard is good for every context. Costs about 2 ns where
/// `membarrier(2)` is to be had, once the thread has made some hundred guards; otherwise a full memory barrier (about 7 ns)
/// if the thread has no other guard. One guard over many lookups is the fastest way.
// A hint, and not more: the best is inlined into a caller's loop and the lookup called from there.
#[inline]
pub fn pin() -> Guard {
    #[cfg(resumption_loom)]
    if !super::model::has_collector() {
        return Guard::for_model();
    }
    #[cfg(not(resumption_loom))]
    {
        let (pins, thread) = HERE.with(|here| (here.pins.get(), here.thread.get()));
        if pins.enter() {
            return Guard::new(Pin::standing(pins), thread);
        }
        pin_closely()
    }
    #[cfg(resumption_loom)]
    first_guard()
}

/// A guard for a thread that does not just rely on its standing pin.
#[cfg(not(resumption_loom))]
#[inline(never)]
fn pin_closely() -> Guard {
    HERE.with(|here| here.participant().map_or_else(first_guard, Participant::pin_closely))
}

/// A guard for a thread that takes part for the first time.
#[cold]
#[inline(never)]
fn first_guard() -> Guard {
    let begin = |participant: &Participant| {
        #[cfg(not(resumption_loom))]
        HERE.with(|here| here.come(participant));
        #[cfg(not(resumption_loom))]
        return participant.pin_closely();
        #[cfg(resumption_loom)]
        participant.pin()
    };
    PARTICIPANT.try_with(begin).unwrap_or_else(|_| late_guard())
}

/// A guard for a thread whose own participant is gone already: its thread-locals are being destroyed.
#[cold]
fn late_guard() -> Guard {
    let pin = COLLECTOR.register().pin();
    #[cfg(not(resumption_loom))]
    let pin = Pin::own(pin);
    #[cfg(resumption_loom)]
    let pin = ModelPin(Some(pin));
    Guard::new(pin, UNKNOWN_THREAD)
}

/// Calls `call` with a pin of the current thread's own in the collector, which has its bag.
#[cfg(not(resumption_loom))]
pub(super) fn with_own_pin<R>(call: impl FnOnce(&crossbeam_epoch::Guard) -> R) -> R {
    HERE.with(|here| match here.participant() {
        Some(participant) => call(&participant.handle.pin()),
        None => call(&COLLECTOR.register().pin()),
    })
}

/// A round has ended as a guard of the current thread was begun anew.
#[cfg(not(resumption_loom))]
pub(super) fn end_round() {
    HERE.with(|here| {
        if let Some(participant) = here.participant() {
            participant.owed.set(true);
            participant.let_collect(ROUND);
        }
    });
}

/// Asks for what standing pins need, which takes the kernel some milliseconds once if the process has other threads already.
pub(crate) fn prepare() {
    #[cfg(not(resumption_loom))]
    has_heavy_barrier();
}

/// Has the next guards of the current thread begin with this as their `thread`.
#[cfg(not(resumption_loom))]
pub(super) fn remember(thread: usize) {
    HERE.with(|here| here.thread.set(thread));
}

/// The guard under which a table gives its arrays back.
pub(crate) fn pin_to_drop() -> Guard {
    pin()
}

/// Gives back what the current thread has retired, as far as other threads' guards allow.
///
/// For event loops to call before they sleep: an idle thread would otherwise keep the last sessions it removed, wiped
/// only when some thread next collects. Takes no lock; does nothing useful while the current thread holds a guard. Frees
/// some 65,000 sessions a call, so who has removed a million calls it again. In a payload's destructor
/// it does nothing but ask whoever runs that to do the same. May have the kernel interrupt the process's running threads
/// (`membarrier(2)`, some microseconds), if one of them sleeps that has made many guards.
pub fn idle() {
    free_up_to(1 << 16);
}

/// As [`idle`], of another number of sessions.
pub(crate) fn free_up_to(most: usize) {
    let step = || pin().flush();
    // The epoch moves at most once per collection and has to move twice before what was just retired may go; a sleeper's pin
    // is taken down by the second.
    let had_more = home::free_up_to(most, 4, step);
    #[cfg(not(resumption_loom))]
    if !had_more && home::of(HERE.with(|here| here.thread.get() & INDEX)).has_sent() {
        // Others have been asked to let it pass, and may have needed a moment.
        home::free_up_to(most, 4, step);
    }
    #[cfg(resumption_loom)]
    let _ = had_more;
}
