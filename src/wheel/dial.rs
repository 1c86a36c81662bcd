//! The dial: the wheel's tick, and whether a driver is at work. One word, so that both are always of one moment.

use crate::sync::{AtomicU64, Ordering, Rule, is_broken};

/// A driver is at work.
const DRIVEN: u64 = 1;
/// Slots that opened at the tick or before have yet to be emptied.
const UNSETTLED: u64 = 2;
const TICK_SHIFT: u32 = 2;

/// The wheel's tick in the high bits, and two flags.
pub(super) struct Dial(AtomicU64);

/// What came of the attempt to become the driver.
pub(super) enum Start {
    /// The caller is the driver, and the tick moved.
    Driver { from: u32, to: u32 },
    /// There is nothing to do.
    Settled,
    /// Somebody else is the driver.
    Busy,
}

#[inline]
fn tick_of(word: u64) -> u32 {
    (word >> TICK_SHIFT) as u32
}

fn with_tick(word: u64, tick: u32) -> u64 {
    (u64::from(tick) << TICK_SHIFT) | (word & (DRIVEN | UNSETTLED))
}

impl Dial {
    pub(super) fn new(tick: u32) -> Self {
        Self(AtomicU64::new(with_tick(0, tick)))
    }

    /// The tick up to which slots have been opened.
    #[inline]
    pub(super) fn tick(&self) -> u32 {
        tick_of(self.0.load(Ordering::Relaxed))
    }

    /// The same, in the single order of sequentially consistent accesses and fences.
    #[inline]
    pub(super) fn tick_in_order(&self) -> u32 {
        // SeqCst: pairs with fence M.
        tick_of(self.0.load(Ordering::SeqCst))
    }

    /// Whether every slot that opened up to the tick has been emptied.
    pub(super) fn is_settled(&self) -> bool {
        self.0.load(Ordering::Relaxed) & UNSETTLED == 0
    }

    /// Makes the caller the driver and moves the tick on to `now`, unless there is nothing to do or another driver.
    #[inline]
    pub(super) fn start(&self, now: u32) -> Start {
        // Acquire: pairs with the Release in `stop`: who finds the wheel settled sees what the visits did.
        let mut seen = self.0.load(Ordering::Acquire);
        loop {
            if seen & DRIVEN != 0 && !is_broken(Rule::OneDriver) {
                return Start::Busy;
            }
            let tick = tick_of(seen);
            if tick >= now && (seen & UNSETTLED == 0 || is_broken(Rule::Settled)) {
                return Start::Settled;
            }
            let to = tick.max(now);
            let driven = with_tick(DRIVEN | UNSETTLED, to);
            // Acquire: pairs with the Release in `stop`: the last driver's backlog is now ours.
            match self.0.compare_exchange(seen, driven, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Start::Driver { from: tick, to },
                Err(other) => seen = other,
            }
        }
    }

    /// Ends the caller's turn as driver.
    pub(super) fn stop(&self, settled: bool) {
        let flags = if settled { DRIVEN | UNSETTLED } else { DRIVEN };
        if is_broken(Rule::StopReleases) {
            self.0.fetch_and(!flags, Ordering::Relaxed);
            return;
        }
        // Release: pairs with the Acquires in `start`. A tick that was set back in between is kept: that too is a
        // read-modify-write, so it carries the Release on.
        self.0.fetch_and(!flags, Ordering::Release);
    }

    /// Sets the tick back to `tick` if it is later.
    #[cold]
    pub(super) fn set_back(&self, tick: u32) {
        let mut seen = self.0.load(Ordering::Relaxed);
        while tick_of(seen) > tick {
            let back = with_tick(seen, tick);
            if is_broken(Rule::SetBackSwaps) {
                return self.0.store(back, Ordering::Relaxed);
            }
            match self.0.compare_exchange(seen, back, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }
}
