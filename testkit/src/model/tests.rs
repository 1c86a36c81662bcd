//! What the model allows and what it does not. Every refusal here is a defect that it would find in an engine.

use super::*;

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;

fn key(id: u8) -> Key {
    Key { id: vec![id], version: TLS12 }
}

/// A session of key `id` that lives through seconds 100 to 400.
fn session(serial: u64, id: u8) -> Session {
    Session { serial, key: key(id), id_context: b"www".into(), time: 100, timeout: 300, end_of_life: NEVER }
}

fn lookup(id: u8) -> Call {
    Call::Lookup(key(id), b"www".into())
}

fn take(id: u8) -> Call {
    Call::Take(key(id), b"www".into())
}

fn hit(serial: u64) -> Answer {
    Answer::Found(Some(serial), Outcome::Hit)
}

fn miss(outcome: Outcome) -> Answer {
    Answer::Found(None, outcome)
}

fn judge(
    model: &mut Model,
    now: u64,
    call: Call,
    answer: Answer,
    departures: &[(u64, Reason)],
) -> Result<(), String> {
    let seen = Seen { answer, departures: departures.to_vec() };
    model.judge(&call, now, &seen).map_err(|disagreement| disagreement.complaint)
}

#[track_caller]
fn allows(model: &mut Model, now: u64, call: Call, answer: Answer, departures: &[(u64, Reason)]) {
    if let Err(complaint) = judge(model, now, call, answer, departures) {
        panic!("{complaint}");
    }
}

/// The model is left as it was.
#[track_caller]
fn refuses(model: &Model, now: u64, call: Call, answer: Answer, departures: &[(u64, Reason)]) {
    let verdict = judge(&mut model.clone(), now, call, answer, departures);
    assert!(verdict.is_err(), "allowed");
}

/// Session 1 under key 1.
fn one() -> Model {
    let mut model = Model::new(0);
    allows(&mut model, 100, Call::Add(session(1, 1)), Answer::Added, &[]);
    model
}

#[test]
fn add_says_whether_the_key_was_free() {
    let mut model = one();
    refuses(&model, 100, Call::Add(session(1, 1)), Answer::Added, &[]);
    allows(&mut model, 100, Call::Add(session(1, 1)), Answer::Unchanged, &[]);
    refuses(&model, 100, Call::Add(session(2, 1)), Answer::Unchanged, &[]);
    refuses(&model, 100, Call::Add(session(2, 1)), Answer::Replaced(1), &[(1, Reason::Removed)]);
    allows(&mut model, 100, Call::Add(session(2, 1)), Answer::Replaced(1), &[]);
    assert!(model.is_resumable(1));
    assert_eq!(model.serials(), [2]);
}

#[test]
fn lookup_finds_what_was_added() {
    let mut model = one();
    allows(&mut model, 100, lookup(1), hit(1), &[]);
    refuses(&model, 100, lookup(1), hit(2), &[]);
    refuses(&model, 100, lookup(1), miss(Outcome::Unknown), &[]);
    refuses(&model, 100, lookup(2), hit(1), &[]);
    allows(&mut model, 100, lookup(2), miss(Outcome::Unknown), &[]);
    refuses(&model, 100, lookup(2), miss(Outcome::OtherVersion), &[]);
}

#[test]
fn the_same_id_under_another_version_is_another_session() {
    let mut model = one();
    let other = Key { version: TLS13, ..key(1) };
    refuses(&model, 100, Call::Lookup(other.clone(), b"www".into()), miss(Outcome::Unknown), &[]);
    allows(&mut model, 100, Call::Lookup(other.clone(), b"www".into()), miss(Outcome::OtherVersion), &[]);
    allows(&mut model, 100, Call::Add(Session { key: other, ..session(2, 1) }), Answer::Added, &[]);
    assert_eq!(model.serials(), [1, 2]);
}

#[test]
fn another_session_id_context_is_a_miss_and_the_session_stays() {
    let mut model = one();
    let elsewhere = Call::Take(key(1), b"mail".into());
    refuses(&model, 100, elsewhere.clone(), hit(1), &[(1, Reason::Consumed)]);
    allows(&mut model, 100, elsewhere, miss(Outcome::OtherContext), &[]);
    allows(&mut model, 100, lookup(1), hit(1), &[]);
}

#[test]
fn a_take_removes_marks_and_tells() {
    let mut model = one();
    refuses(&model, 100, take(1), hit(1), &[]);
    refuses(&model, 100, take(1), hit(1), &[(1, Reason::Removed)]);
    refuses(&model, 100, take(1), hit(1), &[(1, Reason::Consumed), (1, Reason::Consumed)]);
    allows(&mut model, 100, take(1), hit(1), &[(1, Reason::Consumed)]);
    assert!(model.is_empty() && !model.is_resumable(1));
    refuses(&model, 100, take(1), hit(1), &[(1, Reason::Consumed)]);
    allows(&mut model, 100, take(1), miss(Outcome::Consumed), &[]);
}

#[test]
fn remove_goes_by_the_key_and_marks_what_it_was_given() {
    let mut model = one();
    refuses(&model, 100, Call::Remove(session(2, 1)), Answer::Removed(true), &[(1, Reason::Removed)]);
    allows(&mut model, 100, Call::Remove(session(2, 1)), Answer::Removed(true), &[(2, Reason::Removed)]);
    assert!(model.is_resumable(1) && !model.is_resumable(2));
    refuses(&model, 100, Call::Remove(session(1, 1)), Answer::Removed(false), &[]);
    allows(&mut model, 100, Call::Remove(session(1, 1)), Answer::Removed(false), &[(1, Reason::Removed)]);
    assert!(!model.is_resumable(1));
}

#[test]
fn a_marked_session_stays_and_is_never_found() {
    let mut model = one();
    allows(&mut model, 100, Call::Mark(1), Answer::Nothing, &[]);
    refuses(&model, 100, lookup(1), hit(1), &[]);
    allows(&mut model, 100, lookup(1), miss(Outcome::Marked), &[]);
    allows(&mut model, 100, take(1), miss(Outcome::Marked), &[]);
    assert!(model.contains(&key(1)));
}

#[test]
fn the_last_second_is_not_expired_and_the_next_one_is() {
    let mut model = one();
    refuses(&model, 400, lookup(1), miss(Outcome::Expired), &[]);
    allows(&mut model, 400, lookup(1), hit(1), &[]);
    refuses(&model, 401, lookup(1), hit(1), &[]);
    refuses(&model, 401, lookup(1), miss(Outcome::Expired), &[]);
    allows(&mut model, 401, lookup(1), miss(Outcome::Expired), &[(1, Reason::Expired)]);
    assert!(model.is_empty() && !model.is_resumable(1));
}

#[test]
fn an_expired_ticket_is_ignored_and_stays() {
    let mut model = Model::new(0);
    let ticket = Key { version: TLS13, ..key(1) };
    allows(&mut model, 100, Call::Add(Session { key: ticket.clone(), ..session(1, 1) }), Answer::Added, &[]);
    let lookup = Call::Lookup(ticket, b"www".into());
    refuses(&model, 401, lookup.clone(), miss(Outcome::Expired), &[(1, Reason::Expired)]);
    allows(&mut model, 401, lookup, miss(Outcome::Expired), &[]);
    assert_eq!(model.len(), 1);
}

#[test]
fn a_renewal_moves_the_expiry_up_to_the_end_of_life() {
    let mut model = Model::new(0);
    model.set_renews(true);
    allows(&mut model, 100, Call::Add(Session { end_of_life: 500, ..session(1, 1) }), Answer::Added, &[]);
    allows(&mut model, 350, lookup(1), hit(1), &[]);
    allows(&mut model, 500, lookup(1), hit(1), &[]);
    refuses(&model, 501, lookup(1), hit(1), &[]);
}

#[test]
fn nothing_wraps() {
    let eternal = Session { time: NEVER - 1, timeout: u64::MAX, ..session(1, 1) };
    assert_eq!(eternal.expiry_from(eternal.time), NEVER);
    let mut model = Model::new(0);
    allows(&mut model, 100, Call::Add(eternal), Answer::Added, &[]);
    allows(&mut model, NEVER, lookup(1), hit(1), &[]);
}

#[test]
fn a_flush_removes_exactly_what_has_expired() {
    let mut model = one();
    allows(&mut model, 200, Call::Add(Session { time: 200, ..session(2, 2) }), Answer::Added, &[]);
    allows(&mut model, 400, Call::Flush(400), Answer::Count(0), &[]);
    refuses(&model, 401, Call::Flush(401), Answer::Count(0), &[]);
    refuses(&model, 401, Call::Flush(401), Answer::Count(1), &[]);
    refuses(&model, 401, Call::Flush(401), Answer::Count(2), &[(1, Reason::Expired), (2, Reason::Expired)]);
    allows(&mut model, 401, Call::Flush(401), Answer::Count(1), &[(1, Reason::Expired)]);
    // A time to come removes what is still valid, and says so.
    refuses(&model, 401, Call::Flush(501), Answer::Count(1), &[(2, Reason::Expired)]);
    allows(&mut model, 401, Call::Flush(501), Answer::Count(1), &[(2, Reason::Flushed)]);
}

#[test]
fn flushing_all_purging_and_dropping_name_their_reasons() {
    let two = || {
        let mut model = one();
        allows(
            &mut model,
            100,
            Call::Add(Session { id_context: b"mail".into(), ..session(2, 2) }),
            Answer::Added,
            &[],
        );
        model
    };
    let all = |reason| [(1, reason), (2, reason)];
    allows(&mut two(), 100, Call::FlushAll, Answer::Count(2), &all(Reason::Flushed));
    allows(&mut two(), 100, Call::Purge(b"mail".into()), Answer::Count(1), &[(2, Reason::Purged)]);
    refuses(&two(), 100, Call::Purge(b"mail".into()), Answer::Count(2), &all(Reason::Purged));
    allows(&mut two(), 100, Call::Drop, Answer::Nothing, &all(Reason::ContextDropped));
    refuses(&two(), 100, Call::Drop, Answer::Nothing, &[(1, Reason::ContextDropped)]);
}

/// Sessions 1 and 2 in a context of capacity 2.
fn full() -> Model {
    let mut model = Model::new(2);
    allows(&mut model, 100, Call::Add(session(1, 1)), Answer::Added, &[]);
    allows(&mut model, 150, Call::Add(Session { time: 150, ..session(2, 2) }), Answer::Added, &[]);
    model
}

#[test]
fn a_full_cache_evicts_one_other_session_unmarked() {
    let add = || Call::Add(session(3, 3));
    refuses(&full(), 200, add(), Answer::Added, &[]);
    refuses(&full(), 200, add(), Answer::Added, &[(3, Reason::Evicted)]);
    refuses(&full(), 200, add(), Answer::Added, &[(1, Reason::Expired)]);
    refuses(&full(), 200, add(), Answer::Added, &[(1, Reason::Evicted), (2, Reason::Evicted)]);
    for victim in [1, 2] {
        let mut model = full();
        allows(&mut model, 200, add(), Answer::Added, &[(victim, Reason::Evicted)]);
        assert!(model.is_resumable(victim));
    }
    // A replacement needs no room.
    refuses(&full(), 200, Call::Add(session(3, 1)), Answer::Replaced(1), &[(2, Reason::Evicted)]);
    allows(&mut full(), 200, Call::Add(session(3, 1)), Answer::Replaced(1), &[]);
}

#[test]
fn an_expired_victim_leaves_as_expired() {
    let add = || Call::Add(Session { time: 401, ..session(3, 3) });
    refuses(&full(), 401, add(), Answer::Added, &[(1, Reason::Evicted)]);
    let mut model = full();
    allows(&mut model, 401, add(), Answer::Added, &[(1, Reason::Expired)]);
    assert!(!model.is_resumable(1));
    // The expired one made the room, so nothing else had to go.
    refuses(&full(), 401, add(), Answer::Added, &[(1, Reason::Expired), (2, Reason::Evicted)]);
}

#[test]
fn a_lowered_capacity_is_enforced_at_once() {
    refuses(&full(), 200, Call::SetCapacity(1), Answer::Capacity(2), &[]);
    refuses(&full(), 200, Call::SetCapacity(1), Answer::Capacity(1), &[(1, Reason::Evicted)]);
    let mut model = full();
    allows(&mut model, 200, Call::SetCapacity(1), Answer::Capacity(2), &[(1, Reason::Evicted)]);
    allows(&mut model, 200, Call::SetCapacity(0), Answer::Capacity(1), &[]);
    assert_eq!(model.serials(), [2]);
}

#[test]
fn what_has_expired_may_be_reclaimed_in_any_call() {
    allows(&mut full(), 401, lookup(2), hit(2), &[(1, Reason::Expired)]);
    refuses(&full(), 400, lookup(2), hit(2), &[(1, Reason::Expired)]);
    refuses(&full(), 401, lookup(2), hit(2), &[(1, Reason::Evicted)]);
}

#[test]
fn a_tick_reclaims_only_what_has_expired() {
    allows(&mut full(), 401, Call::Tick, Answer::Nothing, &[(1, Reason::Expired)]);
    allows(&mut full(), 401, Call::Tick, Answer::Nothing, &[]);
    refuses(&full(), 401, Call::Tick, Answer::Nothing, &[(2, Reason::Expired)]);
    refuses(&full(), 401, Call::Tick, Answer::Nothing, &[(1, Reason::Flushed)]);
}

#[test]
fn an_add_reclaims_before_it_looks() {
    let add = |serial| Call::Add(Session { time: 401, ..session(serial, 1) });
    allows(&mut one(), 401, add(2), Answer::Replaced(1), &[]);
    allows(&mut one(), 401, add(2), Answer::Added, &[(1, Reason::Expired)]);
    refuses(&one(), 401, add(2), Answer::Added, &[]);
    refuses(&one(), 401, add(2), Answer::Replaced(1), &[(1, Reason::Expired)]);
    refuses(&one(), 400, add(2), Answer::Added, &[(1, Reason::Expired)]);
    // The same object leaves and comes back, marked by the way.
    let mut model = one();
    allows(&mut model, 401, Call::Add(session(1, 1)), Answer::Added, &[(1, Reason::Expired)]);
    assert!(model.contains(&key(1)) && !model.is_resumable(1));
    // What is added when it has expired already stays for now.
    refuses(&Model::new(0), 401, Call::Add(session(1, 1)), Answer::Added, &[(1, Reason::Expired)]);
}

#[test]
fn a_mode_without_internal_lookup_finds_nothing() {
    let mut model = one();
    model.set_looks_inside(false);
    refuses(&model, 100, lookup(1), hit(1), &[]);
    allows(&mut model, 100, take(1), miss(Outcome::Mode), &[]);
    model.set_looks_inside(true);
    allows(&mut model, 100, take(1), hit(1), &[(1, Reason::Consumed)]);
}

#[test]
fn a_disagreement_shows_the_call_and_what_was_seen() {
    let seen = Seen { answer: hit(9), departures: Vec::new() };
    let text = one().judge(&lookup(1), 100, &seen).unwrap_err().to_string();
    assert!(text.contains("the answer must be Found(Some(1), Hit)"), "{text}");
    assert!(text.contains("second 100") && text.contains("Found(Some(9), Hit)"), "{text}");
}
