//! Pins that stand between the guards of a thread.

use crate::ledger::Pins;
#[cfg(not(resumption_loom))]
use crate::ledger::{self, PAGES};
use crate::sync::{Accesses, heavy_barrier};
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

    /// Lets the collector pass.
    ///
    /// # Safety
    ///
    /// Only for the owner, under a guard that relies on this pin, without another such and without a borrow.
    #[inline]
    pub(super) unsafe fn pass(&self) {
        // SAFETY: a pin with a guard that relies on it is never taken down, so the owner is alone.
        let place = unsafe { &mut *self.place() };
        if let Some(pin) = &mut place.pin {
            pin.repin();
        }
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
