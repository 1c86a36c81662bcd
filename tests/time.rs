//! Time: section 2.16 (T1, T2, T8, T12), C3, C6, C7, S11 to S15, departures 11 and 12. Flushing is in `flush`.

mod common;

use common::{Bed, LIFE, NOW, Tier, at, key, seconds, ticket, www};
use resumption::{Clock, CoarseClock, ManualClock, Session, SessionCacheMode, SessionContext, Timestamp};
use std::sync::Arc;
use std::time::Duration;

const UPDATE_TIME: SessionCacheMode = SessionCacheMode::from_bits(0x402);

/// Adds session 1 with these times and finds it in exactly the seconds from `first` to `last`.
fn lives(bed: &Bed, session: Session<u32>, last: Timestamp) {
    assert_eq!(session.expires_at(), last);
    let key = session.key();
    bed.context.add_session(Arc::new(session)).expect("it fits");
    bed.clock.set(last);
    assert_eq!(bed.find(&key), Some(1), "in its last second");
    bed.clock.set(last.saturating_add(seconds(1)));
    let after = bed.find(&key);
    assert_eq!(after.is_some(), last == Timestamp::NEVER, "after its last second");
}

/// T1, C3 and C6: a session gets the time and the timeout of its context, and keeps them when the context's changes.
#[test]
fn t1_a_session_keeps_the_timeout_it_started_with() {
    let bed = Bed::new();
    assert_eq!(bed.context.timeout(), seconds(300));
    let before = bed.session(1);
    assert_eq!(bed.context.set_timeout(seconds(10)), seconds(300));
    bed.advance(5);
    let after = bed.session(2);
    assert_eq!((before.time(), before.timeout()), (at(0), seconds(300)));
    assert_eq!((after.time(), after.timeout()), (at(5), seconds(10)));
    assert_eq!(bed.context.set_timeout(seconds(0)), seconds(10));
    assert_eq!(bed.context.timeout(), seconds(0));
    assert_eq!(bed.session(3).timeout(), seconds(300));
}

/// T1 with the builder's timeout.
#[test]
fn t1_the_builders_timeout() {
    let bed = Bed::with(|builder, _| builder.timeout(seconds(7)));
    assert_eq!(bed.context.timeout(), seconds(7));
    lives(&bed, bed.context.session(key(1)).id_context(www()).build(1), at(7));
}

/// C7 and T8: an absurd timeout of a context saturates, and its sessions never expire.
#[test]
fn c7_an_absurd_timeout_means_for_ever() {
    for absurd in [Duration::MAX, seconds(u64::MAX), seconds(1 << 55), seconds(18_446_744_074)] {
        let bed = Bed::new();
        bed.context.set_timeout(absurd);
        assert_eq!(bed.context.timeout(), seconds(absurd.as_secs()));
        lives(&bed, bed.context.session(key(1)).id_context(www()).build(1), Timestamp::NEVER);
    }
}

/// A timeout of less than a second must not turn into the default of five minutes.
#[test]
fn c6_a_fraction_of_a_second_is_not_the_default() {
    let bed = Bed::new();
    bed.context.set_timeout(Duration::from_millis(500));
    assert!(bed.session(1).timeout() <= seconds(1), "{:?}", bed.session(1).timeout());
    let built = Bed::with(|builder, _| builder.timeout(Duration::from_millis(500)));
    assert!(built.session(1).timeout() <= seconds(1), "{:?}", built.session(1).timeout());
}

/// S11 to S15, T2: times and timeouts of a session; equality is not expired; a timeout of 0 is one second.
#[test]
fn t2_a_session_lives_through_its_last_second() {
    for (time, timeout, last) in [(0, 300, 300), (0, 0, 0), (5, 1, 6), (100, 20, 120)] {
        let bed = Bed::new();
        let session =
            Session::<u32>::builder(key(1)).id_context(www()).time(at(time)).timeout(seconds(timeout));
        let session = session.build(1);
        assert_eq!((session.time(), session.timeout()), (at(time), seconds(timeout)));
        lives(&bed, session, at(last));
    }
}

/// T8: the timeouts that wrapped in OpenSSL.
#[test]
fn t8_no_timeout_wraps() {
    for timeout in [i64::MAX as u64, 1 << 62, 1 << 55, 18_446_744_074, 18_446_744_073, u64::MAX, 1 << 32] {
        let bed = Bed::new();
        let session =
            Session::<u32>::builder(ticket(1)).id_context(www()).time(NOW).timeout(seconds(timeout));
        lives(&bed, session.build(1), Timestamp::NEVER);
        assert_eq!(bed.context.flush_sessions(at(1_000)), 0);
    }
}

/// Departure 12: the ends of time, for every combination of time and timeout: nothing panics, nothing wraps.
#[test]
fn departure_12_the_ends_of_time() {
    let times =
        [Timestamp::EPOCH, Timestamp::from_unix(1), at(0), Timestamp::from_unix(u64::MAX), Timestamp::NEVER];
    let spans = [0, 1, 300, u64::from(u32::MAX) - 1, u64::from(u32::MAX), u64::MAX];
    for clock in times {
        for time in times {
            for span in spans {
                let bed = Bed::new();
                bed.clock.set(clock);
                let session =
                    Session::<u32>::builder(ticket(1)).id_context(www()).time(time).timeout(seconds(span));
                let session = Arc::new(session.build(1));
                assert!(session.expires_at() >= session.time());
                bed.context.add_session(Arc::clone(&session)).expect("it fits");
                let valid = clock <= session.expires_at();
                assert_eq!(bed.find(&ticket(1)).is_some(), valid, "{clock:?} {time:?} {span}");
                assert_eq!(bed.context.flush_sessions(clock), usize::from(!valid));
                assert_eq!(bed.take(&ticket(1)).is_some(), valid);
            }
        }
    }
}

/// T12: a session from the future is valid until its own end.
#[test]
fn t12_a_time_in_the_future_postpones_the_end() {
    let bed = Bed::new();
    let session =
        Session::<u32>::builder(key(1)).id_context(www()).time(at(1_000)).timeout(seconds(10)).build(1);
    bed.context.add_session(Arc::new(session)).expect("it fits");
    assert_eq!(bed.find(&key(1)), Some(1));
    bed.clock.set(at(1_010));
    assert_eq!(bed.find(&key(1)), Some(1));
    bed.clock.set(at(1_011));
    assert_eq!(bed.find(&key(1)), None);
}

/// Departure 12: a clock that steps back lets sessions live on, and brings nothing back that was removed.
#[test]
fn departure_12_a_step_back_revives_nothing() {
    let bed = Bed::new();
    bed.add(1);
    bed.add(2);
    bed.add(3);
    bed.advance(LIFE + 1);
    assert_eq!(bed.find(&key(1)), None);
    assert_eq!(bed.context.flush_sessions(bed.context.now()), 2);
    for step in [LIFE, 0] {
        bed.clock.set(at(step));
        (1..4).for_each(|n| assert_eq!(bed.find(&key(n)), None));
    }
    bed.clock.set(Timestamp::EPOCH);
    assert_eq!(bed.find(&key(2)), None);
}

/// Departure 12: a step back and forth again expires nothing before its time.
#[test]
fn departure_12_a_step_back_expires_nothing() {
    let bed = Bed::new();
    bed.add(1);
    for now in [Timestamp::EPOCH, at(0), at(LIFE), Timestamp::from_unix(7), at(LIFE)] {
        bed.clock.set(now);
        assert_eq!(bed.find(&key(1)), Some(1), "at {now:?}");
    }
}

/// Departure 11: the end of life caps the expiry, however long the timeout; an end before the beginning is expired.
#[test]
fn departure_11_the_end_of_life_caps_the_expiry() {
    let build = |timeout, end| {
        let session = Session::<u32>::builder(key(1)).id_context(www()).time(at(0)).timeout(seconds(timeout));
        session.end_of_life(end).build(1)
    };
    assert_eq!(build(300, Timestamp::NEVER).end_of_life(), Timestamp::NEVER);
    lives(&Bed::new(), build(300, at(100)), at(100));
    lives(&Bed::new(), build(u64::MAX, at(100)), at(100));
    lives(&Bed::new(), build(50, at(100)), at(50));
    let bed = Bed::new();
    bed.context.add_session(Arc::new(build(300, Timestamp::EPOCH))).expect("it fits");
    assert_eq!(bed.outcome(|| bed.find(&key(1))), (None, "expired"));
}

/// Departure 11: resumption cannot prolong it, by however many renewals.
#[test]
fn departure_11_no_renewal_goes_beyond_the_end_of_life() {
    let bed = Bed::with(|builder, _| builder.mode(UPDATE_TIME));
    let session = bed.context.session(key(1)).id_context(www()).end_of_life(at(1_000)).build(1);
    bed.context.add_session(Arc::new(session)).expect("it fits");
    for now in (0..=1_000).step_by(200) {
        bed.clock.set(at(now));
        assert_eq!(bed.find(&key(1)), Some(1), "at {now}");
    }
    bed.clock.set(at(1_001));
    assert_eq!(bed.find(&key(1)), None);
}

/// Departure 11, through the external store.
#[test]
fn departure_11_the_end_of_life_holds_for_what_comes_from_outside() {
    let tier = Tier::default();
    let bed = Bed::with(|builder, _| builder.mode(UPDATE_TIME).external(tier.clone()));
    let session = bed.context.session(ticket(1)).id_context(www()).end_of_life(at(350)).build(1);
    tier.has(ticket(1), &Arc::new(session));
    bed.clock.set(at(300));
    assert_eq!(bed.outcome(|| bed.find(&ticket(1))), (Some(1), "external_hit"));
    bed.clock.set(at(350));
    assert_eq!(bed.find(&ticket(1)), Some(1));
    bed.clock.set(at(351));
    assert_eq!(bed.outcome(|| bed.find(&ticket(1))), (None, "expired"));
}

/// Promise E: while the clock moves and threads look up, nobody gets a session that had expired when they asked.
#[test]
fn promise_e_no_lookup_returns_what_has_expired() {
    let bed = Bed::with(|builder, _| builder.timeout(seconds(3)));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                let bed = &bed;
                scope.spawn(move || {
                    let (mut found, mut round) = (0, 0_u32);
                    while bed.context.now() < at(2_000) {
                        round += 1;
                        let key = if round % 2 == 0 { key(round % 8) } else { ticket(round % 8) };
                        let (guard, asked) = (bed.context.pin(), bed.context.now());
                        let session = match reader {
                            0 => bed.context.take_borrowed(&key, &www(), &guard),
                            _ => bed.context.lookup(&key, &www(), &guard),
                        };
                        if let Some(session) = session {
                            assert!(session.expires_at() >= asked);
                            found += 1;
                        }
                    }
                    found
                })
            })
            .collect();
        for step in 0..2_001 {
            for n in 0..8 {
                let key = if step % 2 == 0 { key(n) } else { ticket(n) };
                bed.context.add_session(bed.session_of(key, n)).expect("it fits");
            }
            bed.advance(1);
        }
        let found: u32 = readers.into_iter().map(|reader| reader.join().expect("no panic")).sum();
        assert!(found > 0, "nothing was ever found");
    });
}

/// The context reads the time from the clock that it was given; an `Arc` of a clock is a clock.
#[test]
fn the_clock_is_the_users() {
    let clock = Arc::new(ManualClock::new(at(5)));
    let context =
        SessionContext::<u32>::builder().capacity(4).clock(Arc::clone(&clock)).build().expect("valid");
    assert_eq!(context.now(), at(5));
    clock.set(at(9));
    assert_eq!((context.now(), context.session(key(1)).build(1).time()), (at(9), at(9)));
}

/// The default clock moves forward and tells seconds since 1970.
#[test]
fn the_default_clock_does_not_run_backwards() {
    let clock = CoarseClock::new();
    let mut last = clock.now();
    assert!(last > Timestamp::from_unix(1_600_000_000) && last < Timestamp::NEVER);
    for _ in 0..100_000 {
        let now = clock.now();
        assert!(now >= last);
        last = now;
    }
}
