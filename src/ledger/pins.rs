//! How many guards a thread holds, and whether a pin of the collector's stands between them.
//!
//! To pin the collector takes a full barrier: the pin has to be seen by whoever frees before its owner reads. A thread that
//! pins often therefore lets one pin stand, and only writes here whether it is under a guard. Whoever frees, and finds that
//! the pin of a thread without guards holds it up, claims that pin, has the kernel put a barrier into every thread of the
//! process (`membarrier(2)`), and looks for guards again: then either it sees the guard, and leaves the pin standing, or the
//! owner sees, before it reads anything, that its pin is claimed, and pins in its own way. So the barrier is paid for by
//! those who free, once a sleeping thread, and not by every lookup.

use crate::sync::{AtomicU32, AtomicU64, Ordering, Rule, is_broken, light_barrier};
use std::process;

/// What is known of one thread's guards. Written by the thread, but for the states of a claim.
pub(crate) struct Pins {
    // The guards, in units of `GUARD`; `PASS` and `DUE`; and above them a number for each time under guards, in units of
    // `PIN`, in which `ROUND` is set once in so many. One word, so that making a guard looks at one.
    word: AtomicU64,
    // `FALLEN`, `STANDING`, `ASKED` or `CLAIMED`.
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
/// The owner has been under guards so often since it was last reset.
const ROUND: u64 = PIN * super::ROUND as u64;

/// No pin stands: the owner pins for each guard.
const FALLEN: u32 = 0;
/// A pin stands. It is the owner's while it has guards that rely on it.
const STANDING: u32 = 1;
/// A pin stands, and somebody asks the owner to let the collector pass it.
const ASKED: u32 = 2;
/// Somebody else looks whether the pin is in use: it is theirs, if the owner has no guards behind their barrier.
const CLAIMED: u32 = 3;

/// What a thread has to do that begins a guard.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    /// It has no other guard.
    pub(crate) first: bool,
    /// And it is time to see to what it has retired.
    pub(crate) due: bool,
    /// And it has been under guards so often that a pin should stand, and the collector be let do something.
    pub(crate) round: bool,
}

/// loom's atomics are not made by constant functions.
macro_rules! new_pins {
    () => {
        Self {
            word: AtomicU64::new(0),
            standing: AtomicU32::new(FALLEN),
            passed: AtomicU32::new(0),
            seen: AtomicU32::new(0),
            noticed: AtomicU64::new(0),
            noticed_at: AtomicU32::new(0),
        }
    };
}

impl Pins {
    #[cfg(not(resumption_loom))]
    pub(crate) const fn new() -> Self {
        new_pins!()
    }

    #[cfg(resumption_loom)]
    pub(crate) fn new() -> Self {
        new_pins!()
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
        if self.look() == STANDING {
            return true;
        }
        self.word.store(word, Ordering::Release); // pairs with the Acquire in `has_no_guards`
        false
    }

    /// Begins a guard.
    ///
    /// Aborts the process with 500 million guards, most of them forgotten: of more it could not be said that there are any.
    pub(crate) fn begin(&self) -> Begun {
        let word = self.word.load(Ordering::Relaxed);
        if word & GUARDS != 0 {
            if word & GUARDS > GUARDS / 2 {
                process::abort();
            }
            self.word.store(word.wrapping_add(GUARD), Ordering::Relaxed);
            return Begun { first: false, due: false, round: false };
        }
        // A second `ROUND` carries the first into the number.
        self.word.store((word & !PASS).wrapping_add(PIN + GUARD + (word & ROUND)), Ordering::Relaxed);
        Begun { first: true, due: word & DUE != 0, round: word & ROUND != 0 }
    }

    /// Begins the owner's only guard anew, if it relies on the standing pin, and there is nothing else to do; otherwise does
    /// nothing.
    #[inline(always)]
    pub(crate) fn enter_again(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        if word & (GUARDS | PASS | DUE | ROUND) != GUARD || self.standing.load(Ordering::Relaxed) != STANDING
        {
            return false;
        }
        self.word.store(word.wrapping_add(PIN), Ordering::Relaxed);
        true
    }

    /// Begins a guard anew, which counts if it is the owner's only one.
    #[cfg(not(resumption_loom))]
    pub(crate) fn begin_again(&self) -> Begun {
        let word = self.word.load(Ordering::Relaxed);
        let (first, due) = (word & GUARDS == GUARD, word & DUE != 0);
        if first {
            self.word.store((word & !PASS).wrapping_add(PIN + (word & ROUND)), Ordering::Relaxed);
        }
        Begun { first, due, round: first && word & ROUND != 0 }
    }

    /// Whether a guard that the owner has begun may rely on the standing pin.
    #[inline]
    pub(crate) fn stands(&self) -> bool {
        matches!(self.look(), STANDING | ASKED)
    }

    #[inline(always)]
    fn look(&self) -> u32 {
        // Between the guard and the look at the claim; pairs with the heavy barrier between the claim and the look for guards.
        light_barrier();
        // Relaxed: a claimant who leaves the pin standing has not touched it.
        self.standing.load(Ordering::Relaxed)
    }

    /// Ends a guard, not always the last begun.
    #[inline(always)]
    pub(crate) fn end(&self) {
        let word = self.word.load(Ordering::Relaxed);
        // Release: pairs with the Acquire in `has_no_guards`.
        self.word.store(word.wrapping_sub(GUARD), Ordering::Release);
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
        // Relaxed: who claims it looks for guards before touching it, and sees the one that this is done under until it ends.
        self.standing.store(STANDING, Ordering::Relaxed);
    }

    /// The owner has let the collector pass the standing pin.
    pub(crate) fn count_passed(&self) {
        self.passed.store(self.passed.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        if self.standing.load(Ordering::Relaxed) == ASKED {
            // Who has claimed it meanwhile asks again, which does no harm.
            let _ = self.standing.compare_exchange(ASKED, STANDING, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Asks the owner to let the collector pass the standing pin, if it has guards; or claims it, if it has none and has not let
    /// the collector pass since this was last called. Whether it is claimed: it is [ours](Self::is_ours) only behind a heavy
    /// barrier, and has to be [released](Self::release).
    pub(crate) fn claim_if_left(&self) -> bool {
        if !self.is_standing() {
            return false;
        }
        let passed = self.passed.load(Ordering::Relaxed);
        let is_left = self.seen.swap(passed, Ordering::Relaxed) == passed;
        if self.word.load(Ordering::Relaxed) & GUARDS == 0 {
            return is_left && self.claim();
        }
        let _ = self.standing.compare_exchange(STANDING, ASKED, Ordering::Relaxed, Ordering::Relaxed);
        false
    }

    /// Whether a pin stands that nobody has claimed.
    pub(crate) fn is_standing(&self) -> bool {
        matches!(self.standing.load(Ordering::Relaxed), STANDING | ASKED)
    }

    /// Claims the standing pin: `false` if there is none, or somebody else has claimed it.
    pub(crate) fn claim(&self) -> bool {
        [STANDING, ASKED].into_iter().any(|from| {
            // Relaxed: as in `erect`.
            self.standing.compare_exchange(from, CLAIMED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        })
    }

    /// Whether a claimed pin is the claimant's to take down. Only behind a heavy barrier after the claim, or for the owner.
    pub(crate) fn is_ours(&self) -> bool {
        is_broken(Rule::StandingLooks) || self.has_no_guards()
    }

    /// Ends a claim; whether the pin still stands.
    pub(crate) fn release(&self, stands: bool) {
        // Release: the owner finds the pin as we leave it (partner: the Acquire in `has_fallen`).
        self.standing.store(if stands { ASKED } else { FALLEN }, Ordering::Release);
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
    pub(crate) fn is_due(&self) -> bool {
        self.word.load(Ordering::Relaxed) & DUE != 0
    }

    /// The owner sees to it.
    pub(crate) fn clear_due(&self) {
        self.word.store(self.word.load(Ordering::Relaxed) & !DUE, Ordering::Relaxed);
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

#[cfg(all(test, not(resumption_loom)))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_guard_that_outlives_an_older_one_counts_from_when_it_was_noticed() {
        let pins = Pins::new();
        pins.begin();
        pins.begin();
        assert_eq!(pins.held_for(10), 0);
        pins.end();
        assert_eq!(pins.held_for(15), 5);
        assert!(pins.begin_again().first);
        assert_eq!(pins.held_for(17), 0);
        assert_eq!(pins.held_for(18), 1);
        pins.begin();
        assert!(!pins.begin_again().first);
        assert_eq!(pins.held_for(19), 2, "the older guard still stands");
        pins.end();
        pins.end();
        assert_eq!(pins.held_for(20), 0);
        pins.begin();
        assert_eq!(pins.held_for(30), 0, "another pin");
    }

    #[test]
    fn a_round_is_over_after_so_many_guards() {
        let pins = Pins::new();
        for n in 1..=3 * super::super::ROUND {
            assert!(!pins.enter(), "none stands");
            let begun = pins.begin();
            assert!(begun.first && !begun.due);
            assert_eq!(begun.round, n > 1 && n % super::super::ROUND == 1, "guard {n}");
            let nested = pins.begin();
            assert!(!nested.first && !nested.round);
            pins.end();
            pins.end();
        }
    }

    #[test]
    fn who_relies_on_the_standing_pin_looks_again_when_there_is_something_to_see_to() {
        let pins = Pins::new();
        pins.erect();
        assert!(pins.enter());
        assert!(!pins.enter(), "a guard that is not the only one");
        assert!(pins.enter_again());
        for set in [Pins::set_due, Pins::pass_soon] {
            set(&pins);
            assert!(!pins.enter_again());
            pins.end();
            assert!(!pins.enter());
            pins.clear_due();
            pins.begin();
            assert!(pins.enter_again());
        }
        pins.end();
        assert!(pins.claim() && !pins.enter() && pins.has_no_guards());
        pins.release(true);
        assert!(!pins.enter() && pins.stands(), "it is asked to let the collector pass");
        pins.count_passed();
        assert!(pins.enter());
    }

    #[test]
    fn a_guard_too_many_ends_the_process() {
        let tests = std::env::current_exe().expect("this program");
        let this = [
            "--exact",
            "--ignored",
            "ledger::pins::tests::half_as_many_guards_as_can_be_counted_and_one_more",
        ];
        let run = Command::new(tests).args(this).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(!run.expect("it runs").success());
    }

    #[test]
    #[ignore = "ends the process: `a_guard_too_many_ends_the_process` runs it"]
    fn half_as_many_guards_as_can_be_counted_and_one_more() {
        let pins = Pins { word: AtomicU64::new(GUARDS / 2), ..Pins::new() };
        pins.begin();
        pins.begin();
    }
}
