//! The targets bite: with a rule of the engine broken, random programs soon find it out.
//!
//! A broken engine is in no state to go on with, so each rule has a process of its own: this test, started again.

use std::process::{Command, Stdio};

use arbitrary::{Arbitrary, Unstructured};
use resumption::fuzzing::{Rule, break_rule};
use resumption_fuzz::{schedule, wheel};
use resumption_testkit::workload::Random;

const RULE: &str = "RESUMPTION_BROKEN_RULE";
const PROGRAMS: u64 = 60_000;

/// Runs random programs; the seed of the first that fails is the last that is printed.
fn run_programs(run: fn(&mut Random)) {
    for seed in 0..PROGRAMS {
        println!("seed {seed}");
        run(&mut Random::new(seed));
    }
}

fn run_schedule(random: &mut Random) {
    schedule::run(&schedule::Program::random(|bound| random.below(bound)));
}

fn run_wheel(random: &mut Random) {
    let bytes: Vec<u8> = (0..16 + random.below(240)).map(|_| random.next_u64() as u8).collect();
    let program = wheel::Program::arbitrary_take_rest(Unstructured::new(&bytes));
    program.iter().for_each(wheel::run);
}

#[test]
#[ignore = "the other tests start it"]
fn with_a_broken_rule() {
    match std::env::var(RULE).as_deref() {
        Ok("OneWinner") => break_rule(Rule::OneWinner),
        Ok("Sequence") => break_rule(Rule::Sequence),
        Ok("Version") => break_rule(Rule::Version),
        Ok("Freeze") => break_rule(Rule::Freeze),
        Ok("CopyFirst") => break_rule(Rule::CopyFirst),
        Ok("HelpPuts") => break_rule(Rule::HelpPuts),
        Ok("Settle") => break_rule(Rule::Settle),
        Ok("Settled") => {
            break_rule(Rule::Settled);
            return run_programs(run_wheel);
        }
        Ok("none") => {}
        other => panic!("no such rule: {other:?}"),
    }
    run_programs(run_schedule);
}

/// Whether the programs fail when the rule is broken, and on which.
fn seed_that_fails(rule: &str) -> Option<String> {
    let output = Command::new(std::env::current_exe().expect("a test has a file"))
        .args(["--exact", "with_a_broken_rule", "--ignored", "--nocapture"])
        .env(RULE, rule)
        .stderr(Stdio::null())
        .output()
        .expect("a test can be started again");
    let printed = String::from_utf8_lossy(&output.stdout);
    let seed = printed.lines().rfind(|line| line.contains("seed ")).map(str::to_owned);
    if output.status.success() { None } else { Some(seed.expect("at least one program ran")) }
}

fn must_be_found(rule: &str) {
    let seed = seed_that_fails(rule);
    println!("{rule}: {seed:?}");
    assert!(seed.is_some(), "{PROGRAMS} programs did not notice that {rule} is broken");
}

#[test]
fn an_engine_that_is_whole() {
    assert_eq!(seed_that_fails("none"), None);
}

#[test]
fn a_take_that_stores() {
    must_be_found("OneWinner");
}

#[test]
fn a_removal_that_leaves_the_sequence_number() {
    must_be_found("Sequence");
}

#[test]
fn an_insert_that_leaves_the_version() {
    must_be_found("Version");
}

#[test]
fn a_bucket_that_is_copied_without_freezing() {
    must_be_found("Freeze");
}

#[test]
fn a_bucket_that_is_left_before_it_is_copied() {
    must_be_found("CopyFirst");
}

#[test]
fn a_helper_that_only_clears() {
    must_be_found("HelpPuts");
}

#[test]
fn an_insert_that_does_not_settle() {
    must_be_found("Settle");
}

#[test]
fn a_wheel_that_stops_and_calls_it_done() {
    must_be_found("Settled");
}
