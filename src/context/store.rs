//! Adding, removing, flushing.

use super::events::FirstPanic;
use super::stats::Counter;
use super::{SessionContext, Side};
use crate::cache::{Cache, CacheInsert, RemoveReason, Terms};
use crate::clock::Timestamp;
use crate::error::AddError;
use crate::session::{Header, Membership, Payload, Session, SessionIdContext};
use crate::table::{Attempt, New, Unlinked};
use std::ops::Deref;
use std::sync::Arc;

/// What adding a session did.
#[derive(Clone, Debug)]
pub enum Added<T> {
    /// No session had the key.
    Added,
    /// Another session had the key and has left the cache. It is not marked, and the remove callback does not fire.
    Replaced(Arc<Session<T>>),
    /// This very session is cached already; nothing changed.
    Unchanged,
}

/// What the store step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The session is in the internal cache.
    pub internal: bool,
    /// The new callback was told of it, or the external store holds it.
    pub announced: bool,
}

impl Stored {
    /// The session was neither stored nor announced.
    pub(crate) const NOTHING: Self = Self { internal: false, announced: false };
}

/// Where a flush that walks the table lets reclamation catch up.
const PARTS_PER_PIN: usize = 256;

impl<T: Payload> SessionContext<T> {
    /// Adds a session (`SSL_CTX_add_session`), whatever the mode says. A full cache evicts another.
    ///
    /// Expired sessions and those marked not resumable are accepted, and never found. Expected O(1).
    ///
    /// # Errors
    ///
    /// [`AddError`], with nothing changed.
    pub fn add_session(&self, session: Arc<Session<T>>) -> Result<Added<T>, AddError> {
        let terms = self.terms(&session, false);
        Ok(match self.insert(session, terms, |old| old.to_arc())? {
            CacheInsert::Added => Added::Added,
            CacheInsert::Replaced(old) => Added::Replaced(old),
            CacheInsert::Unchanged => Added::Unchanged,
        })
    }

    /// As [`add_session`](Self::add_session), for a session that nobody else has and whose predecessor nobody asks for: the
    /// shortest way, with one atomic instruction less to add and three less to replace. Whether another session had the key
    /// and has left the cache.
    ///
    /// # Errors
    ///
    /// [`AddError`], with nothing changed; the session is dropped.
    #[inline]
    pub fn add_new(&self, session: Session<T>) -> Result<bool, AddError> {
        self.add_made(New::of(session))
    }

    fn add_made(&self, made: New<T>) -> Result<bool, AddError> {
        let terms = self.terms(&made, false);
        let inserted = self.insert_by(made, terms, Cache::prepare_new, |_| ())?;
        Ok(matches!(inserted, CacheInsert::Replaced(())))
    }

    /// The store step of a handshake that has established a session, or of a ticket that was issued or received: adds
    /// it as the mode says, and tells the new callback and the external store.
    ///
    /// Nothing happens for a session that is marked not resumable or when the mode lacks the side's bit.
    ///
    /// # Errors
    ///
    /// [`AddError`], with nothing changed and nobody told.
    pub fn store_session(&self, session: Arc<Session<T>>, side: Side) -> Result<Stored, AddError> {
        self.announce_session(session, side, true)
    }

    /// As [`store_session`](Self::store_session), for a session that nobody else has. Where nobody is told of it, no new
    /// callback and no external store, this is [`add_new`](Self::add_new) with the checks of the store step.
    ///
    /// # Errors
    ///
    /// [`AddError`], with nothing changed and nobody told; the session is dropped.
    #[inline]
    pub fn store_new(&self, session: Session<T>, side: Side) -> Result<Stored, AddError> {
        self.store_made(New::of(session), side)
    }

    fn store_made(&self, made: New<T>, side: Side) -> Result<Stored, AddError> {
        let mode = self.mode();
        let is_told = self.external.is_some() || self.events.on_new.is_some();
        if is_told || !made.is_resumable() || !mode.stores_for(side) || !mode.stores_inside() {
            return self.announce_session(made.into_arc(), side, true);
        }
        self.add_made(made)?;
        Ok(Stored { internal: true, announced: false })
    }

    /// As [`store_session`](Self::store_session); a session for which `inside` is false is announced, and stays out of
    /// the internal cache.
    pub(crate) fn announce_session(
        &self,
        session: Arc<Session<T>>,
        side: Side,
        inside: bool,
    ) -> Result<Stored, AddError> {
        let mode = self.mode();
        if !session.is_resumable() || !mode.stores_for(side) {
            return Ok(Stored::NOTHING);
        }
        self.check_weight(&session)?;
        let external = self.external.as_deref();
        let internal = inside && mode.stores_inside();
        if internal {
            // The membership is flagged before the external store is told: from the first instant in which two tiers
            // may hold the session, a take must win in both.
            let terms = self.terms(&session, external.is_some());
            if matches!(self.insert(Arc::clone(&session), terms, |_| ())?, CacheInsert::Unchanged)
                && external.is_some()
            {
                self.with_membership(&session, Header::set_external);
            }
        }
        let held_outside = external.is_some_and(|external| external.put(&session));
        if internal && external.is_some() && !held_outside {
            self.with_membership(&session, Header::clear_external);
        }
        if let Some(on_new) = &self.events.on_new {
            on_new(self, &session);
        }
        Ok(Stored { internal, announced: held_outside || self.events.on_new.is_some() })
    }

    /// The terms of a membership that begins here and now.
    #[inline]
    fn terms(&self, session: &Session<T>, external: bool) -> Terms {
        let membership = Membership { expiry: session.expires_at(), external, fetched: false };
        Terms { membership, now: self.now() }
    }

    fn with_membership(&self, session: &Session<T>, change: impl FnOnce(&Header)) {
        if let Some(member) = self.cache.membership(session, &self.pin()) {
            change(member.header());
        }
    }

    /// Inserts, and announces what had to go. `replaced` is told what had the key.
    #[inline]
    pub(super) fn insert<R>(
        &self,
        session: Arc<Session<T>>,
        terms: Terms,
        replaced: impl FnOnce(Unlinked<'_, T>) -> R,
    ) -> Result<CacheInsert<R>, AddError> {
        self.insert_by(session, terms, Cache::prepare, replaced)
    }

    /// As [`insert`](Self::insert), for a session that is shared or is not, and is prepared as such.
    #[inline]
    fn insert_by<S: Deref<Target = Session<T>>, R>(
        &self,
        session: S,
        terms: Terms,
        prepare: impl FnOnce(&Cache<T>, S, Terms) -> Result<Attempt<T>, AddError>,
        replaced: impl FnOnce(Unlinked<'_, T>) -> R,
    ) -> Result<CacheInsert<R>, AddError> {
        self.check_weight(&session)?;
        let hash = self.cache.hash_of(&session.key());
        let mut departures = self.departures();
        let guard = self.pin();
        // The bucket is on its way while the rest is done.
        self.cache.prefetch_bucket(hash, &guard);
        // Upkeep comes first: what has expired makes room, and what is added now is not removed by the same call.
        self.upkeep(terms.now, &mut departures, &guard);
        let inserted = prepare(&self.cache, session, terms)
            .map(|attempt| self.cache.insert(attempt, hash, terms, &mut departures, &guard).map(replaced));
        self.counters.add(Counter::CacheFull, departures.evicted() as u64, guard.thread());
        drop(guard);
        self.announce(departures);
        inserted
    }

    #[inline]
    fn check_weight(&self, session: &Session<T>) -> Result<(), AddError> {
        let limit = self.max_session_bytes.min(self.byte_capacity().unwrap_or(usize::MAX));
        let weight = session.weight();
        if weight > limit { Err(AddError::TooLarge { weight, limit }) } else { Ok(()) }
    }

    /// Removes the session with this one's key (`SSL_CTX_remove_session`); `true` if there was one.
    ///
    /// In every case this session is marked not resumable and the remove callback fires with it, so that an external
    /// cache hears of it too. If another object had the key, it leaves the cache unmarked.
    pub fn remove_session(&self, session: &Arc<Session<T>>) -> bool {
        self.remove_session_because(session, RemoveReason::Removed)
    }

    /// As [`remove_session`](Self::remove_session), with the reason that the remove callback is told: for adapters
    /// that remove on an unclean close or a fatal alert.
    pub fn remove_session_because(&self, session: &Arc<Session<T>>, reason: RemoveReason) -> bool {
        self.begin_removal(&session.key());
        let removed = self.cache.remove(&session.key(), &self.pin()).is_some();
        // Marked last: a mark that is seen before the removal would make the session absent for a lookup and present for
        // an add.
        session.mark_not_resumable();
        self.announce_removal(session, reason);
        removed
    }

    /// Removes the sessions that have expired at `now` (`SSL_CTX_flush_sessions`): those whose last second lies before
    /// it. Returns how many. Each is marked not resumable, and the remove callback is told, with the reason
    /// [`Expired`](RemoveReason::Expired), or [`Flushed`](RemoveReason::Flushed) where `now` is ahead of the clock and
    /// the session was still valid.
    ///
    /// With `now` the clock's own, costs what has expired and not what is cached: the wheel knows. With any other time, or
    /// while another thread is at the wheel, walks the table; other threads go on meanwhile.
    pub fn flush_sessions(&self, now: Timestamp) -> usize {
        let clock = self.now();
        let (mut removed, mut all, mut panics) = (0, false, FirstPanic::default());
        if now == clock {
            (removed, all) = self.reap_all(now, &mut panics);
        }
        let reason = |header: &Header, _: &Session<T>| {
            let expiry = header.expires_at();
            (now > expiry).then_some(if clock > expiry {
                RemoveReason::Expired
            } else {
                RemoveReason::Flushed
            })
        };
        if !all {
            panics.run(|| removed += self.sweep(reason));
        }
        panics.resume();
        removed
    }

    /// Removes every session, as `SSL_CTX_flush_sessions` with a time of zero. Returns how many.
    pub fn flush_all(&self) -> usize {
        self.begin_removals();
        self.sweep(|_, _| Some(RemoveReason::Flushed))
    }

    /// Removes every session of a session id context that is cached here: what a change of policy asks for, beside a new
    /// context, under which lookups refuse the old sessions wherever they are. An external store is told of each session
    /// that was here; it keeps those that it alone has. Returns how many.
    pub fn purge(&self, id_context: &SessionIdContext) -> usize {
        self.begin_removals();
        self.sweep(|_, session| (session.id_context() == id_context).then_some(RemoveReason::Purged))
    }

    pub(super) fn sweep(&self, reason: impl Fn(&Header, &Session<T>) -> Option<RemoveReason>) -> usize {
        let (mut removed, mut panics) = (0, FirstPanic::default());
        let parts = self.cache.parts(&self.pin());
        for from in (0..parts).step_by(PARTS_PER_PIN) {
            let mut departures = self.departures();
            let guard = self.pin();
            for part in from..parts.min(from + PARTS_PER_PIN) {
                removed += self.cache.sweep((part, parts), &reason, &mut departures, &guard);
            }
            drop(guard);
            panics.run(|| self.announce(departures));
        }
        panics.resume();
        removed
    }
}
