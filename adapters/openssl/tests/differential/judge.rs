//! The comparator: what one call has shown on both sides must be the same, but for the rules.

use crate::lockstep::Lockstep;
use crate::observe::{Answer, Outcome, Reason, State};
use crate::program::{Call, Program};
use crate::real::CapacityMap;
use crate::rules::{Rule, Rules};
use std::collections::BTreeSet;

pub(crate) struct Judge<'a> {
    pub(crate) program: &'a Program,
    pub(crate) side: &'a Lockstep,
    pub(crate) capacity_map: CapacityMap,
    pub(crate) rules: &'a mut Rules,
}

/// What a call may have made different on the two sides.
#[derive(Default)]
struct Excused {
    /// Sessions that OpenSSL has removed, and marked.
    gone_there: BTreeSet<usize>,
    /// Sessions that we have removed.
    gone_here: BTreeSet<usize>,
    /// Sessions that we have removed and marked, as expired.
    expired_here: BTreeSet<usize>,
    /// Sessions that OpenSSL has marked because it was told to remove them, so as to be where we are.
    levelled: BTreeSet<usize>,
}

type Verdict = Result<(), String>;

fn demand(holds: bool, complaint: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(complaint()) }
}

impl Judge<'_> {
    /// Compares, and makes both sides equal again where a rule lets them differ.
    pub(crate) fn judge(
        &mut self,
        call: &Call,
        before: &(State, State),
        real: &Outcome,
        ours: &Outcome,
    ) -> Verdict {
        let mut excused = Excused::default();
        self.judge_call(call, &before.1, real, ours, &mut excused)?;
        self.settle(&excused)
    }

    fn judge_call(
        &mut self,
        call: &Call,
        before: &State,
        real: &Outcome,
        ours: &Outcome,
        excused: &mut Excused,
    ) -> Verdict {
        let context = call.context(&self.program.sessions);
        let told = real.events.iter().chain(&ours.events).all(|event| Some(event.context) == context);
        demand(told, || "the callback of another context".to_owned())?;
        match *call {
            Call::Add(session) => self.judge_add(session, before, real, ours, excused)?,
            Call::Remove(..) => {
                self.equal_answers(real, ours)?;
                demand(real.sessions() == ours.sessions(), || "another callback".to_owned())?;
                self.reasons(ours, &[Reason::Removed])?;
            }
            Call::Flush(..) => self.judge_flush(before, real, ours, excused)?,
            Call::Replace(_) => {
                self.judge_order(&real.sessions(), &ours.sessions())?;
                self.reasons(ours, &[Reason::Dropped])?;
            }
            Call::SetCapacity(context, capacity) => {
                self.judge_capacity((context, capacity), before, real, ours, excused)?;
            }
            _ => self.judge_setting(call, before, real, ours)?,
        }
        self.judge_reaction(call, real, ours, excused)
    }

    fn equal_answers(&self, real: &Outcome, ours: &Outcome) -> Verdict {
        demand(real.answer == ours.answer, || format!("{:?} is not {:?}", ours.answer, real.answer))
    }

    fn reasons(&self, ours: &Outcome, allowed: &[Reason]) -> Verdict {
        demand(ours.events.iter().all(|event| allowed.contains(&event.reason)), || {
            "another reason".to_owned()
        })
    }

    /// Calls that change a setting, or nothing.
    fn judge_setting(&mut self, call: &Call, before: &State, real: &Outcome, ours: &Outcome) -> Verdict {
        demand(real.events.is_empty() && ours.events.is_empty(), || "a callback out of nothing".to_owned())?;
        if let Call::SetTimeout(..) = call
            && (real.answer, ours.answer) == (Answer::Number(7200), Answer::Number(300))
        {
            return self.rules.excuse(Rule::DefaultTimeout, "another default timeout");
        }
        self.equal_answers(real, ours)?;
        // What OpenSSL has changed in a session, another session has here.
        match *call {
            Call::SetSessionTime(session, time) if before.times[session].0 != time => {
                self.excuse_change(session, before)?;
                self.side.ours.set_time(session, time);
            }
            Call::SetSessionTimeout(session, timeout)
                if timeout >= 0 && before.times[session].1 != timeout =>
            {
                self.excuse_change(session, before)?;
                self.side.ours.set_timeout(session, timeout);
            }
            Call::SetId(session, id) if ours.answer == Answer::Flag(true) => {
                self.side.ours.set_id(session, id)
            }
            _ => {}
        }
        Ok(())
    }

    fn excuse_change(&mut self, session: usize, before: &State) -> Verdict {
        if before.cached[self.program.sessions[session].home].contains(&session) {
            self.rules.excuse(Rule::ImmutableSessions, "a cached session has changed")?;
        }
        Ok(())
    }

    fn judge_capacity(
        &mut self,
        (context, capacity): (usize, usize),
        before: &State,
        real: &Outcome,
        ours: &Outcome,
        excused: &mut Excused,
    ) -> Verdict {
        let Answer::Number(previous) = ours.answer else { return Err("no previous capacity".to_owned()) };
        let mapped = (self.capacity_map)(usize::try_from(previous).expect("a small capacity"));
        demand(real.answer == Answer::Number(mapped), || "another previous capacity".to_owned())?;
        if capacity > 1 {
            self.rules.apply(Rule::CapacityHoldsAll);
        }
        demand(real.events.is_empty(), || "OpenSSL evicts when it is told the capacity".to_owned())?;
        let too_many = if capacity == 0 { 0 } else { before.cached[context].len().saturating_sub(capacity) };
        let evicted = self.evictions_here(context, before, ours);
        demand((ours.events.len(), evicted) == (too_many, too_many), || {
            format!("{} sessions leave, {evicted} are counted, {too_many} are too many", ours.events.len())
        })?;
        if too_many > 0 {
            self.rules.excuse(Rule::LoweredCapacityAtOnce, "evicted when the capacity is lowered")?;
        }
        self.reasons(ours, &[Reason::Evicted, Reason::Expired])?;
        self.gone_here(ours, excused);
        Ok(())
    }

    fn judge_flush(
        &mut self,
        before: &State,
        real: &Outcome,
        ours: &Outcome,
        excused: &mut Excused,
    ) -> Verdict {
        let (there, here) = (real.sessions(), ours.sessions());
        demand(here.iter().all(|session| there.contains(session)), || "flushed too much".to_owned())?;
        for session in there.iter().filter(|session| !here.contains(session)) {
            let (time, timeout) = before.times[*session];
            demand(time.saturating_add(timeout) >= i64::from(u32::MAX), || "flushed too little".to_owned())?;
            self.rules.excuse(Rule::TimeSaturates, "a session of after 2106 stays")?;
            excused.gone_there.insert(*session);
        }
        let common: Vec<_> = there.into_iter().filter(|session| here.contains(session)).collect();
        self.judge_order(&common, &here)?;
        self.reasons(ours, &[Reason::Flushed, Reason::Expired])
    }

    fn judge_order(&mut self, there: &[usize], here: &[usize]) -> Verdict {
        if there == here {
            return Ok(());
        }
        let sorted = |sessions: &[usize]| {
            let mut sorted = sessions.to_vec();
            sorted.sort_unstable();
            sorted
        };
        demand(sorted(there) == sorted(here), || "other sessions leave".to_owned())?;
        self.rules.excuse(Rule::OrderOfDepartures, "another order")
    }

    fn judge_add(
        &mut self,
        session: usize,
        before: &State,
        real: &Outcome,
        ours: &Outcome,
        excused: &mut Excused,
    ) -> Verdict {
        if self.side.real.has_no_id(session) {
            self.rules.excuse(Rule::NoIdRefused, "a session without an id")?;
            return self.equal_answers(real, ours);
        }
        let context = self.program.sessions[session].home;
        let present = &before.cached[context];
        // What upkeep has removed first, it has made room for.
        let evicted = self.evictions_here(context, before, ours);
        let (upkept, victims) = ours
            .events
            .split_at_checked(ours.events.len().wrapping_sub(evicted))
            .ok_or_else(|| "more evictions counted than told of".to_owned())?;
        let upkept: BTreeSet<usize> = upkept.iter().map(|event| event.session).collect();
        if !upkept.is_empty() {
            let now = self.side.ours.now();
            let expired =
                |session: &usize| before.times[*session].0.saturating_add(before.times[*session].1) < now;
            demand(upkept.iter().all(expired), || "upkeep removes a valid session".to_owned())?;
            self.rules.excuse(Rule::UpkeepByTheWheel, "upkeep")?;
        }
        let left: BTreeSet<usize> = present.difference(&upkept).copied().collect();
        let (answer_there, needed_there) = self.expect_add(session, context, present);
        let (answer_here, needed_here) = self.expect_add(session, context, &left);
        demand(real.answer == Answer::Flag(answer_there), || "another answer there".to_owned())?;
        demand(ours.answer == Answer::Flag(answer_here), || "another answer here".to_owned())?;
        demand(real.events.len() == needed_there, || format!("{needed_there} evictions expected there"))?;
        demand(evicted == needed_here, || format!("{needed_here} evictions expected here"))?;
        let victims_here: BTreeSet<usize> = victims.iter().map(|event| event.session).collect();
        let victims_there: BTreeSet<usize> = real.sessions().into_iter().collect();
        if upkept.is_empty() && victims_here != victims_there {
            self.rules.excuse(Rule::VictimByUse, "another victim")?;
        }
        self.reasons(ours, &[Reason::Evicted, Reason::Expired])?;
        excused.gone_there.extend(victims_there);
        self.gone_here(ours, excused);
        if self.side.ours.renews(context) {
            // The session had its new time before it was added.
            self.rules.apply(Rule::UpdateTimeOnHit);
        }
        Ok(())
    }

    /// The answer of an add, and how many must go for it, when these are cached.
    fn expect_add(&self, session: usize, context: usize, cached: &BTreeSet<usize>) -> (bool, usize) {
        if cached.contains(&session) {
            return (false, 0);
        }
        if cached.iter().any(|other| self.side.ours.collide(*other, session)) {
            return (true, 0);
        }
        match self.side.ours.capacity(context) {
            0 => (true, 0),
            capacity => (true, (cached.len() + 1).saturating_sub(capacity)),
        }
    }

    /// Evictions that this call has counted, but not what its callback did.
    fn evictions_here(&self, context: usize, before: &State, ours: &Outcome) -> usize {
        let after = match ours.reaction() {
            Some((_, reaction)) => reaction.before.evictions[context],
            None => self.side.ours.state().evictions[context],
        };
        usize::try_from(after - before.evictions[context]).expect("counters do not run backwards")
    }

    fn gone_here(&self, ours: &Outcome, excused: &mut Excused) {
        for event in &ours.events {
            excused.gone_here.insert(event.session);
            if event.reason == Reason::Expired {
                excused.expired_here.insert(event.session);
            }
        }
    }

    /// What a callback did. OpenSSL refuses every call on a context from inside its flush or eviction; it then makes the
    /// call afterwards, in the state in which we have made it, and must come to the same result.
    fn judge_reaction(
        &mut self,
        call: &Call,
        real: &Outcome,
        ours: &Outcome,
        excused: &mut Excused,
    ) -> Verdict {
        let there = real.reaction().map(|(_, reaction)| reaction);
        let here = ours.reaction().map(|(_, reaction)| reaction);
        let Some(inner) = there.or(here).map(|reaction| reaction.call.clone()) else { return Ok(()) };
        let locked = !matches!(call, Call::Remove(..))
            && inner.context(&self.program.sessions) == call.context(&self.program.sessions);
        let side = self.side;
        if let Some(refused) = there.filter(|_| locked && self.rules.holds(Rule::CallbacksWithoutLock)) {
            let outcome = &refused.outcome;
            let nothing =
                matches!(outcome.answer, Answer::Flag(false) | Answer::Nothing) && outcome.events.is_empty();
            demand(nothing, || "OpenSSL does something in its locked context".to_owned())?;
        }
        match (there, here) {
            (Some(there), Some(here)) if !locked || !self.rules.holds(Rule::CallbacksWithoutLock) => {
                self.judge_call(&inner, &here.before, &there.outcome, &here.outcome, excused)
            }
            (_, Some(here)) => {
                if there.is_some() {
                    self.rules.excuse(Rule::CallbacksWithoutLock, "a call from a callback")?;
                }
                self.level(&here.before, excused);
                let again = side.real.make(&inner);
                self.judge_call(&inner, &here.before, &again, &here.outcome, excused)
            }
            (Some(there), None) => {
                // Nobody has called our callback.
                let before = side.ours.state();
                let again = if locked {
                    self.level(&before, excused);
                    &side.real.make(&inner)
                } else {
                    &there.outcome
                };
                let now = side.ours.make(&inner);
                self.judge_call(&inner, &before, again, &now, excused)
            }
            (None, None) => Ok(()),
        }
    }

    /// Brings OpenSSL to the state in which we are, or were.
    fn level(&self, target: &State, excused: &mut Excused) {
        let now = self.side.real.state();
        for (there, here) in now.cached.iter().zip(&target.cached) {
            excused.levelled.extend(there.difference(here));
        }
        self.side.real.level(target);
    }

    /// All that is different now must be excused; then it is made equal.
    fn settle(&mut self, excused: &Excused) -> Verdict {
        let side = self.side;
        let (real, ours) = (side.real.state(), side.ours.state());
        for context in 0..real.cached.len() {
            let only_there = real.cached[context].difference(&ours.cached[context]);
            let only_here = ours.cached[context].difference(&real.cached[context]);
            let mut only_there = only_there.filter(|session| !excused.gone_here.contains(session));
            let mut only_here = only_here.filter(|session| !excused.gone_there.contains(session));
            demand(only_there.next().is_none(), || "a session is missing here".to_owned())?;
            demand(only_here.next().is_none(), || "a session is missing there".to_owned())?;
        }
        for (session, (there, here)) in real.resumable.iter().zip(&ours.resumable).enumerate() {
            match (there, here) {
                (false, true) if excused.gone_there.contains(&session) => {
                    self.rules.excuse(Rule::EvictionDoesNotMark, "an evicted session is marked")?;
                }
                (false, true) if excused.levelled.contains(&session) => {}
                (true, false) if excused.expired_here.contains(&session) => {}
                (there, here) => {
                    demand(there == here, || format!("session {session} is not equally resumable"))?
                }
            }
        }
        side.real.level(&ours);
        side.ours.mark(&side.real.state());
        Ok(())
    }
}
