//! Known good and known bad histories: the checker must tell them apart.

use std::sync::Mutex;

use super::Call::{Add, Lookup, Remove, Take};
use super::Outcome::{Added, Found, Removed, Replaced, Unchanged};
use super::*;
use crate::workload::Random;

const EXACT: SessionSpec = SessionSpec { evicts: false, expires: false };
const EVICTING: SessionSpec = SessionSpec { evicts: true, expires: false };

type Timed = (u64, u64, Call, Outcome);

fn history(operations: &[Timed]) -> Vec<Operation<Call, Outcome>> {
    let operation = |(thread, &(invoked, returned, input, output)): (usize, &Timed)| Operation {
        thread,
        input,
        output,
        invoked,
        returned,
    };
    operations.iter().enumerate().map(operation).collect()
}

fn assert_good(operations: &[Timed]) {
    if let Err(error) = linearize(&EXACT, &history(operations)) {
        panic!("{error}");
    }
}

fn assert_bad(operations: &[Timed]) {
    let found = linearize(&EXACT, &history(operations));
    assert!(found.is_err(), "explained as {found:?}");
}

#[test]
fn an_empty_history_is_good() {
    assert_good(&[]);
}

#[test]
fn a_sequential_history_is_explained_in_its_own_order() {
    let operations = history(&[
        (0, 1, Lookup, Found(None)),
        (2, 3, Add(1), Added),
        (4, 5, Add(1), Unchanged),
        (6, 7, Add(2), Replaced(1)),
        (8, 9, Take, Found(Some(2))),
        (10, 11, Take, Found(None)),
        (12, 13, Add(3), Added),
        (14, 15, Remove, Removed(true)),
        (16, 17, Remove, Removed(false)),
    ]);
    assert_eq!(linearize(&EXACT, &operations).ok(), Some((0..9).collect()));
}

#[test]
fn overlapping_calls_may_take_effect_in_either_order() {
    let overlapping = |seen| [(0, 5, Add(1), Added), (1, 4, Lookup, Found(seen))];
    assert_good(&overlapping(None));
    assert_good(&overlapping(Some(1)));
    // The take returns before the add does, and the lookup inside both sees it there.
    assert_good(&[(0, 9, Add(1), Added), (1, 6, Take, Found(Some(1))), (2, 5, Lookup, Found(Some(1)))]);
    // Two replacements that overlap, observed in the order opposite to that of their calls.
    assert_good(&[
        (0, 1, Add(1), Added),
        (2, 9, Add(2), Replaced(3)),
        (3, 8, Add(3), Replaced(1)),
        (10, 11, Lookup, Found(Some(2))),
    ]);
}

#[test]
fn a_choice_that_turns_out_wrong_is_taken_back() {
    // The first call in the list can be explained first, but then the removal, which ends early, cannot be.
    assert_good(&[
        (0, 20, Lookup, Found(None)),
        (1, 18, Add(2), Added),
        (2, 17, Add(1), Added),
        (3, 6, Remove, Removed(true)),
        (7, 8, Take, Found(Some(1))),
    ]);
}

#[test]
fn a_take_that_succeeds_twice_is_bad() {
    assert_bad(&[(0, 1, Add(1), Added), (2, 5, Take, Found(Some(1))), (3, 4, Take, Found(Some(1)))]);
}

#[test]
fn a_lookup_that_returns_a_removed_session_is_bad() {
    assert_bad(&[(0, 1, Add(1), Added), (2, 3, Remove, Removed(true)), (4, 5, Lookup, Found(Some(1)))]);
    // While they overlap it is good.
    assert_good(&[(0, 1, Add(1), Added), (2, 4, Remove, Removed(true)), (3, 5, Lookup, Found(Some(1)))]);
}

#[test]
fn a_lost_insert_is_bad() {
    assert_bad(&[(0, 1, Add(1), Added), (2, 3, Lookup, Found(None))]);
    assert_bad(&[(0, 3, Add(1), Added), (1, 2, Add(2), Added)]);
}

#[test]
fn a_stale_read_is_bad() {
    let second =
        |seen| [(0, 1, Add(1), Added), (2, 3, Add(2), Replaced(1)), (4, 5, Lookup, Found(Some(seen)))];
    assert_bad(&second(1));
    assert_good(&second(2));
    // Two lookups one after the other must not see the new session and then the old one.
    assert_bad(&[
        (0, 1, Add(1), Added),
        (2, 9, Add(2), Replaced(1)),
        (3, 4, Lookup, Found(Some(2))),
        (5, 6, Lookup, Found(Some(1))),
    ]);
}

#[test]
fn a_session_that_was_never_added_is_bad() {
    assert_bad(&[(0, 1, Lookup, Found(Some(7)))]);
    assert_bad(&[(0, 3, Add(1), Replaced(7)), (1, 2, Take, Found(None))]);
}

#[test]
fn a_removal_that_denies_what_it_removed_is_bad() {
    assert_bad(&[(0, 1, Add(1), Added), (2, 3, Remove, Removed(false))]);
    assert_bad(&[(0, 1, Add(1), Added), (2, 5, Remove, Removed(true)), (3, 4, Take, Found(Some(1)))]);
}

#[test]
fn an_answer_to_another_question_is_bad() {
    assert_bad(&[(0, 1, Add(1), Removed(true))]);
}

#[test]
fn eviction_explains_absence_and_nothing_else() {
    let good = [
        (0, 1, Add(1), Added),
        (2, 3, Lookup, Found(None)),
        (4, 5, Add(2), Added),
        (6, 7, Add(3), Added),
        (8, 9, Remove, Removed(false)),
        (10, 11, Take, Found(None)),
    ];
    assert!(linearize(&EVICTING, &history(&good)).is_ok());
    let back = [(0, 1, Add(1), Added), (2, 3, Lookup, Found(None)), (4, 5, Lookup, Found(Some(1)))];
    assert!(linearize(&EVICTING, &history(&back)).is_err());
    let twice = [(0, 1, Add(1), Added), (2, 5, Take, Found(Some(1))), (3, 4, Take, Found(Some(1)))];
    assert!(linearize(&EVICTING, &history(&twice)).is_err());
}

#[test]
fn the_failure_shows_what_is_left_over() {
    let operations =
        history(&[(0, 1, Add(1), Added), (4, 5, Lookup, Found(Some(2))), (2, 3, Take, Found(Some(1)))]);
    let error = linearize(&EXACT, &operations).unwrap_err();
    assert_eq!(error.explained, 2);
    let text = error.to_string();
    assert!(text.contains("! [   4    5] thread 1: Lookup -> Found(Some(2))"), "{text}");
    assert!(text.contains("  [   2    3] thread 2: Take -> Found(Some(1))"), "{text}");
}

#[test]
fn keys_are_checked_apart() {
    let recorder = Recorder::new();
    let mut log = recorder.log(0);
    log.call("a", Add(1), || Added);
    log.call("b", Lookup, || Found(None));
    let history = History::new([log]);
    assert_eq!(history.len(), 2);
    assert!(history.check(&EXACT).is_ok());

    let mut log = recorder.log(0);
    log.call("a", Add(1), || Added);
    log.call("b", Lookup, || Found(Some(1)));
    let violation = History::new([log]).check(&EXACT).unwrap_err();
    assert_eq!((violation.key, violation.cause.explained), ("b", 0));
}

/// One key behind a lock: what the checker must always accept.
fn locked(slot: &Mutex<Option<u64>>, call: Call) -> Outcome {
    let mut state = slot.lock().unwrap();
    match call {
        Add(new) => state.replace(new).map_or(Added, Replaced),
        Remove => Removed(state.take().is_some()),
        Take => Found(state.take()),
        Lookup => Found(*state),
    }
}

fn record(
    random: &mut Random,
    threads: usize,
    calls: usize,
    run: impl Fn(Call) -> Outcome + Sync,
) -> Vec<Operation<Call, Outcome>> {
    let recorder = Recorder::new();
    let plans: Vec<Vec<Call>> = (0..threads)
        .map(|thread| (0..calls).map(|step| plan(random, (thread * calls + step) as u64)).collect())
        .collect();
    let logs = std::thread::scope(|scope| {
        let running: Vec<_> = plans
            .into_iter()
            .enumerate()
            .map(|(thread, plan)| {
                let (recorder, run) = (&recorder, &run);
                scope.spawn(move || {
                    let mut log = recorder.log(thread);
                    plan.into_iter().for_each(|call| {
                        log.call((), call, || run(call));
                    });
                    log
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    History::new(logs).keys.remove(&()).unwrap_or_default()
}

fn plan(random: &mut Random, serial: u64) -> Call {
    [Add(serial), Remove, Take, Lookup][random.below(4) as usize]
}

#[test]
fn histories_of_an_object_behind_a_lock_are_good() {
    let mut random = Random::new(1);
    for _ in 0..300 {
        let slot = Mutex::new(None);
        let operations = record(&mut random, 4, 8, |call| locked(&slot, call));
        if let Err(error) = linearize(&EXACT, &operations) {
            panic!("{error}");
        }
    }
}

/// Every order of a few operations, without cleverness: the reference for the clever search.
fn brute_force(operations: &[Operation<Call, Outcome>], left: &mut Vec<usize>, state: Option<u64>) -> bool {
    if left.is_empty() {
        return true;
    }
    for position in 0..left.len() {
        let candidate = left[position];
        let first = left.iter().all(|&other| operations[other].returned >= operations[candidate].invoked);
        let Operation { input, output, .. } = &operations[candidate];
        let Some(next) = EXACT.apply(&state, input, output).filter(|_| first) else { continue };
        left.remove(position);
        let explained = brute_force(operations, left, next);
        left.insert(position, candidate);
        if explained {
            return true;
        }
    }
    false
}

#[test]
fn the_search_agrees_with_brute_force_on_random_histories() {
    let mut random = Random::new(2);
    let mut verdicts = [0, 0];
    for _ in 0..20_000 {
        let operations = random_history(&mut random, 5);
        let expected = brute_force(&operations, &mut (0..operations.len()).collect(), None);
        assert_eq!(linearize(&EXACT, &operations).is_ok(), expected, "{operations:?}");
        verdicts[usize::from(expected)] += 1;
    }
    assert!(verdicts.iter().all(|&count| count > 500), "too one-sided to mean anything: {verdicts:?}");
}

/// Calls with answers out of the air at random, overlapping instants.
fn random_history(random: &mut Random, operations: u64) -> Vec<Operation<Call, Outcome>> {
    let mut stamps: Vec<u64> = (0..2 * operations).collect();
    random.shuffle(&mut stamps);
    let found = |random: &mut Random| Found([None, Some(0), Some(1)][random.below(3) as usize]);
    let one = |random: &mut Random, stamps: &[u64]| {
        let (input, output) = match random.below(8) {
            0 | 1 => (Add(0), [Added, Replaced(1), Unchanged][random.below(3) as usize]),
            2 | 3 => (Add(1), [Added, Replaced(0), Unchanged][random.below(3) as usize]),
            4 => (Remove, Removed(random.below(2) == 0)),
            5 => (Take, found(random)),
            _ => (Lookup, found(random)),
        };
        let (invoked, returned) = (stamps[0].min(stamps[1]), stamps[0].max(stamps[1]));
        Operation { thread: 0, input, output, invoked, returned }
    };
    stamps.chunks(2).map(|pair| one(random, pair)).collect()
}

#[test]
fn a_long_history_of_few_threads_is_decided() {
    // Every 8 stamps four lookups overlap. Without a memory of configurations the failure at the end would try
    // 24 orders of each group, 24^100 in all.
    let group =
        |start: u64| (0..4).map(move |thread| (start + thread, start + 7 - thread, Lookup, Found(None)));
    let mut operations: Vec<Timed> = (0..100).flat_map(|index| group(8 * index)).collect();
    assert_good(&operations);
    operations.push((1000, 1001, Lookup, Found(Some(1))));
    assert_bad(&operations);
}
