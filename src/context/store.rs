//! Adding, removing, flushing.

use super::stats::Counter;
use super::{SessionCacheMode, SessionContext, Side};
use crate::cache::{CacheInsert, RemoveReason, Terms};
use crate::clock::Timestamp;
use crate::error::AddError;
use crate::session::{Header, Payload, Session, SessionIdContext};
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
        let terms = Terms { expiry: session.expires_at(), external: false, now: self.now() };
        Ok(match self.insert(session, terms)? {
            CacheInsert::Added => Added::Added,
            CacheInsert::Replaced(old) => Added::Replaced(old),
            CacheInsert::Unchanged => Added::Unchanged,
        })
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
        let internal = inside && !mode.contains(SessionCacheMode::NO_INTERNAL_STORE);
        if internal {
            // The membership is flagged before the external store is told: from the first instant in which two tiers
            // may hold the session, a take must win in both.
            let external = external.is_some();
            let terms = Terms { expiry: session.expires_at(), external, now: self.now() };
            self.insert(Arc::clone(&session), terms)?;
        }
        let held_outside = external.is_some_and(|external| external.put(&session));
        if internal && external.is_some() && !held_outside {
            self.cache.clear_external(&session, &self.pin());
        }
        if let Some(on_new) = &self.events.on_new {
            on_new(self, &session);
        }
        Ok(Stored { internal, announced: held_outside || self.events.on_new.is_some() })
    }

    /// Inserts, and announces what had to go.
    pub(super) fn insert(&self, session: Arc<Session<T>>, terms: Terms) -> Result<CacheInsert<T>, AddError> {
        self.check_weight(&session)?;
        let mut departures = self.departures();
        let guard = self.pin();
        let inserted = self.cache.insert(session, terms, &mut departures, &guard)?;
        self.counters.add(Counter::CacheFull, departures.evicted() as u64, guard.thread());
        drop(guard);
        self.announce(departures);
        Ok(inserted)
    }

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
        let removed = {
            let guard = self.pin();
            // Marked first: whoever finds it between the two is refused.
            session.mark_not_resumable();
            self.cache.remove(&session.key(), &guard).is_some()
        };
        self.announce_removal(session, reason);
        removed
    }

    /// Removes the sessions that have expired at `now` (`SSL_CTX_flush_sessions`): those whose last second lies before
    /// it. Returns how many. Each is marked not resumable, and the remove callback is told, with the reason
    /// [`Expired`](RemoveReason::Expired), or [`Flushed`](RemoveReason::Flushed) where `now` is ahead of the clock and
    /// the session was still valid.
    ///
    /// Walks the table; other threads go on meanwhile.
    pub fn flush_sessions(&self, now: Timestamp) -> usize {
        let clock = self.now();
        self.sweep(|header, _| {
            let expiry = header.expires_at();
            (now > expiry).then_some(if clock > expiry {
                RemoveReason::Expired
            } else {
                RemoveReason::Flushed
            })
        })
    }

    /// Removes every session, as `SSL_CTX_flush_sessions` with a time of zero. Returns how many.
    pub fn flush_all(&self) -> usize {
        self.sweep(|_, _| Some(RemoveReason::Flushed))
    }

    /// Removes every session of a session id context: what a change of policy asks for. Returns how many.
    pub fn purge(&self, id_context: &SessionIdContext) -> usize {
        self.sweep(|_, session| (session.id_context() == id_context).then_some(RemoveReason::Purged))
    }

    pub(super) fn sweep(&self, reason: impl Fn(&Header, &Session<T>) -> Option<RemoveReason>) -> usize {
        let mut removed = 0;
        let parts = self.cache.parts(&self.pin());
        for from in (0..parts).step_by(PARTS_PER_PIN) {
            let mut departures = self.departures();
            let guard = self.pin();
            for part in from..parts.min(from + PARTS_PER_PIN) {
                removed += self.cache.sweep((part, parts), &reason, &mut departures, &guard);
            }
            drop(guard);
            self.announce(departures);
        }
        removed
    }
}
