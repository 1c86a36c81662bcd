//! The short way of a lookup: one look at the key's bucket, which nearly always tells. Meant to be inlined whole.

use super::find;
use super::raw::Hash;
use super::slot::SlotWord;
use super::table::{Member, Table};
use super::vector;
use crate::epoch::Guard;
use crate::session::{Header, Payload, Session, SessionIdContext, SessionKey};
use crate::sync::{Ordering, prefetch};

/// What one look at a bucket says.
pub(crate) enum Glance<'g, T> {
    /// This session has the key, and was admitted.
    Plain(Plain<'g, T>),
    /// No session has the key, under whatever version.
    Absent,
    /// A closer look is needed.
    Unclear,
}

/// A member of the table whose header is [plain](Header::is_plain), so that it is the session's own.
pub(crate) struct Plain<'g, T> {
    session: &'g Session<T>,
    member: Member<'g, T>,
}

impl<'g, T: Payload> Plain<'g, T> {
    #[inline(always)]
    pub(crate) fn session(&self) -> &'g Session<T> {
        self.session
    }

    pub(crate) fn member(&self) -> Member<'g, T> {
        self.member
    }
}

impl<T: Payload> Table<T> {
    /// The session under `key` and of `context`, if one look at the key's bucket finds it, its header is plain and `admit`
    /// agrees. Otherwise [`find`](Self::find) knows more, unless it is absent.
    #[inline(always)]
    pub(crate) fn glance<'g>(
        &self,
        hash: Hash,
        key: &SessionKey,
        context: &SessionIdContext,
        admit: impl FnOnce(&Header) -> bool,
        guard: &'g Guard,
    ) -> Glance<'g, T> {
        let admit = |header: &Header| {
            header.is_plain()
                && header.is_of_kind(key)
                && header.context().stored_len() == context.stored_len()
                && vector::both_equal(
                    (header.padded_id(), key.id().padded()),
                    (header.context().padded(), context.padded()),
                )
                && admit(header)
        };
        match self.raw.glance(hash, |entry| admit(entry.header()), guard) {
            find::Glance::Entry(entry, seen) => {
                // SAFETY: a plain header is no forwarding entry's, so it is the first field of a session of this type, and
                // the pointer has the provenance of the whole.
                let session = unsafe { entry.pointer().cast::<Session<T>>().as_ref() };
                Glance::Plain(Plain { session, member: Member::of(seen) })
            }
            find::Glance::Absent => Glance::Absent,
            find::Glance::Unclear => Glance::Unclear,
        }
    }

    /// Whether the table's [filter](super::filter) says that no entry has this hash.
    #[inline(always)]
    pub(crate) fn is_absent(&self, hash: Hash, guard: &Guard) -> bool {
        self.raw.is_absent(hash, guard)
    }

    /// Whether the table has a filter.
    #[inline]
    pub(crate) fn has_filter(&self, guard: &Guard) -> bool {
        self.raw.array(guard).has_filter()
    }

    /// Asks for the filter's word for `hash`.
    pub(crate) fn prefetch_cell(&self, hash: Hash, guard: &Guard) {
        if let Some(cell) = self.raw.array(guard).cell_of(hash.0) {
            prefetch(cell.place());
        }
    }

    /// Asks for the line of the bucket of `hash`.
    #[inline(always)]
    pub(crate) fn prefetch_bucket(&self, hash: Hash, guard: &Guard) {
        prefetch(self.raw.array(guard).root_of(hash.0));
    }

    /// Asks for what a lookup reads of the first entry whose tag fits, in the line of the bucket. Follows nothing.
    #[inline(always)]
    pub(crate) fn prefetch_session(&self, hash: Hash, guard: &Guard) {
        let root = self.raw.array(guard).root_of(hash.0);
        let candidates = root.candidates(hash.tag());
        if candidates != 0 {
            let word = SlotWord(root.candidate(candidates).load(Ordering::Relaxed));
            if let Some(entry) = word.entry_tagged(hash.tag()) {
                // In two lines, or in one, which is then asked for twice.
                prefetch(entry.as_ptr().wrapping_byte_add(Header::READ_FIRST));
                prefetch(entry.as_ptr().wrapping_byte_add(Header::READ_LAST));
            }
        }
    }
}
