//! Programs: a client and a server that make connections, use them and end them.

use std::fmt;

/// How many pairs of connections there may be at one time.
pub(crate) const SLOTS: usize = 3;

/// Second zero of all programs.
pub(crate) const BASE: i64 = 1_700_000_000;

/// The timeout of both contexts when a program begins, in seconds.
pub(crate) const TIMEOUT: i64 = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Client, Self::Server];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

impl Version {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Tls12 => Self::Tls13,
            Self::Tls13 => Self::Tls12,
        }
    }

    pub(crate) fn wire(self) -> u16 {
        match self {
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }
}

/// The n-th session of a side, in the order in which they come up; the last one if there are not so many.
pub(crate) type Nth = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Frees what is in the slot and makes a new pair, which offers a session of the client.
    Connect { slot: usize, version: Version, offer: Option<Nth> },
    /// As `Connect`, but the server speaks the other version only.
    Mismatch { slot: usize, version: Version, offer: Option<Nth> },
    /// `SSL_clear` on both ends, and a new handshake between them.
    Again(usize),
    /// `SSL_read`: tickets, alerts and close_notify are processed.
    Read(usize, Side),
    /// `SSL_shutdown`, if no close_notify was sent.
    Shutdown(usize, Side),
    /// `SSL_set_shutdown`.
    SetShutdown(usize, Side, u8),
    /// `SSL_free`.
    Free(usize, Side),
    /// Something that is no record comes in.
    Garbage(usize, Side),
    /// The transport ends.
    Eof(usize, Side),
    /// `SSL_set_session` on the client's end.
    SetSession(usize, Option<Nth>),
    /// `SSL_set_connect_state` or `SSL_set_accept_state`.
    SetState(usize, Side),
    /// `SSL_CTX_add_session`.
    Add(Side, Nth),
    /// `SSL_CTX_remove_session`.
    Remove(Side, Nth),
    /// `SSL_CTX_flush_sessions`, of everything or of what has expired.
    Flush(Side, bool),
    /// `SSL_CTX_set_session_cache_mode`: these bits besides that of the side, or OFF.
    SetMode(Side, Option<u32>),
    /// `SSL_CTX_set_session_id_context` on the server, for connections to come.
    SetIdContext(u8),
    /// `SSL_CTX_set_verify`: whether the server verifies clients from now on. They have no certificates, and need none.
    Verify(bool),
    /// `SSL_CTX_set_num_tickets`.
    Tickets(usize),
    /// `SSL_CTX_set_timeout`.
    SetTimeout(Side, i64),
    /// `SSL_CTX_sess_set_cache_size`.
    SetCapacity(Side, usize),
    /// From now on the server's get callback has this session, if it is one of TLS 1.2; or has none any more.
    Shelve(Option<Nth>),
    /// The next callback of this side makes a call.
    React(Side, Reaction),
    /// Seconds pass.
    Pass(u32),
}

/// A call from inside a callback. Those of OpenSSL's flush and eviction, where it refuses all calls, make none: what
/// becomes of those is tested with programs over contexts alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// `SSL_CTX_remove_session` of the session that the callback tells of.
    RemoveThis,
    Remove(usize),
    Add(usize),
    /// `SSL_CTX_flush_sessions`, of what has expired.
    Flush,
}

impl Reaction {
    /// The session that it names.
    pub(crate) fn session(self) -> Option<usize> {
        match self {
            Self::Remove(session) | Self::Add(session) => Some(session),
            Self::RemoveThis | Self::Flush => None,
        }
    }

    /// The same with another session, if it names one.
    pub(crate) fn with(self, session: usize) -> Self {
        match self {
            Self::Remove(_) => Self::Remove(session),
            Self::Add(_) => Self::Add(session),
            other => other,
        }
    }

    /// Whether it can be made in a callback that tells of this session, or of none. Where evictions have left the two
    /// sides with different sessions for the rest of the step, the same call on an older one is not the same.
    pub(crate) fn fits(self, this: Option<usize>, locked: bool) -> bool {
        match self {
            Self::RemoveThis => this.is_some(),
            _ => !locked,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) steps: Vec<Step>,
}

impl Program {
    /// The program of this number: always the same one.
    pub(crate) fn random(number: u64) -> Self {
        let random = &mut fastrand::Rng::with_seed(number);
        let mut steps: Vec<Step> = (0..8 + random.usize(..24)).map(|_| step(random)).collect();
        if random.usize(..20) == 0 {
            // One that was removed comes back.
            let again = Step::Connect { slot: 1, version: version(random), offer: Some(0) };
            steps.splice(0..0, [Step::Remove(Side::Server, 0), Step::Add(Side::Server, 0), again]);
            steps.insert(0, Step::Connect { slot: 0, version: Version::Tls12, offer: None });
        }
        if random.usize(..40) == 0 {
            // A server comes to verify its clients, and has no session id context.
            let (version, offer) = (version(random), Some(0));
            let first = [Step::Connect { slot: 0, version, offer: None }, Step::Read(0, Side::Client)];
            let then = [Step::Verify(true), Step::Connect { slot: 1, version, offer }];
            steps.splice(0..0, [first, then].concat());
        }
        // Rare, and at the beginning, or every program would end in refusals.
        if random.usize(..8) == 0 {
            steps.insert(0, Step::Verify(true));
        }
        if random.usize(..2) == 0 {
            steps.insert(0, Step::SetIdContext(1));
        }
        Self { steps }
    }
}

fn step(random: &mut fastrand::Rng) -> Step {
    let slot = random.usize(..SLOTS);
    let side = if random.bool() { Side::Client } else { Side::Server };
    let nth = random.usize(..12);
    match random.usize(..108) {
        0..34 => {
            Step::Connect { slot, version: version(random), offer: (random.usize(..5) > 0).then_some(nth) }
        }
        34..50 => Step::Read(slot, if random.usize(..3) > 0 { Side::Client } else { Side::Server }),
        50..58 => Step::Shutdown(slot, side),
        58..62 => Step::SetShutdown(slot, side, random.u8(..4)),
        62..68 => Step::Free(slot, side),
        68..71 => Step::Garbage(slot, side),
        71..74 => Step::Eof(slot, side),
        74..78 => Step::SetSession(slot, (random.usize(..4) > 0).then_some(nth)),
        78..80 => Step::SetState(slot, side),
        80..84 => Step::Again(slot),
        84..87 => Step::Remove(side, nth),
        87..89 => Step::Add(side, nth),
        _ => setting(random, side, nth),
    }
}

/// Steps that change what is set, and let time pass.
fn setting(random: &mut fastrand::Rng, side: Side, nth: Nth) -> Step {
    match random.usize(..19) {
        0 => Step::Flush(side, random.bool()),
        1..4 => {
            let flags = [Some(0), Some(0), Some(0x100), Some(0x200), Some(0x300), None];
            Step::SetMode(side, flags[random.usize(..6)])
        }
        4 => Step::SetIdContext(random.u8(..3)),
        5 => Step::Verify(random.usize(..3) == 0),
        6 => Step::Tickets(random.usize(..4)),
        7..10 => Step::Pass(seconds(random)),
        10 => Step::SetTimeout(side, [TIMEOUT / 2, TIMEOUT, 2 * TIMEOUT][random.usize(..3)]),
        11..13 => Step::SetCapacity(side, random.usize(..6)),
        13..15 => Step::Shelve((random.usize(..4) > 0).then_some(nth)),
        _ => {
            let calls = [Reaction::RemoveThis, Reaction::Remove(nth), Reaction::Add(nth), Reaction::Flush];
            Step::React(side, calls[random.usize(..4)])
        }
    }
}

/// A while, or just what a session lives.
fn seconds(random: &mut fastrand::Rng) -> u32 {
    let life = u32::try_from(TIMEOUT).expect("a short one");
    if random.bool() { random.u32(1..60) } else { random.u32(life - 1..life + 4) }
}

fn version(random: &mut fastrand::Rng) -> Version {
    if random.bool() { Version::Tls12 } else { Version::Tls13 }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step:?}"))
    }
}
