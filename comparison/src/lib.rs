//! What the side-by-side benchmarks share: rounds in which the sides take turns, and what is made of them.
//!
//! Not criterion: it measures one function after the other, seconds apart. On a machine that others use too, the speed
//! drifts by more than the differences that are looked for. Here every round lets all sides run for a few milliseconds
//! each, one right after the other and in alternating order, and only the ratio within a round counts.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

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
