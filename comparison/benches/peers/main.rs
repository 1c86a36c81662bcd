//! The engine beside what one would embed in its place, in one program: `cargo bench --bench peers [-- --quick]`
//!
//! | argument | |
//! |---|---|
//! | none | 31 rounds, up to 8,000,000 sessions where the memory allows: some 20 minutes |
//! | `--quick` | 7 rounds, up to 1,000,000 sessions: under five minutes |
//! | `--smoke` | seconds: does everything run? The figures mean nothing |
//! | `--large` | lookups in 8,000,000 sessions with `--quick` too, against the maps only |
//! | `--rounds N` | so many rounds instead |
//! | `--only PART` | of `lookups`, `growth`, `mixed`, `single-use`, `at-capacity`, `expiry`, `large` |
//!
//! Prints tables in Markdown, at the end the targets and whether they were met; writes these, every comparison
//! (`peers.tsv`) and a plot (`peers.svg`) into `target/tmp`.
//!
//! All sides have the same ids of 32 random bytes, a payload of 200 bytes and, where a peer lets one choose, the same
//! hasher (ahash), and check what a session cache must: the whole id, the session id context, the expiry.

mod caches;
mod expiry;
mod groups;
mod load;
mod maps;
mod openssl;
mod ours;
mod plot;
mod results;
mod targets;
mod worker;
mod workload;

use groups::{Plan, Who};
use resumption_comparison::Extent;
use std::fs;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let extent = Extent::from_arguments();
    let mut plan = Plan::new(extent);
    for (part, sessions) in parts(extent) {
        match part {
            "lookups" => plan.lookups(sessions, Who::Everyone),
            "mixed" => plan.mixed(sessions),
            "single-use" => plan.single_use(sessions),
            "at-capacity" => plan.at_capacity(sessions),
            "expiry" => expiry::run(&mut plan, sessions),
            "growth" => plan.lookups(sessions, Who::Unsynchronised),
            "large" if extent == Extent::Quick => plan.lookups(sessions, Who::Maps),
            _ => plan.lookups(sessions, Who::Everyone),
        }
        // After each part, so that a run that is cut short has told something.
        write(&plan)?;
    }
    println!("{}", text(&plan));
    println!("\nwritten: peers.md, peers.tsv, peers.svg in {}", env!("CARGO_TARGET_TMPDIR"));
    Ok(())
}

/// As many sessions as are run at most, where the memory allows.
const LARGE: usize = 8_000_000;

/// What is to be run, and with how many sessions.
fn parts(extent: Extent) -> Vec<(&'static str, usize)> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--only").skip(1);
    let only = arguments.next();
    let large = extent == Extent::Full || std::env::args().any(|argument| argument == "--large");
    let sizes: &[usize] = if extent == Extent::Smoke { &[2_000] } else { &[20_480, 1_000_000] };
    let others: &[usize] = match extent {
        Extent::Smoke => &[],
        Extent::Quick => &[1_000, 100_000],
        Extent::Full => &[1_000, 5_000, 100_000, 300_000, 3_000_000],
    };
    let each = ["lookups", "mixed", "single-use", "at-capacity", "expiry"];
    let mut parts: Vec<_> = sizes.iter().flat_map(|&size| each.map(|part| (part, size))).collect();
    parts.extend(others.iter().map(|&size| ("growth", size)));
    if large {
        parts.push(("large", LARGE));
    }
    if extent == Extent::Full {
        parts.extend(each[1..].iter().map(|&part| (part, LARGE)));
    }
    parts.retain(|(part, _)| only.as_deref().is_none_or(|only| only == *part));
    parts
}

fn text(plan: &Plan) -> String {
    let results = plan.results();
    let mut text = results.tables() + &results.growth() + &targets::table(results);
    for note in &results.notes {
        text += &format!("\n* {note}");
    }
    text
}

fn write(plan: &Plan) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder)?;
    fs::write(folder.join("peers.md"), text(plan))?;
    fs::write(folder.join("peers.tsv"), plan.results().lines())?;
    fs::write(folder.join("peers.svg"), plot::svg(plan.results()))
}
