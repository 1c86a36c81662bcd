//! Schedules and clock jumps on the timer wheel, compared with a map from hashes to deaths.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use resumption::fuzzing::FuzzWheel;

/// A wheel and what is done with it.
#[derive(Debug, Arbitrary)]
pub struct Program {
    partitions: u16,
    start: u32,
    actions: Vec<Action>,
}

/// Times are spread over all levels of the wheel, hashes over its partitions.
#[derive(Debug, Clone, Arbitrary)]
pub enum Action {
    /// Puts an entry that dies `1 << shift` seconds and a little from now.
    Insert {
        hash: u16,
        shift: u8,
        more: u8,
    },
    /// The entry dies later than it was filed for, and nobody tells the wheel.
    Renew {
        hash: u16,
        more: u8,
    },
    /// The entry leaves, and nobody tells the wheel.
    Remove(u16),
    Advance {
        shift: u8,
        more: u8,
        budget: u8,
    },
    /// The clock is set back.
    SetBack(u8),
    Finish,
    Grow(u16),
}

/// Runs the program.
///
/// # Panics
///
/// When the wheel is done and something dead was not visited, or says that its work begins too late.
pub fn run(program: &Program) {
    let now = program.start.min(1 << 31);
    let wheel = FuzzWheel::new(usize::from(program.partitions % 700) + 1, now);
    let mut driver = Driver { wheel, now, entries: BTreeMap::new() };
    program.actions.iter().for_each(|action| driver.act(action));
    driver.finish();
}

struct Driver {
    wheel: FuzzWheel,
    now: u32,
    /// At each hash at most one entry: when it dies.
    entries: BTreeMap<u64, u32>,
}

impl Driver {
    fn act(&mut self, action: &Action) {
        match *action {
            Action::Insert { hash, shift, more } => {
                let death = self.now.saturating_add(span(shift, more));
                self.entries.insert(hash_of(hash), death);
                if !self.wheel.schedule(hash_of(hash), death, self.now) {
                    assert!(death <= self.now, "due before its time");
                    self.entries.remove(&hash_of(hash));
                }
            }
            Action::Renew { hash, more } => {
                if let Some(death) = self.entries.get_mut(&hash_of(hash)) {
                    *death = death.saturating_add(u32::from(more));
                }
            }
            Action::Remove(hash) => {
                self.entries.remove(&hash_of(hash));
            }
            Action::Advance { shift, more, budget } => {
                self.now = self.now.saturating_add(span(shift, more));
                self.advance(usize::from(budget));
            }
            Action::SetBack(by) => self.now = self.now.saturating_sub(u32::from(by)),
            Action::Finish => self.finish(),
            Action::Grow(partitions) => {
                self.wheel.grow(usize::from(partitions));
            }
        }
        self.check_next_due();
    }

    fn advance(&mut self, budget: usize) -> bool {
        let (now, entries) = (self.now, &mut self.entries);
        let done = self.wheel.advance(now, budget, |first, last| {
            assert!(first <= last, "an interval of hashes");
            let here: Vec<(u64, u32)> =
                entries.range(first..=last).map(|(hash, death)| (*hash, *death)).collect();
            let (dead, alive): (Vec<_>, Vec<_>) = here.into_iter().partition(|(_, death)| *death <= now);
            entries.retain(|hash, _| !dead.iter().any(|(gone, _)| gone == hash));
            alive
        });
        if done {
            let late = self.entries.iter().find(|(_, death)| **death <= now && **death < u32::MAX);
            assert_eq!(late, None, "done at {now}, and dead and not visited");
        }
        done
    }

    /// Every call with a budget gets on, so this ends.
    fn finish(&mut self) {
        for _ in 0..1_000_000 {
            if self.advance(1000) {
                return;
            }
        }
        panic!("an advance does not come to an end");
    }

    fn check_next_due(&self) {
        let first_death = self.entries.values().filter(|death| **death < u32::MAX).min();
        if let Some(death) = first_death {
            let due = self.wheel.next_due(self.now);
            assert!(
                due.is_some_and(|due| due <= (*death).max(self.now)),
                "due at {due:?}, a death at {death}"
            );
        }
    }
}

/// From no second to half of all there are.
fn span(shift: u8, more: u8) -> u32 {
    (1u32 << (shift % 32)) - 1 + u32::from(more)
}

/// 65,536 hashes over the whole range.
fn hash_of(hash: u16) -> u64 {
    u64::from(hash) << 48 | u64::from(hash)
}
