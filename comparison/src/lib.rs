//! What the side-by-side benchmarks share: rounds in which the sides take turns, and what is made of them.
//!
//! Not criterion: it measures one function after the other, seconds apart. On a machine that others use too, the speed
//! drifts by more than the differences that are looked for. Here every round lets all sides run for a few milliseconds
//! each, one right after the other, and only the ratio within a round counts.
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
pub fn rounds(count: usize, sides: &mut [&mut dyn FnMut() -> f64]) -> Costs {
    let mut costs: Costs = sides.iter().map(|_| Vec::with_capacity(count)).collect();
    // Always in the same order: there and back, the sides at the ends would run twice in a row, and find the processor's
    // caches as they left them.
    for _ in 0..count {
        for (side, costs) in sides.iter_mut().zip(&mut costs) {
            costs.push(side());
        }
    }
    costs
}

/// The number of steps that take about as long as a turn should, by trying. `cost_of` makes so many steps and returns
/// what one cost.
pub fn fitting(turn: Duration, mut cost_of: impl FnMut(usize) -> f64) -> usize {
    let mut steps = 16;
    loop {
        // The best of a few: one that was disturbed would make all turns too short.
        let cost = (0..3).map(|_| cost_of(steps)).fold(f64::MAX, f64::min);
        let fitting = (turn.as_nanos() as f64 / cost) as usize;
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

/// When a thread passed the gate.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    at: Instant,
    waited: Duration,
}

impl Gate {
    /// Returns when all threads are here.
    pub fn pass(&self) -> Start {
        let waited = waited();
        // AcqRel, Acquire: partners of each other; what each thread has prepared is done when the time is taken.
        self.ready.fetch_add(1, Ordering::AcqRel);
        while self.ready.load(Ordering::Acquire) < self.threads {
            hint::spin_loop();
        }
        Start { at: Instant::now(), waited }
    }
}

/// How long the calling thread was ready to run and another had the processor, in all its life; zero where the system does
/// not say.
fn waited() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

/// How often a turn is made at most, if another process had a processor meanwhile.
const TRIES: usize = 2;

/// The processor time that one thread takes for what it does alone, which others on the machine lengthen least.
pub fn alone_time(run: impl FnOnce()) -> Duration {
    let started = thread_time();
    run();
    thread_time() - started
}

#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(not(unix))]
fn thread_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Runs a thread for each state: the time from when they passed the gate until the last was done. `run` prepares itself,
/// passes the gate, and returns what that returned.
///
/// It is wall time, so to wait for a lock counts; but not the time in which a thread was ready and another process had its
/// processor. If that was more than a tenth, all is done again, once, and what was disturbed least counts.
pub fn time_together<T: Send>(states: &mut [T], run: impl Fn(&mut T, &Gate) -> Start + Sync) -> Duration {
    let mut best = (f64::MAX, Duration::ZERO);
    for _ in 0..TRIES {
        let (time, lost) = one_turn(states, &run);
        let share = lost.as_secs_f64() / (time + lost).as_secs_f64();
        if share < best.0 {
            best = (share, time);
        }
        if share < 0.1 {
            break;
        }
    }
    best.1
}

/// Keeps the calling thread on one processor, so that no two of ours share one. Where there are too few, or the system
/// does not let us, it goes where it is put.
fn stay_on(place: usize) {
    #[cfg(target_os = "linux")]
    if let Ok(allowed) = rustix::thread::sched_getaffinity(None)
        && let Some(processor) =
            (0..rustix::thread::CpuSet::MAX_CPU).filter(|&p| allowed.is_set(p)).nth(place)
    {
        let mut one = rustix::thread::CpuSet::new();
        one.set(processor);
        let _ = rustix::thread::sched_setaffinity(None, &one);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = place;
}

/// The time of the slowest thread without what it lost, and the most that a thread lost.
fn one_turn<T: Send>(
    states: &mut [T],
    run: &(impl Fn(&mut T, &Gate) -> Start + Sync),
) -> (Duration, Duration) {
    let gate = &Gate { threads: states.len(), ready: AtomicUsize::new(0) };
    let span = move |place: usize, state: &mut T| {
        stay_on(place);
        let started = run(state, gate);
        let time = started.at.elapsed();
        let lost = waited().saturating_sub(started.waited).min(time);
        (time - lost, lost)
    };
    let spans: Vec<(Duration, Duration)> = thread::scope(|scope| {
        let start = |(place, state)| scope.spawn(move || span(place, state));
        let handles: Vec<_> = states.iter_mut().enumerate().map(start).collect();
        handles.into_iter().map(|handle| handle.join().expect("a run failed")).collect()
    });
    let time = spans.iter().map(|span| span.0).max().unwrap_or_default();
    (time, spans.iter().map(|span| span.1).max().unwrap_or_default())
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

    /// Rounds of each comparison, unless `--rounds` says how many.
    pub fn rounds(self) -> usize {
        let mut arguments = std::env::args().skip_while(|argument| argument != "--rounds").skip(1);
        if let Some(rounds) = arguments.next().and_then(|argument| argument.parse().ok()) {
            return rounds;
        }
        match self {
            Self::Smoke => 1,
            Self::Quick => 7,
            Self::Full => 31,
        }
    }

    /// For how long each side runs in a round.
    pub fn turn(self) -> Duration {
        match self {
            Self::Smoke => Duration::from_micros(200),
            _ => Duration::from_millis(2),
        }
    }
}
