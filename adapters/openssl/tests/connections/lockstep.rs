//! Both sides, step by step.

use crate::observe::{Deed, Name, State, Told};
use crate::ours::Ours;
use crate::program::{Program, Side, Step};
use crate::real::Real;
use crate::room::Room;
use crate::rules::{Rule, Rules};
use std::fmt::Write as _;

/// A program on both sides. After every step they must be in the same state, but for the rules.
pub(crate) struct Lockstep<'a> {
    real: &'a Real,
    ours: Ours,
    trace: Vec<(Step, Deed)>,
}

/// What a step has shown, on both sides alike.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) deed: Deed,
    /// The callbacks, by side.
    pub(crate) told: [Vec<Told>; 2],
    pub(crate) state: State,
    /// The rule by which nothing that follows can be compared.
    pub(crate) ends: Option<Rule>,
}

/// The complaint, and what led to it.
pub(crate) type Difference = (String, String);

impl<'a> Lockstep<'a> {
    pub(crate) fn new(real: &'a Real) -> Self {
        real.begin();
        Self { real, ours: Ours::new(), trace: Vec::new() }
    }

    pub(crate) fn step(&mut self, step: Step, rules: &mut Rules) -> Result<Shown, Difference> {
        let before = self.real.known().len();
        let evictions = [self.real.evictions(), self.ours.evictions()];
        let deed = self.real.make(&step);
        let known = self.real.known();
        self.trace.push((step, deed.clone()));
        let followed = self.ours.follow(&step, &deed, (&known, before), rules);
        let (mut told_there, mut told_here) = (self.real.told(), self.ours.told());
        let used_up = std::mem::take(&mut self.ours.used_up);
        for name in &used_up {
            let side = known[*name].side as usize;
            let kept = !told_there[side].contains(&Told::Removed(*name));
            if kept && rules.excuse(Rule::TicketsUsedOnce, "").is_ok() {
                told_here[side].retain(|told| told != &Told::Removed(*name));
                self.real.forget(*name);
            }
        }
        let mut settled = Ok(());
        for side in Side::BOTH {
            let spare = used_up.iter().filter(|name| known[**name].side == side).count();
            let mut room = Room {
                real: self.real,
                ours: &self.ours,
                side,
                told: [&mut told_there[side as usize], &mut told_here[side as usize]],
                evictions: [
                    self.real.evictions()[side as usize] - evictions[0][side as usize],
                    self.ours.evictions()[side as usize] - evictions[1][side as usize],
                ],
            };
            settled = settled.and_then(|()| room.settle(&step, spare, rules));
        }
        let (there, here) = (self.real.state(), self.ours.state());
        let compared = followed
            .and(settled)
            .and_then(|()| compare_callbacks(&step, &told_there, &told_here, rules))
            .and_then(|()| compare(&there, &here));
        let ends = self.ours.ends.take().filter(|rule| compared.is_err() && rules.excuse(*rule, "").is_ok());
        if ends.is_none()
            && let Err(complaint) = compared
        {
            let mut text = self.tell();
            _ = writeln!(text, "OpenSSL: {told_there:?}\n  {there:?}\nours:    {told_here:?}\n  {here:?}");
            return Err((complaint, text));
        }
        Ok(Shown { deed, told: told_there, state: there, ends })
    }

    /// The n-th session of a side.
    pub(crate) fn name(&self, side: Side, nth: usize) -> Name {
        self.names(side)[nth]
    }

    /// Where a session is among those of its side.
    pub(crate) fn position(&self, side: Side, name: Name) -> usize {
        self.names(side).iter().position(|other| *other == name).expect("it is of this side")
    }

    /// How many sessions of a side have come up.
    pub(crate) fn count(&self, side: Side) -> usize {
        self.names(side).len()
    }

    fn names(&self, side: Side) -> Vec<Name> {
        let known = self.real.known();
        let of_side = known.iter().enumerate().filter(|(_, identity)| identity.side == side);
        of_side.map(|(name, _)| name).collect()
    }

    fn tell(&self) -> String {
        let mut text = String::new();
        for (step, deed) in &self.trace {
            _ = writeln!(text, "{step:?}\n    {deed:?}");
        }
        text
    }
}

/// Runs a program to its end, or to the first difference.
pub(crate) fn run(real: &Real, program: &Program, rules: &mut Rules) -> Result<(), Difference> {
    run_on(Lockstep::new(real), program, rules)
}

/// The same, with a mistake on our side.
pub(crate) fn run_planted(real: &Real, program: &Program, rules: &mut Rules) -> Result<(), Difference> {
    let mut both = Lockstep::new(real);
    both.ours.clings = true;
    run_on(both, program, rules)
}

fn run_on(mut both: Lockstep<'_>, program: &Program, rules: &mut Rules) -> Result<(), Difference> {
    for step in &program.steps {
        if both.step(*step, rules)?.ends.is_some() {
            break;
        }
    }
    Ok(())
}

fn compare_callbacks(
    step: &Step,
    there: &[Vec<Told>; 2],
    here: &[Vec<Told>; 2],
    rules: &mut Rules,
) -> Result<(), String> {
    if there == here {
        return Ok(());
    }
    let sorted = |told: &[Vec<Told>; 2]| {
        let mut sorted = told.clone();
        sorted.iter_mut().for_each(|told| told.sort_unstable());
        sorted
    };
    let flushes = there.iter().flatten().any(|told| matches!(told, Told::Reacted(_)));
    if (flushes || matches!(step, Step::Flush(..))) && sorted(there) == sorted(here) {
        return rules.excuse(Rule::OrderOfDepartures, "another order of callbacks");
    }
    Err("other callbacks".to_owned())
}

fn compare(there: &State, here: &State) -> Result<(), String> {
    let parts = [
        ("who is cached", there.cached != here.cached),
        ("who is resumable", there.resumable != here.resumable),
        ("the times", there.times != here.times),
        ("the counters", there.counters != here.counters),
        ("the connections", there.connections != here.connections),
    ];
    let names: Vec<_> = parts.into_iter().filter(|(_, differ)| *differ).map(|(name, _)| name).collect();
    if names.is_empty() { Ok(()) } else { Err(format!("another state: {}", names.join(", "))) }
}
