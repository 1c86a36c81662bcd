//! What a person reads: the table of the demonstration and the line of the proxy.

use crate::demo::Outcome;
use crate::proxy::Proxy;
use crate::visitors::Experience;
use resumption::Outcomes;
use std::fmt::Write as _;
use std::time::Duration;

/// The proxy's state in one line.
pub(crate) fn line(proxy: &Proxy) -> String {
    let (counters, cache) = (proxy.counters(), proxy.cache());
    let outcomes = cache.stats().outcomes;
    let mut line = format!("{} connections, {} open", counters.accepted(), counters.open());
    for (name, tls13) in [("TLS 1.2", false), ("TLS 1.3", true)] {
        let (full, resumed) = (counters.handshakes(tls13, false), counters.handshakes(tls13, true));
        _ = write!(line, " | {name}: {full} full, {resumed} resumed");
    }
    _ = write!(line, " | {} lookups: {} hits", outcomes.total(), outcomes.hit + outcomes.external_hit);
    for (reason, count) in misses(&outcomes).into_iter().filter(|(_, count)| *count > 0) {
        _ = write!(line, ", {count} {reason}");
    }
    _ = write!(line, " | {} sessions", cache.len());
    for (position, (trouble, count)) in counters.troubles().enumerate() {
        _ = write!(line, "{}{count} {trouble}", if position == 0 { " | " } else { ", " });
    }
    line
}

/// What a row of the table shows of a version.
type Figure = fn(&Experience) -> String;

/// All that the demonstration has found out.
pub(crate) fn table(outcome: &Outcome, proxy: &Proxy) -> String {
    let versions = [&outcome.tls12, &outcome.tls13];
    let mut table = String::from("\n");
    row(&mut table, "", ["TLS 1.2".to_owned(), "TLS 1.3".to_owned()]);
    let figures: [(&str, Figure); 6] = [
        ("handshakes", |version| (version.full.len() + version.resumed.len()).to_string()),
        ("  full", |version| version.full.len().to_string()),
        ("  resumed", |version| version.resumed.len().to_string()),
        ("failed visits", |version| version.failures.to_string()),
        ("resumption rate", |version| percent(version.resumed.len(), version.visits())),
        ("  of returning visitors", |version| percent(version.resumed.len(), version.returning)),
    ];
    for (label, figure) in figures {
        row(&mut table, label, versions.map(figure));
    }
    for (name, share) in [("p50", 0.50), ("p99", 0.99)] {
        let latencies =
            versions.map(|version| (quantile(&version.full, share), quantile(&version.resumed, share)));
        row(&mut table, &format!("{name} full handshake"), latencies.map(|(full, _)| milliseconds(full)));
        row(
            &mut table,
            &format!("{name} resumed handshake"),
            latencies.map(|(_, resumed)| milliseconds(resumed)),
        );
        row(&mut table, "  full / resumed", latencies.map(|(full, resumed)| ratio(full, resumed)));
    }
    table.push_str(&cache(proxy));
    table
}

fn row(table: &mut String, label: &str, [tls12, tls13]: [String; 2]) {
    _ = writeln!(table, "{label:<26}{tls12:>12}{tls13:>12}");
}

fn cache(proxy: &Proxy) -> String {
    let (stats, cache) = (proxy.cache().stats(), proxy.cache());
    let outcomes = stats.outcomes;
    let mut text = String::from("\n");
    _ = writeln!(text, "{:<26}{:>12}", "cache lookups", outcomes.total());
    _ = writeln!(text, "{:<26}{:>12}", "  hits", outcomes.hit + outcomes.external_hit);
    _ = writeln!(text, "{:<26}{:>12}", "  misses", outcomes.misses());
    for (reason, count) in misses(&outcomes).into_iter().filter(|(_, count)| *count > 0) {
        _ = writeln!(text, "{:<26}{count:>12}", format!("    {reason}"));
    }
    _ = writeln!(text, "{:<26}{:>12} of {}", "sessions cached", cache.len(), capacity(cache.capacity()));
    _ = writeln!(text, "{:<26}{:>12}", "  evicted for room", stats.cache_full);
    for (trouble, count) in proxy.counters().troubles() {
        _ = writeln!(text, "{:<26}{count:>12}", trouble.to_string());
    }
    text
}

/// Why lookups found nothing.
fn misses(outcomes: &Outcomes) -> [(&'static str, u64); 8] {
    [
        ("unknown", outcomes.unknown),
        ("expired", outcomes.expired),
        ("evicted", outcomes.evicted),
        ("used up", outcomes.consumed),
        ("other policy", outcomes.other_context),
        ("other version", outcomes.other_version),
        ("not resumable", outcomes.marked),
        ("switched off", outcomes.mode),
    ]
}

fn capacity(capacity: usize) -> String {
    if capacity == 0 { "any number".to_owned() } else { capacity.to_string() }
}

fn percent(part: usize, whole: usize) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

/// The duration that `share` of them do not exceed; they are in order.
fn quantile(durations: &[Duration], share: f64) -> Option<Duration> {
    let rank = (durations.len() as f64 * share).ceil() as usize;
    durations.get(rank.saturating_sub(1)).copied()
}

fn milliseconds(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |duration| format!("{:.3} ms", duration.as_secs_f64() * 1e3))
}

fn ratio(full: Option<Duration>, resumed: Option<Duration>) -> String {
    match (full, resumed) {
        (Some(full), Some(resumed)) if !resumed.is_zero() => {
            format!("{:.2} x", full.as_secs_f64() / resumed.as_secs_f64())
        }
        _ => "-".to_owned(),
    }
}
