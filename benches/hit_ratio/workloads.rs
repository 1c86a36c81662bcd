//! The traffic: visitors who come back under TLS 1.2 and TLS 1.3, and floods of full handshakes that never do.

use crate::policies::Policy;
use std::collections::HashMap;

/// Visitors drawn from a Zipf distribution, with a share of strangers who come once.
pub(crate) struct Visitors {
    pub(crate) population: u64,
    pub(crate) exponent: f64,
    pub(crate) strangers: f64,
}

impl Visitors {
    fn cumulative(&self) -> Vec<f64> {
        let mut sum = 0.0;
        (1..=self.population)
            .map(|rank| {
                sum += (rank as f64).powf(-self.exponent);
                sum
            })
            .collect()
    }

    /// The resumption rate of returning visitors. `tickets` is 0 for TLS 1.2, whose session is used again and again, or
    /// the number of single-use tickets a TLS 1.3 handshake gives.
    pub(crate) fn hit_ratio(&self, policy: &mut dyn Policy, tickets: usize, visits: u64) -> f64 {
        let cumulative = self.cumulative();
        let total = cumulative[cumulative.len() - 1];
        let mut rng = fastrand::Rng::with_seed(42);
        let mut held: HashMap<u64, Vec<u64>> = HashMap::new();
        let mut next_session = 0;
        let (mut hits, mut attempts) = (0u64, 0u64);
        for visit in 0..visits {
            let stranger = rng.f64() < self.strangers;
            let draw = rng.f64() * total;
            let visitor = cumulative.partition_point(|&sum| sum < draw) as u64;
            let mine = if stranger { None } else { Some(held.entry(visitor).or_default()) };
            let offered = mine.as_ref().and_then(|sessions| sessions.last().copied());
            let hit = offered.is_some_and(|session| match tickets {
                0 => policy.get(session),
                _ => policy.take(session),
            });
            if visit > visits / 6 && offered.is_some() {
                attempts += 1;
                hits += u64::from(hit);
            }
            if tickets == 0 && hit {
                continue;
            }
            let issued = next_session..next_session + tickets.max(1) as u64;
            next_session = issued.end;
            issued.clone().for_each(|session| policy.add(session));
            if let Some(sessions) = mine {
                *sessions = issued.collect();
            }
        }
        hits as f64 / attempts as f64
    }
}

/// A hot set that is visited steadily while `flood` useless sessions are added for each visit: the share of visits that
/// hit, once the flood has been on for a while.
pub(crate) fn flood_hit_ratio(policy: &mut dyn Policy, hot: usize, flood: u64) -> f64 {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut session_of = vec![None; hot];
    let mut next_session = 0;
    let (mut hits, mut visits) = (0u64, 0u64);
    let (warm, measured) = (20 * hot as u64, 20 * hot as u64 + 400_000 + 20 * hot as u64);
    let mut add = |policy: &mut dyn Policy| {
        next_session += 1;
        policy.add(next_session);
        next_session
    };
    for visit in 0..measured {
        let visitor = rng.usize(0..hot);
        let hit = session_of[visitor].is_some_and(|session| policy.get(session));
        if visit > warm {
            visits += 1;
            hits += u64::from(hit);
        }
        if !hit {
            session_of[visitor] = Some(add(policy));
        }
        if visit > warm / 4 {
            for _ in 0..flood {
                add(policy);
            }
        }
    }
    hits as f64 / visits as f64
}
