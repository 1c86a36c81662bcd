//! The typed shell: sessions in, borrowed sessions out.

use super::forward::Forward;
use super::insert::RawInsert;
use super::iter::Walk;
use super::raw::{Entry, Hash, Miss, OutOfMemory, RawTable, Seen};
use super::slot::SlotWord;
use crate::clock::Timestamp;
use crate::epoch::{self, Guard};
use crate::session::{Header, Membership, Payload, Session, SessionId, SessionKey};
use crate::sync::prefetch_all;
use ahash::RandomState;
use std::marker::PhantomData;
use std::mem;
use std::num::NonZeroU64;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// A table of sessions.
pub(crate) struct Table<T: Payload> {
    pub(super) raw: RawTable,
    _owns: PhantomData<Arc<Session<T>>>,
}

/// A session in the table, borrowed under a guard: its slot as it was seen.
pub(crate) struct Member<'g, T> {
    seen: Seen<'g>,
    _session: PhantomData<&'g Session<T>>,
}

/// A session that the caller has just removed from the table, and nobody else. It is retired already, and stays
/// readable under the guard.
pub(crate) struct Unlinked<'g, T> {
    entry: Entry<'g>,
    _session: PhantomData<&'g Session<T>>,
}

/// A session on its way into a table: a header that no other membership has, or a forwarding entry. Dropping it gives both back.
pub(crate) struct Attempt<T: Payload> {
    entry: NonNull<Header>,
    _owns: PhantomData<Arc<Session<T>>>,
}

/// A session that nobody else has, and that is in no table therefore: a table has a count of each session in it, and gives
/// the header of one that left back before it gives back the count. So its header needs no claim.
pub(crate) struct New<T>(Arc<Session<T>>);

impl<T> New<T> {
    /// To be called where the session is made, so that it is copied once: to where it stays.
    #[inline(always)]
    pub(crate) fn of(session: Session<T>) -> Self {
        Self(Arc::new(session))
    }

    /// The session, to be shared.
    pub(crate) fn into_arc(self) -> Arc<Session<T>> {
        self.0
    }
}

impl<T> Deref for New<T> {
    type Target = Session<T>;

    #[inline]
    fn deref(&self) -> &Session<T> {
        &self.0
    }
}

/// How an insert ended.
pub(crate) enum Insertion<'g, T: Payload> {
    /// The key was absent; this is the header of the new membership.
    Added(&'g Header),
    /// Another session had the key; the header is the new membership's.
    Replaced(&'g Header, Unlinked<'g, T>),
    /// This very session has the key already; the header is its membership's.
    Unchanged(&'g Header),
    /// The key is absent and was not to be added.
    Absent(Attempt<T>),
    /// The key's bucket is full to the last line.
    NoRoom(Attempt<T>),
}

impl<T: Payload> Table<T> {
    /// A table of `buckets` buckets, at least one; three sessions a bucket is a good load.
    pub(crate) fn new(buckets: usize, hasher: RandomState) -> Result<Self, OutOfMemory> {
        Ok(Self { raw: RawTable::new(buckets.max(1), hasher)?, _owns: PhantomData })
    }

    #[inline]
    pub(crate) fn hash(&self, id: &SessionId) -> Hash {
        self.raw.hash(id)
    }

    /// How many buckets there are. The number only ever doubles.
    pub(crate) fn buckets(&self, guard: &Guard) -> usize {
        self.raw.array(guard).count()
    }

    /// Bytes of the buckets, without overflow lines.
    pub(crate) fn bytes(&self, guard: &Guard) -> usize {
        let array = self.raw.array(guard);
        array.bytes() + array.next().map_or(0, |next| next.bytes())
    }

    /// Starts to double the table when `entries` crowd it, and does a bounded piece of the work if it is growing.
    #[inline]
    pub(crate) fn grow(&self, entries: usize, guard: &Guard) {
        self.raw.grow(entries, guard);
    }

    /// The session under `key`. Wait-free; two dependent cache lines.
    #[inline]
    pub(crate) fn find<'g>(
        &self,
        hash: Hash,
        key: &SessionKey,
        guard: &'g Guard,
    ) -> Result<Member<'g, T>, Miss> {
        self.raw.find(hash, key, guard).map(Member::of)
    }

    /// Claims `session`'s header for a membership on these terms, or makes a forwarding entry.
    ///
    /// `None` when the address does not leave room for the tag.
    #[inline]
    pub(crate) fn prepare(&self, session: Arc<Session<T>>, terms: Membership) -> Option<Attempt<T>> {
        let entry =
            if session.header().claim() { own_entry(session) } else { Forward::new(session).into_entry() };
        Self::begin(entry, terms)
    }

    /// The same for a session that nobody else has: its header needs no claim.
    #[inline]
    pub(crate) fn prepare_new(&self, session: New<T>, terms: Membership) -> Option<Attempt<T>> {
        Self::begin(own_entry(session.0), terms)
    }

    #[inline]
    fn begin(entry: NonNull<Header>, terms: Membership) -> Option<Attempt<T>> {
        let attempt = Attempt { entry, _owns: PhantomData };
        attempt.header().begin_membership(terms);
        SlotWord::fits(entry).then_some(attempt)
    }

    /// Puts the session under its key; if no other has it, only if `may_add` says so, which may be asked again and again.
    /// Lock-free.
    #[inline]
    pub(crate) fn insert<'g>(
        &self,
        hash: Hash,
        attempt: Attempt<T>,
        may_add: impl FnMut() -> bool,
        guard: &'g Guard,
    ) -> Insertion<'g, T> {
        let key = attempt.header().key();
        // SAFETY: the attempt owns the entry, and the guard keeps it once the table does.
        let ours: Entry<'g> = unsafe { Entry::new(attempt.entry) };
        let same = |theirs: Entry<'g>| {
            // SAFETY: both are entries of this table's type.
            unsafe { std::ptr::eq(session_of::<T>(theirs), session_of::<T>(ours)) }
        };
        // SAFETY: `begin` checked that the entry fits; nobody but the attempt can reach it.
        match unsafe { self.raw.insert(hash, &key, attempt.entry, may_add, same, guard) } {
            RawInsert::Added => {
                mem::forget(attempt);
                Insertion::Added(ours.header())
            }
            RawInsert::Replaced(old) => {
                mem::forget(attempt);
                // SAFETY: the table has just unlinked `old`, for us alone.
                Insertion::Replaced(ours.header(), unsafe { Unlinked::retire(old, guard) })
            }
            RawInsert::Kept(theirs) => Insertion::Unchanged(theirs.header()),
            RawInsert::Absent => Insertion::Absent(attempt),
            RawInsert::NoRoom => Insertion::NoRoom(attempt),
        }
    }

    /// Removes the session under `key` if `accept` agrees; of concurrent callers one gets it. Lock-free.
    #[inline]
    pub(crate) fn unlink_key<'g, R>(
        &self,
        hash: Hash,
        key: &SessionKey,
        mut accept: impl FnMut(Member<'g, T>) -> Result<(), R>,
        guard: &'g Guard,
    ) -> Result<Result<Unlinked<'g, T>, R>, Miss> {
        let unlinked = self.raw.unlink_key(hash, key, |seen| accept(Member::of(seen)), guard)?;
        // SAFETY: the table has just unlinked the entry, for us alone.
        Ok(unlinked.map(|entry| unsafe { Unlinked::retire(entry, guard) }))
    }

    /// Removes exactly this membership; `None` when it ended already.
    pub(crate) fn unlink<'g>(&self, member: Member<'g, T>, guard: &'g Guard) -> Option<Unlinked<'g, T>> {
        let entry = self.raw.unlink(member.seen)?;
        // SAFETY: the table has just unlinked the entry, for us alone.
        Some(unsafe { Unlinked::retire(entry, guard) })
    }

    /// Calls `visit` for each session in part `index` of `of`, where `of` is a number that
    /// [`buckets`](Self::buckets) has returned.
    pub(crate) fn visit<'g>(
        &self,
        index: usize,
        of: usize,
        guard: &'g Guard,
        mut visit: impl FnMut(Member<'g, T>),
    ) {
        self.raw.visit(index, of, guard, |seen| visit(Member::of(seen)));
    }

    /// Looks at the sessions of the buckets from `from` on, round the table once at most, while `open` says so, which is
    /// told how many buckets were walked.
    pub(crate) fn walk<'g, S>(
        &self,
        from: usize,
        guard: &'g Guard,
        state: &mut S,
        look_at: impl Fn(&mut S, Member<'g, T>),
        open: impl Fn(&S, usize) -> bool,
    ) -> Walk {
        self.raw.walk(from, guard, state, |state, seen| look_at(state, Member::of(seen)), open)
    }

    /// A number by which this membership may be [found](Self::follow) again while it lasts; not all have one.
    pub(crate) fn hint(&self, member: Member<'_, T>, guard: &Guard) -> Option<NonZeroU64> {
        self.raw.hint(member.seen, guard)
    }

    /// The membership that `hint` was made for, if it has not ended. Any number will do; what is found is a member of this
    /// table, and once in some million a younger one than was meant.
    #[inline]
    pub(crate) fn follow<'g>(&self, hint: NonZeroU64, guard: &'g Guard) -> Option<Member<'g, T>> {
        self.raw.follow(hint, guard).map(Member::of)
    }

    /// As [`visit`](Self::visit), for the buckets of the hashes from `first` to `last`.
    pub(crate) fn visit_hashes<'g>(
        &self,
        first: Hash,
        last: Hash,
        guard: &'g Guard,
        mut visit: impl FnMut(Member<'g, T>),
    ) {
        self.raw.visit_hashes(first.0, last.0, guard, |seen| visit(Member::of(seen)));
    }

    /// Starts to load what visits of these intervals of hashes will need.
    pub(crate) fn prefetch_hashes(&self, intervals: &[(u64, u64)], now: Timestamp, guard: &Guard) {
        self.raw.prefetch_hashes(intervals, now, guard);
    }
}

impl<T: Payload> Drop for Table<T> {
    fn drop(&mut self) {
        // Borrows under other threads' guards outlive the table: its sessions are retired, not freed.
        let guard = epoch::pin();
        let buckets = self.buckets(&guard);
        for index in 0..buckets {
            self.raw.visit(index, buckets, &guard, |seen| {
                // SAFETY: the table is ours alone and its words are not read again.
                unsafe { Unlinked::<T>::retire(seen.entry(), &guard) };
            });
        }
        guard.flush();
    }
}

// By hand: a derived Clone would ask for `T: Clone`.
impl<T> Clone for Member<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Member<'_, T> {}

impl<T> Clone for Unlinked<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Unlinked<'_, T> {}

impl<'g, T: Payload> Member<'g, T> {
    #[inline]
    pub(super) fn of(seen: Seen<'g>) -> Self {
        Self { seen, _session: PhantomData }
    }

    #[inline]
    pub(crate) fn header(self) -> &'g Header {
        self.seen.entry().header()
    }

    #[inline]
    pub(crate) fn session(self) -> &'g Session<T> {
        // SAFETY: members come from a table of this type.
        unsafe { session_of(self.seen.entry()) }
    }

    /// A counted reference to the session.
    #[inline]
    pub(crate) fn to_arc(self) -> Arc<Session<T>> {
        // SAFETY: members come from a table of this type.
        unsafe { arc_of(self.seen.entry()) }
    }

    /// Whether this is the membership that `header` heads.
    pub(crate) fn is(self, header: &Header) -> bool {
        std::ptr::eq(self.header(), header)
    }
}

impl<'g, T: Payload> Unlinked<'g, T> {
    /// # Safety
    ///
    /// `entry` was just unlinked from a table of sessions of `T`, for the caller alone.
    #[inline]
    unsafe fn retire(entry: Entry<'g>, guard: &'g Guard) -> Self {
        let release = if entry.header().is_forward() { release_forward::<T> } else { release_own::<T> };
        // SAFETY: the caller unlinked the entry, which includes rule R1, so this is its one retirement; `release` fits
        // the kind of entry.
        unsafe { guard.retire(entry.pointer(), release) };
        Self { entry, _session: PhantomData }
    }

    pub(crate) fn header(self) -> &'g Header {
        self.entry.header()
    }

    pub(crate) fn session(self) -> &'g Session<T> {
        // SAFETY: by `retire`, of this type; the guard of `'g` keeps what was retired under it.
        unsafe { session_of(self.entry) }
    }

    /// A counted reference to the session.
    pub(crate) fn to_arc(self) -> Arc<Session<T>> {
        // SAFETY: as in `session`.
        unsafe { arc_of(self.entry) }
    }
}

impl<T: Payload> Attempt<T> {
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the attempt owns the entry.
        unsafe { self.entry.as_ref() }
    }
}

impl<T: Payload> Drop for Attempt<T> {
    fn drop(&mut self) {
        let release = if self.header().is_forward() { release_forward::<T> } else { release_own::<T> };
        // SAFETY: the attempt owns the entry, which never got into a table.
        unsafe { release(self.entry) };
    }
}

/// The session that `entry` is, or stands for.
///
/// # Safety
///
/// `entry` was made by `Table::<T>::prepare` or `prepare_new`.
#[inline]
unsafe fn session_of<'g, T>(entry: Entry<'g>) -> &'g Session<T> {
    if entry.header().is_forward() {
        // SAFETY: a header with the forwarding flag is the first field of a Forward of the table's type.
        return unsafe { entry.pointer().cast::<Forward<T>>().as_ref() }.target();
    }
    // SAFETY: any other header is the first field of a Session of the table's type, and the pointer has the provenance
    // of the whole.
    unsafe { entry.pointer().cast::<Session<T>>().as_ref() }
}

/// # Safety
///
/// As [`session_of`].
unsafe fn arc_of<T>(entry: Entry<'_>) -> Arc<Session<T>> {
    if entry.header().is_forward() {
        // SAFETY: as in `session_of`.
        return Arc::clone(unsafe { entry.pointer().cast::<Forward<T>>().as_ref() }.target_arc());
    }
    let session = entry.pointer().cast::<Session<T>>().as_ptr();
    // SAFETY: the pointer came from Arc::into_raw, and the entry's own count is given back only after the grace period
    // of the guard that the entry was read under.
    unsafe {
        Arc::increment_strong_count(session);
        Arc::from_raw(session)
    }
}

/// A session's own header as an entry, which keeps the count of the `Arc`.
#[inline]
fn own_entry<T>(session: Arc<Session<T>>) -> NonNull<Header> {
    // SAFETY: an Arc's pointer is not null.
    unsafe { NonNull::new_unchecked(Arc::into_raw(session).cast_mut()) }.cast()
}

/// Ends a membership that a session's own header served.
///
/// # Safety
///
/// `entry` is a session's own header, claimed, and nobody can reach it through a table any more.
unsafe fn release_own<T>(entry: NonNull<Header>) {
    prefetch_all(entry.cast::<Session<T>>().as_ptr());
    // SAFETY: `own_entry` got the pointer from Arc::into_raw, and this gives that count back.
    let session = unsafe { Arc::from_raw(entry.cast::<Session<T>>().as_ptr()) };
    session.header().release();
}

/// Ends a membership that a forwarding entry served.
///
/// # Safety
///
/// `entry` is a forwarding entry that nobody can reach through a table any more.
unsafe fn release_forward<T>(entry: NonNull<Header>) {
    // SAFETY: `prepare` got the pointer from `into_entry`.
    drop(unsafe { Forward::<T>::from_entry(entry) });
}
