//! The gate of a slot: whether anything is filed in it, and whether a driver is emptying it.

use crate::sync::{AtomicU64, Ordering, Rule, is_broken};

/// What is filed in the slot is to be found when the slot opens.
const ARMED: u64 = 1;
/// A driver is emptying the slot.
const OPEN: u64 = 2;
const OPENED_SHIFT: u32 = 2;

/// A count of the times the slot was opened, and two flags.
///
/// | from | to | by |
/// |---|---|---|
/// | not armed | armed | a scheduler, before it sets its bit |
/// | armed, closed | open, not armed, count + 1 | the driver, before it looks at the words |
/// | open | closed | the driver, when all words were looked at and all bits visited |
///
/// A scheduler that finds the same count before it set its bit and after knows that the slot was not opened
/// in between.
pub(super) struct Gate(AtomicU64);

/// A gate as a scheduler armed it.
#[derive(Clone, Copy)]
pub(super) struct Armed(u64);

impl Armed {
    /// Whether a driver is emptying the slot, so that a bit in it may be about to be taken.
    #[inline]
    pub(super) fn is_open(self) -> bool {
        self.0 & OPEN != 0
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Arms the gate if it is not.
    #[inline]
    pub(super) fn arm(&self) -> Armed {
        // SeqCst: pairs with fence M; its Acquire half with the Release in `close`. Who finds the slot closed sees none of
        // the bits that were taken while it was open.
        let seen = self.0.load(Ordering::SeqCst);
        if seen & ARMED != 0 {
            return Armed(seen);
        }
        // SeqCst: as above, pairs with fence M and `close`.
        Armed(self.0.fetch_or(ARMED, Ordering::SeqCst) | ARMED)
    }

    /// Whether the slot has not been opened since it was armed.
    #[inline]
    pub(super) fn is_still(&self, armed: Armed) -> bool {
        // SeqCst: pairs with fences O and T.
        (self.0.load(Ordering::SeqCst) ^ armed.0) & !OPEN == 0
    }

    /// Whether the slot is to be opened when its time comes.
    pub(super) fn is_armed(&self) -> bool {
        self.0.load(Ordering::Relaxed) & ARMED != 0
    }

    /// Opens the gate if it is armed. For the driver, which has no other slot open.
    pub(super) fn open(&self) -> bool {
        let seen = self.0.load(Ordering::Relaxed);
        debug_assert!(seen & OPEN == 0);
        if seen & ARMED == 0 {
            return false;
        }
        // Nobody else changes a gate that is armed. Still a read-modify-write like all other changes of it, so that the
        // Release in `close` carries on.
        self.0.swap((((seen >> OPENED_SHIFT) + 1) << OPENED_SHIFT) | OPEN, Ordering::Relaxed);
        true
    }

    /// Closes the gate again.
    pub(super) fn close(&self) {
        if is_broken(Rule::CloseReleases) {
            self.0.fetch_and(!OPEN, Ordering::Relaxed);
            return;
        }
        // Release: pairs with the Acquire in `arm`.
        self.0.fetch_and(!OPEN, Ordering::Release);
    }
}
