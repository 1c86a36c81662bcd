//! One thread looks sessions up: isolated (each lookup waits for the last) and streamed (independent), against an
//! unsynchronised `hashbrown::HashMap` of boxed sessions with the same hasher and payload.
//!
//! A harness of its own: rounds of the two sides alternate within one run, so that drift of a noisy machine hits both,
//! and the figure is the median of the ratios of neighbouring rounds. A round is short, so that most are not interrupted,
//! and there are many. `--quick` takes few; `--large` adds 8 million
//! sessions, for which it needs 7 GB.

use ahash::RandomState;
use hashbrown::HashMap;
use resumption::{
    Guard, ProtocolVersion, Session, SessionContext, SessionId, SessionIdContext, SessionKey, Timestamp,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

type Payload = [u8; 200];

/// Lookups in a round: short enough that most rounds are not interrupted.
const STEPS: usize = 20_480;

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

    fn isolated(&self, round: usize, lookup: impl Fn(&SessionKey) -> usize) -> f64 {
        let started = Instant::now();
        let mut at = round * STEPS;
        for _ in 0..STEPS {
            // The payload's byte is 1: the next key depends on this lookup's result.
            at += lookup(&self.order[at % self.order.len()]);
        }
        black_box(at);
        started.elapsed().as_nanos() as f64 / STEPS as f64
    }

    /// The keys of a round: other ones than those of the last.
    fn keys(&self, round: usize) -> &[SessionKey] {
        &self.order[round % (self.order.len() / STEPS) * STEPS..][..STEPS]
    }

    fn streamed(&self, round: usize, lookup: impl Fn(&SessionKey) -> usize) -> f64 {
        let started = Instant::now();
        let mut sum = 0;
        for key in self.keys(round) {
            sum += lookup(key);
        }
        assert_eq!(black_box(sum), STEPS);
        started.elapsed().as_nanos() as f64 / STEPS as f64
    }

    /// Sixteen keys at a time.
    fn together(&self, round: usize, guard: &Guard) -> f64 {
        let started = Instant::now();
        let mut sum = 0;
        for keys in self.keys(round).chunks(16) {
            self.context.lookup_many_at(keys, &self.policy, self.now, guard, |_, found| {
                sum += usize::from(found.expect("present").payload()[0]);
            });
        }
        assert_eq!(black_box(sum), STEPS);
        started.elapsed().as_nanos() as f64 / STEPS as f64
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs both sides in turn, each round on other keys, and prints their medians and that of the ratios of neighbours. In
/// the middle half of the ratios lies what is not chance.
fn compare(
    what: &str,
    sessions: usize,
    rounds: usize,
    ours: impl Fn(usize) -> f64,
    theirs: impl Fn(usize) -> f64,
) {
    let pairs: Vec<(f64, f64)> = (0..rounds).map(|round| (ours(2 * round), theirs(2 * round + 1))).collect();
    let mut ratios: Vec<f64> = pairs.iter().map(|(a, b)| b / a).collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "| {sessions:>9} | {what:<34} | {:>6.1} | {:>6.1} | {:>5.2} | {:.2} to {:.2} |",
        median(pairs.iter().map(|p| p.0).collect()),
        median(pairs.iter().map(|p| p.1).collect()),
        ratios[rounds / 2],
        ratios[rounds / 4],
        ratios[rounds * 3 / 4],
    );
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let rounds = if quick { 5 } else { 201 };
    let large = std::env::args().any(|arg| arg == "--large");
    let sizes: &[usize] = match (quick, large) {
        (true, _) => &[20_480],
        (false, false) => &[20_480, 1_000_000],
        (false, true) => &[20_480, 1_000_000, 8_000_000],
    };
    println!(
        "| sessions  | workload                           | ours ns | hashbrown ns | ratio (above 1: ours is faster) | middle half |"
    );
    println!("|---|---|---|---|---|---|");
    for &sessions in sizes {
        let bench = Bench::new(sessions);
        let guard = bench.context.pin();
        compare(
            "isolated hit, one guard",
            sessions,
            rounds,
            |round| bench.isolated(round, |key| bench.ours(key, &guard)),
            |round| bench.isolated(round, |key| bench.theirs(key)),
        );
        compare(
            "streamed hit, one guard",
            sessions,
            rounds,
            |round| bench.streamed(round, |key| bench.ours(key, &guard)),
            |round| bench.streamed(round, |key| bench.theirs(key)),
        );
        compare(
            "batches of 16, one guard",
            sessions,
            rounds,
            |round| bench.together(round, &guard),
            |round| bench.streamed(round, |key| bench.theirs(key)),
        );
        drop(guard);
        compare(
            "streamed hit, a guard each",
            sessions,
            rounds,
            |round| bench.streamed(round, |key| bench.ours(key, &bench.context.pin())),
            |round| bench.streamed(round, |key| bench.theirs(key)),
        );
    }
}
