//! The cache: what it is made of, and finding, taking and removing in it.

use super::capacity::Capacity;
use super::recent::{Left, Recent};
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::error::BuildError;
use crate::eviction::Hands;
use crate::session::{Payload, Session, SessionIdContext, SessionKey};
use crate::sync::AtomicBool;
use crate::table::{Glance, Hash, Member, Miss, Table, Unlinked};
use crate::wheel::Wheel;
use ahash::RandomState;

/// A bounded map of sessions that expire.
pub(crate) struct Cache<T: Payload> {
    pub(super) table: Table<T>,
    pub(super) capacity: Capacity,
    pub(super) hands: Hands,
    pub(super) recent: Recent,
    pub(super) wheel: Wheel,
    // Whether an entry was added that was dead already, which the wheel takes only for the next tick.
    pub(super) filed_late: AtomicBool,
}

/// What a lookup asks for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) key: &'a SessionKey,
    pub(crate) context: &'a SessionIdContext,
    pub(crate) now: Timestamp,
}

/// Why a session that was found, or not found, is not handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No session has this id, nor had it lately as far as is known.
    Unknown,
    /// The session's lifetime is over.
    Expired,
    /// It was evicted not long ago.
    Evicted,
    /// It was taken not long ago.
    Consumed,
    /// It belongs to another session id context.
    OtherContext,
    /// The id belongs to a session of another protocol version.
    OtherVersion,
    /// It is marked not resumable.
    Marked,
}

/// What a lookup found in the table.
pub(crate) enum Found<'g, T> {
    /// The session may be resumed.
    Session(Member<'g, T>),
    /// It is there but must not be resumed.
    Refused(Member<'g, T>, Refusal),
    /// It is not there.
    Absent(Refusal),
}

impl<T: Payload> Cache<T> {
    /// A cache for `capacity` sessions, 0 for any number, and for `bytes` bytes if that is to be counted.
    pub(crate) fn new(capacity: usize, bytes: Option<usize>, now: Timestamp) -> Result<Self, BuildError> {
        let buckets = first_buckets(capacity, bytes.is_some());
        let table = Table::new(buckets, hasher())
            .map_err(|refused| BuildError::OutOfMemory { bytes: refused.bytes })?;
        let wheel = Wheel::new(first_partitions(capacity), now.ticks())
            .map_err(|refused| BuildError::OutOfMemory { bytes: refused.bytes })?;
        let recent = Recent::new(if capacity == 0 { usize::MAX / 2 } else { capacity });
        Ok(Self {
            table,
            capacity: Capacity::new(capacity, bytes),
            hands: Hands::new(),
            recent,
            wheel,
            filed_late: AtomicBool::new(false),
        })
    }

    /// Sessions in the cache, with those being inserted at this instant.
    pub(crate) fn len(&self) -> usize {
        self.capacity.count()
    }

    /// Bytes of the sessions in the cache, if they are counted.
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.capacity.bytes()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity.limit()
    }

    pub(crate) fn byte_capacity(&self) -> Option<usize> {
        self.capacity.byte_limit()
    }

    /// Bytes the cache itself takes: buckets and wheel, without overflow lines and without sessions.
    pub(crate) fn memory(&self, guard: &Guard) -> usize {
        self.table.bytes(guard) + self.wheel.memory()
    }

    /// In how many parts [`sweep`](Self::sweep) and [`visit`](Self::visit) can be done.
    pub(crate) fn parts(&self, guard: &Guard) -> usize {
        self.table.buckets(guard)
    }

    /// The session that is wanted, if one look says so: the short way of [`find`](Self::find). `hash` is the key's.
    #[inline(always)]
    pub(crate) fn glance<'g>(&self, wanted: Wanted<'_>, hash: Hash, guard: &'g Guard) -> Glance<'g, T> {
        let Wanted { key, context, now } = wanted;
        self.table.glance(hash, key, context, |header| now <= header.expires_at(), guard)
    }

    /// The hash of a key, for the table.
    #[inline(always)]
    pub(crate) fn hash_of(&self, key: &SessionKey) -> Hash {
        self.table.hash(key.id())
    }

    /// Whether no session has a key with this hash, as far as a word says that is likely to be in the processor's cache.
    #[inline(always)]
    pub(crate) fn is_absent(&self, hash: Hash, guard: &Guard) -> bool {
        self.table.is_absent(hash, guard)
    }

    /// Whether [`is_absent`](Self::is_absent) ever says so.
    #[inline]
    pub(crate) fn has_filter(&self, guard: &Guard) -> bool {
        self.table.has_filter(guard)
    }

    /// Asks for what [`is_absent`](Self::is_absent) reads.
    pub(crate) fn prefetch_cell(&self, hash: Hash, guard: &Guard) {
        self.table.prefetch_cell(hash, guard);
    }

    /// Asks for the memory that a lookup of a key with this hash reads first.
    #[inline(always)]
    pub(crate) fn prefetch_bucket(&self, hash: Hash, guard: &Guard) {
        self.table.prefetch_bucket(hash, guard);
    }

    /// Asks for what it reads next, once its bucket is there.
    #[inline(always)]
    pub(crate) fn prefetch_session(&self, hash: Hash, guard: &Guard) {
        self.table.prefetch_session(hash, guard);
    }

    /// The session that is wanted, or why not.
    #[inline]
    pub(crate) fn find<'g>(&self, wanted: Wanted<'_>, guard: &'g Guard) -> Found<'g, T> {
        let hash = self.table.hash(wanted.key.id());
        match self.table.find(hash, wanted.key, guard) {
            Ok(member) if member.header().is_hidden() => Found::Absent(Refusal::Unknown),
            Ok(member) => match refusal(member, wanted) {
                None => Found::Session(member),
                Some(refusal) => Found::Refused(member, refusal),
            },
            Err(miss) => Found::Absent(self.absence(hash, miss)),
        }
    }

    /// Whether any session has this key, expired and marked ones included.
    pub(crate) fn contains(&self, key: &SessionKey, guard: &Guard) -> bool {
        self.table.find(self.table.hash(key.id()), key, guard).is_ok()
    }

    /// Removes the session that is wanted and hands it to the one caller that did; a session that must not be resumed
    /// stays.
    #[inline]
    pub(crate) fn take<'g>(
        &self,
        wanted: Wanted<'_>,
        guard: &'g Guard,
    ) -> Result<Unlinked<'g, T>, Found<'g, T>> {
        let hash = self.table.hash(wanted.key.id());
        let accept = |member: Member<'g, T>| match refusal(member, wanted) {
            _ if member.header().is_hidden() => Err(Found::Absent(Refusal::Unknown)),
            None => Ok(()),
            Some(refusal) => Err(Found::Refused(member, refusal)),
        };
        match self.table.unlink_key(hash, wanted.key, accept, guard) {
            Ok(Ok(taken)) => {
                self.capacity.give_back(taken.header().weight(), guard.thread());
                self.recent.remember(hash, Left::Consumed);
                Ok(taken)
            }
            Ok(Err(found)) => Err(found),
            Err(miss) => Err(Found::Absent(self.absence(hash, miss))),
        }
    }

    /// Removes whatever session has this key.
    pub(crate) fn remove<'g>(&self, key: &SessionKey, guard: &'g Guard) -> Option<Unlinked<'g, T>> {
        let accept = |_| Ok::<(), ()>(());
        let removed = self.table.unlink_key(self.table.hash(key.id()), key, accept, guard).ok()?.ok()?;
        self.capacity.give_back(removed.header().weight(), guard.thread());
        Some(removed)
    }

    /// Removes this very membership, which has expired; `None` when somebody else has.
    pub(crate) fn expire<'g>(&self, member: Member<'g, T>, guard: &'g Guard) -> Option<Unlinked<'g, T>> {
        let expired = self.table.unlink(member, guard)?;
        self.capacity.give_back(expired.header().weight(), guard.thread());
        self.recent.remember(self.table.hash(&member.session().id()), Left::Expired);
        Some(expired)
    }

    /// The membership of this very session, if it has one here.
    pub(crate) fn membership<'g>(&self, session: &Session<T>, guard: &'g Guard) -> Option<Member<'g, T>> {
        let key = session.key();
        let member = self.table.find(self.table.hash(key.id()), &key, guard).ok()?;
        std::ptr::eq(member.session(), session).then_some(member)
    }

    /// Shows a session that a lookup has brought in, if `valid` says that it still may.
    pub(crate) fn confirm(&self, session: &Session<T>, valid: impl FnOnce() -> bool, guard: &Guard) {
        let Some(member) = self.membership(session, guard) else { return };
        if valid() {
            member.header().confirm();
        } else {
            self.revoke_fetched(&session.key(), guard);
        }
    }

    /// Removes the session with this key if a lookup has brought it in; without a trace, since it should not be here.
    pub(crate) fn revoke_fetched(&self, key: &SessionKey, guard: &Guard) {
        let fetched = |member: Member<'_, T>| if member.header().is_fetched() { Ok(()) } else { Err(()) };
        if let Ok(Ok(revoked)) = self.table.unlink_key(self.table.hash(key.id()), key, fetched, guard) {
            self.capacity.give_back(revoked.header().weight(), guard.thread());
        }
    }

    /// Why a session that is not in the table is not there.
    fn absence(&self, hash: Hash, miss: Miss) -> Refusal {
        if miss.other_version { Refusal::OtherVersion } else { self.absence_of(hash) }
    }

    /// Why no session with this hash is there, as far as the cache remembers.
    #[inline]
    pub(crate) fn absence_of(&self, hash: Hash) -> Refusal {
        match self.recent.recall(hash) {
            None => Refusal::Unknown,
            Some(Left::Evicted) => Refusal::Evicted,
            Some(Left::Consumed) => Refusal::Consumed,
            Some(Left::Expired) => Refusal::Expired,
        }
    }
}

/// A hasher with a key of its own; for a model the same each time, so that its interleavings can be run again.
fn hasher() -> RandomState {
    if cfg!(resumption_loom) { RandomState::with_seeds(1, 2, 3, 4) } else { RandomState::new() }
}

/// Buckets for `sessions` sessions: three and a half a bucket at full capacity, on average. 6.5 % of buckets then have an
/// overflow line, and 3 % of sessions are in one.
fn buckets_for(sessions: usize) -> usize {
    sessions.saturating_mul(2).div_ceil(7)
}

/// Up to this capacity the table has its full size from the start; above, it begins smaller and doubles when needed.
const MODEST: usize = 1 << 20;

/// The capacity an unlimited table begins with, or one under a budget of bytes.
const UNLIMITED_START: usize = 1 << 14;

/// Buckets to begin with. Doubling ends at the size that suits the capacity. Under a budget of bytes that may never be
/// reached, and a table too wide would make the hand walk far.
fn first_buckets(capacity: usize, counts_bytes: bool) -> usize {
    let mut buckets = buckets_for(if capacity == 0 { UNLIMITED_START } else { capacity });
    while buckets > buckets_for(if counts_bytes { UNLIMITED_START } else { MODEST }) {
        buckets = buckets.div_ceil(2);
    }
    buckets
}

/// Partitions of the wheel: two buckets of the full-grown table each. Above 4 million (48 MiB) the wheel grows too.
fn first_partitions(capacity: usize) -> usize {
    let sessions = if capacity == 0 { UNLIMITED_START } else { capacity };
    buckets_for(sessions).div_ceil(2).min(1 << 22)
}

/// Why a session that was found must not be resumed. The order is OpenSSL's: the mark, the context, the time.
#[inline]
fn refusal<T: Payload>(member: Member<'_, T>, wanted: Wanted<'_>) -> Option<Refusal> {
    let session = member.session();
    if !session.is_resumable() {
        return Some(Refusal::Marked);
    }
    if session.id_context() != wanted.context {
        return Some(Refusal::OtherContext);
    }
    if wanted.now > member.header().expires_at() {
        return Some(Refusal::Expired);
    }
    None
}
