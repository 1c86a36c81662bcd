//! OpenSSL and the engine in lockstep: random programs over connections, with real handshakes.
//!
//! On OpenSSL's side the real libssl with its own caches, a client and a server that shake hands over memory; on ours a
//! [`Connection`](resumption::Connection) for each end, told what happens as a TLS stack tells it. Decisions, callbacks,
//! counters, who is cached and who is resumable must be the same after every step, but for the departures in `rules.rs`,
//! each of which is counted, and each of which is shown to be needed: without it, some program differs.
//!
//! 1000 programs; the environment variable `RESUMPTION_PROGRAMS` sets another number. A program that shows a difference
//! is made small and printed with what both sides did.
//!
//! `cases.rs` has fixed programs, after cases of OpenSSL's own tests, in lockstep too.

mod cases;
#[path = "../differential/clock.rs"]
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod ffi;
mod lockstep;
mod observe;
mod ours;
mod program;
mod real;
mod rules;
mod steps;
mod wire;

use lockstep::{Difference, run};
use program::Program;
use real::Real;
use rules::{Rule, Rules};

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

fn report(real: &Real, number: u64, program: &Program, rules: &Rules, first: &Difference) -> String {
    let run = |program: &Program| run(real, program, &mut rules.clone());
    let small = shrink(program, |candidate| run(candidate).is_err());
    match run(&small) {
        Err((complaint, trace)) => format!("program {number}: {complaint}\n\n{small}\n{trace}"),
        Ok(()) => {
            let (complaint, trace) = first;
            format!("program {number}, once and not again: {complaint}\n\n{program}\n{trace}")
        }
    }
}

#[test]
fn random_programs_show_no_difference_but_the_departures() {
    let programs = number_in("RESUMPTION_PROGRAMS").unwrap_or(1000);
    let (real, mut rules) = (Real::new(), Rules::all());
    for number in 0..programs {
        let program = Program::random(number);
        if let Err(first) = run(&real, &program, &mut rules) {
            panic!("{}", report(&real, number, &program, &Rules::all(), &first));
        }
    }
    for (rule, uses) in rules.uses() {
        println!("{uses:9} {rule:?}");
        assert!(uses > 0, "no program has needed {rule:?}");
    }
}

#[test]
fn every_rule_is_needed() {
    let real = Real::new();
    for rule in Rule::ALL {
        let difference = |number: u64| {
            let program = Program::random(number);
            let found = run(&real, &program, &mut Rules::without(rule)).err()?;
            Some(report(&real, number, &program, &Rules::without(rule), &found))
        };
        let found = (0..2000).find_map(difference);
        println!("{}", found.unwrap_or_else(|| panic!("no program differs without {rule:?}")));
    }
}
