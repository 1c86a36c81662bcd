//! The rules, one function per call.

use std::collections::BTreeSet;

use super::{Answer, Call, Disagreement, Entry, Key, Model, Outcome, Reason, Seen, Session};

/// What is left to be explained of what one call showed.
struct Case<'a> {
    now: u64,
    answer: &'a Answer,
    departures: Vec<(u64, Reason)>,
}

type Verdict = Result<(), String>;

impl Model {
    /// Checks what `call` showed at second `now` and follows it.
    ///
    /// After a disagreement the model is in no useful state.
    ///
    /// # Errors
    ///
    /// [`Disagreement`] when the rules do not allow what was seen.
    pub fn judge(&mut self, call: &Call, now: u64, seen: &Seen) -> Result<(), Box<Disagreement>> {
        let mut case = Case { now, answer: &seen.answer, departures: seen.departures.clone() };
        self.apply(call, &mut case).and_then(|()| case.is_explained()).map_err(|complaint| {
            Box::new(Disagreement { call: call.clone(), now, seen: seen.clone(), complaint })
        })
    }

    fn apply(&mut self, call: &Call, case: &mut Case<'_>) -> Verdict {
        match call {
            Call::Add(session) => self.add(session, case),
            Call::Remove(session) => self.remove(session, case),
            Call::Lookup(key, id_context) => self.find(key, id_context, false, case),
            Call::Take(key, id_context) => self.find(key, id_context, true, case),
            Call::Flush(at) => {
                let (at, now) = (*at, case.now);
                let late = if at > now { Reason::Flushed } else { Reason::Expired };
                self.sweep(case, |entry| {
                    let reason = if now > entry.expires_at { Reason::Expired } else { late };
                    (at > entry.expires_at).then_some(reason)
                })
            }
            Call::FlushAll => self.sweep(case, |_| Some(Reason::Flushed)),
            Call::Purge(id_context) => {
                self.sweep(case, |entry| (entry.session.id_context == *id_context).then_some(Reason::Purged))
            }
            Call::SetCapacity(capacity) => {
                let previous = std::mem::replace(&mut self.capacity, *capacity);
                self.reclaim(None, case)?;
                case.must_answer(&Answer::Capacity(previous))
            }
            Call::Mark(serial) => {
                self.marked.insert(*serial);
                case.must_answer(&Answer::Nothing)
            }
            Call::Tick => {
                self.upkeep(None, case)?;
                case.must_answer(&Answer::Nothing)
            }
            Call::Drop => {
                let all: Vec<Key> = self.entries.keys().cloned().collect();
                all.iter().try_for_each(|key| self.depart(key, Reason::ContextDropped, case))?;
                case.must_answer(&Answer::Nothing)
            }
        }
    }

    fn add(&mut self, session: &Session, case: &mut Case<'_>) -> Verdict {
        // Upkeep comes before the insert, so it may take the session under the same key, and never the new one.
        self.upkeep(None, case)?;
        let expires_at = session.expiry_from(session.time);
        let entry = Entry { session: session.clone(), expires_at };
        let expected = match self.entries.get(&session.key).map(|entry| entry.session.serial) {
            Some(serial) if serial == session.serial => Answer::Unchanged,
            Some(serial) => {
                self.entries.insert(session.key.clone(), entry);
                Answer::Replaced(serial)
            }
            None => {
                self.entries.insert(session.key.clone(), entry);
                self.reclaim(Some(session.serial), case)?;
                Answer::Added
            }
        };
        case.must_answer(&expected)
    }

    fn remove(&mut self, session: &Session, case: &mut Case<'_>) -> Verdict {
        self.upkeep(Some(&session.key), case)?;
        let found = self.entries.remove(&session.key).is_some();
        self.marked.insert(session.serial);
        case.must_tell(session.serial, Reason::Removed)?;
        case.must_answer(&Answer::Removed(found))
    }

    fn find(&mut self, key: &Key, id_context: &[u8], takes: bool, case: &mut Case<'_>) -> Verdict {
        self.upkeep(Some(key), case)?;
        if !self.looks_inside {
            return case.must_miss(&[Outcome::Mode, Outcome::Unknown]);
        }
        let other_version =
            self.entries.keys().any(|other| other.id == key.id && other.version != key.version);
        let Some(entry) = self.entries.get_mut(key) else {
            // The memory of what left is allowed to forget.
            let absent = [Outcome::Unknown, Outcome::Evicted, Outcome::Consumed, Outcome::Expired];
            return case.must_miss(if other_version { &[Outcome::OtherVersion] } else { &absent });
        };
        let serial = entry.session.serial;
        if self.marked.contains(&serial) {
            return case.must_miss(&[Outcome::Marked]);
        }
        if entry.session.id_context != id_context {
            return case.must_miss(&[Outcome::OtherContext]);
        }
        if case.now > entry.expires_at {
            if !entry.session.has_tickets_only() {
                self.depart(key, Reason::Expired, case)?;
            }
            return case.must_miss(&[Outcome::Expired]);
        }
        if takes {
            self.depart(key, Reason::Consumed, case)?;
        } else if self.renews {
            // A use shortens no life: of a session whose time is to come, or after the clock was set back.
            entry.expires_at = entry.expires_at.max(entry.session.expiry_from(case.now));
        }
        case.must_answer(&Answer::Found(Some(serial), Outcome::Hit))
    }

    fn sweep(&mut self, case: &mut Case<'_>, reason: impl Fn(&Entry) -> Option<Reason>) -> Verdict {
        let leave = |(key, entry): (&Key, &Entry)| Some((key.clone(), reason(entry)?));
        let leaving: Vec<_> = self.entries.iter().filter_map(leave).collect();
        for (key, reason) in &leaving {
            self.depart(key, *reason, case)?;
        }
        case.must_answer(&Answer::Count(leaving.len()))
    }

    /// Follows the automatic reclaiming of what has expired, which may happen in any call; not under the key `except`.
    fn upkeep(&mut self, except: Option<&Key>, case: &mut Case<'_>) -> Verdict {
        let told = case.departures.clone();
        let reclaimed = |(other, entry): &(&Key, &Entry)| {
            Some(*other) != except
                && case.now > entry.expires_at
                && told.contains(&(entry.session.serial, Reason::Expired))
        };
        let reclaimed: Vec<Key> = self.entries.iter().filter(reclaimed).map(|(key, _)| key.clone()).collect();
        reclaimed.iter().try_for_each(|key| self.depart(key, Reason::Expired, case))
    }

    /// Takes the session under `key` out; the callback must have been told.
    fn depart(&mut self, key: &Key, reason: Reason, case: &mut Case<'_>) -> Verdict {
        let Some(entry) = self.entries.remove(key) else { return Ok(()) };
        if reason != Reason::Evicted {
            self.marked.insert(entry.session.serial);
        }
        case.must_tell(entry.session.serial, reason)
    }

    /// Follows the evictions that the engine chose: as many as needed, none of them the session that is being added.
    fn reclaim(&mut self, added: Option<u64>, case: &mut Case<'_>) -> Verdict {
        let told: BTreeSet<u64> = case.departures.iter().map(|&(serial, _)| serial).collect();
        let chosen = |(_, entry): &(&Key, &Entry)| told.contains(&entry.session.serial);
        let mut victims: Vec<_> =
            self.entries.iter().filter(chosen).map(|(key, entry)| (key.clone(), entry.clone())).collect();
        // Expired ones make room too, so they are counted first.
        victims.sort_by_key(|(_, victim)| case.now <= victim.expires_at);
        for (key, victim) in victims {
            if Some(victim.session.serial) == added {
                return Err("the session that was added went itself".into());
            }
            let expired = case.now > victim.expires_at;
            if !expired && !self.is_over() {
                return Err("a session was evicted though there was room".into());
            }
            self.depart(&key, if expired { Reason::Expired } else { Reason::Evicted }, case)?;
        }
        if self.is_over() {
            return Err(format!("{} sessions are more than the capacity of {}", self.len(), self.capacity));
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.capacity != 0 && self.len() > self.capacity
    }
}

impl Case<'_> {
    fn must_answer(&self, expected: &Answer) -> Verdict {
        if self.answer == expected { Ok(()) } else { Err(format!("the answer must be {expected:?}")) }
    }

    fn must_miss(&self, outcomes: &[Outcome]) -> Verdict {
        match self.answer {
            Answer::Found(None, outcome) if outcomes.contains(outcome) => Ok(()),
            _ => Err(format!("the answer must be a miss counted as one of {outcomes:?}")),
        }
    }

    fn must_tell(&mut self, serial: u64, reason: Reason) -> Verdict {
        match self.departures.iter().position(|told| *told == (serial, reason)) {
            Some(index) => {
                self.departures.remove(index);
                Ok(())
            }
            None => Err(format!("the remove callback must be told that session {serial} was {reason:?}")),
        }
    }

    fn is_explained(&self) -> Verdict {
        match self.departures.first() {
            None => Ok(()),
            Some((serial, reason)) => Err(format!(
                "nothing explains that the remove callback was told {reason:?} of session {serial}"
            )),
        }
    }
}
