//! What one operation costs in instructions: the program that `ci/instructions` runs under callgrind.
//!
//! An operation runs a few thousand times inside [`measured`], on keys and sessions made beforehand; callgrind counts
//! what happens in there and nothing else. The argument names the operation. Without one the program runs them all and
//! checks that each does what its name says, which is all that can be checked without callgrind.

mod operations;

use operations::Operations;
use std::hint::black_box;

/// How often an operation runs: enough for the random hash key to make no difference.
const TIMES: usize = 4_096;

/// Runs an operation `TIMES` times, and returns how often it did what it should. Callgrind counts from here to the
/// return: `ci/instructions` tells it this function's name.
#[inline(never)]
fn measured(mut operation: impl FnMut(usize) -> bool) -> usize {
    let mut done = 0;
    for i in 0..TIMES {
        done += usize::from(operation(black_box(i)));
    }
    black_box(done)
}

/// Every operation, in the order of the table.
const NAMES: [&str; 11] = [
    "nothing",
    "hit",
    "hit-with-clock",
    "hit-with-pin",
    "get1",
    "hit-in-batch",
    "miss",
    "insert",
    "take",
    "insert-and-take",
    "insert-when-full",
];

fn run(name: &str) -> usize {
    let operations = Operations::new();
    let pin = || operations.context.pin();
    match name {
        "nothing" => measured(|_| true),
        "hit" => {
            let guard = pin();
            measured(|i| operations.hit(i, &guard))
        }
        "hit-with-clock" => {
            let guard = pin();
            measured(|i| operations.hit_with_clock(i, &guard))
        }
        "hit-with-pin" => measured(|i| operations.hit_with_pin(i)),
        "get1" => measured(|i| operations.get1(i)),
        "hit-in-batch" => {
            let guard = pin();
            measured(|i| operations.hit_in_batch(i, &guard))
        }
        "miss" => {
            let guard = pin();
            measured(|i| operations.miss(i, &guard))
        }
        "insert" => {
            let mut sessions = operations.sessions();
            measured(|_| operations.insert(&mut sessions))
        }
        "take" => measured(|i| operations.take(i)),
        "insert-and-take" => measured(|i| operations.insert_and_take(i)),
        "insert-when-full" => {
            operations.fill();
            let mut sessions = operations.sessions();
            measured(|_| operations.insert(&mut sessions))
        }
        _ => panic!("no such operation: {name}"),
    }
}

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let names = if named.is_empty() { NAMES.map(str::to_owned).to_vec() } else { named };
    for name in names {
        assert_eq!(run(&name), TIMES, "{name}");
        println!("{name} {TIMES}");
    }
}
