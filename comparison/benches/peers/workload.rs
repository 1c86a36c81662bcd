//! The loops that are timed.

use crate::load::{Item, LATER, Load, SingleUse};
use crate::worker::{Shared, Worker};
use resumption::SessionKey;
use resumption_comparison::{alone_time, fitting, time_together};
use std::hint::black_box;
use std::time::Duration;

/// What is done in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Workload {
    /// Hits, each of which waits for the last: the next key is chosen by what the lookup found.
    Isolated,
    /// Independent hits, one after the other.
    Streamed,
    /// Lookups of ids that nobody has.
    Miss,
    /// Independent hits, some sessions often and most seldom.
    Zipf,
    /// Of twenty operations one replaces a session and nineteen look one up.
    Mixed,
    /// Insert one, take another.
    SingleUse,
    /// Insert into a full cache.
    AtCapacity,
    /// One in a hundred sessions expires, and is removed.
    Expiry,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Isolated => "isolated hit",
            Self::Streamed => "streamed hit",
            Self::Miss => "miss",
            Self::Zipf => "hit, Zipf",
            Self::Mixed => "95 % lookup, 5 % replace",
            Self::SingleUse => "single use: insert + take",
            Self::AtCapacity => "insert at capacity",
            Self::Expiry => "expiry of 1 %",
        }
    }
}

/// What one thread works on, and where it is in it.
pub(crate) enum Feed<'a> {
    /// Keys to look up, each thread from another place on.
    Keys { keys: &'a [SessionKey], at: usize },
    /// Items to insert and look up.
    Items { items: &'a [Item], at: usize },
    /// Two halves that take turns.
    SingleUse { halves: &'a SingleUse, at: usize, phase: usize },
}

impl<'a> Feed<'a> {
    /// What each of `threads` threads works on. Sides that look into the same cache begin at different `place`s, eighths
    /// of the whole: none must find in the processor's caches what another has just looked up.
    pub(crate) fn of(workload: Workload, load: &'a Load, threads: usize, place: usize) -> Vec<Self> {
        let at = |length: usize, thread: usize| (length / threads * thread + length / 8 * place) % length;
        let keys = match workload {
            Workload::Isolated | Workload::Streamed => &load.keys,
            Workload::Miss => &load.absent,
            Workload::Zipf => &load.zipf,
            _ => {
                let items = &load.live;
                return (0..threads).map(|t| Feed::Items { items, at: at(items.len(), t) }).collect();
            }
        };
        (0..threads).map(|t| Feed::Keys { keys, at: at(keys.len(), t) }).collect()
    }
}

/// Takes the next `steps` of a feed, in pieces that do not wrap.
fn pieces<T>(items: &[T], at: &mut usize, steps: usize, mut work: impl FnMut(&[T])) {
    let mut left = steps;
    while left > 0 {
        let piece = left.min(items.len() - *at);
        work(&items[*at..*at + piece]);
        *at = (*at + piece) % items.len();
        left -= piece;
    }
}

#[inline(never)]
fn isolated(worker: &mut impl Worker, keys: &[SessionKey], at: &mut usize, steps: usize) {
    let mut i = *at;
    for _ in 0..steps {
        // What was found is added to the index, so the address of the next key waits for it. A miss would stand still.
        i += worker.find(&keys[i]) as usize;
        if i == keys.len() {
            i = 0;
        }
    }
    assert_eq!(black_box(i), (*at + steps) % keys.len(), "a lookup found nothing");
    *at = i;
}

#[inline(never)]
fn streamed(worker: &mut impl Worker, keys: &[SessionKey], at: &mut usize, steps: usize, expected: u64) {
    let mut sum = 0;
    pieces(keys, at, steps, |piece| sum += worker.find_all(piece));
    assert_eq!(black_box(sum), steps as u64 * expected, "not what should be found");
}

#[inline(never)]
fn mixed(worker: &mut impl Worker, items: &[Item], at: &mut usize, steps: usize) {
    let (mut sum, mut expected) = (0, 0);
    pieces(items, at, steps, |piece| {
        for twenty in piece.chunks(20) {
            worker.insert(&twenty[0], LATER);
            for item in &twenty[1..] {
                sum += worker.find(&item.key);
            }
            expected += twenty.len() as u64 - 1;
        }
    });
    assert_eq!(black_box(sum), expected, "a lookup found nothing");
}

#[inline(never)]
fn single_use(worker: &mut impl Worker, halves: &SingleUse, at: &mut usize, phase: &mut usize, steps: usize) {
    let mut sum = 0;
    let mut left = steps;
    while left > 0 {
        let (takes, inserts) = (&halves.takes[*phase % 2], &halves.inserts[(*phase + 1) % 2]);
        let piece = left.min(takes.len() - *at);
        for (insert, take) in inserts[*at..*at + piece].iter().zip(&takes[*at..*at + piece]) {
            worker.insert(insert, LATER);
            sum += worker.take(take);
        }
        *at += piece;
        left -= piece;
        if *at == takes.len() {
            *at = 0;
            *phase += 1;
        }
    }
    assert_eq!(black_box(sum), steps as u64, "a session was not there to be taken");
}

#[inline(never)]
fn inserts(worker: &mut impl Worker, items: &[Item], at: &mut usize, steps: usize) {
    pieces(items, at, steps, |piece| worker.fill(piece));
}

/// Runs so many steps of a workload.
fn run(worker: &mut impl Worker, workload: Workload, feed: &mut Feed<'_>, steps: usize) {
    match (workload, feed) {
        (Workload::Isolated, Feed::Keys { keys, at }) => isolated(worker, keys, at, steps),
        (Workload::Streamed | Workload::Zipf, Feed::Keys { keys, at }) => {
            streamed(worker, keys, at, steps, 1)
        }
        (Workload::Miss, Feed::Keys { keys, at }) => streamed(worker, keys, at, steps, 0),
        (Workload::Mixed, Feed::Items { items, at }) => mixed(worker, items, at, steps),
        (Workload::AtCapacity, Feed::Items { items, at }) => inserts(worker, items, at, steps),
        (Workload::SingleUse, Feed::SingleUse { halves, at, phase }) => {
            single_use(worker, halves, at, phase, steps);
        }
        (workload, _) => unreachable!("{workload:?} has another feed"),
    }
}

/// Nanoseconds for each step of all threads: processor time of one thread, wall time of several.
fn timed_turn<S: Shared>(cache: &S, workload: Workload, feeds: &mut [Feed<'_>], steps: usize) -> f64 {
    let threads = feeds.len();
    let time = if let [feed] = feeds {
        let mut worker = cache.worker();
        alone_time(|| run(&mut worker, workload, feed, steps))
    } else {
        time_together(feeds, |feed, gate| {
            let mut worker = cache.worker();
            let started = gate.pass();
            run(&mut worker, workload, feed, steps);
            started
        })
    };
    time.as_nanos() as f64 / (steps * threads) as f64
}

/// A side that shares a cache among as many threads as there are feeds; each turn returns the cost of a step.
pub(crate) fn shared<'a, S: Shared>(
    cache: S,
    workload: Workload,
    mut feeds: Vec<Feed<'a>>,
    turn: Duration,
) -> impl FnMut() -> f64 + use<'a, S> {
    // By one thread: to start several costs more than the steps that are tried.
    let alone = fitting(turn, |steps| timed_turn(&cache, workload, &mut feeds[..1], steps));
    // Threads that have just been started need longer to be at their speed.
    let steps = if feeds.len() == 1 { alone } else { alone * 2 };
    move || timed_turn(&cache, workload, &mut feeds, steps)
}

/// A side that only one thread may use.
pub(crate) fn alone<'a, W: Worker>(
    mut worker: W,
    workload: Workload,
    mut feed: Feed<'a>,
    turn: Duration,
) -> impl FnMut() -> f64 + use<'a, W> {
    let mut timed = move |steps: usize| {
        let time = alone_time(|| run(&mut worker, workload, &mut feed, steps));
        time.as_nanos() as f64 / steps as f64
    };
    let steps = fitting(turn, &mut timed);
    move || timed(steps)
}
