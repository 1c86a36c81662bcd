//! Cache modes: the tables of section 2.13, C5 and C9, departures 5, 6 and 13.

mod common;

use common::{Bed, LIFE, Tier, Told, at, key, mail, ticket, www};
use resumption::{RemoveReason, SessionCacheMode, SessionContext, Side};
use std::sync::Arc;

const UPDATE: SessionCacheMode = SessionCacheMode::UPDATE_TIME;

fn bed(bits: u32) -> Bed {
    Bed::with(|builder, _| builder.mode(SessionCacheMode::from_bits(bits)))
}

/// C9: the names have OpenSSL's values. C1: SERVER is the default.
#[test]
fn c1_c9_the_values_are_openssls() {
    let values = [
        (SessionCacheMode::OFF, 0),
        (SessionCacheMode::CLIENT, 1),
        (SessionCacheMode::SERVER, 2),
        (SessionCacheMode::BOTH, 3),
        (SessionCacheMode::NO_AUTO_CLEAR, 0x80),
        (SessionCacheMode::NO_INTERNAL_LOOKUP, 0x100),
        (SessionCacheMode::NO_INTERNAL_STORE, 0x200),
        (SessionCacheMode::NO_INTERNAL, 0x300),
        (SessionCacheMode::UPDATE_TIME, 0x400),
    ];
    for (mode, bits) in values {
        assert_eq!(mode.bits(), bits);
        assert_eq!(SessionCacheMode::from_bits(bits), mode);
    }
    assert_eq!(SessionContext::<u32>::new().mode(), SessionCacheMode::SERVER);
}

/// C5: the previous mode comes back, all bits are replaced, unknown ones are kept and mean nothing.
#[test]
fn c5_set_mode_replaces_every_bit() {
    let bed = bed(2);
    let odd = SessionCacheMode::from_bits(0x8000_1081);
    assert_eq!(bed.context.set_mode(odd), SessionCacheMode::SERVER);
    assert_eq!(bed.context.mode(), odd);
    assert_eq!(bed.context.set_mode(SessionCacheMode::OFF), odd);
    assert_eq!(bed.context.mode().bits(), 0);
    bed.context.set_mode(SessionCacheMode::SERVER | SessionCacheMode::from_bits(0x1000));
    bed.add(1);
    assert_eq!(bed.find(&key(1)), Some(1));
}

#[derive(Debug, PartialEq)]
struct Lookups {
    internal: bool,
    asks: bool,
    stores_answer: bool,
}

/// What lookups do in a mode: session 1 is inside, session 2 only outside.
fn lookups(bits: u32) -> Lookups {
    let bed = Bed::with(|builder, log| {
        let log = log.clone();
        builder.mode(SessionCacheMode::from_bits(bits)).on_get(move |context, wanted| {
            log.push(Told::Asked(*wanted));
            let session = || Arc::new(context.session(key(2)).id_context(www()).build(2));
            (*wanted == key(2)).then(session)
        })
    });
    bed.add(1);
    let internal = bed.find(&key(1)).is_some();
    bed.told();
    let found = bed.find(&key(2)).is_some();
    let asks = bed.told() == [Told::Asked(key(2))];
    assert_eq!(found, asks, "mode {bits:#x}");
    Lookups { internal, asks, stores_answer: bed.context.contains(&key(2)) }
}

/// 2.13, the server's lookup columns; OFF as departure 6 has it, CLIENT as L10 and K10 have it.
#[test]
fn the_lookup_columns_of_the_mode_table() {
    let row = |internal, asks, stores_answer| Lookups { internal, asks, stores_answer };
    let table = [
        (0x000, row(false, false, false)),
        (0x080, row(false, false, false)),
        (0x400, row(false, false, false)),
        (0x001, row(true, true, true)),
        (0x002, row(true, true, true)),
        (0x003, row(true, true, true)),
        (0x082, row(true, true, true)),
        (0x402, row(true, true, true)),
        (0x102, row(false, true, true)),
        (0x202, row(true, true, false)),
        (0x302, row(false, true, false)),
        (0x382, row(false, true, false)),
    ];
    for (bits, expected) in table {
        assert_eq!(lookups(bits), expected, "mode {bits:#x}");
    }
}

/// Whether the store step of `side` stores internally and calls the new callback.
fn store(bits: u32, side: Side) -> (bool, bool) {
    let bed = bed(bits);
    let stored = bed.context.store_session(bed.session(1), side).expect("it fits");
    assert_eq!(stored.internal, bed.context.contains(&key(1)), "mode {bits:#x}");
    let told = bed.told();
    assert_eq!(stored.announced, told == [Told::New(1)], "mode {bits:#x}: {told:?}");
    assert!(stored.announced || told.is_empty());
    (stored.internal, stored.announced)
}

/// 2.13, the store columns of both tables, and 2.11 steps 3, 5 and 6.
#[test]
fn the_store_columns_of_the_mode_table() {
    let table = [
        (0x000, (false, false), (false, false)),
        (0x001, (true, true), (false, false)),
        (0x002, (false, false), (true, true)),
        (0x003, (true, true), (true, true)),
        (0x082, (false, false), (true, true)),
        (0x101, (true, true), (false, false)),
        (0x102, (false, false), (true, true)),
        (0x201, (false, true), (false, false)),
        (0x202, (false, false), (false, true)),
        (0x300, (false, false), (false, false)),
        (0x301, (false, true), (false, false)),
        (0x302, (false, false), (false, true)),
        (0x303, (false, true), (false, true)),
        (0x402, (false, false), (true, true)),
    ];
    for (bits, client, server) in table {
        assert_eq!(store(bits, Side::Client), client, "client, mode {bits:#x}");
        assert_eq!(store(bits, Side::Server), server, "server, mode {bits:#x}");
    }
}

/// Departure 6: OFF asks neither callback nor store, stores nothing, and says so; what is explicit still works.
#[test]
fn departure_6_off_does_nothing_by_itself() {
    let tier = Tier::default();
    let bed = Bed::with(|builder, log| {
        let log = log.clone();
        builder.mode(SessionCacheMode::OFF).external(tier.clone()).on_get(move |_, key| {
            log.push(Told::Asked(*key));
            None
        })
    });
    let session = bed.add(1);
    tier.has(key(2), &bed.session(2));
    for n in [1, 2, 3] {
        assert_eq!(bed.outcome(|| bed.find(&key(n))), (None, "mode"));
        assert_eq!(bed.outcome(|| bed.take(&key(n))), (None, "mode"));
        assert_eq!(bed.outcome(|| bed.context.lookup_arc(&key(n), &www()).is_some()), (false, "mode"));
    }
    for side in [Side::Client, Side::Server] {
        bed.context.store_session(bed.session(4), side).expect("nothing to refuse");
    }
    assert!(bed.told().is_empty());
    assert!(tier.calls().is_empty());
    let stats = bed.context.stats();
    assert_eq!((stats.hits, stats.misses, stats.cb_hits), (0, 0, 0));

    assert!(bed.context.contains(&key(1)));
    assert!(bed.context.remove_session(&session));
    assert_eq!(bed.told(), [Told::Left(1, RemoveReason::Removed)]);
    bed.add(5);
    assert_eq!(bed.context.flush_all(), 1);
    // Nothing was lost: switched on, the context goes on where it was.
    bed.add(6);
    bed.context.set_mode(SessionCacheMode::SERVER);
    assert_eq!((bed.find(&key(6)), bed.find(&key(2))), (Some(6), Some(2)));
}

/// Departure 5: with UPDATE_TIME a hit renews the entry's expiry, however often; the session itself is immutable.
#[test]
fn departure_5_update_time_renews_on_a_hit() {
    let bed = bed(0x402);
    let session = bed.add(1);
    for _ in 0..10 {
        bed.advance(LIFE);
        assert_eq!(bed.find(&key(1)), Some(1));
        bed.advance(LIFE);
        assert_eq!(bed.context.lookup_arc(&key(1), &www()).map(|s| *s.payload()), Some(1));
    }
    assert_eq!((session.time(), session.expires_at()), (at(0), at(LIFE)));
    bed.advance(LIFE + 1);
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "expired"));
}

/// Without the bit a hit renews nothing (L1), and with it only a hit does.
#[test]
fn departure_5_only_a_hit_with_the_bit_renews() {
    let plain = bed(2);
    plain.add(1);
    plain.advance(LIFE);
    assert_eq!(plain.find(&key(1)), Some(1));
    plain.advance(1);
    assert_eq!(plain.find(&key(1)), None);

    let bed = bed(0x402);
    bed.add(1);
    bed.advance(LIFE);
    assert!(bed.context.lookup_arc(&key(1), &mail()).is_none());
    assert!(bed.context.contains(&key(1)));
    bed.held();
    bed.advance(1);
    assert_eq!(bed.find(&key(1)), None);
}

/// Departure 5 with departure 12: a hit under a clock that was stepped back must not shorten what is left.
#[test]
fn departure_5_a_renewal_never_shortens() {
    let bed = bed(0x402);
    bed.add(1);
    bed.clock.set(resumption::Timestamp::from_unix(common::NOW.as_unix() - 1_000));
    assert_eq!(bed.find(&key(1)), Some(1));
    bed.clock.set(at(0));
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (Some(1), "hit"));
}

/// As above, by `lookup_at`: "a `now` that lags behind lets sessions live as much longer".
#[test]
fn departure_5_a_lagging_caller_does_not_shorten() {
    let bed = bed(0x402);
    bed.add_of(ticket(1), 1);
    bed.advance(100);
    assert_eq!(bed.find(&ticket(1)), Some(1)); // good until second 400
    let guard = bed.context.pin();
    assert!(bed.context.lookup_at(&ticket(1), &www(), at(0), &guard).is_some());
    bed.advance(LIFE);
    assert_eq!(bed.outcome(|| bed.find(&ticket(1))), (Some(1), "hit"));
}

/// 2.13: UPDATE_TIME works for what comes from outside too: a session that is still valid is stored with a new expiry.
#[test]
fn update_time_renews_what_comes_from_outside() {
    let tier = Tier::default();
    let bed = Bed::with(|builder, _| builder.external(tier.clone()).mode(SessionCacheMode::SERVER | UPDATE));
    tier.has(key(1), &bed.session(1));
    bed.advance(LIFE);
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (Some(1), "external_hit"));
    bed.advance(LIFE);
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (Some(1), "hit"));
}

/// UPDATE_TIME does not bring back what has expired, wherever it is.
#[test]
fn update_time_revives_nothing() {
    let tier = Tier::default();
    let bed = Bed::with(|builder, _| builder.external(tier.clone()).mode(SessionCacheMode::SERVER | UPDATE));
    tier.has(key(1), &bed.session(1));
    bed.add_of(ticket(2), 2);
    bed.advance(LIFE + 1);
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "expired"));
    for _ in 0..2 {
        assert_eq!(bed.outcome(|| bed.find(&ticket(2))), (None, "expired"));
    }
}

/// Departure 13: with NO_AUTO_CLEAR expired tickets stay until a flush, and are never returned.
#[test]
fn departure_13_no_auto_clear_leaves_reclaiming_to_flush() {
    let bed = bed(0x82);
    (0..10).for_each(|n| drop(bed.add_of(ticket(n), n)));
    bed.advance(LIFE + 1);
    for n in 10..50 {
        bed.context.store_session(bed.session_of(ticket(n), n), Side::Server).expect("it fits");
        assert_eq!(bed.find(&ticket(n)), Some(n));
        assert_eq!(bed.find(&ticket(n % 10)), None);
    }
    assert_eq!(bed.held(), Vec::from_iter(0..50));
    assert_eq!(bed.context.flush_sessions(bed.context.now()), 10);
    assert_eq!(bed.held(), Vec::from_iter(10..50));
}

/// Departure 6 and the last column of 2.13: in mode OFF nothing is cleared by itself either, and no callback runs.
#[test]
fn departure_6_off_clears_nothing_by_itself() {
    for bits in [0x000, 0x400] {
        let bed = bed(bits);
        (0..10).for_each(|n| drop(bed.add(n)));
        for _ in 0..3 {
            bed.advance(LIFE + 1);
            bed.add_of(ticket(u32::try_from(bed.held().len()).expect("few")), 99);
        }
        assert_eq!(bed.held().len(), 13, "mode {bits:#x}");
        assert!(bed.told().is_empty(), "mode {bits:#x}");
        assert_eq!(bed.context.flush_sessions(bed.context.now()), 12, "mode {bits:#x}");
    }
}

/// A mode that changes takes effect on the next call, from any thread.
#[test]
fn a_mode_takes_effect_at_once() {
    let bed = bed(2);
    bed.add(1);
    for (bits, found) in [(0, None), (2, Some(1)), (0x102, None), (0x202, Some(1)), (0, None), (1, Some(1))] {
        std::thread::scope(|scope| {
            scope.spawn(|| bed.context.set_mode(SessionCacheMode::from_bits(bits)));
        });
        assert_eq!(bed.find(&key(1)), found, "mode {bits:#x}");
    }
}
