//! Cases of OpenSSL's own tests (`test/sslapitest.c`) that are about contexts and sessions alone: fixed programs on both
//! sides in lockstep, and what those tests expect.

use crate::lockstep::Lockstep;
use crate::observe::{Answer, State};
use crate::program::{BASE, Call, Id, Program, Spec, Version, When};
use crate::rules::Rules;

fn session(id: usize, time: i64, timeout: i64) -> Spec {
    Spec { home: 0, version: Version::Tls12, id: Id(id), time: BASE + time, timeout }
}

/// Runs the calls, and shows what the last one answered and where both sides are then.
fn last(sessions: &[Spec], calls: &[Call]) -> (Answer, State) {
    let side = Lockstep::new();
    let program = Program { sessions: sessions.to_vec(), calls: calls.to_vec() };
    let shown = side.run(&program, &mut Rules::all());
    let answers = shown.unwrap_or_else(|found| panic!("{}\n{}", found.complaint, found.trace));
    (*answers.last().expect("there are calls"), side.ours.state())
}

fn cached(state: &State) -> Vec<usize> {
    state.cached[0].iter().copied().collect()
}

/// `execute_test_session`, the last part: one place, and a session that expires earlier than the one it replaces.
#[test]
fn the_session_that_is_added_is_never_the_victim() {
    let sessions = [session(0, 0, 10), session(1, 0, 20)];
    let calls = [Call::SetCapacity(0, 1), Call::Add(0), Call::Add(1), Call::Add(0)];
    let (answer, state) = last(&sessions, &calls);
    assert_eq!((answer, cached(&state)), (Answer::Flag(true), vec![0]));
}

/// `test_session_timeout`.
#[test]
fn sessions_are_flushed_in_the_order_of_their_ends() {
    let sessions = [session(0, -10, 10), session(1, 0, 10), session(2, 10, 10)];
    let added: Vec<Call> = (0..3).map(Call::Add).collect();
    let flush = |time: i64| Call::Flush(0, When::At(BASE + time));
    for (time, left) in [(0, vec![0, 1, 2]), (9, vec![1, 2]), (10, vec![1, 2]), (11, vec![2]), (21, vec![])] {
        let calls = [added.clone(), vec![flush(time)]].concat();
        assert_eq!(cached(&last(&sessions, &calls).1), left, "at {time}");
    }
    // Everything may be added again, and zero is the time of everything.
    let again = [added.clone(), vec![flush(21)], added.clone()].concat();
    let (answer, state) = last(&sessions, &again);
    assert_eq!((answer, cached(&state)), (Answer::Flag(true), vec![0, 1, 2]));
    let everything = [again, vec![Call::Flush(0, When::Everything)]].concat();
    assert_eq!(cached(&last(&sessions, &everything).1), vec![0; 0]);
}

/// `test_session_timeout`, with UPDATE_TIME.
#[test]
fn update_time_renews_a_session_that_is_added() {
    let calls = [Call::SetMode(0, 0x402), Call::SetSessionTime(0, BASE - 1000), Call::Pass(5), Call::Add(0)];
    let (answer, state) = last(&[session(0, 0, 10)], &calls);
    assert_eq!((answer, state.times[0].0), (Answer::Flag(true), BASE + 5));
}

/// `test_remove_session_cb_not_under_lock`: OpenSSL 3.0 ignores the flush, 4.1 and we obey it.
#[test]
fn a_remove_callback_may_flush() {
    let sessions = [session(0, 0, 10), session(1, 0, 20)];
    let react = Call::React(Box::new(Call::Flush(0, When::Everything)));
    let calls = [Call::SetCapacity(0, 1), Call::Add(0), react, Call::Add(1)];
    let (answer, state) = last(&sessions, &calls);
    assert_eq!((answer, cached(&state)), (Answer::Flag(true), vec![]));
}
