//! One thread looks sessions up: isolated (each lookup waits for the last) and streamed (independent), against an
//! unsynchronised `hashbrown::HashMap` of boxed sessions with the same hasher and payload.
//!
//! A harness of its own: rounds of the two sides alternate within one run, so that drift of a noisy machine hits both,
//! and the figure is the median of the ratios of neighbouring rounds. `--quick` takes fewer rounds.

use ahash::RandomState;
use hashbrown::HashMap;
use resumption::{
    Guard, ProtocolVersion, Session, SessionContext, SessionId, SessionIdContext, SessionKey, Timestamp,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

type Payload = [u8; 200];

/// What the map holds: the same as a session of the engine's.
struct Boxed {
    policy: SessionIdContext,
    expiry: Timestamp,
    payload: Payload,
}

struct Bench {
    context: SessionContext<Payload>,
    map: HashMap<SessionKey, Box<Boxed>, RandomState>,
    // Drawn beforehand: a key made on the stack right before the lookup stalls on store forwarding.
    order: Vec<SessionKey>,
    policy: SessionIdContext,
    now: Timestamp,
}

fn key(rng: &mut fastrand::Rng) -> SessionKey {
    let mut id = [0; 32];
    rng.fill(&mut id);
    SessionKey::new(ProtocolVersion::TLS1_3, SessionId::from(id))
}

impl Bench {
    fn new(sessions: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(42);
        let policy = SessionIdContext::from([7; 32]);
        let context = SessionContext::<Payload>::builder().capacity(sessions).build().expect("memory");
        let now = context.now();
        let mut map = HashMap::with_capacity_and_hasher(sessions, RandomState::new());
        let mut keys: Vec<SessionKey> = (0..sessions).map(|_| key(&mut rng)).collect();
        for key in &keys {
            let session = context.session(*key).id_context(policy).build([1; 200]);
            let expiry = session.expires_at();
            context.add_session(Arc::new(session)).expect("fits");
            map.insert(*key, Box::new(Boxed { policy, expiry, payload: [1; 200] }));
        }
        rng.shuffle(&mut keys);
        keys.truncate(1 << 20);
        // Saturate the marks, so that hits write nothing.
        let guard = context.pin();
        for _ in 0..3 {
            context.for_each(&guard, |session| {
                context.lookup_at(&session.key(), &policy, now, &guard).expect("present");
            });
        }
        drop(guard);
        Self { context, map, order: keys, policy, now }
    }

    #[inline]
    fn ours(&self, key: &SessionKey, guard: &Guard) -> usize {
        let session: &Session<Payload> =
            self.context.lookup_at(key, &self.policy, self.now, guard).expect("present");
        usize::from(session.payload()[0])
    }

    #[inline]
    fn theirs(&self, key: &SessionKey) -> usize {
        let session = self.map.get(key).expect("present");
        // What the engine checks as well.
        assert!(session.policy == self.policy && self.now <= session.expiry);
        usize::from(session.payload[0])
    }

    fn isolated(&self, steps: usize, lookup: impl Fn(&SessionKey) -> usize) -> f64 {
        let started = Instant::now();
        let mut at = 0;
        for _ in 0..steps {
            // The payload's byte is 1: the next key depends on this lookup's result.
            at += lookup(&self.order[at % self.order.len()]);
        }
        black_box(at);
        started.elapsed().as_nanos() as f64 / steps as f64
    }

    fn streamed(&self, steps: usize, lookup: impl Fn(&SessionKey) -> usize) -> f64 {
        let started = Instant::now();
        let mut sum = 0;
        for key in self.order.iter().cycle().take(steps) {
            sum += lookup(key);
        }
        assert_eq!(black_box(sum), steps);
        started.elapsed().as_nanos() as f64 / steps as f64
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn compare(what: &str, sessions: usize, rounds: usize, ours: impl Fn() -> f64, theirs: impl Fn() -> f64) {
    let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| (ours(), theirs())).collect();
    let ratios: Vec<f64> = pairs.iter().map(|(a, b)| b / a).collect();
    let (low, high) = ratios.iter().fold((f64::MAX, 0f64), |(l, h), r| (l.min(*r), h.max(*r)));
    println!(
        "| {sessions:>9} | {what:<34} | {:>6.1} | {:>6.1} | {:>5.2} | {low:.2} to {high:.2} |",
        median(pairs.iter().map(|p| p.0).collect()),
        median(pairs.iter().map(|p| p.1).collect()),
        median(ratios),
    );
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let rounds = if quick { 5 } else { 21 };
    let sizes: &[usize] = if quick { &[20_480] } else { &[20_480, 1_000_000] };
    println!(
        "| sessions  | workload                           | ours ns | hashbrown ns | ratio (above 1: ours is faster) | spread |"
    );
    println!("|---|---|---|---|---|---|");
    for &sessions in sizes {
        let bench = Bench::new(sessions);
        let steps = 200_000;
        let guard = bench.context.pin();
        compare(
            "isolated hit, one guard",
            sessions,
            rounds,
            || bench.isolated(steps, |key| bench.ours(key, &guard)),
            || bench.isolated(steps, |key| bench.theirs(key)),
        );
        compare(
            "streamed hit, one guard",
            sessions,
            rounds,
            || bench.streamed(steps, |key| bench.ours(key, &guard)),
            || bench.streamed(steps, |key| bench.theirs(key)),
        );
        drop(guard);
        compare(
            "streamed hit, a guard each",
            sessions,
            rounds,
            || bench.streamed(steps, |key| bench.ours(key, &bench.context.pin())),
            || bench.streamed(steps, |key| bench.theirs(key)),
        );
    }
}
