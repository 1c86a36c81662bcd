//! Eviction: the hand over the table.

use super::Cache;
use super::departures::{Departures, RemoveReason};
use super::recent::Left;
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::eviction::{Rank, Window};
use crate::session::{Header, Payload};
use crate::table::{Hash, Member, Walk};

impl<T: Payload> Cache<T> {
    /// Evicts one session and returns its weight, its room still being reserved; `None` when there was nothing to evict.
    pub(super) fn evict(
        &self,
        keep: Option<&Header>,
        now: Timestamp,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Option<u32> {
        let remembered = self.evict_remembered(keep, now, departures, guard);
        remembered.or_else(|| self.evict_in_window(keep, now, departures, guard))
    }

    /// Evicts the first of those that the hand remembers from its last window, if one of them is there still and was not
    /// used since.
    fn evict_remembered(
        &self,
        keep: Option<&Header>,
        now: Timestamp,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Option<u32> {
        while let Some(hint) = self.hands.recall(guard.thread()) {
            let Some(member) = self.table.follow(hint, guard) else { continue };
            let rank = rank_of(member, now);
            if rank.ages_window() || is_kept(member, keep) {
                continue;
            }
            if let Some(weight) = self.evict_member(rank, member, departures, guard) {
                return Some(weight);
            }
        }
        None
    }

    /// Evicts the first in the next window of the hand, and lets the hand remember who goes next.
    fn evict_in_window<'g>(
        &self,
        keep: Option<&Header>,
        now: Timestamp,
        departures: &mut Departures<T>,
        guard: &'g Guard,
    ) -> Option<u32> {
        loop {
            let hand = self.hands.position(guard.thread());
            let mut window = Window::new();
            let look_at = |window: &mut Window<Member<'g, T>>, member| {
                window.look_at(rank_of(member, now), member, || is_kept(member, keep));
            };
            let walk = self.table.walk(hand, guard, &mut window, look_at, Window::is_open);
            // The table may have grown since the last turn; these are the buckets of this one.
            let Walk { from, width, buckets } = walk;
            let victim = window.victim();
            let ages = victim.is_none_or(|(rank, _)| rank.ages_window());
            // Of entries that expire together the first go. A bucket of many is the last of its window more often than others,
            // so it would keep its entries and grow; it is the first of the next. (Round a whole table the hand goes back by one.)
            let on = if ages || width == 1 { width } else { width - 1 };
            self.hands.set_position(guard.thread(), (from + on) % buckets);
            let Some((rank, victim)) = victim else {
                if width == buckets {
                    return None;
                }
                continue;
            };
            if ages {
                self.age(walk, guard);
            }
            // A window over the whole table is small, and the next one knows who has come since.
            if width < buckets {
                let hints = window.next_victims().filter_map(|member| self.table.hint(member, guard));
                self.hands.remember(guard.thread(), hints);
            }
            // If the victim went by itself, somebody else got on.
            if let Some(weight) = self.evict_member(rank, victim, departures, guard) {
                return Some(weight);
            }
        }
    }

    /// Lowers the marks in the window of a walk.
    fn age(&self, Walk { from, width, buckets }: Walk, guard: &Guard) {
        for bucket in from..from + width {
            self.table.visit(bucket % buckets, buckets, guard, |member| member.header().age());
        }
    }

    /// Evicts one session of the bucket of `hash` and returns its weight.
    pub(super) fn evict_in_bucket(
        &self,
        hash: Hash,
        now: Timestamp,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Option<u32> {
        let mut window = Window::new();
        self.table.visit_hashes(hash, hash, guard, |member| {
            window.look_at(rank_of(member, now), member, || false);
        });
        let (rank, victim) = window.victim()?;
        self.evict_member(rank, victim, departures, guard)
    }

    fn evict_member(
        &self,
        rank: Rank,
        victim: Member<'_, T>,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> Option<u32> {
        let evicted = self.table.unlink(victim, guard)?;
        let (left, reason) = if rank.is_expired() {
            (Left::Expired, RemoveReason::Expired)
        } else {
            (Left::Evicted, RemoveReason::Evicted)
        };
        self.recent.remember(self.table.hash(&evicted.session().id()), left);
        if reason.marks() {
            evicted.session().mark_not_resumable();
        }
        departures.count_evicted();
        departures.push(reason, || evicted.to_arc());
        Some(evicted.header().weight())
    }
}

/// How soon this one goes.
#[inline]
fn rank_of<T: Payload>(member: Member<'_, T>, now: Timestamp) -> Rank {
    Rank::new(member.header().mark(), member.header().expires_at(), now)
}

/// Whether this is the one that may not go.
#[inline]
fn is_kept<T: Payload>(member: Member<'_, T>, keep: Option<&Header>) -> bool {
    keep.is_some_and(|keep| member.is(keep))
}

#[cfg(all(test, not(resumption_loom)))]
mod tests {
    use super::*;
    use crate::cache::{CacheInsert, Terms};
    use crate::epoch;
    use crate::session::{Membership, ProtocolVersion, Session, SessionId, SessionKey};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_unix(1_000);

    /// A full cache of `n` sessions that nobody has used.
    fn full(n: u32, guard: &Guard) -> Cache<u32> {
        let cache = Cache::new(n as usize, None, NOW).expect("a small table");
        (0..n).for_each(|i| add(&cache, i, guard));
        cache
    }

    fn add(cache: &Cache<u32>, n: u32, guard: &Guard) {
        let id = SessionId::new(&n.to_be_bytes()).expect("4 bytes");
        let key = SessionKey::new(ProtocolVersion::TLS1_2, id);
        let membership = Membership { expiry: Timestamp::from_unix(2_000), external: false, fetched: false };
        let terms = Terms { membership, now: NOW };
        let session = Arc::new(Session::<u32>::builder(key).build(n));
        let attempt = cache.prepare(session, terms).expect("an address of the system's allocator");
        let added = cache.insert(attempt, cache.hash_of(&key), terms, &mut Departures::new(false), guard);
        assert!(matches!(added, CacheInsert::Added));
    }

    fn held(cache: &Cache<u32>, guard: &Guard) -> BTreeSet<u32> {
        let (mut held, parts) = (BTreeSet::new(), cache.parts(guard));
        (0..parts)
            .for_each(|i| cache.visit((i, parts), guard, |session| _ = held.insert(*session.payload())));
        held
    }

    /// Those that the hand has in mind.
    fn remembered<'g>(cache: &Cache<u32>, guard: &'g Guard) -> Vec<Member<'g, u32>> {
        let hints: Vec<_> = std::iter::from_fn(|| cache.hands.recall(guard.thread())).collect();
        cache.hands.remember(guard.thread(), hints.iter().copied());
        hints.into_iter().filter_map(|hint| cache.table.follow(hint, guard)).collect()
    }

    fn number(member: Member<'_, u32>) -> u32 {
        *member.session().payload()
    }

    #[test]
    fn one_window_gives_several_victims_each_when_its_room_is_needed() {
        let guard = epoch::pin();
        let cache = full(500, &guard);
        add(&cache, 500, &guard);
        let hand = cache.hands.position(guard.thread());
        let next: Vec<u32> = remembered(&cache, &guard).into_iter().map(number).collect();
        assert!(next.len() > 1, "{next:?}");
        for (n, &victim) in (501..).zip(&next) {
            assert!(held(&cache, &guard).contains(&victim));
            add(&cache, n, &guard);
            assert!(!held(&cache, &guard).contains(&victim));
            assert_eq!((cache.len(), held(&cache, &guard).len()), (500, 500));
            assert_eq!(cache.hands.position(guard.thread()), hand);
        }
        add(&cache, 600, &guard);
        assert_ne!(cache.hands.position(guard.thread()), hand);
    }

    #[test]
    fn what_was_used_since_is_not_evicted() {
        let guard = epoch::pin();
        let cache = full(500, &guard);
        add(&cache, 500, &guard);
        let used = remembered(&cache, &guard);
        used.iter().for_each(|member| member.header().raise_mark());
        (501..520).for_each(|n| add(&cache, n, &guard));
        let held = held(&cache, &guard);
        assert!(used.into_iter().all(|member| held.contains(&number(member))));
    }

    #[test]
    fn what_has_left_is_passed_over() {
        let guard = epoch::pin();
        let cache = full(500, &guard);
        add(&cache, 500, &guard);
        let next = remembered(&cache, &guard);
        let (&last, others) = next.split_last().expect("several");
        for member in others {
            assert!(cache.remove(&member.session().key(), &guard).is_some());
        }
        (600..600 + others.len() as u32).for_each(|n| add(&cache, n, &guard));
        assert!(held(&cache, &guard).contains(&number(last)));
        add(&cache, 700, &guard);
        assert!(!held(&cache, &guard).contains(&number(last)));
        assert_eq!(cache.len(), 500);
    }

    #[test]
    fn who_may_not_go_is_not_evicted_on_a_hint_either() {
        let guard = epoch::pin();
        let cache = full(500, &guard);
        add(&cache, 500, &guard);
        let next = remembered(&cache, &guard);
        let evicted = cache.evict(Some(next[0].header()), NOW, &mut Departures::new(false), &guard);
        assert!(evicted.is_some());
        let held = held(&cache, &guard);
        assert!(held.contains(&number(next[0])) && !held.contains(&number(next[1])));
    }

    #[test]
    fn two_that_follow_one_hint_evict_one_each() {
        let guard = epoch::pin();
        let cache = full(500, &guard);
        add(&cache, 500, &guard);
        let member = remembered(&cache, &guard)[0];
        let rank = rank_of(member, NOW);
        let mut departures = Departures::new(false);
        assert!(cache.evict_member(rank, member, &mut departures, &guard).is_some());
        assert!(cache.evict_member(rank, member, &mut departures, &guard).is_none());
        assert!(cache.evict(None, NOW, &mut departures, &guard).is_some());
        assert_eq!((departures.evicted(), held(&cache, &guard).len()), (2, 498));
    }
}
