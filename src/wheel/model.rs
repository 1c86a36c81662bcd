//! The wheel as the models in `loom-tests` drive it: two levels of two slots, and entries in place of a table.
//! Compiled under `--cfg resumption_loom` only.

use super::{Opening, Progress, Scheduled, Wheel};
use crate::sync::{AtomicU32, Ordering};
use std::sync::Mutex;

/// What stands for a table: at each hash room for one entry, which is the instant of its death.
pub struct ModelWheel {
    wheel: Wheel,
    entries: Vec<(u64, AtomicU32)>,
    // Unknown to loom, so that it orders nothing.
    visiting: Mutex<()>,
}

const NOBODY: u32 = 0;

impl ModelWheel {
    /// A wheel at tick 0, and room for an entry at each of these hashes.
    pub fn new(partitions: usize, hashes: &[u64]) -> Self {
        Self {
            wheel: Wheel::new(partitions, 0).expect("a few words of memory"),
            entries: hashes.iter().map(|hash| (*hash, AtomicU32::new(NOBODY))).collect(),
            visiting: Mutex::new(()),
        }
    }

    /// Puts entry `index`, which dies at `death`, and schedules it.
    pub fn insert(&self, index: usize, death: u32, now: u32) {
        let (hash, entry) = &self.entries[index];
        // Release: as the table's put, pairs with the Acquire in `visit`.
        entry.store(death, Ordering::Release);
        if self.wheel.schedule(*hash, death, now) == Scheduled::Due {
            entry.swap(NOBODY, Ordering::AcqRel);
        }
    }

    /// Advances with a budget that is enough, and again until it is done or another driver is met; `true` when done.
    pub fn advance(&self, now: u32) -> bool {
        self.step(now, 1000)
    }

    /// Advances with this budget; `true` when done.
    pub fn step(&self, now: u32, budget: usize) -> bool {
        let visit = |opening: &Opening<'_>, first, last| self.visit(opening, now, first..=last);
        self.wheel.advance(now, budget, |_| {}, visit) == Progress::Done
    }

    fn visit(&self, opening: &Opening<'_>, now: u32, hashes: std::ops::RangeInclusive<u64>) -> usize {
        let _alone = self.visiting.try_lock().expect("one driver visits at a time");
        for (hash, entry) in self.entries.iter().filter(|(hash, _)| hashes.contains(hash)) {
            // A load, as in the table: it may miss what is not ordered before it.
            match entry.load(Ordering::Acquire) {
                NOBODY => {}
                death if death <= now => {
                    entry.swap(NOBODY, Ordering::AcqRel);
                }
                death => assert_eq!(
                    opening.refile((*hashes.start(), *hashes.end()), || *hash, death),
                    Scheduled::Filed
                ),
            }
        }
        1
    }

    /// Divides the hashes more finely.
    pub fn grow(&self, partitions: usize) -> bool {
        self.wheel.grow(partitions)
    }

    /// Whether entry `index` is there.
    pub fn holds(&self, index: usize) -> bool {
        self.entries[index].1.load(Ordering::Acquire) != NOBODY
    }
}
