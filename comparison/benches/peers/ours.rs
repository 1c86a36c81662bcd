//! The engine, as its user may drive it.

use crate::load::{Item, NOW};
use crate::worker::{PAYLOAD, Payload, Shared, Wanted, Worker};
use resumption::{Guard, ManualClock, SessionContext, SessionKey, Tick, Timestamp, pin};
use std::marker::PhantomData;
use std::time::Duration;

/// The engine and its clock.
pub(crate) struct Ours {
    context: SessionContext<Payload>,
    clock: ManualClock,
}

impl Ours {
    pub(crate) fn new(capacity: usize) -> Self {
        let clock = ManualClock::new(NOW);
        let context = SessionContext::builder().capacity(capacity).clock(clock.clone()).build();
        Self { context: context.expect("memory"), clock }
    }

    /// Adds sessions and visits each until its mark is as high as marks go, as use does: from then on hits write nothing.
    pub(crate) fn fill(&self, items: &[Item]) {
        EachPin::of(self).worker().fill(items);
        assert_eq!(self.context.len(), items.len());
        let wanted = Wanted::new();
        let guard = pin();
        for _ in 0..3 {
            self.context.for_each(&guard, |session| {
                let found = self.context.lookup_at(&session.key(), &wanted.policy, wanted.now, &guard);
                assert!(found.is_some(), "a live session");
            });
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.context.len()
    }

    /// Lets the clock say `now`.
    pub(crate) fn set_time(&self, now: Timestamp) {
        self.clock.set(now);
    }

    /// Removes what has expired.
    pub(crate) fn expire(&self) {
        while self.context.tick() == Tick::More {}
    }

    #[inline]
    fn find(&self, key: &SessionKey, wanted: &Wanted, guard: &Guard) -> u64 {
        let found = self.context.lookup_at(key, &wanted.policy, wanted.now, guard);
        found.map_or(0, |session| u64::from(session.payload()[0]))
    }

    /// Several lookups at once.
    #[inline]
    fn find_batch(&self, keys: &[SessionKey], wanted: &Wanted, guard: &Guard) -> u64 {
        let mut sum = 0;
        self.context.lookup_many_at(keys, &wanted.policy, wanted.now, guard, |_, found| {
            sum += found.map_or(0, |session| u64::from(session.payload()[0]));
        });
        sum
    }
}

/// Under which guard lookups are made.
pub(crate) trait Hold: 'static {
    /// How many lookups are made at once.
    const BATCH: usize = 1;

    fn begin() -> Self;

    fn with<R>(&mut self, lookup: impl FnOnce(&Guard) -> R) -> R;

    /// The engine, driven this way.
    fn of(ours: &Ours) -> Through<'_, Self>
    where
        Self: Sized,
    {
        Through(ours, PhantomData)
    }
}

/// A guard for each lookup.
pub(crate) struct EachPin;

impl Hold for EachPin {
    fn begin() -> Self {
        drop(pin()); // the thread registers
        Self
    }

    #[inline]
    fn with<R>(&mut self, lookup: impl FnOnce(&Guard) -> R) -> R {
        lookup(&pin())
    }
}

/// One guard for all lookups.
pub(crate) struct OneGuard(Guard);

impl Hold for OneGuard {
    fn begin() -> Self {
        Self(pin())
    }

    #[inline]
    fn with<R>(&mut self, lookup: impl FnOnce(&Guard) -> R) -> R {
        lookup(&self.0)
    }
}

/// One guard, which lets reclamation pass before each lookup.
pub(crate) struct Repin(Guard);

impl Hold for Repin {
    fn begin() -> Self {
        Self(pin())
    }

    #[inline]
    fn with<R>(&mut self, lookup: impl FnOnce(&Guard) -> R) -> R {
        self.0.repin();
        lookup(&self.0)
    }
}

/// Batches of sixteen, with a guard for each batch.
pub(crate) struct Batches;

impl Hold for Batches {
    const BATCH: usize = 16;

    fn begin() -> Self {
        drop(pin());
        Self
    }

    #[inline]
    fn with<R>(&mut self, lookup: impl FnOnce(&Guard) -> R) -> R {
        lookup(&pin())
    }
}

/// The engine, driven in one of these ways.
pub(crate) struct Through<'o, H>(&'o Ours, PhantomData<fn() -> H>);

pub(crate) struct OursWorker<'o, H> {
    ours: &'o Ours,
    wanted: Wanted,
    hold: H,
}

impl<H: Hold> Shared for Through<'_, H> {
    type Worker<'a>
        = OursWorker<'a, H>
    where
        Self: 'a;

    fn worker(&self) -> OursWorker<'_, H> {
        OursWorker { ours: self.0, wanted: Wanted::new(), hold: H::begin() }
    }
}

impl<H: Hold> Worker for OursWorker<'_, H> {
    #[inline]
    fn find(&mut self, key: &SessionKey) -> u64 {
        self.hold.with(|guard| self.ours.find(key, &self.wanted, guard))
    }

    #[inline]
    fn find_all(&mut self, keys: &[SessionKey]) -> u64 {
        if H::BATCH == 1 {
            return keys.iter().map(|key| self.find(key)).sum();
        }
        let batch = |batch| self.hold.with(|guard| self.ours.find_batch(batch, &self.wanted, guard));
        keys.chunks(H::BATCH).map(batch).sum()
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        let lifetime = Duration::from_secs(expiry.as_unix() - NOW.as_unix());
        let builder = self.ours.context.session(item.key).time(NOW).timeout(lifetime);
        let session = builder.id_context(self.wanted.policy).build(PAYLOAD);
        assert!(self.ours.context.add_new(session).is_ok(), "it fits");
    }

    fn take(&mut self, item: &Item) -> u64 {
        let take = |guard: &Guard| {
            let taken = self.ours.context.take_borrowed(&item.key, &self.wanted.policy, guard);
            taken.map_or(0, |session| u64::from(session.payload()[0]))
        };
        self.hold.with(take)
    }
}
