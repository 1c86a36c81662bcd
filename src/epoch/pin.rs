//! What holds a guard.

use super::participant::with_own_pin;
use crate::ledger::Pins;

/// What keeps the collector from passing a guard.
pub(super) enum Pin {
    /// A pin of its own.
    Own(crossbeam_epoch::Guard),
    /// The pin that stands for its thread.
    Standing(&'static Pins),
}

impl Pin {
    /// # Safety
    ///
    /// As for the collector's guard.
    pub(super) unsafe fn defer_unchecked(&self, free: impl FnOnce()) {
        match self {
            // SAFETY: the caller's promise is what crossbeam asks for.
            Self::Own(pin) => unsafe { pin.defer_unchecked(free) },
            // SAFETY: as above. The standing pin's bag would be somebody else's at times, so this goes into the thread's own.
            Self::Standing(_) => with_own_pin(|pin| unsafe { pin.defer_unchecked(free) }),
        }
    }

    pub(super) fn flush(&self) {
        match self {
            Self::Own(pin) => pin.flush(),
            Self::Standing(_) => with_own_pin(crossbeam_epoch::Guard::flush),
        }
    }
}
