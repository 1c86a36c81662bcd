//! What was measured, and the tables that are made of it.

use crate::workload::Workload;
use resumption_comparison::{Costs, Spread, figure, thousands};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How the engine was driven.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    EachPin,
    OneGuard,
    Repin,
    Batches,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::EachPin, Self::OneGuard, Self::Repin, Self::Batches];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EachPin => "a guard each",
            Self::OneGuard => "one guard",
            Self::Repin => "one guard, repin each",
            Self::Batches => "batches of 16",
        }
    }
}

/// The name of the unsynchronised map.
pub(crate) const HASHBROWN: &str = "hashbrown, unsynchronised";

/// What two threads are compared with.
pub(crate) const OURSELVES: &str = "ourselves, 1 thread";

/// Whether a peer, too, holds one guard for all lookups.
pub(crate) fn holds_guard(peer: &str) -> bool {
    peer.ends_with("one guard")
}

/// One comparison.
pub(crate) struct Row {
    pub(crate) workload: Workload,
    pub(crate) sessions: usize,
    pub(crate) threads: usize,
    pub(crate) way: Way,
    pub(crate) peer: &'static str,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    pub(crate) ratio: Spread,
}

impl Row {
    /// Whether this is the way of driving the engine that the peer's way of use corresponds to.
    fn is_alike(&self) -> bool {
        let held = self.peer == HASHBROWN || holds_guard(self.peer);
        let updates = matches!(
            self.workload,
            Workload::Mixed | Workload::SingleUse | Workload::AtCapacity | Workload::Expiry
        );
        self.way == if held && !updates { Way::OneGuard } else { Way::EachPin }
    }
}

/// All comparisons.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) rows: Vec<Row>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
}

impl Results {
    /// Adds what the rounds of a way and a peer have cost.
    pub(crate) fn add(
        &mut self,
        (workload, sessions, threads): (Workload, usize, usize),
        way: Way,
        peer: &'static str,
        costs: &Costs,
    ) {
        let ratio = Spread::of_ratios(&costs[0], &costs[1]);
        let (ours, theirs) = (Spread::of(costs[0].clone()).median, Spread::of(costs[1].clone()).median);
        eprintln!(
            "{:<25} {:>9} sessions, {threads} threads, {:<21} against {peer:<26} {:>8} ns to {:>8} ns: {ratio}",
            workload.name(),
            thousands(sessions),
            way.name(),
            figure(ours),
            figure(theirs),
        );
        self.rows.push(Row { workload, sessions, threads, way, peer, ours, theirs, ratio });
    }

    fn workloads(&self) -> Vec<Workload> {
        let mut seen = Vec::new();
        for row in &self.rows {
            if !seen.contains(&row.workload) {
                seen.push(row.workload);
            }
        }
        seen
    }

    fn columns(rows: &[&Row]) -> Vec<(usize, usize)> {
        let columns: BTreeSet<_> = rows.iter().map(|row| (row.sessions, row.threads)).collect();
        columns.into_iter().collect()
    }

    /// A table for each workload: the ratio of each peer, in each size and number of threads.
    pub(crate) fn tables(&self) -> String {
        let mut out = String::new();
        for workload in self.workloads() {
            let alike = |row: &&Row| row.workload == workload && row.is_alike() && row.peer != OURSELVES;
            let rows: Vec<&Row> = self.rows.iter().filter(alike).collect();
            let mut peers: Vec<&str> = Vec::new();
            for row in &rows {
                if !peers.contains(&row.peer) {
                    peers.push(row.peer);
                }
            }
            let columns = Self::columns(&rows);
            let _ = writeln!(out, "\n**{}**\n", workload.name());
            Self::head(&mut out, "against", &columns);
            for peer in peers {
                let _ = write!(out, "| {peer} |");
                for column in &columns {
                    let cell = rows.iter().find(|r| r.peer == peer && (r.sessions, r.threads) == *column);
                    let _ = match cell {
                        Some(row) => write!(
                            out,
                            " {} ({}–{}), {} ns |",
                            figure(row.ratio.median),
                            figure(row.ratio.low),
                            figure(row.ratio.high),
                            figure(row.theirs)
                        ),
                        None => write!(out, " |"),
                    };
                }
                out.push('\n');
            }
            self.our_costs(&mut out, workload, &columns);
        }
        out
    }

    fn head(out: &mut String, first: &str, columns: &[(usize, usize)]) {
        let _ = write!(out, "| {first} |");
        for (sessions, threads) in columns {
            let _ = write!(out, " {}, {threads} T |", thousands(*sessions));
        }
        let _ = write!(out, "\n|---|{}\n", "---|".repeat(columns.len()));
    }

    /// What the engine's own operations cost, over all comparisons.
    fn our_costs(&self, out: &mut String, workload: Workload, columns: &[(usize, usize)]) {
        for way in Way::ALL {
            let of = |column: &(usize, usize)| {
                let same = |row: &&Row| {
                    row.workload == workload && row.way == way && (row.sessions, row.threads) == *column
                };
                let costs: Vec<f64> = self.rows.iter().filter(same).map(|row| row.ours).collect();
                (!costs.is_empty()).then(|| Spread::of(costs).median)
            };
            let costs: Vec<Option<f64>> = columns.iter().map(of).collect();
            if costs.iter().any(Option::is_some) {
                let _ = write!(out, "| *ours, {}* |", way.name());
                for cost in costs {
                    let _ = match cost {
                        Some(cost) => write!(out, " *{} ns* |", figure(cost)),
                        None => write!(out, " |"),
                    };
                }
                out.push('\n');
            }
        }
    }

    /// How lookups grow with the number of sessions, and the ways of driving the engine, against the unsynchronised map.
    pub(crate) fn growth(&self) -> String {
        let wanted = |row: &&Row| row.peer == HASHBROWN && row.threads == 1;
        let rows: Vec<&Row> = self.rows.iter().filter(wanted).collect();
        let sizes: BTreeSet<usize> = rows.iter().map(|row| row.sessions).collect();
        let kinds = [
            (Workload::Isolated, Way::OneGuard),
            (Workload::Isolated, Way::EachPin),
            (Workload::Streamed, Way::OneGuard),
            (Workload::Streamed, Way::EachPin),
            (Workload::Streamed, Way::Repin),
            (Workload::Streamed, Way::Batches),
        ];
        let mut out = String::from("\n**Against unsynchronised hashbrown, 1 thread**\n\n| sessions |");
        for (workload, way) in kinds {
            let _ = write!(out, " {}, {} |", workload.name(), way.name());
        }
        let _ = write!(out, "\n|---|{}\n", "---|".repeat(kinds.len()));
        for size in sizes {
            let _ = write!(out, "| {} |", thousands(size));
            for (workload, way) in kinds {
                let same = |r: &&&Row| r.sessions == size && r.workload == workload && r.way == way;
                let _ = match rows.iter().find(same) {
                    Some(row) => write!(
                        out,
                        " {} ({} to {} ns) |",
                        figure(row.ratio.median),
                        figure(row.ours),
                        figure(row.theirs)
                    ),
                    None => write!(out, " |"),
                };
            }
            out.push('\n');
        }
        out
    }

    /// Everything, one comparison a line.
    pub(crate) fn lines(&self) -> String {
        let mut out = String::from(
            "workload\tsessions\tthreads\tours\tagainst\tours ns\ttheirs ns\tratio\tquarter below\tquarter above\n",
        );
        for row in &self.rows {
            let Row { sessions, threads, peer, ours, theirs, ratio, .. } = row;
            let _ = writeln!(
                out,
                "{}\t{sessions}\t{threads}\t{}\t{peer}\t{ours:.1}\t{theirs:.1}\t{:.3}\t{:.3}\t{:.3}",
                row.workload.name(),
                row.way.name(),
                ratio.median,
                ratio.low,
                ratio.high
            );
        }
        out
    }
}
