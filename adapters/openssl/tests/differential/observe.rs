//! What a call has shown, on either side.

use crate::program::{CONTEXTS, Call};
use std::collections::BTreeSet;

/// What a call returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Nothing,
    Flag(bool),
    Number(i64),
}

/// Why a session left. Only ours says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Unknown,
    Removed,
    Evicted,
    Expired,
    Flushed,
    Dropped,
}

/// A remove callback.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) context: usize,
    pub(crate) session: usize,
    pub(crate) reason: Reason,
    /// The call that the callback made, and what came of it.
    pub(crate) reaction: Option<Box<Reaction>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Reaction {
    pub(crate) call: Call,
    pub(crate) before: State,
    pub(crate) outcome: Outcome,
}

/// What a call returned and whom it called.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    pub(crate) events: Vec<Event>,
}

impl Outcome {
    pub(crate) fn sessions(&self) -> Vec<usize> {
        self.events.iter().map(|event| event.session).collect()
    }

    pub(crate) fn reaction(&self) -> Option<(&Event, &Reaction)> {
        self.events.iter().find_map(|event| Some((event, event.reaction.as_deref()?)))
    }
}

/// Who is cached, and what everybody is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) cached: [BTreeSet<usize>; CONTEXTS],
    pub(crate) resumable: Vec<bool>,
    /// Time and timeout of each session.
    pub(crate) times: Vec<(i64, i64)>,
    /// Evictions since the program began.
    pub(crate) evictions: [i64; CONTEXTS],
}
