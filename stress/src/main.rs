//! Everything at once: contexts that come and go, few keys, tiny capacities, forced growth, sessions in two contexts,
//! guards that are held over removals, threads that end.
//!
//! ```text
//! resumption-stress [SECONDS] [THREADS]
//! ```
//!
//! Built with `--cfg resumption_planted` it takes a third word, `race` or `use-after-free`, and then has that defect.
//!
//! A plain program, for sanitizers (`ci/sanitizers`) and for an evening. It ends with status 0 when every session was
//! intact whenever it was read, was taken at most once, and was freed in the end.

mod canary;
mod work;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use canary::LIVE;
use work::Stage;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default| arguments.get(index).map_or(Ok(default), |word| word.parse::<u64>());
    let (Ok(seconds), Ok(threads), true) = (number(0, 10), number(1, 4), plant(arguments.get(2))) else {
        eprintln!("usage: resumption-stress [SECONDS] [THREADS]");
        return ExitCode::from(2);
    };
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    let stage = Stage::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    thread::scope(|scope| {
        for number in 0..threads {
            let (stage, stop, calls) = (&stage, &stop, &calls);
            scope.spawn(move || {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    // Threads end, so that participants and their numbers come and go.
                    let seed = number << 32 | turn;
                    let worked = thread::scope(|inner| inner.spawn(|| work::run(stage, seed)).join());
                    calls.fetch_add(worked.expect("no call panics"), Ordering::Relaxed);
                }
            });
        }
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    stage.check_at_rest();
    drop(stage);
    let left = free_all();
    println!("{} calls in {seconds} s on {threads} threads, {left} sessions never freed", calls.into_inner());
    ExitCode::from(u8::from(left != 0))
}

/// Plants the defect that is asked for, if any; `false` if there is no such one.
#[cfg(resumption_planted)]
fn plant(defect: Option<&String>) -> bool {
    match defect.map(String::as_str) {
        None => {}
        Some("race") => canary::RACES.store(true, Ordering::Relaxed),
        Some("use-after-free") => resumption::planted::break_rule(resumption::planted::Rule::RetireEntry),
        Some(_) => return false,
    }
    true
}

#[cfg(not(resumption_planted))]
fn plant(defect: Option<&String>) -> bool {
    defect.is_none()
}

/// Collects until every session is freed, or it is no use.
fn free_all() -> i64 {
    for _ in 0..10_000 {
        if LIVE.load(Ordering::Relaxed) == 0 {
            break;
        }
        resumption::idle();
    }
    LIVE.load(Ordering::Relaxed)
}
