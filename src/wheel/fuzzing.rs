//! The wheel as the fuzz targets in `fuzz` drive it. Compiled under `--cfg fuzzing` only.

use super::{Progress, Scheduled, Wheel};

/// A wheel, to be judged by who drives it.
pub struct FuzzWheel(Wheel);

impl FuzzWheel {
    /// An empty wheel at tick `now`.
    pub fn new(partitions: usize, now: u32) -> Self {
        Self(Wheel::new(partitions, now).expect("a few words of memory"))
    }

    /// Files what dies at `death`; `false` when that has come.
    pub fn schedule(&self, hash: u64, death: u32, now: u32) -> bool {
        self.0.schedule(hash, death, now) == Scheduled::Filed
    }

    /// Moves on to `now`. `visit` is given the first and the last hash, removes what is dead there, and returns hash and
    /// death of all that stays. `true` when everything dead at `now` has been visited.
    pub fn advance(
        &self,
        now: u32,
        budget: usize,
        mut visit: impl FnMut(u64, u64) -> Vec<(u64, u32)>,
    ) -> bool {
        let progress = self.0.advance(
            now,
            budget,
            |_| {},
            |opening, first, last| {
                let stay = visit(first, last);
                for &(hash, death) in &stay {
                    assert_eq!(
                        opening.refile((first, last), || hash, death),
                        Scheduled::Filed,
                        "what stays is not dead"
                    );
                }
                1 + stay.len()
            },
        );
        assert_ne!(progress, Progress::Busy, "nobody else drives");
        progress == Progress::Done
    }

    /// Tells `partitions` parts of the hashes apart from now on, if they are enough more.
    pub fn grow(&self, partitions: usize) -> bool {
        self.0.grow(partitions)
    }

    /// When the wheel has something to do.
    pub fn next_due(&self, now: u32) -> Option<u32> {
        self.0.next_due(now)
    }
}
