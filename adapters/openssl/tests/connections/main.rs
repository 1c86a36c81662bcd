//! OpenSSL and the engine in lockstep: random programs over connections, with real handshakes.
//!
//! On OpenSSL's side the real libssl with its own caches, a client and a server that shake hands over memory; on ours a
//! [`Connection`](resumption::Connection) for each end, told what happens as a TLS stack tells it. Decisions, callbacks,
//! counters, who is cached and who is resumable must be the same after every step, but for the departures in `rules.rs`,
//! each of which is counted, and each of which is shown to be needed: without it, some program differs.
//!
//! 2000 programs; the environment variable `RESUMPTION_PROGRAMS` sets another number. A program that shows a difference
//! is made small and printed with what both sides did.
//!
//! `cases.rs` has fixed programs, after cases of OpenSSL's own tests, in lockstep too.

mod cases;
#[path = "../differential/clock.rs"]
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod ffi;
mod heard;
mod lockstep;
mod observe;
mod ours;
mod program;
mod real;
mod room;
mod rules;
mod steps;
mod wire;

use lockstep::{Difference, run, run_planted};
use program::{Program, Step};
use real::Real;
use rules::{Rule, Rules};
use std::thread;

const THREADS: u64 = 2;

fn number_in(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")))
}

/// The smallest program that still fails, as far as leaving out steps goes.
fn shrink(program: &Program, fails: impl Fn(&Program) -> bool) -> Program {
    let mut smallest = program.clone();
    loop {
        let size = smallest.steps.len();
        let mut width = size / 2;
        while width > 0 {
            let mut from = 0;
            while from < smallest.steps.len() {
                let mut candidate = smallest.clone();
                candidate.steps.drain(from..(from + width).min(smallest.steps.len()));
                if fails(&candidate) {
                    smallest = candidate;
                } else {
                    from += width;
                }
            }
            width /= 2;
        }
        if smallest.steps.len() == size {
            return smallest;
        }
    }
}

type Run = fn(&Real, &Program, &mut Rules) -> Result<(), Difference>;

/// The program as small as it gets, and what both sides did.
fn report(
    real: &Real,
    (number, program): (u64, &Program),
    rules: &Rules,
    run: Run,
    first: &Difference,
) -> String {
    // Who is evicted here may differ from run to run.
    const ATTEMPTS: usize = 8;
    let found = |program: &Program| (0..ATTEMPTS).find_map(|_| run(real, program, &mut rules.clone()).err());
    let small = shrink(program, |candidate| found(candidate).is_some());
    match found(&small) {
        Some((complaint, trace)) => format!("program {number}: {complaint}\n\n{small}\n{trace}"),
        None => {
            let (complaint, trace) = first;
            format!("program {number}, once and not again: {complaint}\n\n{program}\n{trace}")
        }
    }
}

/// Every n-th program, from the first that is this thread's.
fn run_all(first: u64, programs: u64) -> Rules {
    let (real, mut rules) = (Real::new(), Rules::all());
    for number in (first..programs).step_by(THREADS as usize) {
        let program = Program::random(number);
        if let Err(found) = run(&real, &program, &mut rules) {
            panic!("{}", report(&real, (number, &program), &Rules::all(), run, &found));
        }
        if number % 10_000 == 0 && number > 0 {
            println!("{number} programs");
        }
    }
    rules
}

#[test]
fn random_programs_show_no_difference_but_the_departures() {
    let programs = number_in("RESUMPTION_PROGRAMS").unwrap_or(2000);
    let mut total = Rules::all();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || run_all(thread, programs))).collect();
        for thread in threads {
            total.add(&thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    for (rule, uses) in total.uses() {
        println!("{uses:9} {rule:?}");
        assert!(uses > 0, "no program has needed {rule:?}");
    }
}

#[test]
fn every_rule_is_needed() {
    let real = Real::new();
    for rule in Rule::ALL {
        let rules = Rules::without(rule);
        let difference = |number: u64| {
            let program = Program::random(number);
            let found = run(&real, &program, &mut rules.clone()).err()?;
            Some(report(&real, (number, &program), &rules, run, &found))
        };
        let found = (0..2000).find_map(difference);
        println!("{}", found.unwrap_or_else(|| panic!("no program differs without {rule:?}")));
    }
}

#[test]
fn a_planted_difference_is_made_small_and_told() {
    let (real, rules) = (Real::new(), Rules::all());
    let fails = |program: &Program| run_planted(&real, program, &mut rules.clone()).err();
    let programs = (0..1000).map(|number| (number, Program::random(number)));
    let mut failing = programs.filter_map(|(number, program)| Some((number, fails(&program)?, program)));
    let (number, found, program) = failing.next().expect("some program removes a session");
    assert!(program.steps.len() >= 8);
    let small = shrink(&program, |candidate| fails(candidate).is_some());
    let [Step::Connect { .. }, .., Step::Remove(..)] = small.steps[..] else {
        panic!("not as small as it gets:\n{small}")
    };
    assert!(small.steps.len() <= 3, "a client's session of TLS 1.3 must be read first:\n{small}");
    let report = report(&real, (number, &program), &rules, run_planted, &found);
    println!("{report}");
    let told = ["other callbacks", "Remove(", "Returned(1)", "OpenSSL: [", "ours:    ["];
    assert!(told.iter().all(|part| report.contains(part)), "{report}");
}
