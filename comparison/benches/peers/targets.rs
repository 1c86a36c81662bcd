//! What the engine set out to reach, and whether it has.

use crate::results::{HASHBROWN, OURSELVES, Results, Row, Way, holds_guard};
use crate::workload::Workload;
use resumption_comparison::{figure, thousands};
use std::fmt::Write;

/// Against whom.
#[derive(Clone, Copy)]
enum Against {
    /// This one.
    Named(&'static str),
    /// Whichever of those that threads may share does best, used as the engine is: with a guard for each operation.
    BestConcurrent,
}

struct Target {
    workload: Workload,
    way: Way,
    sizes: &'static [usize],
    threads: &'static [usize],
    against: Against,
    at_least: f64,
}

const SMALL: &[usize] = &[20_480];
const ONE: &[usize] = &[1];
const BOTH: &[usize] = &[1, 2];

/// The name of rustls' store.
pub(crate) const RUSTLS: &str = "rustls' ServerSessionMemoryCache";

/// The name of OpenSSL's cache.
pub(crate) const OPENSSL: &str = "OpenSSL's SSL_CTX cache";

#[rustfmt::skip]
const TARGETS: &[Target] = {
    use Against::{BestConcurrent, Named};
    use Way::{Batches, EachPin, OneGuard};
    use Workload::{Isolated, Miss, Mixed, SingleUse, Streamed, Zipf};
    const MAP: Against = Named(HASHBROWN);
    const ALONE: Against = Named(OURSELVES);
    const ALL: &[usize] = &[20_480, 1_000_000, 8_000_000];
    const MOST: &[usize] = &[20_480, 1_000_000];
    &[
        Target { workload: Isolated, way: OneGuard, sizes: MOST, threads: ONE, against: MAP, at_least: 1.3 },
        Target { workload: Streamed, way: OneGuard, sizes: ALL, threads: ONE, against: MAP, at_least: 1.0 },
        Target { workload: Streamed, way: EachPin, sizes: ALL, threads: BOTH, against: BestConcurrent, at_least: 1.0 },
        Target { workload: Streamed, way: Batches, sizes: &[1_000_000], threads: ONE, against: MAP, at_least: 1.5 },
        Target { workload: Streamed, way: Batches, sizes: &[8_000_000], threads: ONE, against: MAP, at_least: 2.0 },
        Target { workload: Isolated, way: OneGuard, sizes: ALL, threads: &[2], against: ALONE, at_least: 1.9 },
        Target { workload: Streamed, way: OneGuard, sizes: ALL, threads: &[2], against: ALONE, at_least: 1.9 },
        Target { workload: Streamed, way: EachPin, sizes: ALL, threads: &[2], against: ALONE, at_least: 1.9 },
        Target { workload: Streamed, way: Batches, sizes: ALL, threads: &[2], against: ALONE, at_least: 1.9 },
        Target { workload: Zipf, way: EachPin, sizes: ALL, threads: &[2], against: ALONE, at_least: 1.9 },
        Target { workload: Miss, way: EachPin, sizes: ALL, threads: &[2], against: ALONE, at_least: 1.9 },
        Target { workload: Mixed, way: EachPin, sizes: MOST, threads: &[2], against: BestConcurrent, at_least: 1.3 },
        Target { workload: SingleUse, way: EachPin, sizes: SMALL, threads: BOTH, against: BestConcurrent, at_least: 1.2 },
        Target { workload: SingleUse, way: EachPin, sizes: SMALL, threads: ONE, against: Named(RUSTLS), at_least: 500.0 },
        Target { workload: SingleUse, way: EachPin, sizes: SMALL, threads: ONE, against: Named(OPENSSL), at_least: 5.0 },
        Target { workload: Miss, way: EachPin, sizes: ALL, threads: BOTH, against: BestConcurrent, at_least: 1.0 },
    ]
};

impl Against {
    fn allows(self, peer: &str) -> bool {
        match self {
            Self::Named(name) => peer == name,
            Self::BestConcurrent => peer != HASHBROWN && peer != OURSELVES && !holds_guard(peer),
        }
    }
}

/// Every target that was measured, with what was reached.
pub(crate) fn table(results: &Results) -> String {
    let mut out = String::from(
        "\n**Targets**: ratio of throughput, median of paired rounds (middle half)\n\n\
         | workload | ours | sessions | threads | against | ratio | target | |\n|---|---|---|---|---|---|---|---|\n",
    );
    for target in TARGETS {
        for &sessions in target.sizes {
            for &threads in target.threads {
                if let Some(row) = closest(results, target, sessions, threads) {
                    let met = if row.ratio.median >= target.at_least { "met" } else { "**missed**" };
                    let _ = writeln!(
                        out,
                        "| {} | {} | {} | {threads} | {} | {} | {} | {met} |",
                        target.workload.name(),
                        target.way.name(),
                        thousands(sessions),
                        row.peer,
                        row.ratio,
                        figure(target.at_least)
                    );
                }
            }
        }
    }
    out
}

/// The peer that does best.
fn closest<'r>(results: &'r Results, target: &Target, sessions: usize, threads: usize) -> Option<&'r Row> {
    let same = |row: &&Row| {
        (row.workload, row.way, row.sessions, row.threads) == (target.workload, target.way, sessions, threads)
            && target.against.allows(row.peer)
    };
    results.rows.iter().filter(same).min_by(|a, b| a.ratio.median.total_cmp(&b.ratio.median))
}
