//! The wheel: file an entry under the instant of its death.

use super::advance::Hashes;
use super::backlog::Backlog;
use super::bits::Bits;
use super::dial::Dial;
use super::gate::{Armed, Gate};
use super::level::{COUNT, Slot};
use crate::sync::{AtomicUsize, Ordering, Rule, fence_in_models, is_broken};
use crossbeam_utils::CachePadded;
use once_cell::race::OnceBox;

/// Divisions of the hashes besides the first: each is at least four times as fine as the one before.
const LATER: usize = 17;

/// How many times as fine a new division must be.
const GROWTH: usize = 4;

/// When what dies: see the [module](super).
pub(crate) struct Wheel {
    pub(super) dial: CachePadded<Dial>,
    pub(super) backlog: CachePadded<Backlog>,
    pub(super) gates: [Gate; COUNT],
    first: Bits,
    later: [OnceBox<Bits>; LATER],
    /// How many of `later` are in use.
    grown: AtomicUsize,
}

/// What became of a request to file an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Scheduled {
    /// It will be visited in time.
    Filed,
    /// It is dead already: the caller removes it.
    Due,
}

/// The memory for a wheel could not be had.
#[derive(Debug)]
pub(crate) struct OutOfMemory {
    pub(crate) bytes: usize,
}

/// The tick at which what expires at second `expiry` is dead: the one after. `u32::MAX`, which does not come, for what
/// does not expire.
pub(crate) fn death(expiry: u32) -> u32 {
    expiry.saturating_add(1)
}

impl Wheel {
    /// An empty wheel at tick `now` that tells `partitions` parts of the hashes apart, at least one. All memory it
    /// needs, 12 bytes a partition, is allocated here and in [`grow`](Self::grow).
    pub(crate) fn new(partitions: usize, now: u32) -> Result<Self, OutOfMemory> {
        let first = Bits::new(partitions).ok_or(OutOfMemory { bytes: Bits::bytes(partitions) })?;
        Ok(Self {
            dial: CachePadded::new(Dial::new(now)),
            backlog: CachePadded::new(Backlog::new()),
            gates: std::array::from_fn(|_| Gate::new()),
            first,
            later: [const { OnceBox::new() }; LATER],
            grown: AtomicUsize::new(0),
        })
    }

    /// Sees to it that the hashes around `hash` are visited when tick `death` has come. Called when the entry is in
    /// the table, or when its expiry was changed; an entry that leaves the table needs nothing.
    ///
    /// `now` is the caller's time. [`Due`](Scheduled::Due) if the entry is dead by then, so nothing was filed.
    /// What dies at `u32::MAX` is never visited.
    ///
    /// When `now` is before the wheel's tick, because the clock was set back or because another thread has read it
    /// since, and the entry dies in between, the tick is set back as far as the entry needs it.
    #[inline]
    pub(crate) fn schedule(&self, hash: u64, death: u32, now: u32) -> Scheduled {
        if death <= now {
            return Scheduled::Due;
        }
        if death == u32::MAX {
            return Scheduled::Filed;
        }
        loop {
            let (slot, armed) = self.arm(death);
            if armed.is_open() {
                // E. The entry was put before; a bit that is about to be taken is seen after. Pairs with T.
                super::fence_for(Rule::OpenFence);
            }
            self.newest().mark(slot, hash).set();
            // S. Put, armed and marked before; gate and tick are looked at again after. Pairs with M, O and T.
            if !is_broken(Rule::MarkFence) {
                fence_in_models();
            }
            let still = self.gates[slot.number()].is_still(armed) || is_broken(Rule::ConfirmGate);
            let ahead = self.dial.tick_in_order() < slot.opens_for(death) || is_broken(Rule::ConfirmTick);
            if still && ahead {
                return Scheduled::Filed;
            }
        }
    }

    /// As `schedule`, for a visitor of these hashes. Most slots do not tell them apart; `hash` is asked for where one does.
    #[inline]
    pub(super) fn refile(
        &self,
        (first, last): Hashes,
        hash: impl FnOnce() -> u64,
        death: u32,
        now: u32,
    ) -> Scheduled {
        if death <= now {
            return Scheduled::Due;
        }
        if death < u32::MAX {
            let (slot, _) = self.arm(death);
            let bits = self.newest();
            let mark = bits.mark(slot, first);
            if mark == bits.mark(slot, last) { mark } else { bits.mark(slot, hash()) }.set();
        }
        Scheduled::Filed
    }

    /// Chooses the slot for `death` and arms its gate.
    #[inline]
    fn arm(&self, death: u32) -> (Slot, Armed) {
        let mut tick = self.dial.tick();
        while tick >= death {
            self.dial.set_back(death - 1);
            tick = self.dial.tick();
        }
        let slot = Slot::of(death, tick);
        (slot, self.gates[slot.number()].arm())
    }

    /// Tells `partitions` parts of the hashes apart from now on, if that is at least four times as many as before and
    /// there is memory for it; `false` otherwise. What was filed before stays where it is, so it is visited with
    /// more of its neighbours than need be.
    pub(crate) fn grow(&self, partitions: usize) -> bool {
        let grown = self.generations() - 1;
        if grown == LATER || partitions / GROWTH < self.newest().partitions() {
            return false;
        }
        // Of two threads that grow at once one is too late: the other's division will do.
        let added = Bits::new(partitions).is_some_and(|bits| self.later[grown].set(Box::new(bits)).is_ok());
        if added {
            // Release: pairs with the Acquire in `generations`.
            self.grown.store(grown + 1, Ordering::Release);
        }
        added
    }

    /// How many divisions there are.
    #[inline]
    fn generations(&self) -> usize {
        // SeqCst: pairs with fence O, behind which the driver looks for what is marked in; its Acquire half with the Release
        // in `grow`, so that the newest division is there.
        self.grown.load(Ordering::SeqCst) + 1
    }

    /// The division of this age, the oldest first.
    #[inline]
    pub(super) fn generation(&self, age: usize) -> Option<&Bits> {
        match age {
            age if age >= self.generations() => None,
            0 => Some(&self.first),
            age => self.later[age - 1].get(),
        }
    }

    /// The division to file in. (Any would do.)
    #[inline]
    fn newest(&self) -> &Bits {
        self.generation(self.generations() - 1).unwrap_or(&self.first)
    }

    /// The tick up to which slots have been opened, if not yet emptied.
    #[cfg(test)]
    pub(crate) fn position(&self) -> u32 {
        self.dial.tick()
    }

    /// Parts of the hashes that are told apart.
    pub(crate) fn partitions(&self) -> usize {
        self.newest().partitions()
    }

    /// Bytes that the wheel takes, itself included.
    pub(crate) fn memory(&self) -> usize {
        let bits = (0..).map_while(|age| self.generation(age));
        size_of::<Self>() + bits.map(|bits| Bits::bytes(bits.partitions()) + size_of::<Bits>()).sum::<usize>()
    }

    /// The next tick at which [`advance`](Self::advance) has something to do: `now`, the caller's time, while it is not
    /// done, `None` while nothing is filed. What other threads file meanwhile may be earlier.
    pub(crate) fn next_due(&self, now: u32) -> Option<u32> {
        if !self.dial.is_settled() {
            // The tick may be ahead of a clock that was set back.
            return Some(now);
        }
        let tick = self.dial.tick();
        let filed = (0..COUNT).filter(|number| self.gates[*number].is_armed());
        filed.filter_map(|number| Slot::from_number(number).opens_after(tick)).min()
    }
}
