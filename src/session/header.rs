//! The entry header: everything a lookup reads, and everything the table keeps per membership.

use super::{ProtocolVersion, SessionId, SessionIdContext, SessionKey};
use crate::clock::Timestamp;
use crate::sync::{AtomicPtr, AtomicU8, AtomicU16, AtomicU32, Ordering};
use std::mem;

/// The header of an entry. It is the first field of a [`Session`](super::Session), in the session's own allocation, so
/// that a hit reads the bucket and this, and nothing else.
///
/// A header serves one membership of one table at a time: [`claim`](Self::claim) takes it, unless the session is known to be
/// in no table, and [`release`](Self::release) gives it back after the grace period. A session that is added while its own
/// header is taken is represented by a forwarding entry, which has a header of its own.
///
/// | field | written by | when |
/// |---|---|---|
/// | id, version, `context`, `timeout`, `weight` | the builder | before the session is shared |
/// | `slot`, `seq`, `control`, `tag` | the owner of the claim | before the entry is announced; then never (rule R4) |
/// | `expiry`, `mark`, `flags` | anyone | any time, relaxed: each is a value of its own |
#[repr(C, align(8))]
pub(crate) struct Header {
    slot: AtomicPtr<AtomicPtr<Header>>,
    control: AtomicU32,
    seq: AtomicU32,
    // What a hit reads begins here...
    expiry: AtomicU32,
    id_len: u16,
    version: u16,
    tag: AtomicU16,
    membership: AtomicU8,
    flags: AtomicU8,
    mark: AtomicU8,
    context: SessionIdContext,
    id: [u8; SessionId::MAX_LEN],
    // ... and ends here.
    weight: u32,
    timeout: u32,
}

#[cfg(not(resumption_loom))]
const _: () = {
    // An Arc puts a header 16, 32, 48 or 64 bytes into a line. Wherever, what a hit reads lies in two.
    assert!(Header::READ_FIRST >= 16 && Header::READ_LAST < 96);
    assert!(size_of::<Header>() == 104);
};

/// The terms of a membership.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    /// When it expires.
    pub(crate) expiry: Timestamp,
    /// Whether an external store may hold a copy of the session.
    pub(crate) external: bool,
    /// Whether a lookup brought the session in from outside. Lookups pass over it until it is
    /// [confirmed](Header::confirm).
    pub(crate) fetched: bool,
}

/// Bits of `flags`. The first and the third belong to the membership, the second to the session.
const FORWARD: u8 = 1;
const NOT_RESUMABLE: u8 = 2;
const UNCONFIRMED: u8 = 8;
const OFFERED: u8 = 4;
const TAKEN: u8 = 128;

/// Bits of `membership`.
const CLAIMED: u8 = 1;
const EXTERNAL: u8 = 2;
const FETCHED: u8 = 8;

impl Header {
    /// The highest mark. A hit raises the mark until it is reached and writes nothing from then on.
    pub(crate) const MARK_MAX: u8 = 3;

    /// The offsets of the first and the last byte that a hit reads.
    pub(crate) const READ_FIRST: usize = mem::offset_of!(Header, expiry);
    pub(crate) const READ_LAST: usize = mem::offset_of!(Header, weight) - 1;

    /// The header of a session with these values, in no table yet.
    pub(crate) fn new(
        key: &SessionKey,
        context: SessionIdContext,
        expiry: Timestamp,
        timeout: u32,
        weight: u32,
    ) -> Self {
        Self {
            context,
            timeout,
            expiry: AtomicU32::new(expiry.ticks()),
            version: key.version().0,
            id_len: key.id().len,
            mark: AtomicU8::new(0),
            id: key.id().bytes,
            flags: AtomicU8::new(0),
            membership: AtomicU8::new(0),
            tag: AtomicU16::new(0),
            seq: AtomicU32::new(0),
            slot: AtomicPtr::new(std::ptr::null_mut()),
            control: AtomicU32::new(0),
            weight,
        }
    }

    /// The header of a forwarding entry that stands for the session of `target`. It is born claimed.
    pub(crate) fn forwarding(target: &Header) -> Self {
        let key = target.key();
        let header = Self::new(&key, target.context, target.expires_at(), target.timeout, target.weight);
        header.flags.store(FORWARD, Ordering::Relaxed);
        header.membership.store(CLAIMED, Ordering::Relaxed);
        header
    }

    #[inline]
    pub(crate) fn key(&self) -> SessionKey {
        SessionKey::new(ProtocolVersion(self.version), SessionId { bytes: self.id, len: self.id_len })
    }

    pub(crate) fn id(&self) -> SessionId {
        SessionId { bytes: self.id, len: self.id_len }
    }

    pub(crate) fn version(&self) -> ProtocolVersion {
        ProtocolVersion(self.version)
    }

    /// Whether the whole id and the version are `key`'s.
    #[inline]
    pub(crate) fn matches(&self, key: &SessionKey) -> bool {
        self.is_of_kind(key) && self.id == *key.id().padded()
    }

    /// Whether version and length of the id are `key`'s. The two are neighbours, here as in the key, so that the compiler
    /// compares one word.
    #[inline(always)]
    pub(crate) fn is_of_kind(&self, key: &SessionKey) -> bool {
        let kind = |id_len: u16, version: u16| u32::from(id_len) | u32::from(version) << 16;
        kind(self.id_len, self.version) == kind(key.id().len, key.version().0)
    }

    /// The id, padded to its full width.
    #[inline]
    pub(crate) fn padded_id(&self) -> &[u8; SessionId::MAX_LEN] {
        &self.id
    }

    /// Whether the whole id is `id`, under whatever version.
    #[inline]
    pub(crate) fn has_id(&self, id: &SessionId) -> bool {
        self.id == *id.padded() && self.id_len == id.len
    }

    /// The session id context.
    #[inline]
    pub(crate) fn context(&self) -> &SessionIdContext {
        &self.context
    }

    /// The session's timeout in seconds.
    #[inline]
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout
    }

    /// Bytes of the session this header stands for, payload included.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// When this membership expires.
    #[inline]
    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_ticks(self.expiry.load(Ordering::Relaxed))
    }

    /// Renews this membership until `expiry`, unless it lives longer already: a clock that was set back shortens no life.
    /// Writes only what changes the second, so that hits within one second share the line.
    #[inline]
    pub(crate) fn renew(&self, expiry: Timestamp) {
        if self.expires_at() < expiry {
            self.expiry.fetch_max(expiry.ticks(), Ordering::Relaxed);
        }
    }

    /// How often this entry was hit lately, 0 to [`MARK_MAX`](Self::MARK_MAX).
    #[inline]
    pub(crate) fn mark(&self) -> u8 {
        self.mark.load(Ordering::Relaxed)
    }

    /// Raises the mark, unless it is at its highest: then nothing is written. Two raises at once may count as one.
    #[inline]
    pub(crate) fn raise_mark(&self) {
        let mark = self.mark();
        if mark < Self::MARK_MAX {
            self.mark.store(mark + 1, Ordering::Relaxed);
        }
    }

    /// Lowers the mark by one: the eviction hand passed over this entry.
    pub(crate) fn age(&self) {
        let mark = self.mark();
        if mark > 0 {
            self.mark.store(mark - 1, Ordering::Relaxed);
        }
    }

    /// Whether this header is a forwarding entry's.
    #[inline]
    pub(crate) fn is_forward(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & FORWARD != 0
    }

    /// Whether this is a session's own header, and the session is neither hidden nor marked not resumable.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & (FORWARD | NOT_RESUMABLE | UNCONFIRMED) == 0
    }

    /// Whether the session was marked not resumable. Meaningful on a session's own header only.
    #[inline]
    pub(crate) fn is_marked_not_resumable(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & NOT_RESUMABLE != 0
    }

    /// Marks the session not resumable because it was taken; `true` for the first to do so. A session may be in several
    /// contexts, and be removed from one while it is taken from another: the mark alone would not say who was first.
    pub(crate) fn mark_taken(&self) -> bool {
        self.flags.fetch_or(TAKEN | NOT_RESUMABLE, Ordering::Relaxed) & TAKEN == 0
    }

    pub(crate) fn mark_not_resumable(&self) {
        if !self.is_marked_not_resumable() {
            self.flags.fetch_or(NOT_RESUMABLE, Ordering::Relaxed);
        }
    }

    /// Claims the session for the one connection that may offer it at a time; `false` when another one does.
    pub(crate) fn claim_offer(&self) -> bool {
        self.flags.fetch_or(OFFERED, Ordering::Relaxed) & OFFERED == 0
    }

    /// The connection that claimed the session offers it no more.
    pub(crate) fn release_offer(&self) {
        self.flags.fetch_and(!OFFERED, Ordering::Relaxed);
    }

    /// Takes this header for a membership; `false` when another one has it.
    pub(crate) fn claim(&self) -> bool {
        // Acquire: pairs with the Release in `release`, so that the last membership's writes are over.
        self.membership.compare_exchange(0, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Gives the header back. Only for the owner of the claim, once nobody can reach it through the table.
    pub(crate) fn release(&self) {
        // Release: pairs with the Acquire in `claim`.
        self.membership.store(0, Ordering::Release);
    }

    /// Prepares a header for its membership. Only for who has claimed it, or owns the session.
    pub(crate) fn begin_membership(&self, terms: Membership) {
        self.expiry.store(terms.expiry.ticks(), Ordering::Relaxed);
        self.mark.store(0, Ordering::Relaxed);
        let external = if terms.external { EXTERNAL } else { 0 };
        let fetched = if terms.fetched { FETCHED } else { 0 };
        self.membership.store(CLAIMED | external | fetched, Ordering::Relaxed);
        if terms.fetched {
            self.flags.fetch_or(UNCONFIRMED, Ordering::Relaxed);
        } else {
            self.confirm();
        }
    }

    /// Makes a membership that a lookup has begun one that was asked for.
    pub(crate) fn adopt(&self) {
        if self.is_fetched() {
            self.membership.fetch_and(!FETCHED, Ordering::Relaxed);
            self.confirm();
        }
    }

    /// Shows a hidden entry, if it was hidden.
    pub(crate) fn confirm(&self) {
        if self.is_hidden() {
            self.flags.fetch_and(!UNCONFIRMED, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn is_hidden(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & UNCONFIRMED != 0
    }

    /// An external store may hold a copy of this session from now on.
    pub(crate) fn set_external(&self) {
        self.membership.fetch_or(EXTERNAL, Ordering::Relaxed);
    }

    /// Whether a lookup brought the session in from outside.
    pub(crate) fn is_fetched(&self) -> bool {
        self.membership.load(Ordering::Relaxed) & FETCHED != 0
    }

    /// Whether an external store may hold a copy of this session.
    pub(crate) fn is_external(&self) -> bool {
        self.membership.load(Ordering::Relaxed) & EXTERNAL != 0
    }

    /// The external store declined its copy.
    pub(crate) fn clear_external(&self) {
        self.membership.fetch_and(!EXTERNAL, Ordering::Relaxed);
    }

    /// Where the entry goes: the slot, the sequence number the slot must have when empty, and the control word's
    /// version once the entry is in. Written while the entry is private; the announcement publishes it.
    pub(crate) fn set_place(&self, slot: *mut AtomicPtr<Header>, seq: u32, control: u32, tag: u16) {
        self.slot.store(slot, Ordering::Relaxed);
        self.seq.store(seq, Ordering::Relaxed);
        self.control.store(control, Ordering::Relaxed);
        self.tag.store(tag, Ordering::Relaxed);
    }

    pub(crate) fn slot(&self) -> *mut AtomicPtr<Header> {
        self.slot.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn seq(&self) -> u32 {
        self.seq.load(Ordering::Relaxed)
    }

    pub(crate) fn control(&self) -> u32 {
        self.control.load(Ordering::Relaxed)
    }

    pub(crate) fn tag(&self) -> u16 {
        self.tag.load(Ordering::Relaxed)
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        self.id = [0; SessionId::MAX_LEN];
        self.id_len = 0;
        self.context = SessionIdContext::EMPTY;
        // By words, not by bytes; and not left out, although nobody reads it again.
        zeroize::optimization_barrier(self);
    }
}
