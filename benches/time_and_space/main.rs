//! What time and space cost: `cargo bench --bench time_and_space [-- --quick] [-- SECTION…]`
//!
//! Sections: `advance` (expiry costs what expired, not what is cached), `growth` (the longest call while the table
//! doubles), `memory` (process memory per session), `two-hours` (memory under two simulated hours of single-use traffic).

mod sections;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|a| a == "--quick");
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|a| !a.starts_with("--")).collect();
    let wanted = |section: &str| named.is_empty() || named.contains(&section);
    // First, while the process has no freed memory to use again.
    if wanted("memory") {
        sections::memory(quick);
    }
    if wanted("advance") {
        sections::advance(quick);
    }
    if wanted("growth") {
        sections::growth(quick);
    }
    if wanted("two-hours") {
        sections::two_hours(quick);
    }
}
