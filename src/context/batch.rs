//! Looking up many sessions at once: their memory is asked for together.

use super::SessionContext;
use crate::cache::Wanted;
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::session::{Payload, Session, SessionIdContext, SessionKey};
use crate::table::Hash;

/// Keys whose memory is asked for together: more loads than a processor has under way at once.
const GROUP: usize = 16;

impl<T: Payload> SessionContext<T> {
    /// Looks up many sessions (get0): for each key in turn, calls `visit` with its place and what
    /// [`lookup`](Self::lookup) returns for it.
    ///
    /// Where the cache is larger than the processor's, this is up to twice as fast as one lookup after the other: while
    /// one key's memory is on its way, so is that of the next fifteen. A ClientHello with several tickets and a burst of
    /// QUIC datagrams are worth it. The clock is read once.
    ///
    /// ```
    /// use resumption::{ProtocolVersion, Session, SessionContext, SessionId, SessionIdContext, SessionKey};
    /// use std::sync::Arc;
    ///
    /// let context = SessionContext::<u32>::new();
    /// let key = |n| SessionKey::new(ProtocolVersion::TLS1_3, SessionId::from([n; 32]));
    /// context.add_session(Arc::new(context.session(key(7)).build(7)))?;
    ///
    /// let offered = [key(6), key(7), key(8)];
    /// let guard = context.pin();
    /// let mut first: Option<(usize, &Session<u32>)> = None;
    /// context.lookup_many(&offered, &SessionIdContext::EMPTY, &guard, |place, found| {
    ///     first = first.or(found.map(|session| (place, session)));
    /// });
    /// let (place, session) = first.expect("the second was added");
    /// assert_eq!((place, *session.payload()), (1, 7));
    /// # Ok::<(), resumption::AddError>(())
    /// ```
    pub fn lookup_many<'g>(
        &self,
        keys: &[SessionKey],
        id_context: &SessionIdContext,
        guard: &'g Guard,
        visit: impl FnMut(usize, Option<&'g Session<T>>),
    ) {
        self.lookup_many_at(keys, id_context, self.now(), guard, visit);
    }

    /// As [`lookup_many`](Self::lookup_many), for callers that know the time; see [`lookup_at`](Self::lookup_at).
    pub fn lookup_many_at<'g>(
        &self,
        keys: &[SessionKey],
        id_context: &SessionIdContext,
        now: Timestamp,
        guard: &'g Guard,
        mut visit: impl FnMut(usize, Option<&'g Session<T>>),
    ) {
        for (group, keys) in keys.chunks(GROUP).enumerate() {
            let mut hashes = [Hash(0); GROUP];
            let hashes = &mut hashes[..keys.len()];
            // These passes only ask for memory. Each lookup is a whole one, made in the last, so that it sees what the
            // visitor did about the one before.
            if guard.is_in_doubt() && self.cache.has_filter(guard) {
                self.prefetch_doubtful(hashes, keys, guard);
            } else {
                for (hash, key) in hashes.iter_mut().zip(keys) {
                    *hash = self.cache.hash_of(key);
                    self.cache.prefetch_bucket(*hash, guard);
                }
                for hash in &*hashes {
                    self.cache.prefetch_session(*hash, guard);
                }
            }
            for (place, (key, &mut hash)) in keys.iter().zip(hashes).enumerate() {
                let wanted = Wanted { key, context: id_context, now };
                visit(group * GROUP + place, self.lookup_hashed(wanted, hash, guard));
            }
        }
    }

    /// Hashes the keys and asks for the memory of those that may be there.
    fn prefetch_doubtful(&self, hashes: &mut [Hash], keys: &[SessionKey], guard: &Guard) {
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.cache.hash_of(key);
            self.cache.prefetch_cell(*hash, guard);
        }
        let doubtful = || hashes.iter().filter(|hash| !self.cache.is_absent(**hash, guard));
        doubtful().for_each(|hash| self.cache.prefetch_bucket(*hash, guard));
        doubtful().for_each(|hash| self.cache.prefetch_session(*hash, guard));
    }
}
