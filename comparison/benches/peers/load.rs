//! What is looked up, inserted and taken: drawn beforehand, since a key that is made on the stack right before it is used
//! stalls on store forwarding, and all sides would be measured by that.

use fastrand::Rng;
use resumption::{ProtocolVersion, SessionId, SessionIdContext, SessionKey, Timestamp};

/// A key, and its place among those it was made with.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    pub(crate) key: SessionKey,
    pub(crate) index: u32,
}

/// The present.
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);

/// When a session that does not expire during a run expires.
pub(crate) const LATER: Timestamp = Timestamp::from_unix(1_700_086_400);

/// The session id context of every session.
pub(crate) fn policy() -> SessionIdContext {
    SessionIdContext::from([7; 32])
}

/// The keys of one size.
pub(crate) struct Load {
    /// The keys of all live sessions, in random order. Sessions are added in another order, by `index`.
    pub(crate) live: Vec<Item>,
    /// The same keys without more.
    pub(crate) keys: Vec<SessionKey>,
    /// The same, some often and most hardly ever: the k-th most frequent with a frequency of 1/k.
    pub(crate) zipf: Vec<SessionKey>,
    /// Keys that nobody has.
    pub(crate) absent: Vec<SessionKey>,
}

impl Load {
    pub(crate) fn new(sessions: usize, draws: usize) -> Self {
        let mut rng = Rng::with_seed(42);
        let mut live = items(&mut rng, sessions);
        rng.shuffle(&mut live);
        let keys: Vec<SessionKey> = live.iter().map(|item| item.key).collect();
        let zipf = zipf(&mut rng, &keys, draws);
        let absent = items(&mut rng, draws).iter().map(|item| item.key).collect();
        Self { live, keys, zipf, absent }
    }

    /// The live keys as they are added: in an order that has nothing to do with that of the lookups.
    pub(crate) fn by_index(&self) -> Vec<Item> {
        let mut items = self.live.clone();
        items.sort_unstable_by_key(|item| item.index);
        items
    }
}

/// So many new keys.
pub(crate) fn items(rng: &mut Rng, count: usize) -> Vec<Item> {
    let make = |index| {
        let mut id = [0; 32];
        rng.fill(&mut id);
        Item { key: SessionKey::new(ProtocolVersion::TLS1_2, SessionId::from(id)), index }
    };
    (0..count as u32).map(make).collect()
}

fn zipf(rng: &mut Rng, live: &[SessionKey], draws: usize) -> Vec<SessionKey> {
    let mut sum = 0.0;
    let sums: Vec<f64> = (1..=live.len()).map(|k| (sum += 1.0 / k as f64, sum).1).collect();
    let draw = |_| {
        let at = rng.f64() * sum;
        live[sums.partition_point(|sum| *sum < at).min(live.len() - 1)]
    };
    (0..draws).map(draw).collect()
}

/// Single use by one thread. Sessions live in two halves: while one is taken in random order the other is inserted, so
/// that the number of live sessions stays the same and a session is as likely to be taken early as late.
pub(crate) struct SingleUse {
    /// Each half in the order of insertion.
    pub(crate) inserts: [Vec<Item>; 2],
    /// Each half in the order of taking.
    pub(crate) takes: [Vec<Item>; 2],
}

impl SingleUse {
    /// For `threads` threads that have `sessions` live sessions together. At first the half 0 of each is live.
    pub(crate) fn new(sessions: usize, threads: usize) -> Vec<Self> {
        let mut rng = Rng::with_seed(43);
        let mut all = items(&mut rng, sessions / threads * threads * 2);
        let mut half = |rng: &mut Rng| {
            let inserts = all.split_off(all.len() - sessions / threads);
            let mut takes = inserts.clone();
            rng.shuffle(&mut takes);
            (inserts, takes)
        };
        let mut make = |_| {
            let ((i0, t0), (i1, t1)) = (half(&mut rng), half(&mut rng));
            Self { inserts: [i0, i1], takes: [t0, t1] }
        };
        (0..threads).map(&mut make).collect()
    }
}
