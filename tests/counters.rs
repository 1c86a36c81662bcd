//! Counters: section 2.19 and departure 9.

mod common;

use common::{Bed, LIFE, Tier, key, mail, seconds, ticket, www};
use resumption::{HandshakeEvent, RemoveReason, SessionCacheMode, SessionContext, Side, Stats};
use std::sync::{Arc, Barrier};

/// A new context has counted nothing.
#[test]
fn a_new_context_has_counted_nothing() {
    assert_eq!(Bed::new().context.stats(), Stats::default());
}

/// connect, connect_good, connect_renegotiate, accept, accept_good, accept_renegotiate: one each, nothing else.
#[test]
fn handshake_events_count_one_each() {
    let counts = |context: &SessionContext<u32>| {
        let s = context.stats();
        [s.connect, s.connect_good, s.connect_renegotiate, s.accept, s.accept_good, s.accept_renegotiate]
    };
    let events = [
        HandshakeEvent::ConnectStarted,
        HandshakeEvent::ConnectFinished,
        HandshakeEvent::ConnectRenegotiated,
        HandshakeEvent::AcceptStarted,
        HandshakeEvent::AcceptFinished,
        HandshakeEvent::AcceptRenegotiated,
    ];
    let bed = Bed::new();
    let mut expected = [0; 6];
    for (index, event) in events.into_iter().enumerate() {
        for _ in 0..=index {
            bed.context.record(event);
            expected[index] += 1;
            assert_eq!(counts(&bed.context), expected);
        }
    }
    assert_eq!(bed.context.stats().outcomes.total(), 0);
}

/// number: the live table, all versions, expired and marked ones included.
#[test]
fn number_is_the_size_of_the_table() {
    let bed = Bed::new();
    bed.add(1);
    bed.add_of(ticket(1), 2);
    bed.add(3).mark_not_resumable();
    bed.advance(LIFE + 1);
    assert_eq!(bed.context.stats().number, 3);
    assert_eq!(bed.find(&key(1)), None);
    assert_eq!(bed.context.stats().number, 2);
    bed.context.flush_all();
    assert_eq!(bed.context.stats().number, 0);
}

type Act = fn(&Bed, &Tier);

/// Departure 9: every way a lookup can end, as one outcome, with what OpenSSL's counters say beside it: hits, cb_hits,
/// misses, timeouts. First what led to it, then the name.
const WAYS: [(&str, Act, [u64; 4]); 10] = [
    ("hit", |bed, _| drop(bed.add_of(ticket(1), 1)), [1, 0, 0, 0]),
    ("external_hit", |bed, tier| tier.has(ticket(1), &bed.session_of(ticket(1), 1)), [1, 1, 1, 0]),
    ("unknown", |_, _| {}, [0, 0, 1, 0]),
    (
        "expired",
        |bed, _| {
            bed.add_of(ticket(1), 1);
            bed.advance(LIFE + 1);
        },
        [0, 0, 0, 1],
    ),
    (
        "evicted",
        |bed, _| {
            bed.add_of(ticket(1), 1);
            assert_eq!(bed.context.set_capacity(1), Ok(64));
            bed.add(2);
        },
        [0, 0, 1, 0],
    ),
    (
        "consumed",
        |bed, _| {
            bed.add_of(ticket(1), 1);
            assert_eq!(bed.take(&ticket(1)), Some(1));
        },
        [0, 0, 1, 0],
    ),
    (
        "other_context",
        |bed, _| {
            let other = bed.context.session(ticket(1)).id_context(mail()).build(1);
            bed.context.add_session(Arc::new(other)).expect("it fits");
        },
        [0, 0, 0, 0],
    ),
    ("other_version", |bed, _| drop(bed.add(1)), [0, 0, 1, 0]),
    ("marked", |bed, _| bed.add_of(ticket(1), 1).mark_not_resumable(), [0, 0, 0, 0]),
    (
        "mode",
        |bed, _| {
            bed.add_of(ticket(1), 1);
            bed.context.set_mode(SessionCacheMode::OFF);
        },
        [0, 0, 0, 0],
    ),
];

fn four(stats: &Stats) -> [u64; 4] {
    [stats.hits, stats.cb_hits, stats.misses, stats.timeouts]
}

/// Does `ask` after each of the ways and checks how it was counted.
fn every_way(ask: impl Fn(&Bed) -> bool) {
    for (name, prepare, expected) in WAYS {
        let tier = Tier::default();
        let bed = Bed::with(|builder, _| builder.external(tier.clone()));
        prepare(&bed, &tier);
        let before = bed.context.stats();
        let (found, outcome) = bed.outcome(|| ask(&bed));
        assert_eq!(outcome, name);
        assert_eq!(found, matches!(name, "hit" | "external_hit"), "{name}");
        let after = bed.context.stats();
        let (old, new) = (four(&before), four(&after));
        assert_eq!(std::array::from_fn(|i| new[i] - old[i]), expected, "{name}");
        let misses = after.outcomes.misses() - before.outcomes.misses();
        assert_eq!(misses, u64::from(!found), "{name}");
    }
}

#[test]
fn departure_9_a_lookup_has_one_outcome() {
    every_way(|bed| bed.context.lookup(&ticket(1), &www(), &bed.context.pin()).is_some());
}

#[test]
fn departure_9_a_lookup_arc_has_one_outcome() {
    every_way(|bed| bed.context.lookup_arc(&ticket(1), &www()).is_some());
}

#[test]
fn departure_9_a_take_has_one_outcome() {
    every_way(|bed| bed.context.take(&ticket(1), &www()).is_some());
}

#[test]
fn departure_9_a_borrowed_take_has_one_outcome() {
    every_way(|bed| bed.context.take_borrowed(&ticket(1), &www(), &bed.context.pin()).is_some());
}

/// What has expired and been removed is remembered as expired; what was flushed or removed before its time is not there.
#[test]
fn departure_9_what_left_lately_has_its_reason() {
    let bed = Bed::new();
    bed.add(1);
    bed.advance(LIFE + 1);
    bed.context.flush_sessions(bed.context.now());
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "expired"));
    assert_eq!(bed.context.stats().timeouts, 0); // Q4 only, never by flush
    bed.add(2);
    bed.context.flush_all();
    assert_eq!(bed.outcome(|| bed.find(&key(2))), (None, "unknown"));
}

/// The rest of the calls are no lookups: they move neither the outcomes nor OpenSSL's four.
#[test]
fn what_is_no_lookup_counts_as_none() {
    let bed = Bed::with(|builder, _| builder.capacity(2));
    let session = bed.add(1);
    bed.context.store_session(bed.session(2), Side::Server).expect("it fits");
    bed.context.add_session(bed.session_of(key(1), 3)).expect("it fits");
    bed.add(4);
    bed.context.contains(&key(1));
    bed.context.remove_session(&session);
    bed.context.remove_session_because(&session, RemoveReason::FatalAlert);
    bed.context.set_timeout(seconds(1));
    bed.context.purge(&mail());
    bed.advance(LIFE + 1);
    bed.context.flush_sessions(bed.context.now());
    bed.context.flush_all();
    let stats = bed.context.stats();
    assert_eq!((stats.outcomes.total(), four(&stats)), (0, [0; 4]));
    assert_eq!(stats.cache_full, 1);
}

/// Counters belong to one context.
#[test]
fn contexts_count_for_themselves() {
    let (a, b) = (Bed::new(), Bed::new());
    let session = a.add(1);
    b.context.add_session(session).expect("it fits");
    assert_eq!(a.find(&key(1)), Some(1));
    assert_eq!(b.find(&key(2)), None);
    let (a, b) = (a.context.stats(), b.context.stats());
    assert_eq!((four(&a), four(&b)), ([1, 0, 0, 0], [0, 0, 1, 0]));
}

/// Nothing is lost, with more threads alive at once than there are blocks of counters of their own, nor when threads end
/// and others take their place.
#[test]
fn every_lookup_of_every_thread_is_counted() {
    const THREADS: usize = 100;
    const EACH: u64 = 300;
    let bed = Bed::new();
    bed.add(1);
    for round in 1..=3 {
        let all_alive = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    bed.find(&key(1));
                    all_alive.wait();
                    for _ in 1..EACH {
                        bed.find(&key(1));
                        bed.find(&key(2));
                    }
                    bed.context.record(HandshakeEvent::AcceptFinished);
                    all_alive.wait();
                });
            }
        });
        let stats = bed.context.stats();
        let threads = round * THREADS as u64;
        assert_eq!((stats.hits, stats.misses), (threads * EACH, threads * (EACH - 1)));
        assert_eq!(stats.outcomes.total(), threads * (2 * EACH - 1));
        assert_eq!(stats.accept_good, threads);
    }
}

/// Read while others count, the counters never run backwards.
#[test]
fn counters_only_rise() {
    let bed = Bed::new();
    bed.add(1);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..20_000).for_each(|_| assert_eq!(bed.find(&key(1)), Some(1))));
        }
        let mut last = 0;
        while last < 40_000 {
            let hits = bed.context.stats().hits;
            assert!(hits >= last && hits <= 40_000);
            last = hits;
        }
    });
}
