//! Programs: sessions, and a list of calls on them and on two contexts.

use std::fmt;

/// How many contexts there are.
pub(crate) const CONTEXTS: usize = 2;

/// The capacity of every context when a program begins.
pub(crate) const CAPACITY: usize = 16;

/// Second zero of all programs.
pub(crate) const BASE: i64 = 1_700_000_000;

/// What a session is before the first call. A session belongs to one context: in OpenSSL it must not be added to two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) home: usize,
    pub(crate) version: Version,
    pub(crate) id: Id,
    pub(crate) time: i64,
    pub(crate) timeout: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

impl Version {
    pub(crate) const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    pub(crate) fn wire(self) -> u16 {
        match self {
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }
}

/// One of a few ids, so that sessions meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(pub(crate) usize);

const IDS: [&[u8]; 8] =
    [&[1], &[1, 0], &[1, 0, 0, 0, 1], &[1, 0, 0, 0, 2], &[7; 32], &[8; 32], &[], &[9; 33]];

impl Id {
    pub(crate) const NONE: Self = Self(6);
    pub(crate) const TOO_LONG: Self = Self(7);

    pub(crate) fn bytes(self) -> &'static [u8] {
        IDS[self.0]
    }

    /// One that a session can have.
    fn valid(random: &mut fastrand::Rng) -> Self {
        Self(random.usize(..6))
    }
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// `SSL_CTX_add_session`, to the session's own context.
    Add(usize),
    /// `SSL_CTX_remove_session`, from any context.
    Remove(usize, usize),
    /// `SSL_has_matching_session_id`.
    Contains(usize, Version, Id),
    /// `SSL_CTX_flush_sessions`.
    Flush(usize, When),
    /// `SSL_CTX_sess_set_cache_size`.
    SetCapacity(usize, usize),
    /// `SSL_CTX_set_session_cache_mode`.
    SetMode(usize, u32),
    /// `SSL_CTX_set_timeout`.
    SetTimeout(usize, i64),
    /// `SSL_SESSION_set_time`.
    SetSessionTime(usize, i64),
    /// `SSL_SESSION_set_timeout`.
    SetSessionTimeout(usize, i64),
    /// `SSL_SESSION_set1_id`, if the session is in no cache.
    SetId(usize, Id),
    /// The next remove callback makes this call.
    React(Box<Call>),
    /// `SSL_CTX_free`, and a new context in its place.
    Replace(usize),
    /// Seconds pass, on both sides.
    Pass(u32),
}

/// The time of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Zero.
    Everything,
    /// Seconds relative to the present end of this session.
    AroundEndOf(usize, i64),
    At(i64),
}

impl Call {
    /// The context whose lock OpenSSL takes for it.
    pub(crate) fn context(&self, sessions: &[Spec]) -> Option<usize> {
        match *self {
            Self::Add(session) => Some(sessions[session].home),
            Self::Remove(context, _)
            | Self::Contains(context, ..)
            | Self::Flush(context, _)
            | Self::SetCapacity(context, _)
            | Self::SetMode(context, _)
            | Self::SetTimeout(context, _)
            | Self::Replace(context) => Some(context),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) sessions: Vec<Spec>,
    pub(crate) calls: Vec<Call>,
}

impl Program {
    /// The program of this number: always the same one.
    pub(crate) fn random(number: u64) -> Self {
        let random = &mut fastrand::Rng::with_seed(number);
        // Few contexts are ever full if there is much room, and few sessions ever meet.
        let lively = 2 + random.usize(..6);
        let sessions: Vec<Spec> = (0..3 + random.usize(..10)).map(|_| spec(random)).collect();
        let mut calls = Vec::new();
        for context in 0..CONTEXTS {
            if random.usize(..4) > 0 {
                calls.push(Call::SetCapacity(context, 1 + random.usize(..lively)));
            }
        }
        calls.extend((0..10 + random.usize(..30)).map(|_| call(random, sessions.len(), lively)));
        Self { sessions, calls }
    }
}

fn spec(random: &mut fastrand::Rng) -> Spec {
    Spec {
        home: random.usize(..CONTEXTS),
        version: random.choice(Version::ALL).expect("two"),
        id: if random.usize(..30) == 0 { Id::NONE } else { Id::valid(random) },
        time: time(random),
        timeout: timeout(random),
    }
}

fn time(random: &mut fastrand::Rng) -> i64 {
    match random.usize(..12) {
        0 => 0,
        1 => i64::from(u32::MAX) - 10,
        _ => BASE + random.i64(-3..=3) * 10,
    }
}

fn timeout(random: &mut fastrand::Rng) -> i64 {
    match random.usize(..16) {
        0 => 0,
        1 => i64::MAX,
        2 => -1,
        3 => 1 << 32,
        _ => random.i64(1..=6) * 10,
    }
}

fn call(random: &mut fastrand::Rng, sessions: usize, lively: usize) -> Call {
    let context = random.usize(..CONTEXTS);
    match random.usize(..100) {
        0..40 => Call::Add(random.usize(..sessions)),
        81 => Call::SetTimeout(context, [0, 1, 60, 86_400][random.usize(..4)]),
        82..85 => Call::SetMode(context, mode(random)),
        85..89 => Call::SetSessionTime(random.usize(..sessions), time(random)),
        89..91 => Call::SetSessionTimeout(random.usize(..sessions), timeout(random)),
        91..93 => Call::SetId(random.usize(..sessions), Id(random.usize(..IDS.len()))),
        93..97 => Call::React(Box::new(reaction(random, sessions))),
        97 => Call::Replace(context),
        98..100 => Call::Pass(random.u32(1..40)),
        76..81 => Call::SetCapacity(context, random.usize(..lively + 1)),
        _ => reaction(random, sessions),
    }
}

fn mode(random: &mut fastrand::Rng) -> u32 {
    let bits = [0, 1, 2, 3][random.usize(..4)];
    let flags = [0, 0x80, 0x100, 0x200, 0x400, 0x480, 0x1000];
    bits | random.choice(flags).expect("some")
}

/// What a remove callback may do.
fn reaction(random: &mut fastrand::Rng, sessions: usize) -> Call {
    let context = random.usize(..CONTEXTS);
    match random.usize(..10) {
        0..3 => Call::Add(random.usize(..sessions)),
        3..6 => Call::Remove(context, random.usize(..sessions)),
        6..8 => {
            Call::Contains(context, random.choice(Version::ALL).expect("two"), Id(random.usize(..IDS.len())))
        }
        _ => Call::Flush(context, when(random, sessions)),
    }
}

fn when(random: &mut fastrand::Rng, sessions: usize) -> When {
    match random.usize(..10) {
        0..2 => When::Everything,
        2..7 => When::AroundEndOf(random.usize(..sessions), random.i64(-1..=1)),
        7 => When::At(-1),
        8 => When::At(1 << 34),
        _ => When::At(BASE + random.i64(-5..10) * 10),
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, spec) in self.sessions.iter().enumerate() {
            let Spec { home, version, id, time, timeout } = spec;
            writeln!(
                f,
                "session {number}: {version:?}, id {:02x?}, time base{:+}, timeout {timeout}, of context {home}",
                id.bytes(),
                time - BASE
            )?;
        }
        for call in &self.calls {
            writeln!(f, "{call:?}")?;
        }
        Ok(())
    }
}
