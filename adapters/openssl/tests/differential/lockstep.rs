//! Runs a program on both sides and compares them after every call.

use crate::judge::Judge;
use crate::observe::{Answer, Outcome, State};
use crate::ours::Ours;
use crate::program::{Call, Program};
use crate::real::Real;
use crate::rules::{Rule, Rules};
use libc::c_long;
use std::fmt::Write as _;

/// Both sides.
pub(crate) struct Lockstep {
    pub(crate) real: Real,
    pub(crate) ours: Ours,
}

/// What was different, with everything that led to it.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) complaint: String,
    pub(crate) trace: String,
}

/// What OpenSSL must be told so that it holds as many sessions.
fn one_more(capacity: usize) -> c_long {
    if capacity < 2 { capacity as c_long } else { capacity as c_long + 1 }
}

fn as_it_is(capacity: usize) -> c_long {
    capacity as c_long
}

impl Lockstep {
    pub(crate) fn new() -> Self {
        Self { real: Real::new(), ours: Ours::new() }
    }

    /// Runs the program to its end, or to the first difference. Returns what our calls answered.
    pub(crate) fn run(&self, program: &Program, rules: &mut Rules) -> Result<Vec<Answer>, Box<Difference>> {
        let mapped = rules.holds(Rule::CapacityHoldsAll);
        let capacity_map = if mapped { one_more } else { as_it_is };
        self.real.begin(program, capacity_map, rules.holds(Rule::NoIdRefused));
        self.ours.begin(program, rules.holds(Rule::UpdateTimeOnHit));
        let mut trace = Vec::new();
        for call in &program.calls {
            let states = (self.real.state(), self.ours.state());
            let judged = compare(&states).and_then(|()| {
                let (real, ours) = (self.real.make(call), self.ours.make(call));
                trace.push((call, real, ours));
                let (_, real, ours) = trace.last().expect("pushed just now");
                if real.reaction().or(ours.reaction()).is_some() {
                    self.real.forget_reaction();
                    self.ours.forget_reaction();
                }
                let mut judge = Judge { program, side: self, capacity_map, rules: &mut *rules };
                judge.judge(call, &states, real, ours)?;
                compare(&(self.real.state(), self.ours.state()))
            });
            if let Err(complaint) = judged {
                return Err(Box::new(Difference { complaint, trace: self.tell(&trace) }));
            }
        }
        self.real.check_counters();
        self.ours.check_counters();
        Ok(trace.into_iter().map(|(_, _, ours)| ours.answer).collect())
    }

    fn tell(&self, trace: &[(&Call, Outcome, Outcome)]) -> String {
        let mut text = String::new();
        for (call, real, ours) in trace {
            _ = writeln!(text, "{call:?}\n    OpenSSL: {real:?}\n    ours:    {ours:?}");
        }
        for (side, state) in [("OpenSSL", self.real.state()), ("ours", self.ours.state())] {
            _ = writeln!(text, "{side}: {state:?}");
        }
        text
    }
}

/// Both sides must be in the same state. Evictions are compared call by call.
fn compare((real, ours): &(State, State)) -> Result<(), String> {
    let parts = [
        ("who is cached", real.cached != ours.cached),
        ("who is resumable", real.resumable != ours.resumable),
        ("the times", real.times != ours.times),
    ];
    let names: Vec<_> = parts.into_iter().filter(|(_, differ)| *differ).map(|(name, _)| name).collect();
    if names.is_empty() { Ok(()) } else { Err(format!("another state: {}", names.join(", "))) }
}
