//! What the side-by-side benchmarks share: rounds in which the sides take turns, and what is made of them.
//!
//! Not criterion: it measures one function after the other, seconds apart. On a machine that others use too, the speed
//! drifts by more than the differences that are looked for. Here every round lets all sides run for a few milliseconds
//! each, one right after the other and in alternating order, and only the ratio within a round counts.
#![forbid(unsafe_code)]

use std::fmt;
use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The cost of one operation in nanoseconds, for each side and round.
pub type Costs = Vec<Vec<f64>>;

/// One side's turn: a short run, which returns what an operation cost.
pub type Turn<'a> = Box<dyn FnMut() -> f64 + 'a>;

/// Lets the sides take turns.
pub fn rounds(count: usize, sides: &mut [Turn<'_>]) -> Costs {
    let mut costs: Costs = sides.iter().map(|_| Vec::with_capacity(count)).collect();
    for round in 0..count {
        for turn in 0..sides.len() {
            // There and back, so that no side always comes after the same other one.
            let side = if round % 2 == 0 { turn } else { sides.len() - 1 - turn };
            costs[side].push(sides[side]());
        }
    }
    costs
}

/// The number of steps that take about as long as a turn should, by trying. `cost_of` makes so many steps and returns
/// what one cost.
pub fn fitting(turn: Duration, mut cost_of: impl FnMut(usize) -> f64) -> usize {
    let mut steps = 16;
    loop {
        let fitting = (turn.as_nanos() as f64 / cost_of(steps)) as usize;
        if fitting < steps * 4 || steps >= 1 << 17 {
            return fitting.clamp(8, 1 << 18);
        }
        steps *= 4;
    }
}

/// Where threads wait for each other. Not a barrier of the standard library: to be woken up takes as long as thousands of
/// lookups.
#[derive(Debug)]
pub struct Gate {
    threads: usize,
    ready: AtomicUsize,
}

impl Gate {
    /// Returns when all threads are here, with the time.
    pub fn pass(&self) -> Instant {
        // AcqRel, Acquire: partners of each other; what each thread has prepared is done when the time is taken.
        self.ready.fetch_add(1, Ordering::AcqRel);
        while self.ready.load(Ordering::Acquire) < self.threads {
            hint::spin_loop();
        }
        Instant::now()
    }
}

/// Runs a thread for each state, or none if there is one state only: the wall time from when they passed the gate until
/// the last was done. `run` prepares itself, passes the gate, and returns when that was.
pub fn wall_time<T: Send>(states: &mut [T], run: impl Fn(&mut T, &Gate) -> Instant + Sync) -> Duration {
    let gate = Gate { threads: states.len(), ready: AtomicUsize::new(0) };
    if let [only] = states {
        return run(only, &gate).elapsed();
    }
    let (run, gate) = (&run, &gate);
    let spans: Vec<(Instant, Instant)> = thread::scope(|scope| {
        let start = |state| scope.spawn(move || (run(state, gate), Instant::now()));
        let handles: Vec<_> = states.iter_mut().map(start).collect();
        handles.into_iter().map(|handle| handle.join().expect("a run failed")).collect()
    });
    let first = spans.iter().map(|span| span.0).min();
    let last = spans.iter().map(|span| span.1).max();
    first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first)
}

/// A median and the middle half of the values around it.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// Half of the values are below.
    pub median: f64,
    /// A quarter of the values is below.
    pub low: f64,
    /// A quarter of the values is above.
    pub high: f64,
}

impl Spread {
    /// Of values that are not empty.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        Self { median: at(0.5), low: at(0.25), high: at(0.75) }
    }

    /// Of the ratios of throughput, ours to theirs, round by round: above 1 we are faster.
    pub fn of_ratios(ours: &[f64], theirs: &[f64]) -> Self {
        Self::of(ours.iter().zip(theirs).map(|(ours, theirs)| theirs / ours).collect())
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} to {})", figure(self.median), figure(self.low), figure(self.high))
    }
}

/// A figure with about three digits.
pub fn figure(value: f64) -> String {
    match value {
        v if v >= 99.5 => format!("{v:.0}"),
        v if v >= 9.95 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A whole number with commas.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Seconds: does everything still run? The figures mean nothing.
    Smoke,
    /// Minutes.
    Quick,
    /// What the tables are made of.
    Full,
}

impl Extent {
    /// As the command line says: `--smoke`, `--quick`, or neither.
    pub fn from_arguments() -> Self {
        let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
        match (has("--smoke"), has("--quick")) {
            (true, _) => Self::Smoke,
            (_, true) => Self::Quick,
            _ => Self::Full,
        }
    }

    /// Rounds of each comparison.
    pub fn rounds(self) -> usize {
        match self {
            Self::Smoke => 1,
            Self::Quick => 9,
            Self::Full => 31,
        }
    }

    /// For how long each side runs in a round.
    pub fn turn(self) -> Duration {
        match self {
            Self::Smoke => Duration::from_micros(200),
            _ => Duration::from_millis(4),
        }
    }
}
