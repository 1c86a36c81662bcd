//! How many guards a thread holds, and whether a pin of the collector's stands between them.
//!
//! To pin the collector takes a full barrier: the pin has to be seen by whoever frees before its owner reads. A thread that
//! pins often therefore lets one pin stand, and only writes here whether it is under a guard. Whoever frees, and finds that
//! the pin of a thread without guards holds it up, claims that pin, has the kernel put a barrier into every thread of the
//! process (`membarrier(2)`), and looks for guards again: then either it sees the guard, and leaves the pin standing, or the
//! owner sees, before it reads anything, that its pin is claimed, and pins in its own way. So the barrier is paid for by
//! those who free, once a sleeping thread, and not by every lookup.

use crate::sync::{AtomicU32, AtomicU64, Ordering, Rule, is_broken, light_barrier};

/// What is known of one thread's guards. Written by the thread, but for the states of a claim.
pub(crate) struct Pins {
    // The guards, in units of `GUARD`; `PASS` and `DUE`; and above them a number for each time under guards, in units of
    // `PIN`, in which `ROUND` is set once in so many. One word, so that making a guard looks at one.
    word: AtomicU64,
    // `FALLEN`, `STANDING` or `CLAIMED`.
    standing: AtomicU32,
    // How often the owner has let the collector pass the standing pin, and what that was when somebody last looked.
    passed: AtomicU32,
    seen: AtomicU32,
    // The number that was last noticed here by another thread, and when.
    noticed: AtomicU64,
    noticed_at: AtomicU32,
}

const GUARD: u64 = 1;
const GUARDS: u64 = PASS - 1;
/// The collector is to pass with the owner's next guard.
const PASS: u64 = 1 << 30;
/// Some were retired, or something was put away, since the owner last saw to that.
const DUE: u64 = 1 << 31;
const PIN: u64 = 1 << 32;
/// The owner has been under guards 128 times since it was last reset.
const ROUND: u64 = PIN << 7;

/// No pin stands: the owner pins for each guard.
const FALLEN: u32 = 0;
/// A pin stands. It is the owner's while it has guards that rely on it.
const STANDING: u32 = 1;
/// Somebody else looks whether the pin is in use: it is theirs, if the owner has no guards behind their barrier.
const CLAIMED: u32 = 2;

/// What a thread has to do that begins a guard.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    /// It has no other guard.
    pub(crate) first: bool,
    /// And it is time to see to what it has retired.
    pub(crate) due: bool,
    /// And the collector is to pass.
    pub(crate) pass: bool,
}

impl Pins {
    #[cfg(not(resumption_loom))]
    pub(crate) const fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            standing: AtomicU32::new(FALLEN),
            passed: AtomicU32::new(0),
            seen: AtomicU32::new(0),
            noticed: AtomicU64::new(0),
            noticed_at: AtomicU32::new(0),
        }
    }

    /// For threads without a page: nobody ever [enters](Self::enter).
    #[cfg(not(resumption_loom))]
    pub(crate) const fn closed() -> Self {
        Self { word: AtomicU64::new(DUE), ..Self::new() }
    }

    /// Begins a guard that relies on the standing pin, if it is the owner's only one and there is nothing else to do;
    /// otherwise does nothing.
    #[inline(always)]
    pub(crate) fn enter(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        if word & (GUARDS | PASS | DUE | ROUND) != 0 {
            return false;
        }
        self.word.store(word.wrapping_add(PIN + GUARD), Ordering::Relaxed);
        if self.stands() {
            return true;
        }
        self.word.store(word, Ordering::Release); // pairs with the Acquire in `has_no_guards`
        false
    }

    /// Begins a guard.
    pub(crate) fn begin(&self) -> Begun {
        let word = self.word.load(Ordering::Relaxed);
        let first = word & GUARDS == 0;
        if !first {
            self.word.store(word.wrapping_add(GUARD), Ordering::Relaxed);
            return Begun { first, due: false, pass: false };
        }
        // A second `ROUND` carries the first into the number.
        self.word.store((word & !PASS).wrapping_add(PIN + GUARD + (word & ROUND)), Ordering::Relaxed);
        Begun { first, due: word & DUE != 0, pass: word & (PASS | ROUND) != 0 }
    }

    /// Whether a guard that the owner has begun may rely on the standing pin.
    #[inline(always)]
    pub(crate) fn stands(&self) -> bool {
        // Between the guard and the look at the claim; pairs with the heavy barrier between the claim and the look for guards.
        light_barrier();
        // Acquire: pairs with the Release in `release`, so that the owner does not read for the next guards before that.
        self.standing.load(Ordering::Acquire) == STANDING
    }

    /// Ends a guard, not always the last begun.
    #[inline(always)]
    pub(crate) fn end(&self) {
        // Release: pairs with the Acquire in `has_no_guards`.
        self.word.store(self.word.load(Ordering::Relaxed).wrapping_sub(GUARD), Ordering::Release);
    }

    /// Whether the owner has no guards, as far as can be seen. Of an owner that is no more, or behind the heavy barrier
    /// after a claim, it is certain.
    pub(crate) fn has_no_guards(&self) -> bool {
        // Acquire: pairs with the Release in `end`, so that what the owner has read and written lies before this.
        self.word.load(Ordering::Acquire) & GUARDS == 0
    }

    /// Whether no pin stands, so that the owner, under a guard, may [erect](Self::erect) one.
    pub(crate) fn has_fallen(&self) -> bool {
        // Acquire: pairs with the Release in `release`, by whoever has taken the last one down.
        self.standing.load(Ordering::Acquire) == FALLEN
    }

    /// The owner has made a pin that stands from now on.
    pub(crate) fn erect(&self) {
        // Release: publishes the pin to who claims it (partner: the Acquire in `claim`).
        self.standing.store(STANDING, Ordering::Release);
    }

    /// The owner has let the collector pass the standing pin.
    #[inline]
    pub(crate) fn count_passed(&self) {
        self.passed.store(self.passed.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Whether the pin stands, though the owner has no guards and has not let the collector pass since this was last asked.
    pub(crate) fn is_left_standing(&self) -> bool {
        if self.standing.load(Ordering::Relaxed) != STANDING {
            return false;
        }
        let passed = self.passed.load(Ordering::Relaxed);
        if self.seen.load(Ordering::Relaxed) != passed {
            self.seen.store(passed, Ordering::Relaxed);
            return false;
        }
        self.word.load(Ordering::Relaxed) & GUARDS == 0
    }

    /// Claims the standing pin: `false` if there is none, or somebody else has claimed it. It is [ours](Self::is_ours) only
    /// behind a heavy barrier, and has to be [released](Self::release).
    pub(crate) fn claim(&self) -> bool {
        // Acquire: pairs with the Release in `erect`.
        self.standing.compare_exchange(STANDING, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Whether a claimed pin is the claimant's to take down. Only behind a heavy barrier after the claim, or for the owner.
    pub(crate) fn is_ours(&self) -> bool {
        is_broken(Rule::StandingLooks) || self.has_no_guards()
    }

    /// Ends a claim; whether the pin still stands.
    pub(crate) fn release(&self, stands: bool) {
        // Release: whoever sees it finds the pin as we leave it (partners: the Acquire in `has_fallen`, `stands`, `claim`).
        self.standing.store(if stands { STANDING } else { FALLEN }, Ordering::Release);
    }

    /// The owner lets the collector pass with its next guard.
    pub(crate) fn pass_soon(&self) {
        self.word.store(self.word.load(Ordering::Relaxed) | PASS, Ordering::Relaxed);
    }

    /// The owner has something to see to, with its next guard.
    pub(crate) fn set_due(&self) {
        self.word.store(self.word.load(Ordering::Relaxed) | DUE, Ordering::Relaxed);
    }

    /// Whether it has.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.word.load(Ordering::Relaxed) & DUE != 0
    }

    /// The owner sees to it.
    pub(crate) fn clear_due(&self) {
        self.word.store(self.word.load(Ordering::Relaxed) & !DUE, Ordering::Relaxed);
    }

    /// The owner has repinned a guard; whether it has no other, so that this counts.
    #[inline]
    pub(crate) fn repin(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let sole = word & GUARDS == GUARD;
        if sole {
            self.word.store(word.wrapping_add(PIN), Ordering::Relaxed);
        }
        sole
    }

    /// For how long the owner is known to be under its present pin.
    pub(crate) fn held_for(&self, now: u32) -> u32 {
        let word = self.word.load(Ordering::Relaxed);
        if word & GUARDS == 0 {
            return 0;
        }
        let number = word / PIN;
        if self.noticed.swap(number, Ordering::Relaxed) != number {
            self.noticed_at.store(now, Ordering::Relaxed);
            return 0;
        }
        now.saturating_sub(self.noticed_at.load(Ordering::Relaxed))
    }
}
