//! Counters: a block for each thread, written by its owner only, summed by the reader.

use crate::cache::Refusal;
use crate::ledger::{self, Reclamation};
use crate::sync::{AtomicU64, Ordering, Rule, is_broken};
use crossbeam_utils::CachePadded;

/// What a context has counted since it was made. All values are totals and never reset; read while other threads work,
/// each is correct by itself and together they may be a few operations apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions in the internal cache, expired ones included (`SSL_CTX_sess_number`).
    pub number: u64,
    /// Client handshakes started (`SSL_CTX_sess_connect`).
    pub connect: u64,
    /// Client handshakes completed (`SSL_CTX_sess_connect_good`).
    pub connect_good: u64,
    /// Client renegotiations started (`SSL_CTX_sess_connect_renegotiate`).
    pub connect_renegotiate: u64,
    /// Server handshakes started (`SSL_CTX_sess_accept`).
    pub accept: u64,
    /// Server handshakes completed (`SSL_CTX_sess_accept_good`).
    pub accept_good: u64,
    /// Server renegotiations started (`SSL_CTX_sess_accept_renegotiate`).
    pub accept_renegotiate: u64,
    /// Sessions found and fit to be resumed, wherever they came from, and those that handshakes resumed without a lookup:
    /// a client's, and a stateless ticket's (`SSL_CTX_sess_hits`).
    pub hits: u64,
    /// Usable sessions that came from the external cache, before they were checked (`SSL_CTX_sess_cb_hits`).
    pub cb_hits: u64,
    /// Lookups that did not find the key in the internal cache, though the external one may have, and sessions that a
    /// client had and the server did not resume (`SSL_CTX_sess_misses`).
    pub misses: u64,
    /// Sessions found, but expired (`SSL_CTX_sess_timeouts`).
    pub timeouts: u64,
    /// Sessions evicted because the cache was full (`SSL_CTX_sess_cache_full`).
    pub cache_full: u64,
    /// How lookups and takes ended, each exactly once.
    pub outcomes: Outcomes,
    /// What has left the caches of this process and is not freed yet.
    pub reclamation: Reclamation,
}

/// How lookups and takes ended: every one adds one to exactly one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcomes {
    /// Found in the internal cache.
    pub hit: u64,
    /// Found in the external cache.
    pub external_hit: u64,
    /// No session had the id, nor had it lately as far as is remembered.
    pub unknown: u64,
    /// The session had expired.
    pub expired: u64,
    /// The session was evicted not long before.
    pub evicted: u64,
    /// The session was taken not long before.
    pub consumed: u64,
    /// The session belongs to another session id context.
    pub other_context: u64,
    /// The id belongs to a session of another protocol version.
    pub other_version: u64,
    /// The session is marked not resumable.
    pub marked: u64,
    /// The mode says not to look.
    pub mode: u64,
}

impl Outcomes {
    /// Lookups and takes that returned no session.
    pub fn misses(&self) -> u64 {
        self.total() - self.hit - self.external_hit
    }

    /// All lookups and takes.
    pub fn total(&self) -> u64 {
        self.hit
            + self.external_hit
            + self.unknown
            + self.expired
            + self.evicted
            + self.consumed
            + self.other_context
            + self.other_version
            + self.marked
            + self.mode
    }
}

/// What happened to a handshake, for [`SessionContext::record`](crate::SessionContext::record).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeEvent {
    /// A client's first handshake on a connection starts.
    ConnectStarted,
    /// A client's handshake completes.
    ConnectFinished,
    /// A client's renegotiation starts.
    ConnectRenegotiated,
    /// A server's first handshake on a connection starts.
    AcceptStarted,
    /// A server's handshake completes.
    AcceptFinished,
    /// A server's renegotiation starts.
    AcceptRenegotiated,
    /// A session was resumed that no lookup has counted: a client's, or one that came in a stateless ticket. Counts as a
    /// hit.
    SessionResumed,
    /// A client had a session and the server did not resume it. Counts as a miss.
    SessionRefused,
    /// A session that came in a stateless ticket had expired. Counts as a timeout.
    SessionExpired,
}

/// A counter. `hits` is not one: it is the sum of two outcomes and what was resumed without a lookup.
#[derive(Clone, Copy)]
pub(super) enum Counter {
    Connect,
    ConnectGood,
    ConnectRenegotiate,
    Accept,
    AcceptGood,
    AcceptRenegotiate,
    Resumed,
    CbHits,
    Misses,
    Timeouts,
    CacheFull,
    Hit,
    ExternalHit,
    Unknown,
    Expired,
    Evicted,
    Consumed,
    OtherContext,
    OtherVersion,
    Marked,
    Mode,
}

const COUNTERS: usize = Counter::Mode as usize + 1;

impl From<HandshakeEvent> for Counter {
    fn from(event: HandshakeEvent) -> Self {
        match event {
            HandshakeEvent::ConnectStarted => Self::Connect,
            HandshakeEvent::ConnectFinished => Self::ConnectGood,
            HandshakeEvent::ConnectRenegotiated => Self::ConnectRenegotiate,
            HandshakeEvent::AcceptStarted => Self::Accept,
            HandshakeEvent::AcceptFinished => Self::AcceptGood,
            HandshakeEvent::AcceptRenegotiated => Self::AcceptRenegotiate,
            HandshakeEvent::SessionResumed => Self::Resumed,
            HandshakeEvent::SessionRefused => Self::Misses,
            HandshakeEvent::SessionExpired => Self::Timeouts,
        }
    }
}

impl From<Refusal> for Counter {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown => Self::Unknown,
            Refusal::Expired => Self::Expired,
            Refusal::Evicted => Self::Evicted,
            Refusal::Consumed => Self::Consumed,
            Refusal::OtherContext => Self::OtherContext,
            Refusal::OtherVersion => Self::OtherVersion,
            Refusal::Marked => Self::Marked,
        }
    }
}

#[derive(Default)]
pub(super) struct Block([AtomicU64; COUNTERS]);

impl Block {
    /// Adds to a counter, on behalf of the thread whose block this is.
    #[inline(always)]
    pub(super) fn add(&self, counter: Counter, n: u64) {
        // Nobody else writes to this block: its index is the thread's as long as it lives.
        let cell = &self.0[counter as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }
}

fn blocks<const COUNT: usize>() -> Box<[CachePadded<Block>; COUNT]> {
    Box::new(std::array::from_fn(|_| CachePadded::default()))
}

/// Threads that have a block of their own.
const OWNERS: usize = if cfg!(resumption_loom) { 4 } else { 64 };

/// Blocks that the threads beyond these share, a sixteenth of them each, and pay for with an atomic addition.
const SHARED: usize = if cfg!(resumption_loom) { 1 } else { 16 };

/// The counters of one context.
pub(super) struct Counters {
    own: Box<[CachePadded<Block>; OWNERS]>,
    shared: Box<[CachePadded<Block>; SHARED]>,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self { own: blocks(), shared: blocks() }
    }

    /// The block of the thread with this index, if it has one of its own.
    #[inline(always)]
    pub(super) fn own(&self, thread: usize) -> Option<&Block> {
        self.own.get(if is_broken(Rule::OwnBlock) { 0 } else { thread }).map(|block| &**block)
    }

    /// Adds one to a counter, on behalf of the thread with this index.
    #[inline]
    pub(super) fn count(&self, counter: Counter, thread: usize) {
        self.add(counter, 1, thread);
    }

    /// Counts a lookup that found no session and asked nobody else.
    #[inline]
    pub(super) fn count_absent(&self, absence: Refusal, thread: usize) {
        if let Some(block) = self.own(thread) {
            block.add(Counter::Misses, 1);
            block.add(absence.into(), 1);
        } else {
            self.count(Counter::Misses, thread);
            self.count(absence.into(), thread);
        }
    }

    /// Takes one back. The sum is right, whichever thread's block it was added to.
    pub(super) fn uncount(&self, counter: Counter, thread: usize) {
        self.add(counter, 1_u64.wrapping_neg(), thread);
    }

    #[inline]
    pub(super) fn add(&self, counter: Counter, n: u64, thread: usize) {
        match self.own(thread) {
            Some(block) => block.add(counter, n),
            None => {
                self.shared[thread % SHARED].0[counter as usize].fetch_add(n, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn read(&self, number: usize) -> Stats {
        let of = |counter: Counter| {
            let blocks = self.own.iter().chain(&*self.shared);
            blocks.fold(0, |sum: u64, b| sum.wrapping_add(b.0[counter as usize].load(Ordering::Relaxed)))
        };
        let outcomes = Outcomes {
            hit: of(Counter::Hit),
            external_hit: of(Counter::ExternalHit),
            unknown: of(Counter::Unknown),
            expired: of(Counter::Expired),
            evicted: of(Counter::Evicted),
            consumed: of(Counter::Consumed),
            other_context: of(Counter::OtherContext),
            other_version: of(Counter::OtherVersion),
            marked: of(Counter::Marked),
            mode: of(Counter::Mode),
        };
        Stats {
            number: number as u64,
            connect: of(Counter::Connect),
            connect_good: of(Counter::ConnectGood),
            connect_renegotiate: of(Counter::ConnectRenegotiate),
            accept: of(Counter::Accept),
            accept_good: of(Counter::AcceptGood),
            accept_renegotiate: of(Counter::AcceptRenegotiate),
            hits: outcomes.hit + outcomes.external_hit + of(Counter::Resumed),
            cb_hits: of(Counter::CbHits),
            misses: of(Counter::Misses),
            timeouts: of(Counter::Timeouts),
            cache_full: of(Counter::CacheFull),
            outcomes,
            reclamation: ledger::reclamation(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_shared_blocks_add_up() {
        let counters = Counters::new();
        for thread in [0, 63, 64, 80, usize::MAX] {
            counters.count(Counter::Hit, thread);
        }
        counters.add(Counter::CacheFull, 3, 5);
        counters.count(Counter::Accept, 1);
        counters.uncount(Counter::Accept, 2);
        let stats = counters.read(7);
        assert_eq!((stats.number, stats.hits, stats.cache_full, stats.accept), (7, 5, 3, 0));
        assert_eq!((stats.outcomes.total(), stats.outcomes.misses()), (5, 0));
    }
}
