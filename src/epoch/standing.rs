//! Pins that stand between the guards of a thread.

#[cfg(not(resumption_loom))]
use crate::ledger::{self, PAGES};
use crate::ledger::{Begun, Pins};
use crate::sync::{Accesses, Rule, fence_between_loads, heavy_barrier, is_broken};
use crossbeam_epoch::{Collector, Guard, LocalHandle};
#[cfg(not(resumption_loom))]
use crossbeam_utils::CachePadded;
use std::cell::UnsafeCell;

/// The pin that stands for one thread, if any does. Not the thread's own participant in the collector: that is the thread's
/// alone, and this is at times somebody else's, who has claimed it.
pub(super) struct StandingPin {
    place: UnsafeCell<Place>,
    accesses: Accesses,
}

struct Place {
    // Ahead of the handle, since it is dropped first.
    pin: Option<Guard>,
    handle: Option<LocalHandle>,
}

const NOTHING: Place = Place { pin: None, handle: None };

// SAFETY: all access is by unsafe functions whose callers promise to be alone. A guard and its handle are nothing but a
// pointer to a record of the collector's, which is neither in a thread-local nor knows its thread: what makes them not `Send`
// are plain cells in it, and who is alone, after who was alone before, may use these from any thread.
unsafe impl Sync for StandingPin {}

// SAFETY: as above; whoever owns it is alone.
unsafe impl Send for StandingPin {}

/// One for each thread with a page.
#[cfg(not(resumption_loom))]
static STANDING: [CachePadded<StandingPin>; PAGES] = [const { CachePadded::new(StandingPin::new()) }; PAGES];

/// That of the thread with this index, which has a page.
#[cfg(not(resumption_loom))]
pub(super) fn of(thread: usize) -> Option<&'static StandingPin> {
    STANDING.get(thread).map(|standing| &**standing)
}

impl StandingPin {
    #[cfg(not(resumption_loom))]
    pub(super) const fn new() -> Self {
        Self { place: UnsafeCell::new(NOTHING), accesses: Accesses::new() }
    }

    #[cfg(resumption_loom)]
    pub(super) fn new() -> Self {
        Self { place: UnsafeCell::new(NOTHING), accesses: Accesses::new() }
    }

    #[inline]
    fn place(&self) -> *mut Place {
        self.accesses.note();
        self.place.get()
    }

    /// Pins.
    ///
    /// # Safety
    ///
    /// Only for the owner, while the pin [has fallen](Pins::has_fallen).
    pub(super) unsafe fn erect(&self, collector: &Collector) {
        // SAFETY: nobody claims what does not stand, so the owner is alone.
        let place = unsafe { &mut *self.place() };
        place.pin = Some(place.handle.get_or_insert_with(|| collector.register()).pin());
    }

    /// The owner reads what the pin protects, which has to be over when the pin is taken down.
    #[cfg(resumption_loom)]
    pub(super) fn note_reading(&self) {
        self.accesses.note();
    }

    /// Makes what [`erect`](Self::erect) would have to allocate.
    ///
    /// # Safety
    ///
    /// As for that.
    #[cfg(not(resumption_loom))]
    pub(super) unsafe fn register(&self, collector: &Collector) {
        // SAFETY: as above.
        let place = unsafe { &mut *self.place() };
        place.handle.get_or_insert_with(|| collector.register());
    }

    /// Lets the collector pass.
    ///
    /// # Safety
    ///
    /// Only for the owner of both, under its only guard, and without a borrow. The pin [stands](Pins::stands), as the owner has seen under that
    /// guard.
    pub(super) unsafe fn pass(&self, pins: &Pins) {
        // SAFETY: a pin that its owner sees standing under a guard is not taken down before that ends, so the owner is alone.
        let place = unsafe { &mut *self.place() };
        if let Some(pin) = &mut place.pin {
            pin.repin();
        }
        if !is_broken(Rule::PassFence) {
            // What is read from here on is read after the epoch was, which the collector leaves to the processor.
            fence_between_loads();
        }
        pins.count_passed();
    }

    /// Unpins.
    ///
    /// # Safety
    ///
    /// Only for who has claimed it, and whose [it is](Pins::is_ours) therefore.
    pub(super) unsafe fn take_down(&self) {
        // SAFETY: nobody else claims what is claimed, and the owner uses it only under a guard that relies on it.
        let place = unsafe { &mut *self.place() };
        place.pin = None;
    }
}

/// Whether the standing pin holds a guard that its owner has begun; if that is the only one, the collector passes first.
pub(super) fn holds(begun: Begun, pins: &Pins, standing: &StandingPin) -> bool {
    let holds = pins.stands();
    if holds && begun.first {
        // SAFETY: the guard that was begun is the only one, and nobody has it yet.
        unsafe { standing.pass(pins) };
    }
    holds
}

/// Lets the collector pass both what holds a guard and the pin that stands beside it, since somebody had claimed that when the
/// guard was begun.
///
/// # Safety
///
/// For the owner of all; nothing is borrowed under the guard, and `sole` is true only if it is its only one.
pub(super) unsafe fn pass_own(own: &mut Guard, pins: &Pins, standing: &StandingPin, sole: bool) {
    own.repin();
    if sole && pins.stands() {
        // SAFETY: by the caller.
        unsafe { standing.pass(pins) };
    }
}

/// Takes down the pins whose threads have no guards and have not let the collector pass since this was last called: they hold
/// back what others have retired. Those who have guards are asked to let it pass with their next.
#[cfg(not(resumption_loom))]
pub(super) fn take_down_idle() {
    take_down(ledger::pages().map(|page| &page.pins).zip(STANDING.iter().map(|standing| &**standing)));
}

/// Takes down those of these that [are left](Pins::claim_if_left).
pub(super) fn take_down<'a>(all: impl Iterator<Item = (&'a Pins, &'a StandingPin)> + Clone) {
    let mut claimed = 0u64;
    for (index, (pins, _)) in all.clone().enumerate() {
        claimed |= u64::from(pins.claim_if_left()) << index;
    }
    if claimed == 0 {
        return;
    }
    // Between the claims and the looks for guards; pairs with the light barrier between the beginning of a guard and its
    // owner's look at the claim.
    let is_behind = heavy_barrier();
    for (_, (pins, standing)) in all.enumerate().filter(|(index, _)| claimed >> index & 1 != 0) {
        let ours = is_behind && pins.is_ours();
        if ours {
            // SAFETY: we have claimed it, and after the barrier its owner had no guards.
            unsafe { standing.take_down() };
        }
        pins.release(!ours);
    }
}

/// Takes down the pin of the current thread, which has ended all its guards or leaves the pin to them.
#[cfg(not(resumption_loom))]
pub(super) fn take_down_own(pins: &Pins, standing: &StandingPin) {
    if pins.claim() {
        let ours = pins.has_no_guards();
        if ours {
            // SAFETY: we have claimed it, and as its owner we know without a barrier that there are no guards.
            unsafe { standing.take_down() };
        }
        pins.release(!ours);
    }
}

#[cfg(all(test, not(resumption_loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    /// A thread that has one pin standing.
    fn owner(collector: &Collector) -> (Pins, StandingPin) {
        let (pins, standing) = (Pins::new(), StandingPin::new());
        pins.begin();
        // SAFETY: this is the owner, and none stands yet.
        unsafe { standing.erect(collector) };
        pins.erect();
        pins.end();
        (pins, standing)
    }

    /// Retires something, and lets the collector go on; whether it was freed meanwhile.
    fn is_freed(collector: &Collector, mut meanwhile: impl FnMut()) -> bool {
        let (other, freed) = (collector.register(), Rc::new(Cell::new(false)));
        let free = Rc::clone(&freed);
        // SAFETY: this thread alone collects, so what is freed stays on it.
        unsafe { other.pin().defer_unchecked(move || free.set(true)) };
        for _ in 0..8 {
            other.pin().flush();
            meanwhile();
        }
        freed.get()
    }

    #[test]
    fn a_pin_that_is_not_taken_down_holds_up_the_collector() {
        let collector = Collector::new();
        let (pins, standing) = owner(&collector);
        assert!(!is_freed(&collector, || {}));
        take_down_own(&pins, &standing);
        assert!(pins.has_fallen());
        assert!(is_freed(&collector, || {}));
    }

    #[test]
    fn a_pin_is_taken_down_at_the_second_look_if_its_owner_has_no_guard() {
        let collector = Collector::new();
        let (pins, standing) = owner(&collector);
        let begun = pins.begin();
        assert!(holds(begun, &pins, &standing));
        for _ in 0..3 {
            take_down(std::iter::once((&pins, &standing)));
        }
        assert!(!pins.has_fallen() && !pins.enter_again(), "it is asked to let the collector pass");
        // SAFETY: the guard is the only one.
        unsafe { standing.pass(&pins) };
        assert!(pins.enter_again());
        pins.end();
        take_down(std::iter::once((&pins, &standing)));
        assert!(!pins.has_fallen(), "it has let the collector pass since the last look");
        take_down(std::iter::once((&pins, &standing)));
        assert!(pins.has_fallen());
    }

    /// One that was begun while somebody had claimed the standing pin, and that lives on.
    #[test]
    fn a_guard_with_a_pin_of_its_own_lets_the_collector_pass_the_standing_one_too() {
        let collector = Collector::new();
        let (pins, standing) = owner(&collector);
        assert!(pins.claim());
        let begun = pins.begin();
        assert!(!holds(begun, &pins, &standing));
        let handle = collector.register();
        let mut own = handle.pin();
        assert!(!pins.is_ours());
        pins.release(true);
        // SAFETY: nothing is borrowed, and this is the owner's only guard.
        assert!(is_freed(&collector, || unsafe { pass_own(&mut own, &pins, &standing, true) }));
        // SAFETY: as above, though not said to be.
        assert!(!is_freed(&collector, || unsafe { pass_own(&mut own, &pins, &standing, false) }));
    }
}
