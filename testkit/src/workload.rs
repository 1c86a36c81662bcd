//! Traffic for tests and benchmarks, the same for the same seed on every machine.

use std::collections::VecDeque;

/// A small random number generator: SplitMix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*,
/// 2014). Not for secrets.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose whole sequence follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, uniform up to a bias of `bound` in 2^64.
    ///
    /// # Panics
    ///
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Puts `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    /// 32 random bytes: a session id as TLS servers make them.
    pub fn session_id(&mut self) -> [u8; 32] {
        let mut id = [0; 32];
        for word in id.chunks_exact_mut(8) {
            word.copy_from_slice(&self.next_u64().to_le_bytes());
        }
        id
    }

    /// `count` session ids; the same seed gives the same ids.
    pub fn session_ids(&mut self, count: usize) -> Vec<[u8; 32]> {
        (0..count).map(|_| self.session_id()).collect()
    }
}

/// Zipf's distribution over `0..n`: rank r (from 1) is drawn with a probability proportional to `1 / r^exponent`.
#[derive(Debug, Clone)]
pub struct Zipf {
    /// For every rank the sum of the weights up to it.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// A distribution over `0..n` with 0 the most popular. Exponent 0 is uniform; web traffic is near 1.
    ///
    /// Needs 8 bytes per rank.
    ///
    /// # Panics
    ///
    /// When `n` is 0 or the exponent is not finite.
    pub fn new(n: usize, exponent: f64) -> Self {
        assert!(n > 0 && exponent.is_finite(), "Zipf needs at least one rank and a finite exponent");
        let mut sum = 0.0;
        let mut add = |rank: usize| {
            sum += (rank as f64).powf(-exponent);
            sum
        };
        Self { cumulative: (1..=n).map(&mut add).collect() }
    }

    /// Draws one of `0..n`.
    pub fn sample(&self, random: &mut Random) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let point = random.unit() * total;
        // Rounding may put the point at the very end.
        self.cumulative.partition_point(|&sum| sum <= point).min(self.cumulative.len() - 1)
    }
}

/// One step of single-use traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A handshake stores a session under this id.
    Store([u8; 32]),
    /// A client comes back and uses up the session with this id.
    Take([u8; 32]),
}

/// TLS 1.3 traffic with single-use tickets: connections store a few tickets each, and some clients come back with one.
///
/// An endless iterator. An id is stored once, and taken at most once and only after it was stored; clients come back in
/// the order in which they came.
#[derive(Debug, Clone)]
pub struct SingleUse {
    random: Random,
    tickets: usize,
    returning: f64,
    outstanding: VecDeque<[u8; 32]>,
    planned: VecDeque<Step>,
}

impl SingleUse {
    /// How many clients are remembered as possibly coming back.
    const CLIENTS: usize = 1 << 16;

    /// Traffic of connections that store `tickets` tickets each; a connection is a returning client with probability
    /// `returning`. A resumed one stores one ticket: RFC 8446 leaves the number open, this is what OpenSSL does.
    pub fn new(seed: u64, tickets: usize, returning: f64) -> Self {
        let (outstanding, planned) = (VecDeque::new(), VecDeque::new());
        Self { random: Random::new(seed), tickets, returning, outstanding, planned }
    }

    fn connect(&mut self) {
        let returns = self.random.chance(self.returning);
        let used = if returns { self.outstanding.pop_front() } else { None };
        self.planned.extend(used.map(Step::Take));
        let stored = if used.is_some() { self.tickets.min(1) } else { self.tickets };
        for issued in 0..stored {
            let id = self.random.session_id();
            self.planned.push_back(Step::Store(id));
            // A client keeps the first ticket and drops the others.
            if issued == 0 && self.outstanding.len() < Self::CLIENTS {
                self.outstanding.push_back(id);
            }
        }
    }
}

impl Iterator for SingleUse {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        while self.planned.is_empty() {
            if self.tickets == 0 {
                return None;
            }
            self.connect();
        }
        self.planned.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn splitmix64_gives_its_published_sequence() {
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([(); 3].map(|()| random.next_u64()), expected);
    }

    #[test]
    fn ids_differ_and_follow_from_the_seed() {
        let ids = Random::new(1).session_ids(10_000);
        assert_eq!(ids, Random::new(1).session_ids(10_000));
        assert_ne!(ids, Random::new(2).session_ids(10_000));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_all_of_it() {
        let mut random = Random::new(3);
        let drawn: HashSet<u64> = (0..1000).map(|_| random.below(7)).collect();
        assert_eq!(drawn, (0..7).collect());
        assert!((0..1000).map(|_| random.unit()).all(|number| (0.0..1.0).contains(&number)));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(4).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn zipf_draws_each_rank_in_its_proportion() {
        let (zipf, mut random, draws) = (Zipf::new(4, 1.0), Random::new(5), 120_000);
        let mut counts = [0_i64; 4];
        (0..draws).for_each(|_| counts[zipf.sample(&mut random)] += 1);
        // The weights 1, 1/2, 1/3, 1/4 are 12, 6, 4 and 3 of 25 parts; five standard deviations are below 900.
        for (count, parts) in counts.iter().zip([12, 6, 4, 3]) {
            assert!((count - draws * parts / 25).abs() < 900, "{counts:?}");
        }
    }

    #[test]
    fn zipf_with_exponent_zero_is_uniform_and_one_rank_is_certain() {
        let (zipf, mut random) = (Zipf::new(3, 0.0), Random::new(6));
        let drawn: HashSet<usize> = (0..1000).map(|_| zipf.sample(&mut random)).collect();
        assert_eq!(drawn.len(), 3);
        assert_eq!(Zipf::new(1, 1.2).sample(&mut random), 0);
    }

    #[test]
    fn single_use_ids_are_stored_before_they_are_taken_and_taken_once() {
        let (mut stored, mut taken) = (HashSet::new(), HashSet::new());
        for step in SingleUse::new(7, 2, 0.5).take(20_000) {
            match step {
                Step::Store(id) => assert!(stored.insert(id)),
                Step::Take(id) => assert!(stored.contains(&id) && taken.insert(id)),
            }
        }
        assert!(taken.len() > 4_000, "{}", taken.len());
    }

    #[test]
    fn traffic_without_tickets_is_empty() {
        assert_eq!(SingleUse::new(8, 0, 0.5).next(), None);
    }
}
