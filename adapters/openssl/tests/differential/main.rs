//! OpenSSL and the engine in lockstep: random programs over contexts and sessions, run on the real libssl and on ours.
//!
//! Return values, callbacks, who is cached and who is resumable must be the same after every call, but for the departures
//! in `rules.rs`, each of which is counted, and each of which is shown to be needed: without it, some program differs.
//!
//! 10,000 programs; the environment variable `RESUMPTION_PROGRAMS` sets another number. A program that shows a difference
//! is made small and printed with what both sides did. `RESUMPTION_PROGRAM` runs the one with that number.
//!
//! The rows in brackets are those of OpenSSL 3.0, whose behaviour the rules know. `cases.rs` has fixed programs.

mod cases;
mod clock;
mod ffi;
mod judge;
mod lockstep;
mod observe;
mod ours;
mod program;
mod real;
mod rules;
mod shrink;

use lockstep::Lockstep;
use program::{Call, Program};
use rules::{Rule, Rules};
use std::thread;

const THREADS: u64 = 2;

fn number_in(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")))
}

/// The difference that a program shows, if any.
fn difference(side: &Lockstep, program: &Program, rules: &Rules) -> Option<Box<lockstep::Difference>> {
    side.run(program, &mut rules.clone()).err()
}

fn report(side: &Lockstep, number: u64, program: &Program, rules: &Rules) -> String {
    let small = shrink::shrink(program, |candidate| difference(side, candidate, rules).is_some());
    let found = (0..16).find_map(|_| difference(side, &small, rules));
    match found {
        Some(found) => format!("program {number}: {}\n\n{small}\n{}", found.complaint, found.trace),
        None => format!("program {number} showed a difference once and not again:\n\n{program}"),
    }
}

#[test]
fn random_programs_show_no_difference_but_the_departures() {
    if let Some(number) = number_in("RESUMPTION_PROGRAM") {
        let (side, program) = (Lockstep::new(), Program::random(number));
        println!("{program}");
        if difference(&side, &program, &Rules::all()).is_some() {
            panic!("{}", report(&side, number, &program, &Rules::all()));
        }
        return;
    }
    let programs = number_in("RESUMPTION_PROGRAMS").unwrap_or(10_000);
    let run = |thread: u64| {
        let (side, mut rules) = (Lockstep::new(), Rules::all());
        for number in (thread..programs).step_by(THREADS as usize) {
            let program = Program::random(number);
            if side.run(&program, &mut rules).is_err() {
                panic!("{}", report(&side, number, &program, &Rules::all()));
            }
        }
        rules
    };
    let mut total = Rules::all();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
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
fn libssl_has_the_time_of_the_program() {
    clock::set(program::BASE);
    clock::pass(7);
    assert_eq!(real::time_of_a_new_session(), program::BASE + 7);
}

#[test]
fn every_rule_is_needed() {
    for rule in Rule::ALL {
        let side = Lockstep::new();
        let differing = (0..20_000).find(|number| {
            let program = Program::random(*number);
            difference(&side, &program, &Rules::without(rule)).is_some()
        });
        let number = differing.unwrap_or_else(|| panic!("no program differs without {rule:?}"));
        println!("{}", report(&side, number, &Program::random(number), &Rules::without(rule)));
    }
}

#[test]
fn a_planted_difference_is_made_small_and_told() {
    let side = Lockstep::new();
    side.ours.plant();
    let rules = Rules::all();
    let programs = (0..1000).map(|number| (number, Program::random(number)));
    let mut failing = programs.filter(|(_, program)| difference(&side, program, &rules).is_some());
    let (number, program) = failing.next().expect("some program asks for a session that is there");
    let small = shrink::shrink(&program, |candidate| difference(&side, candidate, &rules).is_some());
    assert!(program.calls.len() >= 10 && program.sessions.len() > 1);
    let [Call::Add(0), Call::Contains(..)] = small.calls[..] else {
        panic!("not as small as it gets:\n{small}")
    };
    assert_eq!(small.sessions.len(), 1);
    let report = report(&side, number, &program, &rules);
    println!("{report}");
    let told = ["Flag(false) is not Flag(true)", "session 0: ", "OpenSSL: Outcome", "ours:    Outcome"];
    assert!(told.iter().all(|part| report.contains(part)), "{report}");
}
