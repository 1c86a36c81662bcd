//! Hints: where a membership was seen, as a number that keeps nothing alive and is never taken for an address.

use super::bucket::{Line, MAX_LINES, SLOTS};
use super::raw::{RawTable, Seen};
use super::slot::SlotWord;
use crate::epoch::Guard;
use std::num::NonZeroU64;

/// The lowest bits of a hint tell the membership from others that have its slot at other times, the next ones name the slot
/// among those of all lines of the bucket and the highest the bucket. If a table ever had more buckets than that leaves
/// room for, hints at the last of them would lead nowhere.
const PRINT_BITS: u32 = 24;
const SLOT_BITS: u32 = 5;

const _: () = assert!(MAX_LINES * SLOTS <= 1 << SLOT_BITS);

/// The line of a bucket that has so many before it.
fn line(root: &Line, number: usize) -> Option<&Line> {
    (0..number).try_fold(root, |line, _| line.next())
}

impl RawTable {
    /// A hint at what was seen; `None` if it is in an array that is not the root.
    ///
    /// Entries of overflow lines have hints as others do: those without would be evicted less often, and buckets that have
    /// many would get more.
    pub(super) fn hint(&self, seen: Seen<'_>, guard: &Guard) -> Option<NonZeroU64> {
        let bucket = self.array(guard).index_of_root(seen.root)?;
        let place = |number| {
            let slots = line(seen.root, number)?.slots();
            slots.iter().position(|slot| std::ptr::eq(slot, seen.slot)).map(|slot| number * SLOTS + slot)
        };
        let slot = (0..MAX_LINES).find_map(place)?;
        NonZeroU64::new(
            (bucket as u64) << (SLOT_BITS + PRINT_BITS) | (slot as u64) << PRINT_BITS | print(seen),
        )
    }

    /// The membership that a hint was made for. One that has ended, and one that has moved to another array, is not found.
    #[inline]
    pub(super) fn follow<'g>(&self, hint: NonZeroU64, guard: &'g Guard) -> Option<Seen<'g>> {
        let array = self.array(guard);
        let bucket = (hint.get() >> (SLOT_BITS + PRINT_BITS)) as usize;
        if bucket >= array.count() {
            return None;
        }
        let root = array.root(bucket);
        let slot = (hint.get() >> PRINT_BITS) as usize % (1 << SLOT_BITS);
        let slot = &line(root, slot / SLOTS)?.slots()[slot % SLOTS];
        let word = SlotWord::read(slot);
        if !word.is_live() {
            return None;
        }
        // SAFETY: the word is live and was read from this bucket's slot under the guard.
        let seen = unsafe { Seen::new(root, slot, word) };
        (print(seen) == hint.get() % (1 << PRINT_BITS)).then_some(seen)
    }
}

/// A few bits of what only one membership of a slot has: its tag, its address and how many left the slot before it. Never 0,
/// as no hint is.
#[inline]
fn print(seen: Seen<'_>) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let all = seen.word.0.addr() as u64 ^ u64::from(seen.entry().header().seq()).rotate_right(16);
    all.wrapping_mul(ODD) >> (u64::BITS - PRINT_BITS) | 1
}

#[cfg(all(test, not(resumption_loom)))]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::epoch;
    use crate::session::{Membership, ProtocolVersion, Session, SessionId, SessionKey};
    use crate::table::{Insertion, Table};
    use ahash::RandomState;
    use std::sync::Arc;

    fn table() -> Table<u32> {
        Table::new(5, RandomState::with_seeds(1, 2, 3, 4)).expect("a small table")
    }

    fn session(n: u32) -> Arc<Session<u32>> {
        let id = SessionId::new(&n.to_be_bytes()).expect("4 bytes");
        Arc::new(Session::<u32>::builder(SessionKey::new(ProtocolVersion::TLS1_2, id)).build(n))
    }

    fn add(table: &Table<u32>, session: &Arc<Session<u32>>, guard: &Guard) {
        let terms = Membership { expiry: Timestamp::NEVER, external: false, fetched: false };
        let attempt =
            table.prepare(Arc::clone(session), terms).expect("an address of the system's allocator");
        let added = table.insert(table.hash(&session.id()), attempt, || true, guard);
        assert!(matches!(added, Insertion::Added(_) | Insertion::Replaced(..)));
    }

    fn remove(table: &Table<u32>, session: &Session<u32>, guard: &Guard) {
        let removed =
            table.unlink_key(table.hash(&session.id()), &session.key(), |_| Ok::<(), ()>(()), guard);
        assert!(matches!(removed, Ok(Ok(_))));
    }

    /// Hints at all sessions, with their numbers.
    fn hints(table: &Table<u32>, guard: &Guard) -> Vec<(u32, NonZeroU64)> {
        let mut hints = Vec::new();
        let buckets = table.buckets(guard);
        (0..buckets).for_each(|bucket| {
            table.visit(bucket, buckets, guard, |member| {
                hints.extend(table.hint(member, guard).map(|hint| (*member.session().payload(), hint)));
            });
        });
        hints
    }

    fn followed(table: &Table<u32>, hint: NonZeroU64, guard: &Guard) -> Option<u32> {
        table.follow(hint, guard).map(|member| *member.session().payload())
    }

    #[test]
    fn a_hint_leads_to_its_session_as_long_as_that_is_there() {
        let (table, guard) = (table(), epoch::pin());
        let sessions: Vec<_> = (0..40).map(session).collect();
        sessions.iter().for_each(|session| add(&table, session, &guard));
        let hints = hints(&table, &guard);
        // Of 40 sessions in 5 buckets those beyond the sixth of a bucket are in overflow lines.
        assert_eq!(hints.len(), 40);
        for &(n, hint) in &hints {
            assert_eq!(followed(&table, hint, &guard), Some(n));
            remove(&table, &sessions[n as usize], &guard);
            assert_eq!(followed(&table, hint, &guard), None);
        }
    }

    #[test]
    fn a_hint_does_not_lead_to_who_came_later() {
        let table = table();
        let old = session(1);
        add(&table, &old, &epoch::pin());
        let [(1, hint)] = hints(&table, &epoch::pin())[..] else { panic!("one session") };
        // The very session, with its address, key and slot, again; once its header is free to serve the new membership.
        remove(&table, &old, &epoch::pin());
        while Arc::strong_count(&old) > 1 {
            epoch::idle();
        }
        add(&table, &old, &epoch::pin());
        let guard = epoch::pin();
        let [(1, again)] = hints(&table, &guard)[..] else { panic!("one session") };
        assert_eq!(hint.get() >> PRINT_BITS, again.get() >> PRINT_BITS, "another slot: this shows nothing");
        assert_eq!((followed(&table, hint, &guard), followed(&table, again, &guard)), (None, Some(1)));
        // Another one in place of it.
        let young = session(1);
        add(&table, &young, &guard);
        assert_eq!(followed(&table, again, &guard), None);
    }

    #[test]
    fn a_hint_at_what_has_moved_leads_nowhere() {
        let (table, guard) = (table(), epoch::pin());
        (0..20).for_each(|n| add(&table, &session(n), &guard));
        let before = hints(&table, &guard);
        while table.buckets(&guard) == 5 {
            table.grow(1_000, &guard);
        }
        for (n, hint) in before {
            assert!(followed(&table, hint, &guard).is_none_or(|found| found == n));
        }
        assert!(hints(&table, &guard).iter().all(|&(n, hint)| followed(&table, hint, &guard) == Some(n)));
    }

    #[test]
    fn any_number_will_do() {
        let (table, guard) = (table(), epoch::pin());
        (0..20).for_each(|n| add(&table, &session(n), &guard));
        let mut rng = fastrand::Rng::with_seed(7);
        for number in (0..100_000).map(|i| rng.u64(..) >> (i % 64)).chain([1, u64::MAX]) {
            let _ = NonZeroU64::new(number).and_then(|hint| table.follow(hint, &guard));
        }
    }
}
