//! Batches of lookups: the same as one lookup after the other, in results, in effects and in what is counted.

mod common;

use common::{Bed, Told, key, key_of, mail, ticket, www};
use resumption::{Outcomes, ProtocolVersion, SessionCacheMode, SessionIdContext, SessionKey};
use std::cell::Cell;

/// A context with sessions of every fate, and keys that meet each of them: hits, misses of every reason, repetitions;
/// more than two groups.
fn populate(bed: &Bed) -> Vec<SessionKey> {
    // The wheel would remove in the order of the hashes, which differs from context to context.
    bed.context.set_mode(SessionCacheMode::SERVER | SessionCacheMode::NO_AUTO_CLEAR);
    for n in 0..20 {
        bed.add(n);
    }
    bed.add_of(ticket(20), 20);
    bed.add(21).mark_not_resumable();
    let other = bed.context.session(key(22)).id_context(mail()).build(22);
    bed.context.add_session(std::sync::Arc::new(other)).expect("it fits");
    assert_eq!(bed.take(&key(3)), Some(3));
    let short = |n| bed.context.session(n).id_context(www()).timeout(common::seconds(5));
    for (n, key) in [(23, key(23)), (24, ticket(24))] {
        bed.context.add_session(std::sync::Arc::new(short(key).build(n))).expect("it fits");
    }
    bed.advance(10);
    let mut keys: Vec<SessionKey> = (0..26).map(key).collect();
    keys.extend([ticket(20), ticket(24), key(23), key(5), key(5), ticket(5)]);
    keys.push(key_of(ProtocolVersion::TLS1_1, 6));
    keys.extend((0..9).map(key));
    assert!(keys.len() > 33 && !keys.len().is_multiple_of(16), "{}", keys.len());
    keys
}

type Effects = (Vec<Option<u32>>, [u64; 11], Vec<Told>, Vec<u32>);

fn effects(bed: &Bed, found: Vec<Option<u32>>) -> Effects {
    let stats = bed.context.stats();
    let Outcomes { hit, external_hit, other_context, other_version, marked, mode, .. } = stats.outcomes;
    // Why a session is gone is remembered in a lossy way, which differs from context to context.
    let gone = stats.outcomes.misses() - other_context - other_version - marked - mode;
    let outcomes = [hit, external_hit, other_context, other_version, marked, mode, gone];
    let counters = [stats.hits, stats.misses, stats.timeouts, stats.cb_hits];
    let counted = std::array::from_fn(|i| if i < 7 { outcomes[i] } else { counters[i - 7] });
    (found, counted, bed.told(), bed.held())
}

fn one_by_one(bed: &Bed, keys: &[SessionKey], id_context: &SessionIdContext) -> Effects {
    let guard = bed.context.pin();
    let found = keys.iter().map(|key| bed.context.lookup(key, id_context, &guard).map(|s| *s.payload()));
    effects(bed, found.collect())
}

fn together(bed: &Bed, keys: &[SessionKey], id_context: &SessionIdContext) -> Effects {
    let guard = bed.context.pin();
    let mut found = Vec::new();
    bed.context.lookup_many(keys, id_context, &guard, |place, session| {
        assert_eq!(place, found.len(), "the keys are visited in order");
        found.push(session.map(|s| *s.payload()));
    });
    effects(bed, found)
}

#[test]
fn every_fate_is_that_of_a_single_lookup() {
    for id_context in [www(), mail(), SessionIdContext::EMPTY] {
        let (single, many) = (Bed::new(), Bed::new());
        let keys = populate(&single);
        assert_eq!(keys, populate(&many));
        let expected = one_by_one(&single, &keys, &id_context);
        assert_eq!(together(&many, &keys, &id_context), expected);
        assert_eq!(expected.0.len(), keys.len());
    }
    let bed = Bed::new();
    let keys = populate(&bed);
    let (found, ..) = together(&bed, &keys, &www());
    assert_eq!(found.iter().flatten().count(), 30);
    let stats = bed.context.stats();
    let outcomes = stats.outcomes;
    assert_eq!((outcomes.other_context, outcomes.other_version, outcomes.marked), (1, 4, 1));
    assert_eq!((stats.misses, stats.timeouts), (8, 2));
}

#[test]
fn every_mode_is_obeyed() {
    use SessionCacheMode as Mode;
    let modes = [
        Mode::OFF,
        Mode::CLIENT,
        Mode::BOTH,
        Mode::SERVER | Mode::NO_INTERNAL_LOOKUP,
        Mode::SERVER | Mode::NO_INTERNAL,
        Mode::SERVER | Mode::NO_INTERNAL_STORE,
        Mode::SERVER | Mode::UPDATE_TIME,
        Mode::from_bits(0x8000_0002),
    ];
    for mode in modes {
        let (single, many) = (Bed::new(), Bed::new());
        let keys = populate(&single);
        populate(&many);
        for bed in [&single, &many] {
            let mode = mode | Mode::NO_AUTO_CLEAR;
            bed.context.set_mode(mode);
            assert_eq!(bed.context.mode(), mode);
        }
        assert_eq!(together(&many, &keys, &www()), one_by_one(&single, &keys, &www()), "{mode:?}");
        // What a renewal changed shows later.
        single.advance(295);
        many.advance(295);
        assert_eq!(together(&many, &keys, &www()), one_by_one(&single, &keys, &www()), "{mode:?}");
    }
}

/// The get callback is asked for what is not here, and what it returns is stored and lent.
#[test]
fn the_get_callback_is_asked_in_turn() {
    let bed = || {
        Bed::with(|builder, log| {
            let log = log.clone();
            builder.on_get(move |context, asked| {
                log.push(Told::Asked(*asked));
                let n = asked.id().as_bytes()[3];
                (n % 2 == 1).then(|| {
                    std::sync::Arc::new(context.session(*asked).id_context(www()).build(u32::from(n) + 1000))
                })
            })
        })
    };
    let (single, many) = (bed(), bed());
    let keys = populate(&single);
    populate(&many);
    let expected = one_by_one(&single, &keys, &www());
    assert!(expected.2.iter().any(|told| matches!(told, Told::Asked(_))));
    assert!(expected.0.contains(&Some(1025)), "{:?}", expected.0);
    assert_eq!(together(&many, &keys, &www()), expected);
}

/// What the visitor does about one key is seen by the lookups of the next ones, in the same group.
#[test]
fn a_visitor_may_change_what_comes_next() {
    let bed = Bed::new();
    let keys: Vec<SessionKey> = (0..32).map(key).collect();
    let sessions: Vec<_> = (0..31).map(|n| bed.add(n)).collect();
    let guard = bed.context.pin();
    let mut found = Vec::new();
    bed.context.lookup_many(&keys, &www(), &guard, |place, session| {
        found.push(session.map(|s| *s.payload()));
        match place {
            0 => assert!(bed.context.remove_session(&sessions[1])),
            1 => assert_eq!(bed.take(&key(2)), Some(2)),
            2 => bed.advance(301),
            4 => bed.clock.set(common::NOW),
            18 => {
                bed.context.set_mode(SessionCacheMode::OFF);
            }
            20 => {
                bed.context.set_mode(SessionCacheMode::SERVER);
            }
            30 => {
                bed.add(31);
            }
            _ => {}
        }
    });
    let gone = [1, 2, 19, 20];
    let expected: Vec<_> = (0..32).map(|n| (!gone.contains(&n)).then_some(n)).collect();
    assert_eq!(found, expected, "the clock is read once, everything else in turn");
}

#[test]
fn no_keys_no_visits() {
    let bed = Bed::new();
    let visits = Cell::new(0);
    let guard = bed.context.pin();
    bed.context.lookup_many(&[], &www(), &guard, |_, _| visits.set(visits.get() + 1));
    assert_eq!((visits.get(), bed.context.stats().outcomes.total()), (0, 0));
}

/// The borrows live as long as the guard, whatever happens to the sessions.
#[test]
fn what_was_lent_stays_readable() {
    let bed = Bed::new();
    let keys: Vec<SessionKey> = (0..40).map(key).collect();
    for n in 0..40 {
        bed.add(n);
    }
    let guard = bed.context.pin();
    let mut lent = Vec::new();
    bed.context.lookup_many(&keys, &www(), &guard, |_, session| lent.extend(session));
    assert_eq!(bed.context.flush_all(), 40);
    assert!(lent.iter().map(|session| *session.payload()).eq(0..40));
}
