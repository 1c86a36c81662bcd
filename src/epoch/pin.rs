//! What holds a guard.

use super::participant::with_own_pin;
use super::standing;
use crate::ledger::{self, Pins};
use std::mem::MaybeUninit;

/// What keeps the collector from passing a guard: the pin that stands for its thread, or one of its own.
//
// Not an enum: that would write a third word for every guard.
pub(super) struct Pin {
    standing: Option<&'static Pins>,
    // There if none is standing.
    own: MaybeUninit<crossbeam_epoch::Guard>,
}

impl Pin {
    /// The standing pin, which these have begun a guard for.
    #[inline(always)]
    pub(super) fn standing(pins: &'static Pins) -> Self {
        Self { standing: Some(pins), own: MaybeUninit::uninit() }
    }

    pub(super) fn own(pin: crossbeam_epoch::Guard) -> Self {
        Self { standing: None, own: MaybeUninit::new(pin) }
    }

    /// # Safety
    ///
    /// As for the collector's guard.
    pub(super) unsafe fn defer_unchecked(&self, free: impl FnOnce()) {
        // SAFETY: the caller's promise is what crossbeam asks for.
        self.with_own(|pin| unsafe { pin.defer_unchecked(free) });
    }

    pub(super) fn flush(&self) {
        self.with_own(crossbeam_epoch::Guard::flush);
    }

    /// Calls `call` with a pin of the thread's own, which has a bag: that of the standing pin is somebody else's at times.
    fn with_own<R>(&self, call: impl FnOnce(&crossbeam_epoch::Guard) -> R) -> R {
        if self.standing.is_some() {
            return with_own_pin(call);
        }
        // SAFETY: it is there, since none is standing.
        call(unsafe { self.own.assume_init_ref() })
    }

    /// Begins the guard that this holds anew, if there is no more to do than that.
    #[inline(always)]
    pub(super) fn enter_again(&mut self) -> bool {
        self.standing.is_some_and(Pins::enter_again)
    }

    /// Lets the collector pass, unless the guard that this holds is not the only one of its thread, which has this index.
    ///
    /// # Safety
    ///
    /// Nothing is borrowed under that guard, and `sole` is true only if it is the only one.
    pub(super) unsafe fn pass(&mut self, sole: bool, thread: usize) {
        let both = ledger::page(thread).map(|page| &page.pins).zip(standing::of(thread));
        match (self.standing, both) {
            // SAFETY: there is one of its own, since none is standing; the rest by the caller.
            (None, Some((pins, standing))) => unsafe {
                standing::pass_own(self.own.assume_init_mut(), pins, standing, sole);
            },
            // SAFETY: as above.
            (None, None) => unsafe { self.own.assume_init_mut() }.repin(),
            // SAFETY: the guard is the only one and relies on this pin; by the caller nothing is borrowed.
            (Some(_), Some((pins, standing))) if sole => unsafe { standing.pass(pins) },
            (Some(_), _) => {}
        }
    }

    /// Ends the guard of the thread with this index that this holds.
    #[inline(always)]
    pub(super) fn end(&mut self, thread: usize) {
        match self.standing {
            Some(pins) => pins.end(),
            None => self.end_own(thread),
        }
    }

    #[inline(never)]
    fn end_own(&mut self, thread: usize) {
        if let Some(page) = ledger::page(thread) {
            page.pins.end();
        }
        // SAFETY: as in `with_own`; called once, when the guard is dropped.
        unsafe { self.own.assume_init_drop() };
    }
}
