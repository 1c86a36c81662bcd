//! Which policy keeps the sessions that come back? `cargo bench --bench hit_ratio [-- --quick] [-- --check]`
//!
//! Seeded and exact: the figures do not depend on the machine. With `--check` the program fails when the engine misses
//! its targets.

mod policies;
mod workloads;

use policies::{NAMES, policy};
use workloads::{Visitors, flood_hit_ratio};

const CAPACITY: usize = 20_480;

fn row(name: &str, run: impl Fn(&mut dyn policies::Policy) -> f64) -> Vec<f64> {
    let figures: Vec<f64> = NAMES.iter().map(|name| run(&mut *policy(name, CAPACITY))).collect();
    let cells: Vec<String> = figures.iter().map(|figure| format!("{figure:.3}")).collect();
    println!("| {name} | {} |", cells.join(" | "));
    figures
}

fn main() {
    let has = |flag: &str| std::env::args().any(|arg| arg == flag);
    let visits = if has("--quick") { 600_000 } else { 3_000_000 };
    println!("| traffic, capacity {CAPACITY} | {} |", NAMES.join(" | "));
    println!("|---|{}", "---|".repeat(NAMES.len()));
    let mut missed = Vec::new();
    let mut expect = |what: &str, ok: bool| {
        if !ok {
            missed.push(what.to_owned());
        }
    };
    for (population, exponent, strangers) in [(60_000, 0.8, 0.3), (200_000, 0.6, 0.5)] {
        let visitors = Visitors { population, exponent, strangers };
        for (tickets, what) in [(0, "TLS 1.2"), (1, "TLS 1.3, 1 ticket"), (2, "TLS 1.3, 2 tickets")] {
            let name = format!("{what}, {population} visitors");
            let figures = row(&name, |policy| visitors.hit_ratio(policy, tickets, visits));
            let (fifo, sieve, ours) = (figures[0], figures[3], figures[5]);
            match tickets {
                0 => expect(&format!("{name}: within 0.03 of SIEVE"), ours >= sieve - 0.03),
                _ => expect(&format!("{name}: within 0.005 of FIFO"), ours >= fifo - 0.005),
            }
        }
    }
    for (hot, flood, least) in
        [(5_000, 5, 0.98), (5_000, 20, 0.98), (5_000, 100, 0.98), (15_000, 5, 0.90), (15_000, 20, 0.90)]
    {
        if has("--quick") && flood == 100 {
            continue;
        }
        let name = format!("flood {flood}:1, hot set {hot}");
        let figures = row(&name, |policy| flood_hit_ratio(policy, hot, flood));
        expect(&format!("{name}: at least {least}"), figures[5] >= least);
    }
    for what in &missed {
        eprintln!("missed: {what}");
    }
    if has("--check") && !missed.is_empty() {
        std::process::exit(1);
    }
}
