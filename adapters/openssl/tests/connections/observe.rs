//! What a step has shown.

use crate::program::{Side, Version};
use std::collections::BTreeSet;

/// A session, by the order in which the sessions of both sides came up.
pub(crate) type Name = usize;

/// What a session is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) side: Side,
    pub(crate) version: Version,
    pub(crate) id: Vec<u8>,
    /// What a client sends to have it resumed: the id, or the ticket.
    pub(crate) ticket: Vec<u8>,
    /// The lifetime that the server has given the ticket.
    pub(crate) lifetime: u64,
}

/// What OpenSSL has done in a step.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// There was nothing to do it with.
    Skipped,
    Done,
    /// What a call returned.
    Returned(i64),
    Handshake(Handshake),
    /// The end of reading, and the client's sessions of the tickets that were read.
    Read(Reading, Vec<Name>),
}

#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    pub(crate) version: Version,
    /// What the client was given, and whether its ClientHello offers it.
    pub(crate) offer: Option<Name>,
    pub(crate) offered: bool,
    /// Whether the two have no version in common.
    pub(crate) mismatch: bool,
    /// Whether both sides came to an end, or the server ended it with an alert.
    pub(crate) finished: bool,
    pub(crate) reused: bool,
    /// The sessions of both ends when it is over, if they have ids.
    pub(crate) sessions: [Option<Name>; 2],
    /// The sessions of the tickets that the server has sent.
    pub(crate) tickets: Vec<Name>,
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing more has come.
    Nothing,
    CloseNotify,
    AlertReceived,
    AlertSent,
    Eof,
}

/// A callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    New(Name),
    Removed(Name),
    /// The get callback, for a session of TLS 1.2.
    Asked,
    /// What a call from inside a callback has returned.
    Reacted(i64),
}

/// Where everything is after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// By side: who is cached, and the counters.
    pub(crate) cached: [BTreeSet<Name>; 2],
    pub(crate) counters: [Counters; 2],
    pub(crate) resumable: Vec<bool>,
    /// Time and timeout of each session.
    pub(crate) times: Vec<(i64, i64)>,
    /// By slot and side: the connection, if there is one.
    pub(crate) connections: Vec<[Option<End>; 2]>,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// `SSL_get0_session`, if it has an id.
    pub(crate) session: Option<Name>,
    pub(crate) reused: bool,
    /// `SSL_get_shutdown`.
    pub(crate) shutdown: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) number: i64,
    pub(crate) connect: i64,
    pub(crate) connect_good: i64,
    pub(crate) accept: i64,
    pub(crate) accept_good: i64,
    pub(crate) hits: i64,
    pub(crate) cb_hits: i64,
    pub(crate) misses: i64,
    pub(crate) timeouts: i64,
}
