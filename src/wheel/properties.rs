//! The wheel against a map of deaths, under any mixture of what may happen to it; and under threads.

use super::{Opening, Progress, Scheduled, Wheel};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const HOUR: u32 = 3600;
const YEAR: u32 = 365 * 24 * HOUR;

/// What happens. Times are seconds from now.
#[derive(Clone, Debug)]
enum Event {
    Insert { hash: u64, lives: u32 },
    Renew { which: usize, lives: u32 },
    Remove { which: usize },
    Forward { by: u32 },
    Back { by: u32 },
    Step { budget: usize },
    Finish { budget: usize },
    Grow { times: usize },
}

fn lives() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1..=90_u32, 4 => 1..=5000_u32, 2 => Just(2 * HOUR), 2 => 1..=10 * YEAR, 1 => Just(0)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (any::<u64>(), lives()).prop_map(|(hash, lives)| Event::Insert { hash, lives }),
        3 => (any::<usize>(), lives()).prop_map(|(which, lives)| Event::Renew { which, lives }),
        2 => any::<usize>().prop_map(|which| Event::Remove { which }),
        6 => prop_oneof![4 => 0..=3_u32, 4 => 0..=200_u32, 2 => 0..=5 * HOUR, 1 => 0..=YEAR]
            .prop_map(|by| Event::Forward { by }),
        1 => (0..=5 * HOUR).prop_map(|by| Event::Back { by }),
        3 => (0..=3_usize).prop_map(|budget| Event::Step { budget }),
        3 => (1..=3_usize).prop_map(|budget| Event::Finish { budget }),
        1 => (1..=9_usize).prop_map(|times| Event::Grow { times }),
    ]
}

/// A wheel, a clock, the table that visitors look into, and the map of what has not been visited dead.
struct World {
    wheel: Wheel,
    now: u32,
    table: Vec<(u64, u32)>,
    model: BTreeMap<u32, Vec<u64>>,
}

fn forget(model: &mut BTreeMap<u32, Vec<u64>>, (hash, death): (u64, u32)) {
    let dying = model.get_mut(&death).expect("the map has what the table has");
    dying.swap_remove(dying.iter().position(|other| *other == hash).expect("as above"));
    if dying.is_empty() {
        model.remove(&death);
    }
}

impl World {
    fn new(partitions: usize, now: u32) -> Self {
        Self { wheel: Wheel::new(partitions, now).unwrap(), now, table: Vec::new(), model: BTreeMap::new() }
    }

    fn insert(&mut self, hash: u64, lives: u32) {
        let death = self.now.saturating_add(lives);
        self.table.push((hash, death));
        if self.wheel.schedule(hash, death, self.now) == Scheduled::Due {
            assert!(death <= self.now);
            self.table.pop();
        } else {
            assert!(death > self.now);
            self.model.entry(death).or_default().push(hash);
        }
    }

    /// Takes an entry out of the table. The wheel hears nothing of it.
    fn remove(&mut self, which: usize) -> Option<u64> {
        let which = which.checked_rem(self.table.len())?;
        let entry = self.table.swap_remove(which);
        forget(&mut self.model, entry);
        Some(entry.0)
    }

    /// One call. What it costs before its last visit is within the budget.
    fn step(&mut self, budget: usize) -> Progress {
        let Self { wheel, now, table, model } = self;
        let (mut paid, mut last_cost) = (0, 0);
        let progress = wheel.advance(
            *now,
            budget,
            |_| {},
            |opening: &Opening<'_>, first, last| {
                paid += last_cost;
                last_cost = 1;
                table.retain(|(hash, death)| {
                    if !(first..=last).contains(hash) {
                        return true;
                    }
                    last_cost += 1;
                    if death > now {
                        assert_eq!(opening.refile((first, last), || *hash, *death), Scheduled::Filed);
                    } else {
                        forget(model, (*hash, *death));
                    }
                    death > now
                });
                last_cost
            },
        );
        assert!(paid < budget.max(1), "{paid} paid of {budget} before the last visit");
        if progress == Progress::Done {
            self.check();
        }
        progress
    }

    /// Nothing that is dead is left.
    fn check(&self) {
        if let Some((death, hashes)) = self.model.first_key_value() {
            assert!(*death > self.now, "{hashes:x?} died at {death} and are still there at {}", self.now);
        }
        assert_eq!(self.table.len(), self.model.values().map(Vec::len).sum::<usize>());
    }

    fn finish(&mut self, budget: usize) {
        let mut calls = 0;
        while self.step(budget) == Progress::More {
            calls += 1;
            assert!(calls < 100_000, "no end to the work at {}", self.now);
        }
    }

    fn meet(&mut self, event: Event) {
        match event {
            Event::Insert { hash, lives } => self.insert(hash, lives),
            Event::Renew { which, lives } => {
                if let Some(hash) = self.remove(which) {
                    self.insert(hash, lives);
                }
            }
            Event::Remove { which } => _ = self.remove(which),
            Event::Forward { by } => self.now = self.now.saturating_add(by).min(u32::MAX - 1),
            Event::Back { by } => self.now = self.now.saturating_sub(by),
            Event::Step { budget } => _ = self.step(budget),
            Event::Finish { budget } => self.finish(budget),
            Event::Grow { times } => _ = self.wheel.grow((self.wheel.partitions() * times).min(20_000)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_is_late(
        partitions in 1..=700_usize,
        start in prop_oneof![Just(0_u32), Just(1_700_000_000), 0..=u32::MAX - 1, Just(u32::MAX - 20 * YEAR)],
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut world = World::new(partitions, start);
        for event in events {
            world.meet(event);
        }
        world.finish(1);
        world.now = u32::MAX - 1;
        world.finish(2);
    }

    /// As it is used: time goes on by the second, each insert pays for a step, and the end of a second is never
    /// reached with work left over from it unless the inserts were too few.
    #[test]
    fn seconds_go_by(
        partitions in 1..=200_usize,
        inserts in prop::collection::vec((any::<u64>(), lives(), 0..=2_u32), 1..200),
    ) {
        let mut world = World::new(partitions, 1_700_000_000);
        for (hash, lives, by) in inserts {
            world.now += by;
            world.insert(hash, lives);
            let _ = world.step(2);
        }
        world.finish(1);
    }
}

/// An entry of a table that several threads share: the instant of its death, 0 when there is none.
type Shared = (u64, AtomicU32);

fn visit(entries: &[Shared], opening: &Opening<'_>, now: u32, first: u64, last: u64) -> usize {
    for (hash, entry) in entries.iter().filter(|(hash, _)| (first..=last).contains(hash)) {
        match entry.load(Ordering::Acquire) {
            0 => {}
            death if death <= now => {
                _ = entry.compare_exchange(death, 0, Ordering::AcqRel, Ordering::Relaxed)
            }
            death => assert_eq!(opening.refile((first, last), || *hash, death), Scheduled::Filed),
        }
    }
    1
}

/// Threads that insert, each with a reading of the clock that may be a little old, and drive the wheel on the way.
#[test]
fn threads_lose_nothing() {
    const THREADS: usize = 4;
    const ENTRIES: usize = 64;
    let rounds = if cfg!(miri) { 20 } else { 30_000 };
    let wheel = Wheel::new(16, 1000).unwrap();
    let clock = AtomicU32::new(1000);
    let entries: Vec<Shared> =
        (0..ENTRIES as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15), AtomicU32::new(0))).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let inserters: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (wheel, clock, entries) = (&wheel, &clock, &entries);
                scope.spawn(move || {
                    for round in 0..rounds {
                        let (hash, entry) = &entries[(round * THREADS + thread) % ENTRIES];
                        let now = clock.load(Ordering::Relaxed);
                        let death = now + 1 + (round as u32 * 7) % 150;
                        entry.store(death, Ordering::Release);
                        assert_eq!(wheel.schedule(*hash, death, now), Scheduled::Filed);
                        if round % 5 == 0 {
                            let _ = wheel.advance(
                                now,
                                4,
                                |_| {},
                                |o, first, last| visit(entries, o, now, first, last),
                            );
                        }
                    }
                })
            })
            .collect();
        let (wheel, clock, entries, stop) = (&wheel, &clock, &entries, &stop);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let now = clock.fetch_add(1, Ordering::Relaxed) + 1;
                let _ = wheel.advance(now, 100, |_| {}, |o, first, last| visit(entries, o, now, first, last));
            }
        });
        inserters.into_iter().for_each(|thread| thread.join().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    let now = clock.load(Ordering::Relaxed);
    let alive = |now| entries.iter().filter(|(_, e)| (1..=now).contains(&e.load(Ordering::Relaxed))).count();
    for now in [now, now + 1, now + 70, now + 151] {
        while wheel.advance(now, 100, |_| {}, |o, first, last| visit(&entries, o, now, first, last))
            != Progress::Done
        {}
        assert_eq!(alive(now), 0, "dead at {now} and still there");
    }
}
