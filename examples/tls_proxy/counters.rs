//! What the proxy has seen: handshakes that worked, and connections that came to grief.

use crate::complain;
use rustls::{HandshakeKind, ProtocolVersion};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection ended otherwise than by both sides closing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The listener could not accept.
    Accept,
    /// There were as many connections as may be.
    TooMany,
    /// The first bytes were no TLS.
    NotTls,
    /// Both sides speak TLS, but the handshake failed.
    Handshake,
    /// The handshake was not finished in time.
    HandshakeTimeout,
    /// The client went away in the middle of the handshake.
    HandshakeAbandoned,
    /// The origin could not be reached.
    Upstream,
    /// One side went away without saying that it was done (TLS: `close_notify`). Many clients do.
    Unclean,
    /// The network failed in the middle.
    Broken,
    /// Neither side said anything for too long.
    Idle,
    /// The task of the connection panicked.
    Panic,
}

impl Trouble {
    pub(crate) const ALL: [Self; 11] = [
        Self::Accept,
        Self::TooMany,
        Self::NotTls,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::HandshakeAbandoned,
        Self::Upstream,
        Self::Unclean,
        Self::Broken,
        Self::Idle,
        Self::Panic,
    ];
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept failed",
            Self::TooMany => "too many connections",
            Self::NotTls => "not TLS",
            Self::Handshake => "handshake failed",
            Self::HandshakeTimeout => "handshake timed out",
            Self::HandshakeAbandoned => "handshake abandoned",
            Self::Upstream => "upstream unreachable",
            Self::Unclean => "unclean close",
            Self::Broken => "connection broken",
            Self::Idle => "idle too long",
            Self::Panic => "panicked",
        })
    }
}

/// Counters that any number of connections share.
#[derive(Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    handshakes: [AtomicU64; 4],
    troubles: [AtomicU64; Trouble::ALL.len()],
}

impl Counters {
    /// Counts a connection as accepted now and as open until the return value is dropped.
    pub(crate) fn connection(&self) -> OpenConnection<'_> {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        OpenConnection(self)
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    pub(crate) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Counts a handshake that worked.
    pub(crate) fn handshake(&self, version: Option<ProtocolVersion>, kind: Option<HandshakeKind>) {
        let tls13 = version == Some(ProtocolVersion::TLSv1_3);
        let resumed = kind == Some(HandshakeKind::Resumed);
        self.handshakes[cell(tls13, resumed)].fetch_add(1, Relaxed);
    }

    pub(crate) fn handshakes(&self, tls13: bool, resumed: bool) -> u64 {
        self.handshakes[cell(tls13, resumed)].load(Relaxed)
    }

    /// Counts a trouble, and tells of it when it is the first of its kind: anyone can make thousands of them.
    pub(crate) fn note(&self, trouble: Trouble, detail: &dyn fmt::Display) {
        if self.troubles[trouble as usize].fetch_add(1, Relaxed) == 0 {
            complain(&format_args!("{trouble}: {detail} (more of this kind are counted, not told)"));
        }
    }

    /// The kinds of trouble that there were, with their numbers.
    pub(crate) fn troubles(&self) -> impl Iterator<Item = (Trouble, u64)> {
        let counted =
            Trouble::ALL.into_iter().map(|trouble| (trouble, self.troubles[trouble as usize].load(Relaxed)));
        counted.filter(|(_, count)| *count > 0)
    }
}

fn cell(tls13: bool, resumed: bool) -> usize {
    usize::from(tls13) * 2 + usize::from(resumed)
}

/// A connection for as long as it is open.
pub(crate) struct OpenConnection<'a>(&'a Counters);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
