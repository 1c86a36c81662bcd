//! What has happened so far, in words.

use openssl::ssl::{SslContextRef, SslRef, SslVersion};
use resumption::{Outcomes, RemoveReason, Stats};
use resumption_openssl::{OpensslCounters, ServerSessions};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counted by the server and by the callbacks of the cache; the cache and OpenSSL have counters of their own.
#[derive(Default)]
pub(crate) struct Counters {
    /// TLS 1.2 and older, and TLS 1.3: full and resumed.
    handshakes: [[AtomicU64; 2]; 2],
    pub(crate) failed_handshakes: AtomicU64,
    pub(crate) refused_connections: AtomicU64,
    pub(crate) broken_connections: AtomicU64,
    pub(crate) early_data: AtomicU64,
    stored: AtomicU64,
    evicted: AtomicU64,
    expired: AtomicU64,
    used_up: AtomicU64,
    /// Removals that OpenSSL asked for, also of sessions that were not cached (any more).
    removals: AtomicU64,
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn session_stored(&self) {
        count(&self.stored);
    }

    pub(crate) fn session_left(&self, reason: RemoveReason) {
        count(match reason {
            RemoveReason::Evicted => &self.evicted,
            RemoveReason::Expired => &self.expired,
            RemoveReason::Consumed => &self.used_up,
            _ => &self.removals,
        });
    }

    pub(crate) fn handshake(&self, ssl: &SslRef) {
        let version = usize::from(ssl.version2() == Some(SslVersion::TLS1_3));
        count(&self.handshakes[version][usize::from(ssl.session_reused())]);
    }

    /// The statistics in one line.
    pub(crate) fn line(&self, sessions: &ServerSessions) -> String {
        let mut line = String::new();
        for (name, [full, resumed]) in ["TLS 1.2", "TLS 1.3"].iter().zip(&self.handshakes) {
            _ = write!(line, "{name}: {} full, {} resumed | ", get(full), get(resumed));
        }
        let cache = sessions.context();
        let outcomes = cache.stats().outcomes;
        _ = write!(line, "{} lookups: {} hits", outcomes.total(), outcomes.hit + outcomes.external_hit);
        for (reason, number) in misses(&outcomes).into_iter().filter(|(_, number)| *number > 0) {
            _ = write!(line, ", {number} {reason}");
        }
        _ = write!(line, " | {} sessions", cache.len());
        for (trouble, counter) in self.troubles() {
            if get(counter) > 0 {
                _ = write!(line, " | {} {trouble}", get(counter));
            }
        }
        line
    }

    fn troubles(&self) -> [(&'static str, &AtomicU64); 3] {
        [
            ("failed handshakes", &self.failed_handshakes),
            ("broken connections", &self.broken_connections),
            ("refused connections", &self.refused_connections),
        ]
    }

    /// Everything, one number on a line, for a person or a script that checks that it adds up.
    pub(crate) fn report(&self, sessions: &ServerSessions, context: &SslContextRef) -> String {
        let (stats, openssl) = (sessions.context().stats(), OpensslCounters::of(context));
        let mut report = String::new();
        let mut row = |name: &str, value: u64| _ = writeln!(report, "{name:<34}{value:>10}");
        for (version, [full, resumed]) in ["TLS 1.2", "TLS 1.3"].iter().zip(&self.handshakes) {
            row(&format!("{version} full handshakes"), get(full));
            row(&format!("{version} resumed handshakes"), get(resumed));
        }
        row("early data accepted", get(&self.early_data));
        for (trouble, counter) in self.troubles() {
            row(trouble, get(counter));
        }
        row("OpenSSL accept", openssl.accept);
        row("OpenSSL accept_good", openssl.accept_good);
        row("OpenSSL hits", openssl.hits);
        row("OpenSSL cb_hits", openssl.cb_hits);
        row("OpenSSL misses", openssl.misses);
        row("OpenSSL timeouts", openssl.timeouts);
        row("OpenSSL number", openssl.number);
        cache_rows(&stats, &mut row);
        row("sessions stored", get(&self.stored));
        row("sessions evicted", get(&self.evicted));
        row("sessions expired", get(&self.expired));
        row("sessions used up", get(&self.used_up));
        row("removals asked for", get(&self.removals));
        row("sessions cached", stats.number);
        row("faults", sessions.faults());
        report
    }
}

fn cache_rows(stats: &Stats, row: &mut impl FnMut(&str, u64)) {
    let outcomes = stats.outcomes;
    row("cache lookups", outcomes.total());
    row("cache hits", outcomes.hit + outcomes.external_hit);
    for (reason, number) in misses(&outcomes) {
        row(&format!("cache misses, {reason}"), number);
    }
    row("cache full", stats.cache_full);
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
