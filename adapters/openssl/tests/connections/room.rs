//! Capacity: who had to go for want of room, on both sides.

use crate::observe::{Name, Told};
use crate::ours::Ours;
use crate::program::{Side, Step};
use crate::real::Real;
use crate::rules::{Rule, Rules};
use std::collections::BTreeSet;

/// One side's cache after a step, in OpenSSL and here.
pub(crate) struct Room<'a> {
    pub(crate) real: &'a Real,
    pub(crate) ours: &'a Ours,
    pub(crate) side: Side,
    /// The callbacks of the step: there, here.
    pub(crate) told: [&'a mut Vec<Told>; 2],
    /// The evictions that it has counted: there, here.
    pub(crate) evictions: [i64; 2],
}

type Verdict = Result<(), String>;

fn demand(holds: bool, complaint: &str) -> Verdict {
    if holds { Ok(()) } else { Err(complaint.to_owned()) }
}

impl Room<'_> {
    /// Compares the evictions, takes from the callbacks what the rules excuse, and makes both sides equal again. `spare`
    /// sessions were used up here during the step, and may have taken room there until its end.
    pub(crate) fn settle(&mut self, step: &Step, spare: usize, rules: &mut Rules) -> Verdict {
        let [there, here] = self.evictions;
        let crowded_out = std::mem::take(&mut self.ours.heard.inner().crowded_out[self.side as usize]);
        if (there, here) == (0, 0) {
            return Ok(());
        }
        let [gone_there, gone_here] = self.take_differences();
        demand(gone_here.iter().all(|name| crowded_out.contains(name)), "another session leaves")?;
        if matches!(step, Step::SetCapacity(..)) {
            demand(there == 0 && gone_there.is_empty(), "OpenSSL evicts when it is told the capacity")?;
            demand(here == gone_here.len() as i64, "another number of evictions")?;
            rules.excuse(Rule::LoweredCapacityAtOnce, "evicted when the capacity is lowered")?;
        } else {
            let extra = usize::try_from(there - here).unwrap_or(usize::MAX);
            demand(extra <= spare, "another number of evictions")?;
            demand(gone_there.len() <= gone_here.len() + extra, "more sessions leave")?;
            if extra > 0 {
                rules.excuse(Rule::TicketsUsedOnce, "a used session takes room")?;
            }
            let [told_there, told_here] = &mut self.told;
            if !gone_here.is_empty() || told_there != told_here {
                rules.excuse(Rule::VictimByUse, "another victim, or first another one")?;
                let crowded_out =
                    |told: &Told| matches!(told, Told::Removed(name) if crowded_out.contains(name));
                told_there.retain(|told| !crowded_out(told));
                told_here.retain(|told| !crowded_out(told));
            }
        }
        self.level(&gone_there, &gone_here)?;
        self.mark(gone_there.iter().chain(&gone_here).chain(&crowded_out), rules)
    }

    /// Takes those sessions from the callbacks of which only one side has told that they were removed.
    fn take_differences(&mut self) -> [Vec<Name>; 2] {
        let [there, here] = &mut self.told;
        let both = [removed(there), removed(here)];
        let [gone_there, gone_here] = [(&both[0], &both[1]), (&both[1], &both[0])].map(|(own, other)| {
            let mut other = other.clone();
            let mut gone = Vec::new();
            for name in own {
                match other.iter().position(|same| same == name) {
                    Some(position) => drop(other.remove(position)),
                    None => gone.push(*name),
                }
            }
            gone
        });
        for (told, gone) in [(there, &gone_there), (here, &gone_here)] {
            for name in gone {
                let position = told.iter().position(|told| *told == Told::Removed(*name));
                told.remove(position.expect("it was found there"));
            }
        }
        [gone_there, gone_here]
    }

    fn level(&self, gone_there: &[Name], gone_here: &[Name]) -> Verdict {
        let side = self.side as usize;
        let (there, here) = (self.real.state().cached, self.ours.state().cached);
        for name in there[side].difference(&here[side]) {
            demand(gone_here.contains(name), "a session is missing here")?;
            self.real.forget(*name);
        }
        for name in here[side].difference(&there[side]) {
            demand(gone_there.contains(name), "a session is missing there")?;
            self.ours.forget(self.side, *name);
        }
        Ok(())
    }

    fn mark<'a>(&self, names: impl Iterator<Item = &'a Name>, rules: &mut Rules) -> Verdict {
        let resumable_there = self.real.state().resumable;
        for name in names.collect::<BTreeSet<_>>() {
            if self.ours.is_resumable(*name) && !resumable_there[*name] {
                rules.excuse(Rule::EvictionDoesNotMark, "an evicted session is marked")?;
                self.ours.mark(*name);
            }
        }
        Ok(())
    }
}

fn removed(told: &[Told]) -> Vec<Name> {
    told.iter()
        .filter_map(|told| match told {
            Told::Removed(name) => Some(*name),
            _ => None,
        })
        .collect()
}
