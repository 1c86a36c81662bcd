//! Time: whatever is added, taken, removed, renewed and flushed, with timeouts from a second to ten years and a clock that
//! jumps, the context holds what a `BTreeMap` by expiry holds, and tells of the same departures.

#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::{key, www};
use proptest::prelude::*;
use resumption::{
    Clock, ManualClock, RemoveReason, Session, SessionCacheMode, SessionContext, SessionKey, Tick, Timestamp,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const START: Timestamp = Timestamp::from_unix(1_700_000_000);
const TEN_YEARS: u64 = 10 * 365 * 86_400;

#[derive(Clone, Debug)]
enum Step {
    Add { n: u32, timeout: u64, end_of_life: Option<u64> },
    Lookup(u32),
    Take(u32),
    Remove(u32),
    Forwards(u64),
    Backwards(u64),
    Tick,
    FlushNow,
    FlushAt(u64),
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![1..10_u64, 1..300_u64, 1..7_200_u64, 1..86_400_u64, 1..TEN_YEARS]
}

fn step() -> impl Strategy<Value = Step> {
    let end_of_life = prop_oneof![3 => Just(None), 1 => span().prop_map(Some)];
    prop_oneof![
        6 => (0..40_u32, span(), end_of_life)
            .prop_map(|(n, timeout, end_of_life)| Step::Add { n, timeout, end_of_life }),
        4 => (0..40_u32).prop_map(Step::Lookup),
        2 => (0..40_u32).prop_map(Step::Take),
        1 => (0..40_u32).prop_map(Step::Remove),
        4 => span().prop_map(Step::Forwards),
        1 => prop_oneof![1..5_u64, 1..36_000_u64].prop_map(Step::Backwards),
        3 => Just(Step::Tick),
        1 => Just(Step::FlushNow),
        1 => span().prop_map(Step::FlushAt),
    ]
}

type Left = Vec<(u32, RemoveReason)>;

struct Pair {
    context: SessionContext<u32>,
    clock: ManualClock,
    told: Arc<Mutex<Left>>,
    // What the context should hold: the session, and when it expires here.
    model: BTreeMap<u32, (Arc<Session<u32>>, Timestamp)>,
    renews: bool,
}

impl Pair {
    fn new(renews: bool) -> Self {
        let (clock, told) = (ManualClock::new(START), Arc::new(Mutex::new(Left::new())));
        let log = Arc::clone(&told);
        let mode = if renews {
            SessionCacheMode::SERVER | SessionCacheMode::UPDATE_TIME
        } else {
            SessionCacheMode::SERVER
        };
        let context = SessionContext::builder()
            .capacity(0)
            .mode(mode)
            .clock(clock.clone())
            .on_remove(move |_, session, reason| log.lock().unwrap().push((*session.payload(), reason)))
            .build()
            .unwrap();
        Self { context, clock, told, model: BTreeMap::new(), renews }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Removes from the model what has expired at `now`; the context must have told of exactly that, in any order.
    fn expect_gone(&mut self, now: Timestamp, flushed_at: Option<Timestamp>) -> Result<(), TestCaseError> {
        let limit = flushed_at.unwrap_or(now);
        let mut expected = Left::new();
        self.model.retain(|n, (_, expiry)| {
            let stays = *expiry >= limit;
            if !stays {
                let reason = if now > *expiry { RemoveReason::Expired } else { RemoveReason::Flushed };
                expected.push((*n, reason));
            }
            stays
        });
        let mut told = std::mem::take(&mut *self.told.lock().unwrap());
        told.sort_unstable_by_key(|(n, _)| *n);
        prop_assert_eq!(told, expected);
        prop_assert_eq!(self.context.len(), self.model.len());
        Ok(())
    }

    /// Lets the upkeep catch up, and compares.
    fn tick(&mut self) -> Result<(), TestCaseError> {
        while self.context.tick() == Tick::More {}
        self.expect_gone(self.now(), None)
    }

    fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now = self.now();
        match *step {
            Step::Add { n, timeout, end_of_life } => {
                self.tick()?;
                let mut builder = self.context.session(key(n)).id_context(www());
                builder = builder.timeout(Duration::from_secs(timeout));
                if let Some(end) = end_of_life {
                    builder = builder.end_of_life(now.saturating_add(Duration::from_secs(end)));
                }
                let session = Arc::new(builder.build(n));
                self.context.add_session(Arc::clone(&session)).unwrap();
                let expiry = session.expires_at();
                self.model.insert(n, (session, expiry));
            }
            Step::Lookup(n) => {
                self.tick()?;
                let found = self.context.lookup_arc(&key(n), &www()).map(|session| *session.payload());
                prop_assert_eq!(found, self.model.contains_key(&n).then_some(n));
                if let Some((session, expiry)) = self.model.get_mut(&n).filter(|_| self.renews) {
                    let renewed = now.saturating_add(session.timeout()).min(session.end_of_life());
                    *expiry = renewed.max(*expiry);
                }
            }
            Step::Take(n) => {
                self.tick()?;
                let taken = self.context.take(&key(n), &www()).map(|session| *session.payload());
                prop_assert_eq!(taken, self.model.remove(&n).map(|_| n));
                self.told.lock().unwrap().clear();
            }
            Step::Remove(n) => {
                self.tick()?;
                if let Some((session, _)) = self.model.remove(&n) {
                    prop_assert!(self.context.remove_session(&session));
                    self.told.lock().unwrap().clear();
                }
            }
            Step::Forwards(by) => self.clock.advance(Duration::from_secs(by)),
            Step::Backwards(by) => self.clock.set(Timestamp::from_unix(now.as_unix() - by)),
            Step::Tick => self.tick()?,
            Step::FlushNow => {
                self.context.flush_sessions(now);
                self.expect_gone(now, None)?;
            }
            Step::FlushAt(ahead) => {
                self.tick()?;
                let at = now.saturating_add(Duration::from_secs(ahead));
                self.context.flush_sessions(at);
                self.expect_gone(now, Some(at))?;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_wheel_agrees_with_a_map_by_expiry(
        renews in any::<bool>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut pair = Pair::new(renews);
        for step in &steps {
            pair.apply(step)?;
        }
        pair.tick()?;
    }
}

/// A hundred thousand sessions with timeouts from a second to a day, a clock that jumps by hours in both directions:
/// nothing is served late, nothing is lost early, and no call does more than its share of the upkeep.
#[test]
fn mixed_timeouts_and_a_jumping_clock() {
    let clock = ManualClock::new(START);
    let left_in_one_call = Arc::new(Mutex::new(0_usize));
    let counted = Arc::clone(&left_in_one_call);
    let context = SessionContext::<u64>::builder()
        .capacity(0)
        .clock(clock.clone())
        .on_remove(move |_, _, _| *counted.lock().unwrap() += 1)
        .build()
        .unwrap();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut live: Vec<(SessionKey, Timestamp)> = Vec::new();
    let mut most = 0;
    for n in 0..100_000 {
        let timeout = Duration::from_secs(rng.u64(1..86_400));
        let session = context.session(key(n)).id_context(www()).timeout(timeout).build(u64::from(n));
        live.push((key(n), session.expires_at()));
        context.add_session(Arc::new(session)).unwrap();
        most = most.max(std::mem::take(&mut *left_in_one_call.lock().unwrap()));
        match rng.u32(0..2_000) {
            0 => clock.advance(Duration::from_secs(rng.u64(1..10_800))),
            1 => clock.set(Timestamp::from_unix(clock.now().as_unix() - rng.u64(1..7_200))),
            2..100 => clock.advance(Duration::from_secs(1)),
            _ => {}
        }
        let (probe, expiry) = &live[rng.usize(0..live.len())];
        let found = context.lookup_arc(probe, &www()).is_some();
        most = most.max(std::mem::take(&mut *left_in_one_call.lock().unwrap()));
        assert!(!found || clock.now() <= *expiry, "served late");
    }
    // An insert looks at 8 sessions that are due, and at the rest of the last bucket it was at.
    assert!(most <= 40, "one call removed {most} sessions");
    // The clock may have been ahead for a while: what was removed then was over then.
    let latest = live.iter().filter(|(key, _)| context.contains(key)).count();
    assert_eq!(latest, context.len());
    while context.tick() == Tick::More {}
    context.for_each(&context.pin(), |session| assert!(session.expires_at() >= clock.now(), "kept too long"));
}

/// What is not yet over stays, through any number of ticks.
#[test]
fn nothing_is_lost_early() {
    let clock = ManualClock::new(START);
    let context = SessionContext::<u32>::builder().capacity(0).clock(clock.clone()).build().unwrap();
    let timeouts = [1, 2, 63, 64, 65, 4_095, 4_096, 4_097, 262_143, 262_144, 262_145, 20_000_000];
    for (n, timeout) in (0..).zip(timeouts) {
        let builder = context.session(key(n)).timeout(Duration::from_secs(timeout));
        context.add_session(Arc::new(builder.build(n))).unwrap();
    }
    for (n, timeout) in (0..).zip(timeouts) {
        clock.set(START.saturating_add(Duration::from_secs(timeout)));
        while context.tick() == Tick::More {}
        assert!(context.contains(&key(n)), "timeout {timeout}: gone in its last second");
        clock.advance(Duration::from_secs(1));
        while context.tick() == Tick::More {}
        assert!(!context.contains(&key(n)), "timeout {timeout}: there a second too long");
    }
}

/// NO_AUTO_CLEAR stops the automatic upkeep, and only that.
#[test]
fn no_auto_clear_leaves_it_to_flush() {
    let clock = ManualClock::new(START);
    let mode = SessionCacheMode::SERVER | SessionCacheMode::NO_AUTO_CLEAR;
    let context = SessionContext::<u32>::builder().mode(mode).clock(clock.clone()).build().unwrap();
    for n in 0..100 {
        context.add_session(Arc::new(context.session(key(n)).id_context(www()).build(n))).unwrap();
    }
    clock.advance(Duration::from_secs(301));
    assert_eq!(context.tick(), Tick::Done);
    context.add_session(Arc::new(context.session(key(100)).id_context(www()).build(100))).unwrap();
    assert_eq!(context.len(), 101);
    // An expired session of TLS 1.2 goes when it is looked at (row Q4), in every mode.
    assert!(context.take(&key(0), &www()).is_none());
    assert_eq!(context.flush_sessions(clock.now()), 99);
    assert_eq!(context.len(), 1);
}

/// A driver does the same without any traffic.
#[test]
fn a_driver_removes_what_expires() {
    let clock = ManualClock::new(START);
    let context = Arc::new(SessionContext::<u32>::builder().clock(clock.clone()).build().unwrap());
    context.add_session(Arc::new(context.session(key(1)).build(1))).unwrap();
    clock.advance(Duration::from_secs(301));
    let driver = context.start_driver().unwrap();
    for _ in 0..600 {
        if context.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(context.is_empty(), "the driver has not come round");
    drop(driver);
    let weak = Arc::downgrade(&context);
    let driver = context.start_driver().unwrap();
    drop(context);
    drop(driver);
    assert!(weak.upgrade().is_none(), "a driver holds no count between ticks");
}

/// The next upkeep is known: never, in an empty context; at the latest when the first session is over, in any other.
#[test]
fn the_next_upkeep_is_known() {
    let clock = ManualClock::new(START);
    let context = SessionContext::<u32>::builder().clock(clock.clone()).build().unwrap();
    while context.tick() == Tick::More {}
    assert_eq!(context.next_upkeep(), None);
    context.add_session(Arc::new(context.session(key(1)).build(1))).unwrap();
    let next = context.next_upkeep().expect("something will expire");
    assert!(next > START && next <= START.saturating_add(Duration::from_secs(301)), "{next:?}");
}
