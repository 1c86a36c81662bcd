//! One key of a session cache as a sequential object.

use super::Spec;

/// What one key of a session cache may answer.
///
/// Sessions are told apart by serial numbers. Every session that is added has its own, so that a session that
/// comes back after it left is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionSpec {
    /// Whether the cache may drop the session at any time because it is full. Then absence explains itself; what must
    /// still never happen is that a session comes back, or that two takes get it.
    pub evicts: bool,
    /// Whether sessions expire while the history is made. An expired session is not found, and yet an add may replace it
    /// and a removal remove it; and it may be reclaimed at any time, so set `evicts` too.
    pub expires: bool,
}

/// A call on one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Add the session with this serial number.
    Add(u64),
    /// Remove whatever session has the key (SSL_CTX_remove_session goes by the key).
    Remove,
    /// Look the key up and remove it in one step.
    Take,
    /// Look the key up.
    Lookup,
}

/// What the call answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The key was free and has the session now.
    Added,
    /// The session took the place of the one with this serial number.
    Replaced(u64),
    /// This very session was there already.
    Unchanged,
    /// Whether the removal found a session.
    Removed(bool),
    /// The session that was found, for a lookup or a take.
    Found(Option<u64>),
}

impl Spec for SessionSpec {
    type State = Option<u64>;
    type Input = Call;
    type Output = Outcome;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn apply(&self, state: &Option<u64>, call: &Call, outcome: &Outcome) -> Option<Option<u64>> {
        if self.expires && *outcome == Outcome::Found(None) {
            return Some(*state);
        }
        let explained = step(*state, *call, *outcome);
        // An eviction shows only in the next answer, so it is enough to place it there.
        if explained.is_none() && self.evicts { step(None, *call, *outcome) } else { explained }
    }
}

fn step(state: Option<u64>, call: Call, outcome: Outcome) -> Option<Option<u64>> {
    match (call, outcome) {
        (Call::Add(new), Outcome::Added) => state.is_none().then_some(Some(new)),
        (Call::Add(new), Outcome::Replaced(old)) => (state == Some(old) && old != new).then_some(Some(new)),
        (Call::Add(new), Outcome::Unchanged) => (state == Some(new)).then_some(state),
        (Call::Remove, Outcome::Removed(found)) => (state.is_some() == found).then_some(None),
        (Call::Take, Outcome::Found(found)) => (state == found).then_some(None),
        (Call::Lookup, Outcome::Found(found)) => (state == found).then_some(state),
        _ => None,
    }
}
