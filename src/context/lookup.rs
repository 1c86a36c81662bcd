//! Looking up and taking. What is not a hit in the table leaves the inlined path at once.

use super::stats::Counter;
use super::{SessionCacheMode, SessionContext};
use crate::cache::{Found, Refusal, RemoveReason, Terms, Wanted};
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::session::{Membership, Payload, Session, SessionIdContext, SessionKey};
use crate::table::{Glance, Hash, Member, Unlinked};
use std::sync::Arc;

impl<T: Payload> SessionContext<T> {
    /// The session to resume (get0): borrowed from the guard, no reference count is touched.
    ///
    /// First the internal table, unless the mode says NO_INTERNAL_LOOKUP; then the get callback and the external store,
    /// whose result is stored internally unless the mode says NO_INTERNAL_STORE; then the checks: the session must not
    /// be marked, must belong to `id_context`, and must not have expired. `None` is a miss; [`stats`](Self::stats)
    /// counts the reason.
    ///
    /// An expired session of TLS 1.2 or older is removed on the way, as OpenSSL does. In the table a lookup is
    /// wait-free and expected O(1).
    #[inline]
    pub fn lookup<'g>(
        &self,
        key: &SessionKey,
        id_context: &SessionIdContext,
        guard: &'g Guard,
    ) -> Option<&'g Session<T>> {
        self.lookup_at(key, id_context, self.now(), guard)
    }

    /// As [`lookup`](Self::lookup), for callers that know the time: saves reading the clock, about 5 ns. A `now` that
    /// lags behind lets sessions live as much longer.
    #[inline(always)]
    pub fn lookup_at<'g>(
        &self,
        key: &SessionKey,
        id_context: &SessionIdContext,
        now: Timestamp,
        guard: &'g Guard,
    ) -> Option<&'g Session<T>> {
        self.lookup_hashed(Wanted { key, context: id_context, now }, self.cache.hash_of(key), guard)
    }

    /// As [`lookup_at`](Self::lookup_at), for a key whose hash is known.
    #[inline(always)]
    pub(super) fn lookup_hashed<'g>(
        &self,
        wanted: Wanted<'_>,
        hash: Hash,
        guard: &'g Guard,
    ) -> Option<&'g Session<T>> {
        let Wanted { key, context, now } = wanted;
        if !self.is_plain() {
            return self.lookup_closely(key, context, now, guard);
        }
        let Some(counts) = self.counters.own(guard.thread_without_doubt()) else {
            return self.lookup_in_doubt(key, context, now, hash, guard);
        };
        match self.cache.glance(wanted, hash, guard) {
            Glance::Plain(found) => {
                found.session().header().raise_mark();
                counts.add(Counter::Hit, 1);
                Some(found.session())
            }
            Glance::Absent => self.lookup_absent(wanted, hash, guard),
            Glance::Unclear => self.lookup_closely(key, context, now, guard),
        }
    }

    /// As [`lookup_hashed`](Self::lookup_hashed), by a thread whose last lookup found nothing, or that shares its counters.
    #[inline(never)]
    fn lookup_in_doubt<'g>(
        &self,
        key: &SessionKey,
        context: &SessionIdContext,
        now: Timestamp,
        hash: Hash,
        guard: &'g Guard,
    ) -> Option<&'g Session<T>> {
        if self.misses_again(hash, guard) {
            return None;
        }
        self.lookup_after_doubt(key, context, now, hash, guard)
    }

    /// Whether the filter says to a thread in doubt, in which it stays, that nobody has this key; then that is counted.
    #[inline(always)]
    fn misses_again(&self, hash: Hash, guard: &Guard) -> bool {
        let misses = guard.is_in_doubt() && !self.asks_outside && self.cache.is_absent(hash, guard);
        if misses {
            self.counters.count_absent(self.cache.absence_of(hash), guard.thread());
        }
        misses
    }

    /// As [`lookup_in_doubt`](Self::lookup_in_doubt), if the filter does not say that it is absent. A function of its own: what
    /// it keeps in registers, the other would have to save.
    #[inline(never)]
    fn lookup_after_doubt<'g>(
        &self,
        key: &SessionKey,
        context: &SessionIdContext,
        now: Timestamp,
        hash: Hash,
        guard: &'g Guard,
    ) -> Option<&'g Session<T>> {
        let wanted = Wanted { key, context, now };
        match self.cache.glance(wanted, hash, guard) {
            Glance::Plain(found) => {
                guard.set_doubt(false);
                self.count_hit(found.session(), guard);
                Some(found.session())
            }
            Glance::Absent => self.lookup_absent(wanted, hash, guard),
            Glance::Unclear => self.lookup_closely(key, context, now, guard),
        }
    }

    /// What every plain hit writes: the mark, if it is not saturated, and the thread's own count.
    #[inline]
    fn count_hit(&self, session: &Session<T>, guard: &Guard) {
        session.header().raise_mark();
        self.counters.count(Counter::Hit, guard.thread());
    }

    /// As [`lookup_at`](Self::lookup_at), for what one look does not settle.
    #[cold]
    #[inline(never)]
    fn lookup_closely<'g>(
        &self,
        key: &SessionKey,
        context: &SessionIdContext,
        now: Timestamp,
        guard: &'g Guard,
    ) -> Option<&'g Session<T>> {
        match self.find(Wanted { key, context, now }, guard) {
            Ok(member) => Some(member.session()),
            Err(outside) => outside.map(|session| guard.lend(session)),
        }
    }

    /// What follows when no session in the table has the key.
    #[inline(always)]
    fn lookup_absent<'g>(&self, wanted: Wanted<'_>, hash: Hash, guard: &'g Guard) -> Option<&'g Session<T>> {
        if self.asks_outside {
            return self.lend_from_outside(wanted.key, wanted.context, wanted.now, hash, guard);
        }
        self.count_absent(hash, guard);
        None
    }

    /// Counts a lookup that found no session and asks nobody else.
    #[inline(never)]
    fn count_absent(&self, hash: Hash, guard: &Guard) {
        self.counters.count_absent(self.cache.absence_of(hash), guard.thread());
        // Last, so that nothing has to be kept over the call. A table that has no filter never had one.
        if self.cache.has_filter(guard) {
            guard.set_doubt(true);
        }
    }

    /// The session that the outside has, if the table does not.
    #[cold]
    #[inline(never)]
    fn lend_from_outside<'g>(
        &self,
        key: &SessionKey,
        context: &SessionIdContext,
        now: Timestamp,
        hash: Hash,
        guard: &'g Guard,
    ) -> Option<&'g Session<T>> {
        self.counters.count(Counter::Misses, guard.thread());
        let wanted = Wanted { key, context, now };
        let outside = self.lookup_outside(wanted, self.cache.absence_of(hash), guard);
        outside.map(|session| guard.lend(session))
    }

    /// As [`lookup`](Self::lookup), with a counted reference that outlives any guard (get1).
    pub fn lookup_arc(&self, key: &SessionKey, id_context: &SessionIdContext) -> Option<Arc<Session<T>>> {
        let guard = self.pin();
        let wanted = Wanted { key, context: id_context, now: self.now() };
        if self.is_plain() {
            let hash = self.cache.hash_of(key);
            if self.misses_again(hash, &guard) {
                return None;
            }
            if let Glance::Plain(found) = self.cache.glance(wanted, hash, &guard) {
                guard.set_doubt(false);
                self.count_hit(found.session(), &guard);
                return Some(found.member().to_arc());
            }
        }
        match self.find(wanted, &guard) {
            Ok(member) => Some(member.to_arc()),
            Err(outside) => outside,
        }
    }

    /// The member of the table that is wanted; or what the outside has instead.
    #[inline]
    fn find<'g>(
        &self,
        wanted: Wanted<'_>,
        guard: &'g Guard,
    ) -> Result<Member<'g, T>, Option<Arc<Session<T>>>> {
        let mode = self.mode();
        if !mode.looks_inside() {
            return Err(self.lookup_outside(wanted, Refusal::Unknown, guard));
        }
        match self.cache.find(wanted, guard) {
            Found::Session(member) => {
                member.header().raise_mark();
                if mode.contains(SessionCacheMode::UPDATE_TIME) {
                    member.header().renew(member.session().expiry_if_used_at(wanted.now));
                }
                guard.set_doubt(false);
                self.counters.count(Counter::Hit, guard.thread());
                Ok(member)
            }
            other => Err(self.lookup_missed(&other, wanted, guard)),
        }
    }

    /// What follows when the table does not have the session, or must not hand it out.
    #[cold]
    fn lookup_missed(
        &self,
        found: &Found<'_, T>,
        wanted: Wanted<'_>,
        guard: &Guard,
    ) -> Option<Arc<Session<T>>> {
        match *found {
            Found::Session(_) => None,
            Found::Refused(..) => {
                self.refuse(found, guard);
                None
            }
            Found::Absent(absence) => {
                guard.set_doubt(self.cache.has_filter(guard));
                self.counters.count(Counter::Misses, guard.thread());
                self.lookup_outside(wanted, absence, guard)
            }
        }
    }

    /// Counts a session that was found and is not handed out. An expired one is removed where OpenSSL removes it: on
    /// the way of the session id, not of the ticket.
    fn refuse(&self, found: &Found<'_, T>, guard: &Guard) {
        let Found::Refused(member, refusal) = *found else { return };
        self.counters.count(refusal.into(), guard.thread());
        if refusal != Refusal::Expired {
            return;
        }
        self.counters.count(Counter::Timeouts, guard.thread());
        if member.session().version().has_tickets_only() {
            return;
        }
        if let Some(expired) = self.cache.expire(member, guard) {
            expired.session().mark_not_resumable();
            self.announce_removal(&expired.to_arc(), RemoveReason::Expired);
        }
    }

    /// Asks the get callback and the external store, after the table (or instead of it).
    #[cold]
    fn lookup_outside(&self, wanted: Wanted<'_>, absence: Refusal, guard: &Guard) -> Option<Arc<Session<T>>> {
        let mode = self.mode();
        if mode.is_off() {
            self.counters.count(Counter::Mode, guard.thread());
            return None;
        }
        let hash = self.cache.hash_of(wanted.key);
        let removals = self.removals.count(hash);
        let from_callback = self.events.on_get.as_ref().and_then(|on_get| on_get(self, wanted.key));
        let external = from_callback.is_none();
        let from_store = || self.external.as_deref().and_then(|store| store.get(wanted.key));
        let Some(session) = from_callback.or_else(from_store) else {
            self.counters.count(absence.into(), guard.thread());
            return None;
        };
        if session.is_resumable() {
            self.counters.count(Counter::CbHits, guard.thread());
            if mode.stores_inside() {
                let renew =
                    mode.contains(SessionCacheMode::UPDATE_TIME) && wanted.now <= session.expires_at();
                let expiry = session.expiry_if_used_at(if renew { wanted.now } else { session.time() });
                let membership = Membership { expiry, external, fetched: true };
                // One that cannot be stored is used all the same.
                let _ = self.insert(Arc::clone(&session), Terms { membership, now: wanted.now }, |_| ());
                let valid = || self.removals.is_still(hash, removals);
                self.cache.confirm(&session, valid, guard);
            }
        }
        self.admit(session, wanted, absence, guard)
    }

    /// Checks a session that came from outside, and counts it.
    fn admit(
        &self,
        session: Arc<Session<T>>,
        wanted: Wanted<'_>,
        absence: Refusal,
        guard: &Guard,
    ) -> Option<Arc<Session<T>>> {
        let Some(refusal) = outside_refusal(&session, wanted, absence) else {
            self.counters.count(Counter::ExternalHit, guard.thread());
            return Some(session);
        };
        self.counters.count(refusal.into(), guard.thread());
        if refusal == Refusal::Expired {
            self.counters.count(Counter::Timeouts, guard.thread());
            if !session.version().has_tickets_only() {
                self.remove_session_because(&session, RemoveReason::Expired);
            }
        }
        None
    }

    /// Removes the session and returns it, to exactly one of all callers: single use, as TLS 1.3 tickets and 0-RTT
    /// need it (RFC 8446, sections 8.1 and C.4). The checks are those of [`lookup`](Self::lookup); a session that fails
    /// them stays.
    ///
    /// The session is marked not resumable and the remove callback is told [`Consumed`](RemoveReason::Consumed). With an
    /// external store, a session that may be in both tiers is won in both, or not at all. Lock-free, expected O(1).
    pub fn take(&self, key: &SessionKey, id_context: &SessionIdContext) -> Option<Arc<Session<T>>> {
        let guard = self.pin();
        let wanted = Wanted { key, context: id_context, now: self.now() };
        self.take_wanted(wanted, &guard, |taken| taken.to_arc(), |session| session)
    }

    /// As [`take`](Self::take), borrowed from the guard: no reference count is touched.
    pub fn take_borrowed<'g>(
        &self,
        key: &SessionKey,
        id_context: &SessionIdContext,
        guard: &'g Guard,
    ) -> Option<&'g Session<T>> {
        let wanted = Wanted { key, context: id_context, now: self.now() };
        self.take_wanted(wanted, guard, |taken| taken.session(), |session| guard.lend(session))
    }

    #[inline]
    fn take_wanted<'g, R>(
        &self,
        wanted: Wanted<'_>,
        guard: &'g Guard,
        inside: impl FnOnce(Unlinked<'g, T>) -> R,
        outside: impl FnOnce(Arc<Session<T>>) -> R,
    ) -> Option<R> {
        if !self.mode().looks_inside() {
            return self.take_outside(wanted, Refusal::Unknown, guard).map(outside);
        }
        self.begin_removal(wanted.key);
        match self.cache.take(wanted, guard) {
            Ok(taken) => {
                // Another process, or a thread that found only the external copy, may have been first; or a thread that
                // took the same session from another context. The winner marks the session: with a store in memory the
                // two hold one object, and the winner checks the mark.
                let store = self.external.as_deref().filter(|_| taken.header().is_external());
                let won = store.is_none_or(|store| store.take(wanted.key).is_some())
                    && taken.session().header().mark_taken();
                self.counters.count(if won { Counter::Hit } else { Counter::Consumed }, guard.thread());
                if self.events.on_remove.is_some() || self.external.is_some() {
                    self.announce_removal(&taken.to_arc(), RemoveReason::Consumed);
                }
                won.then(|| inside(taken))
            }
            Err(Found::Absent(absence)) => {
                self.counters.count(Counter::Misses, guard.thread());
                self.take_outside(wanted, absence, guard).map(outside)
            }
            Err(refused) => {
                self.refuse(&refused, guard);
                None
            }
        }
    }

    #[cold]
    fn take_outside(&self, wanted: Wanted<'_>, absence: Refusal, guard: &Guard) -> Option<Arc<Session<T>>> {
        if self.mode().is_off() {
            self.counters.count(Counter::Mode, guard.thread());
            return None;
        }
        self.begin_removal(wanted.key);
        let taken = self.external.as_deref().and_then(|store| Some((store, store.take(wanted.key)?)));
        let Some((store, session)) = taken else {
            self.counters.count(absence.into(), guard.thread());
            return None;
        };
        if session.is_resumable() {
            self.counters.count(Counter::CbHits, guard.thread());
        }
        if outside_refusal(&session, wanted, absence) == Some(Refusal::OtherContext) {
            // A session that fails the check stays where it was.
            store.put(&session);
        }
        let session = self.admit(session, wanted, absence, guard)?;
        session.mark_not_resumable();
        // A copy that was here, and that the mode kept from being looked at, has been consumed with it.
        self.cache.remove(wanted.key, guard);
        self.announce_removal(&session, RemoveReason::Consumed);
        Some(session)
    }
}

/// Why a session that came from outside must not be resumed. A session with another id than the one asked for counts as
/// not found: whoever resumed it would answer with an id that the client does not know.
fn outside_refusal<T>(session: &Session<T>, wanted: Wanted<'_>, absence: Refusal) -> Option<Refusal> {
    if !session.is_resumable() {
        return Some(Refusal::Marked);
    }
    if session.id() != *wanted.key.id() {
        return Some(absence);
    }
    if session.version() != wanted.key.version() {
        return Some(Refusal::OtherVersion);
    }
    if session.id_context() != wanted.context {
        return Some(Refusal::OtherContext);
    }
    (wanted.now > session.expires_at()).then_some(Refusal::Expired)
}
