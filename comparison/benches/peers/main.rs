//! The engine beside what one would embed in its place, in one program: `cargo bench --bench peers [-- --quick]`
//!
//! | argument | |
//! |---|---|
//! | none | 31 rounds, up to 8,000,000 sessions where the memory allows |
//! | `--quick` | 7 rounds, up to 1,000,000 sessions: under five minutes |
//! | `--smoke` | seconds: does everything run? The figures mean nothing |
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
    let mut arguments = std::env::args().skip_while(|argument| argument != "--only").skip(1);
    let only = arguments.next();
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let mut plan = Plan::new(extent);
    let sizes: &[usize] = if extent == Extent::Smoke { &[2_000] } else { &[20_480, 1_000_000] };
    for &sessions in sizes {
        if wanted("lookups") {
            plan.lookups(sessions, Who::Everyone);
        }
        if wanted("mixed") {
            plan.mixed(sessions);
        }
        if wanted("single-use") {
            plan.single_use(sessions);
        }
        if wanted("at-capacity") {
            plan.at_capacity(sessions);
        }
        if wanted("expiry") {
            expiry::run(&mut plan, sessions);
        }
    }
    let others: &[usize] = match extent {
        Extent::Smoke => &[],
        Extent::Quick => &[1_000, 100_000],
        Extent::Full => &[1_000, 5_000, 100_000, 300_000, 3_000_000],
    };
    for &sessions in others.iter().filter(|_| wanted("growth")) {
        plan.lookups(sessions, Who::Unsynchronised);
    }
    if extent == Extent::Full && wanted("large") {
        plan.lookups(8_000_000, Who::Everyone);
    }
    report(&plan)
}

fn report(plan: &Plan) -> io::Result<()> {
    let results = plan.results();
    let mut text = results.tables() + &results.growth() + &targets::table(results);
    for note in &results.notes {
        text += &format!("\n* {note}");
    }
    println!("{text}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(folder)?;
    fs::write(folder.join("peers.md"), text)?;
    fs::write(folder.join("peers.tsv"), results.lines())?;
    fs::write(folder.join("peers.svg"), plot::svg(results))?;
    println!("\nwritten: peers.md, peers.tsv, peers.svg in {}", folder.display());
    Ok(())
}
