//! The short way of a lookup: one look at the key's bucket, which nearly always tells. Meant to be inlined whole.

use super::find;
use super::raw::{Entry, Hash};
use super::table::{Member, Table};
use crate::epoch::Guard;
use crate::session::{Payload, Session, SessionKey};

/// What one look at a bucket says.
pub(crate) enum Glance<'g, T> {
    /// This session has the key, and was admitted.
    Plain(Plain<'g, T>),
    /// No session has the key, under whatever version.
    Absent(Hash),
    /// A closer look is needed.
    Unclear,
}

/// A member of the table whose header is [plain](crate::session::Header::is_plain), so that it is the session's own.
pub(crate) struct Plain<'g, T>(Member<'g, T>);

impl<'g, T: Payload> Plain<'g, T> {
    #[inline(always)]
    pub(crate) fn session(&self) -> &'g Session<T> {
        // SAFETY: a plain header is no forwarding entry's, so it is the first field of a session of the table's type.
        unsafe { self.0.own_session() }
    }

    pub(crate) fn member(&self) -> Member<'g, T> {
        self.0
    }
}

impl<T: Payload> Table<T> {
    /// The session under `key`, if one look at the key's bucket finds it, its header is plain and `admit` agrees.
    /// Otherwise [`find`](Self::find) knows more, unless it is absent.
    #[inline(always)]
    pub(crate) fn glance<'g>(
        &self,
        hash: Hash,
        key: &SessionKey,
        admit: impl FnOnce(&Session<T>) -> bool,
        guard: &'g Guard,
    ) -> Glance<'g, T> {
        let plain = |entry: Entry<'g>| entry.header().is_plain() && entry.header().matches(key);
        match self.raw.glance(hash, plain, guard) {
            find::Glance::Entry(seen) => {
                let found = Plain(Member::of(seen));
                if admit(found.session()) { Glance::Plain(found) } else { Glance::Unclear }
            }
            find::Glance::Absent => Glance::Absent(hash),
            find::Glance::Unclear => Glance::Unclear,
        }
    }
}
