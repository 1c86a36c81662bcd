//! Advancing: one driver at a time opens the slots whose time has come, a little with every call.

use super::backlog::Cursor;
use super::bits::Bits;
use super::dial::Start;
use super::wheel::{Scheduled, Wheel};
use crate::sync::{AtomicU64, Ordering, Rule, is_broken};

/// Words that a step of the budget pays for: eight cache lines in a row cost about what the line of one entry costs.
const WORDS_PER_STEP: usize = 64;

/// Visits that are announced at once.
const AHEAD: usize = 16;

/// Words that are looked over for visits to announce.
const WORDS_AHEAD: usize = 512;

/// What visits usually cost: the entries of two buckets.
const STEPS_PER_VISIT: usize = 8;

/// How far a call of [`Wheel::advance`] got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Progress {
    /// Everything that was scheduled before the call and is dead at its `now` has been visited.
    Done,
    /// The budget was spent; the next call goes on from here.
    More,
    /// Another thread is at it.
    Busy,
}

/// An interval of hashes: the first and the last.
pub(crate) type Hashes = (u64, u64);

/// What a visitor needs to file again what it found alive.
pub(crate) struct Opening<'w> {
    wheel: &'w Wheel,
    now: u32,
}

impl Opening<'_> {
    /// Files an entry that the visitor of `hashes` found. As [`Wheel::schedule`] with the `now` of the advance, and much cheaper:
    /// nobody opens a slot while a visitor runs, so nothing has to be confirmed.
    #[inline]
    pub(crate) fn refile(&self, hashes: Hashes, hash: impl FnOnce() -> u64, death: u32) -> Scheduled {
        self.wheel.refile(hashes, hash, death, self.now)
    }
}

impl Wheel {
    /// Moves the wheel on to `now` and calls `visit` with the hashes, first and last, whose entries may be dead. Never
    /// waits: of several threads one is the driver and the others go on.
    ///
    /// The visitor removes what is dead at `now`, [files](Opening::refile) **every** other entry that it finds between
    /// these hashes under the instant at which it now dies, and returns what that cost, say one for each entry. A call
    /// ends when its `budget` is spent: 64 words of a slot cost one (a word is 64 partitions, or 512 above level 0), a
    /// visit what it returns. The last visit may overdraw.
    ///
    /// A `now` before the tick does not turn the wheel back (see [`Wheel::schedule`]); what is left of earlier calls is
    /// worked on all the same.
    ///
    /// When `visit` panics the wheel stays usable, and the next driver visits the same hashes again.
    ///
    /// `announce` is told of some visits before they come, so that their memory can be loaded meanwhile.
    #[inline]
    pub(crate) fn advance(
        &self,
        now: u32,
        budget: usize,
        announce: impl Fn(&[Hashes]),
        visit: impl FnMut(&Opening<'_>, u64, u64) -> usize,
    ) -> Progress {
        match self.dial.start(now) {
            Start::Busy => Progress::Busy,
            Start::Settled => Progress::Done,
            Start::Driver { from, to } => self.drive((from, to), now, budget, announce, visit),
        }
    }

    #[cold]
    fn drive(
        &self,
        (from, to): (u32, u32),
        now: u32,
        budget: usize,
        announce: impl Fn(&[Hashes]),
        mut visit: impl FnMut(&Opening<'_>, u64, u64) -> usize,
    ) -> Progress {
        let credit = budget.saturating_mul(WORDS_PER_STEP);
        let mut turn = Turn { wheel: self, opening: Opening { wheel: self, now }, credit, announced: 0 };
        if from < to {
            // M. The tick was moved before, the gates are looked at after. Pairs with S.
            super::fence_for(Rule::TickFence);
            self.backlog.add(from, to);
        }
        while turn.credit > 0 {
            match self.backlog.cursor() {
                Some(cursor) => turn.go_on(cursor, &announce, &mut visit),
                None if !turn.open_next() => break,
                None => {}
            }
        }
        if self.backlog.is_empty() { Progress::Done } else { Progress::More }
    }
}

/// The time as the driver, which ends however the driver's function does.
struct Turn<'w> {
    wheel: &'w Wheel,
    opening: Opening<'w>,
    /// What is left of the budget, in words.
    credit: usize,
    /// Visits to come that were announced.
    announced: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.wheel.dial.stop(self.wheel.backlog.is_empty());
    }
}

impl Turn<'_> {
    fn pay(&mut self, words: usize) {
        self.credit = self.credit.saturating_sub(words);
    }

    /// Opens the next slot that has anything in it. `false` when none is left.
    fn open_next(&mut self) -> bool {
        let wheel = self.wheel;
        let Some(slot) = wheel.backlog.next_slot() else { return false };
        self.pay(1);
        let gate = &wheel.gates[slot.number()];
        if !(if is_broken(Rule::OpenFirst) { gate.is_armed() } else { gate.open() }) {
            return true;
        }
        // O. The gate was opened before, the words are looked at after. Pairs with S.
        super::fence_for(Rule::GateFence);
        wheel.backlog.set_cursor(Some(Cursor::first(slot)));
        true
    }

    /// Visits one bit that was taken, or takes the next word that has any, or closes the slot.
    fn go_on(
        &mut self,
        cursor: Cursor,
        announce: &impl Fn(&[Hashes]),
        visit: &mut impl FnMut(&Opening<'_>, u64, u64) -> usize,
    ) {
        let wheel = self.wheel;
        let Some(bits) = wheel.generation(cursor.generation) else {
            wheel.backlog.set_cursor(None);
            if is_broken(Rule::OpenFirst) {
                wheel.gates[cursor.slot.number()].open();
            }
            wheel.gates[cursor.slot.number()].close();
            return;
        };
        let taken = wheel.backlog.bits();
        if taken != 0 {
            if self.announced == 0 {
                self.announced = self.look_ahead(bits, cursor, taken, announce);
            }
            self.announced -= 1;
            let (first, last) = bits.interval(cursor.slot, cursor.word - 1, taken.trailing_zeros());
            let cost = visit(&self.opening, first, last);
            wheel.backlog.set_bits(taken & (taken - 1));
            self.pay(cost.saturating_mul(WORDS_PER_STEP));
            return;
        }
        let left = &bits.words(cursor.slot)[cursor.word..];
        if left.is_empty() {
            wheel.backlog.set_cursor(Some(Cursor { generation: cursor.generation + 1, word: 0, ..cursor }));
            return;
        }
        let looked_at = self.take_word(left);
        wheel.backlog.set_cursor(Some(Cursor { word: cursor.word + looked_at, ..cursor }));
        self.pay(looked_at);
    }

    /// Announces the next visits, as far as they can be seen and will be paid for. Returns how many, at least one.
    fn look_ahead(&self, bits: &Bits, cursor: Cursor, taken: u64, announce: &impl Fn(&[Hashes])) -> usize {
        let most = (self.credit / (STEPS_PER_VISIT * WORDS_PER_STEP)).min(AHEAD);
        if most < 2 {
            return 1;
        }
        let mut ahead = [(0, 0); AHEAD];
        let mut count = 0;
        let behind = bits.words(cursor.slot)[cursor.word..].iter().take(WORDS_AHEAD);
        let words = std::iter::once(taken).chain(behind.map(|word| word.load(Ordering::Relaxed)));
        'words: for (word, mut left) in (cursor.word - 1..).zip(words) {
            while left != 0 {
                if count == most {
                    break 'words;
                }
                ahead[count] = bits.interval(cursor.slot, word, left.trailing_zeros());
                count += 1;
                left &= left - 1;
            }
        }
        announce(&ahead[..count]);
        count
    }

    /// Looks at words until one has bits or the credit is spent, and takes those. Returns how many were looked at.
    fn take_word(&self, words: &[AtomicU64]) -> usize {
        let words = &words[..words.len().min(self.credit)];
        let Some(at) = words.iter().position(|word| word.load(Ordering::Relaxed) != 0) else {
            return words.len();
        };
        let taken = if is_broken(Rule::TakeSwaps) {
            let taken = words[at].load(Ordering::Relaxed);
            words[at].store(0, Ordering::Relaxed);
            taken
        } else {
            words[at].swap(0, Ordering::Relaxed)
        };
        self.wheel.backlog.set_bits(taken);
        // T. The bits were taken before, the entries are looked at after. Pairs with S and E.
        super::fence_for(Rule::TakeFence);
        at + 1
    }
}
