//! The cache: insert, find, take, evict, sweep.

use super::capacity::Capacity;
use super::departures::{Departures, RemoveReason};
use super::recent::{Left, Recent};
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::error::{AddError, BuildError};
use crate::eviction::{Hands, Rank};
use crate::session::{Header, Payload, Session, SessionIdContext, SessionKey};
use crate::table::{Hash, Insertion, Member, Miss, Table, Unlinked};
use ahash::RandomState;
use std::sync::Arc;

/// Sessions a bucket at full capacity, on average: 3.4 % of buckets then have an overflow line.
const LOAD: usize = 3;

/// A bounded map of sessions that expire.
pub(crate) struct Cache<T: Payload> {
    table: Table<T>,
    capacity: Capacity,
    hands: Hands,
    recent: Recent,
    built: usize,
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
pub(crate) enum Found<'t, 'g, T> {
    /// The session may be resumed.
    Session(Member<'t, 'g, T>),
    /// It is there but must not be resumed.
    Refused(Member<'t, 'g, T>, Refusal),
    /// It is not there.
    Absent(Refusal),
}

/// How an insert ended.
pub(crate) enum CacheInsert<T> {
    Added,
    Replaced(Arc<Session<T>>),
    Unchanged,
}

impl<T: Payload> Cache<T> {
    pub(crate) fn new(capacity: usize) -> Result<Self, BuildError> {
        let table = Table::new(capacity.div_ceil(LOAD), RandomState::new())
            .map_err(|refused| BuildError::OutOfMemory { bytes: refused.bytes })?;
        let hands = Hands::new(table.buckets());
        Ok(Self {
            table,
            capacity: Capacity::new(capacity),
            hands,
            recent: Recent::new(capacity),
            built: capacity,
        })
    }

    /// Sessions in the cache, with those being inserted at this instant.
    pub(crate) fn len(&self) -> usize {
        self.capacity.count()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity.limit()
    }

    /// The capacity the table was sized for.
    pub(crate) fn built(&self) -> usize {
        self.built
    }

    pub(crate) fn buckets(&self) -> usize {
        self.table.buckets()
    }

    /// The session that is wanted, or why not.
    #[inline]
    pub(crate) fn find<'t, 'g>(&'t self, wanted: Wanted<'_>, guard: &'g Guard) -> Found<'t, 'g, T> {
        let hash = self.table.hash(wanted.key.id());
        match self.table.find(hash, wanted.key, guard) {
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
    pub(crate) fn take<'t, 'g>(
        &'t self,
        wanted: Wanted<'_>,
        guard: &'g Guard,
    ) -> Result<Unlinked<'g, T>, Found<'t, 'g, T>> {
        let hash = self.table.hash(wanted.key.id());
        let accept = |member| match refusal(member, wanted) {
            None => Ok(()),
            Some(refusal) => Err((member, refusal)),
        };
        match self.table.unlink_key(hash, wanted.key, accept, guard) {
            Ok(Ok(taken)) => {
                self.capacity.give_back();
                self.recent.remember(hash, Left::Consumed);
                Ok(taken)
            }
            Ok(Err((member, refusal))) => Err(Found::Refused(member, refusal)),
            Err(miss) => Err(Found::Absent(self.absence(hash, miss))),
        }
    }

    /// Removes whatever session has this key.
    pub(crate) fn remove<'g>(&self, key: &SessionKey, guard: &'g Guard) -> Option<Unlinked<'g, T>> {
        let accept = |_| Ok::<(), ()>(());
        let removed = self.table.unlink_key(self.table.hash(key.id()), key, accept, guard).ok()?.ok()?;
        self.capacity.give_back();
        Some(removed)
    }

    /// Removes this very membership, which has expired; `None` when somebody else has.
    pub(crate) fn expire<'g>(&self, member: Member<'_, 'g, T>, guard: &'g Guard) -> Option<Unlinked<'g, T>> {
        let expired = self.table.unlink(member, guard)?;
        self.capacity.give_back();
        self.recent.remember(self.table.hash(&member.session().id()), Left::Expired);
        Some(expired)
    }

    /// The external store declined its copy of `session`.
    pub(crate) fn clear_external(&self, session: &Session<T>, guard: &Guard) {
        let key = session.key();
        if let Ok(member) = self.table.find(self.table.hash(key.id()), &key, guard)
            && std::ptr::eq(member.session(), session)
        {
            member.header().clear_external();
        }
    }

    /// Adds a session that expires at `expiry`, evicting others when there is no room.
    pub(crate) fn insert(
        &self,
        session: Arc<Session<T>>,
        expiry: Timestamp,
        external: bool,
        now: Timestamp,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Result<CacheInsert<T>, AddError> {
        let hash = self.table.hash(&session.id());
        let mut attempt = self.table.prepare(session, expiry, external).ok_or(AddError::Address)?;
        let mut reserved = self.capacity.try_reserve();
        loop {
            match self.table.insert(hash, attempt, reserved, guard) {
                Insertion::Added(header) => {
                    self.settle(Some(header), now, departures, guard);
                    return Ok(CacheInsert::Added);
                }
                Insertion::Replaced(old) => {
                    self.unreserve(reserved);
                    return Ok(CacheInsert::Replaced(old.to_arc()));
                }
                Insertion::Unchanged => {
                    self.unreserve(reserved);
                    return Ok(CacheInsert::Unchanged);
                }
                Insertion::Absent(again) => {
                    // The cache is full and the key is new: the victim's room passes to us.
                    if !self.evict(None, now, departures, guard) {
                        self.capacity.overdraw();
                    }
                    (attempt, reserved) = (again, true);
                }
                Insertion::NoRoom(again) => {
                    let bucket = self.table.bucket_of(hash);
                    let mut window = Window { victim: None, seen: 0, keep: None, now };
                    self.table.visit(bucket, guard, |member| window.look_at(member));
                    if self.evict_from(window, std::iter::once(bucket), departures, guard) == Some(true) {
                        self.capacity.give_back();
                    }
                    attempt = again;
                }
            }
        }
    }

    fn unreserve(&self, reserved: bool) {
        if reserved {
            self.capacity.give_back();
        }
    }

    /// Sets the capacity, evicts what is over it, and returns the previous one.
    pub(crate) fn set_capacity(
        &self,
        limit: usize,
        now: Timestamp,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> usize {
        let previous = self.capacity.set_limit(limit);
        self.settle(None, now, departures, guard);
        previous
    }

    /// Evicts what is over the capacity, but not `keep`.
    fn settle(&self, keep: Option<&Header>, now: Timestamp, departures: &mut Departures<T>, guard: &Guard) {
        while self.capacity.claim_debt() {
            if !self.evict(keep, now, departures, guard) {
                // What is over is on its way in; those inserts settle it.
                self.capacity.overdraw();
                return;
            }
        }
    }

    /// Evicts one session and leaves its room to the caller; `false` when there was nothing to evict.
    fn evict(
        &self,
        keep: Option<&Header>,
        now: Timestamp,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> bool {
        let buckets = self.table.buckets();
        loop {
            let from = self.hands.position(guard.thread()) % buckets;
            let mut window = Window { victim: None, seen: 0, keep, now };
            let mut width = 0;
            while window.seen < Hands::WINDOW && width < buckets {
                self.table.visit((from + width) % buckets, guard, |member| window.look_at(member));
                width += 1;
            }
            self.hands.set_position(guard.thread(), (from + width) % buckets);
            let range = (from..from + width).map(|bucket| bucket % buckets);
            match self.evict_from(window, range, departures, guard) {
                Some(true) => return true,
                // The victim went by itself: so somebody else got on.
                Some(false) => {}
                None if width == buckets => return false,
                None => {}
            }
        }
    }

    /// Evicts the window's victim. `None` when there is none, `Some(false)` when somebody else removed it.
    fn evict_from(
        &self,
        window: Window<'_, '_, T>,
        buckets: impl Iterator<Item = usize>,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Option<bool> {
        let (rank, member) = window.victim?;
        if rank.ages_window() {
            for bucket in buckets {
                self.table.visit(bucket, guard, |member| member.header().age());
            }
        }
        let Some(evicted) = self.table.unlink(member, guard) else { return Some(false) };
        let (left, reason) = if rank.is_expired() {
            (Left::Expired, RemoveReason::Expired)
        } else {
            (Left::Evicted, RemoveReason::Evicted)
        };
        self.recent.remember(self.table.hash(&evicted.session().id()), left);
        if reason.marks() {
            evicted.session().mark_not_resumable();
        }
        departures.push(reason, || evicted.to_arc());
        Some(true)
    }

    /// Removes the sessions of bucket `index` for which `reason` names one. Returns how many.
    pub(crate) fn sweep(
        &self,
        index: usize,
        reason: impl Fn(&Header, &Session<T>) -> Option<RemoveReason>,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> usize {
        let mut removed = 0;
        self.table.visit(index, guard, |member| {
            let Some(reason) = reason(member.header(), member.session()) else { return };
            let Some(unlinked) = self.table.unlink(member, guard) else { return };
            self.capacity.give_back();
            if reason.marks() {
                unlinked.session().mark_not_resumable();
            }
            if reason == RemoveReason::Expired {
                self.recent.remember(self.table.hash(&unlinked.session().id()), Left::Expired);
            }
            departures.push(reason, || unlinked.to_arc());
            removed += 1;
        });
        removed
    }

    /// Calls `visit` for each session in bucket `index`.
    pub(crate) fn visit(&self, index: usize, guard: &Guard, mut visit: impl FnMut(&Session<T>)) {
        self.table.visit(index, guard, |member| visit(member.session()));
    }

    /// Why a session that is not in the table is not there.
    #[cold]
    fn absence(&self, hash: Hash, miss: Miss) -> Refusal {
        if miss.other_version {
            return Refusal::OtherVersion;
        }
        match self.recent.recall(hash) {
            None => Refusal::Unknown,
            Some(Left::Evicted) => Refusal::Evicted,
            Some(Left::Consumed) => Refusal::Consumed,
            Some(Left::Expired) => Refusal::Expired,
        }
    }
}

/// The entries under the hand, and the one of them that goes first.
struct Window<'g, 'k, T> {
    victim: Option<(Rank, Member<'g, 'g, T>)>,
    seen: usize,
    keep: Option<&'k Header>,
    now: Timestamp,
}

impl<'g, T: Payload> Window<'g, '_, T> {
    fn look_at(&mut self, member: Member<'g, 'g, T>) {
        self.seen += 1;
        let rank = Rank::new(member.header().mark(), member.header().expires_at(), self.now);
        let first = self.victim.as_ref().is_none_or(|(best, _)| rank < *best);
        if first && self.keep.is_none_or(|keep| !member.is(keep)) {
            self.victim = Some((rank, member));
        }
    }
}

/// Why a session that was found must not be resumed. The order is OpenSSL's: the mark, the context, the time.
#[inline]
fn refusal<T: Payload>(member: Member<'_, '_, T>, wanted: Wanted<'_>) -> Option<Refusal> {
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
