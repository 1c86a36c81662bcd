//! The wheel's parts, and its edges.

use super::backlog::{Backlog, Cursor};
use super::bits::Bits;
use super::dial::{Dial, Start};
use super::gate::Gate;
use super::level::{COUNT, LEVELS, Slot, opened};
use super::{Progress, Scheduled, Wheel, death};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

const YEAR: u32 = 365 * 86_400;
const ENOUGH: usize = usize::MAX;

/// Ticks on and beside the borders of slots, and the ends.
fn interesting_ticks() -> Vec<u32> {
    let powers = (0..32).map(|power| 1_u32 << power);
    let mut ticks: Vec<u32> =
        powers.flat_map(|power| [power - 1, power, power + 1, power + power / 3]).collect();
    ticks.extend([1_700_000_000, 1_700_000_063, u32::MAX - 1, u32::MAX]);
    ticks.sort_unstable();
    ticks.dedup();
    ticks
}

/// Advances to `now` and collects what was visited.
fn visited(wheel: &Wheel, now: u32) -> Vec<(u64, u64)> {
    let mut visits = Vec::new();
    let progress = wheel.advance(
        now,
        ENOUGH,
        |_| {},
        |_, first, last| {
            visits.push((first, last));
            0
        },
    );
    assert_eq!(progress, Progress::Done);
    visits
}

#[test]
fn a_slot_opens_after_the_tick_and_not_after_the_death() {
    let ticks = interesting_ticks();
    for (i, &tick) in ticks.iter().enumerate() {
        for &death in &ticks[i + 1..] {
            let slot = Slot::of(death, tick);
            let opens = slot.opens_for(death);
            assert!(tick < opens && opens <= death, "{death} at {tick} in {slot:?} opens at {opens}");
            assert_eq!(slot.opens_after(tick), Some(opens), "{death} at {tick} in {slot:?}");
            assert!(slot.number() < COUNT && Slot::from_number(slot.number()) == slot);
        }
    }
}

#[test]
fn after_a_step_back_a_slot_opens_no_later() {
    let ticks = interesting_ticks();
    for (i, &tick) in ticks.iter().enumerate() {
        for &death in &ticks[i + 1..] {
            let slot = Slot::of(death, tick);
            for &earlier in &ticks[..i] {
                assert!(slot.opens_after(earlier).unwrap() <= slot.opens_for(death));
            }
        }
    }
}

#[test]
fn a_move_opens_exactly_the_slots_in_its_way() {
    let ticks = interesting_ticks();
    for (i, &from) in ticks.iter().enumerate() {
        for &to in &ticks[i..] {
            for number in 0..COUNT {
                let slot = Slot::from_number(number);
                let in_the_way = slot.opens_after(from).is_some_and(|opens| opens <= to);
                let is_opened = opened(slot.level, from, to) >> slot.index & 1 == 1;
                assert_eq!(is_opened, in_the_way, "{slot:?} from {from} to {to}");
            }
        }
    }
}

#[test]
fn the_bits_of_a_slot_cover_the_hashes_without_a_gap() {
    for partitions in [1, 2, 7, 8, 9, 64, 65, 512, 6827] {
        let bits = Bits::new(partitions).unwrap();
        for slot in [Slot { level: 0, index: 63 }, Slot { level: 3, index: 0 }, Slot { level: 5, index: 3 }] {
            let per_bit = if slot.level == 0 { 1 } else { 8 };
            let mut next = Some(0);
            for place in 0..partitions.div_ceil(per_bit) {
                let (first, last) = bits.interval(slot, place / 64, (place % 64) as u32);
                assert_eq!(Some(first), next, "{partitions} partitions, {slot:?}, place {place}");
                for hash in [first, first / 2 + last / 2, last] {
                    bits.mark(slot, hash).set();
                    let word = bits.words(slot)[place / 64].swap(0, crate::sync::Ordering::Relaxed);
                    assert_eq!(word, 1 << (place % 64), "{hash:x} of {first:x}..={last:x}");
                }
                next = last.checked_add(1);
            }
            assert_eq!(next, None, "the last bit ends with the last hash");
        }
    }
}

#[test]
fn a_partition_is_a_bucket_or_several_neighbours() {
    let bits = Bits::new(100).unwrap();
    for doubled in [100_u128, 200, 400] {
        let bucket = |hash: u64| ((u128::from(hash) * doubled) >> 64) as usize;
        for partition in 0..100 {
            let slot = Slot { level: 0, index: 0 };
            let (first, last) = bits.interval(slot, partition / 64, (partition % 64) as u32);
            let each = doubled as usize / 100;
            assert_eq!((bucket(first), bucket(last)), (partition * each, (partition + 1) * each - 1));
        }
    }
}

#[test]
fn a_gate_tells_whether_it_was_opened() {
    let gate = Gate::new();
    assert!(!gate.open(), "nothing is filed");
    let armed = gate.arm();
    assert!(!armed.is_open() && gate.is_still(armed));
    assert!(gate.open() && !gate.is_armed() && !gate.is_still(armed));
    let again = gate.arm();
    assert!(again.is_open() && gate.is_armed() && !gate.is_still(armed));
    gate.close();
    assert!(gate.is_armed() && gate.is_still(again), "closing does not count");
}

#[test]
fn a_dial_is_settled_by_its_driver_alone() {
    let dial = Dial::new(10);
    assert!(matches!(dial.start(10), Start::Settled));
    assert!(matches!(dial.start(15), Start::Driver { from: 10, to: 15 }));
    assert!(matches!(dial.start(20), Start::Busy));
    dial.set_back(12);
    dial.set_back(13);
    assert_eq!(dial.tick(), 12, "set back, but not forth");
    dial.stop(false);
    assert!(matches!(dial.start(5), Start::Driver { from: 12, to: 12 }), "work is left");
    dial.stop(true);
    assert!(matches!(dial.start(12), Start::Settled));
}

#[test]
fn a_backlog_keeps_its_place() {
    let backlog = Backlog::new();
    assert!(backlog.is_empty());
    let slot = Slot { level: LEVELS - 1, index: 3 };
    let cursor = Cursor { slot, generation: 17, word: (1 << 40) + 5 };
    backlog.set_cursor(Some(cursor));
    assert_eq!(backlog.cursor(), Some(cursor));
    assert!(!backlog.is_empty());
    backlog.set_cursor(None);
    backlog.add(63, 65);
    let slots: Vec<_> = std::iter::from_fn(|| backlog.next_slot()).collect();
    assert_eq!(
        slots,
        [(0, 0), (0, 1), (1, 1)].map(|(level, index)| Slot { level, index }),
        "the finest first"
    );
    assert!(backlog.is_empty());
}

#[test]
fn an_entry_is_visited_at_its_death_and_not_before() {
    let wheel = Wheel::new(4, 1000).unwrap();
    assert_eq!(wheel.schedule(u64::MAX, 1005, 1000), Scheduled::Filed);
    assert_eq!(wheel.next_due(0), Some(1005));
    assert_eq!(visited(&wheel, 1004), []);
    assert_eq!(visited(&wheel, 1005), [(3 << 62, u64::MAX)]);
    assert_eq!((wheel.position(), wheel.next_due(0)), (1005, None));
    assert_eq!(visited(&wheel, 1100), []);
}

#[test]
fn what_is_dead_already_is_left_to_the_caller() {
    let wheel = Wheel::new(1, 1000).unwrap();
    assert_eq!(wheel.schedule(7, 1000, 1000), Scheduled::Due);
    assert_eq!(wheel.schedule(7, 0, 1000), Scheduled::Due);
    assert_eq!((wheel.next_due(0), wheel.position()), (None, 1000));
}

#[test]
fn what_never_dies_is_not_filed() {
    let wheel = Wheel::new(1, 1000).unwrap();
    assert_eq!(death(u32::MAX), u32::MAX);
    assert_eq!(wheel.schedule(7, death(u32::MAX), 1000), Scheduled::Filed);
    assert_eq!(wheel.next_due(0), None);
    assert_eq!(visited(&wheel, u32::MAX - 1), []);
}

#[test]
fn the_last_second_but_one_is_reached() {
    let wheel = Wheel::new(1, 0).unwrap();
    assert_eq!(wheel.schedule(7, u32::MAX - 1, 0), Scheduled::Filed);
    let mut visits = 0;
    let progress = wheel.advance(
        u32::MAX - 2,
        ENOUGH,
        |_| {},
        |opening, first, last| {
            visits += 1;
            assert_eq!(opening.refile((first, last), || 7, u32::MAX - 1), Scheduled::Filed);
            1
        },
    );
    assert_eq!((progress, visits, wheel.next_due(0)), (Progress::Done, 1, Some(u32::MAX - 1)));
    assert_eq!(visited(&wheel, u32::MAX - 1).len(), 1);
}

#[test]
fn an_entry_that_dies_before_the_tick_sets_it_back() {
    let wheel = Wheel::new(1, 1000).unwrap();
    assert_eq!(visited(&wheel, 5000), []);
    assert_eq!(wheel.schedule(7, 1300, 1000), Scheduled::Filed);
    assert_eq!((wheel.position(), wheel.next_due(0)), (1299, Some(1300)));
    assert_eq!(visited(&wheel, 1299), []);
    assert_eq!(visited(&wheel, 1300).len(), 1);
}

#[test]
fn an_advance_into_the_past_changes_nothing() {
    let wheel = Wheel::new(1, 5000).unwrap();
    assert_eq!(wheel.schedule(7, 5100, 5000), Scheduled::Filed);
    assert_eq!(visited(&wheel, 1000), []);
    assert_eq!(
        (wheel.position(), wheel.next_due(0)),
        (5000, Some(5056)),
        "level 1 opens at a multiple of 64"
    );
}

#[test]
fn ten_idle_years_cost_few_steps() {
    let wheel = Wheel::new(100_000, 1_700_000_000).unwrap();
    assert_eq!(wheel.schedule(7, 1_700_000_000 + 10 * YEAR, 1_700_000_000), Scheduled::Filed);
    let (mut calls, mut visits) = (1, 0);
    let mut advance = || {
        wheel.advance(
            1_700_000_000 + 10 * YEAR,
            1,
            |_| {},
            |_, _, _| {
                visits += 1;
                1
            },
        )
    };
    while advance() == Progress::More {
        calls += 1;
    }
    // All slots of levels 0 to 3, 19 of level 4, and the 196 words of the one that is armed; the visit is one more.
    let steps = (4 * 64 + 19 + 196) / 64;
    assert!((steps..=steps + 2).contains(&calls), "{calls} calls, and not all in one");
    assert_eq!(visits, 1);
}

#[test]
fn a_budget_pays_for_words_and_visits() {
    // 1000 words in a slot of level 0.
    let wheel = Wheel::new(64_000, 100).unwrap();
    for hash in [0, 1 << 63, u64::MAX] {
        assert_eq!(wheel.schedule(hash, 101, 100), Scheduled::Filed);
    }
    let visits = Cell::new(0);
    let step = |budget| {
        wheel.advance(
            101,
            budget,
            |_| {},
            |_, _, _| {
                visits.set(visits.get() + 1);
                5
            },
        )
    };
    assert_eq!(step(0), Progress::More);
    assert_eq!((step(1), visits.get()), (Progress::More, 1), "the first visit overdraws");
    assert_eq!((step(7), visits.get()), (Progress::More, 1), "7 * 64 words of 499");
    assert_eq!((step(1), visits.get()), (Progress::More, 2));
    assert_eq!((step(7), visits.get()), (Progress::More, 2));
    assert_eq!((step(100), visits.get()), (Progress::Done, 3));
}

#[test]
fn a_visitor_that_panics_is_called_again() {
    let wheel = Wheel::new(64, 100).unwrap();
    for hash in [0, u64::MAX] {
        assert_eq!(wheel.schedule(hash, 101, 100), Scheduled::Filed);
    }
    let panics =
        catch_unwind(AssertUnwindSafe(|| wheel.advance(101, ENOUGH, |_| {}, |_, _, _| panic!("on purpose"))));
    assert!(panics.is_err());
    assert_eq!(wheel.next_due(90), Some(90), "work is left");
    assert_eq!(visited(&wheel, 101), [(0, (1 << 58) - 1), (63 << 58, u64::MAX)]);
}

#[test]
fn a_visitor_meets_its_own_driver() {
    let wheel = Wheel::new(1, 100).unwrap();
    assert_eq!(wheel.schedule(7, 101, 100), Scheduled::Filed);
    let mut visits = 0;
    let progress = wheel.advance(
        101,
        ENOUGH,
        |_| {},
        |opening, first, last| {
            visits += 1;
            assert_eq!(wheel.advance(102, ENOUGH, |_| {}, |_, _, _| 0), Progress::Busy);
            assert_eq!(wheel.schedule(7, 103, 101), Scheduled::Filed);
            assert_eq!(opening.refile((first, last), || 7, 104), Scheduled::Filed);
            assert_eq!(opening.refile((first, last), || 7, 101), Scheduled::Due);
            0
        },
    );
    assert_eq!((progress, visits, wheel.next_due(0)), (Progress::Done, 1, Some(103)));
    assert_eq!((visited(&wheel, 103).len(), visited(&wheel, 104).len()), (1, 1));
}

#[test]
fn a_division_grows_fourfold_or_not_at_all() {
    let wheel = Wheel::new(10, 100).unwrap();
    let before = wheel.memory();
    assert!(!wheel.grow(39) && wheel.partitions() == 10);
    assert_eq!(wheel.schedule(0, 101, 100), Scheduled::Filed);
    assert!(wheel.grow(40) && wheel.partitions() == 40);
    assert!(!wheel.grow(40) && !wheel.grow(0));
    assert!(wheel.memory() > before);
    assert_eq!(wheel.schedule(0, 101, 100), Scheduled::Filed);
    let (tenth, fortieth) = (u64::MAX / 10, u64::MAX / 40);
    assert_eq!(visited(&wheel, 101), [(0, tenth), (0, fortieth)], "filed in either division");
}

#[test]
fn divisions_end_without_an_end_to_growth() {
    let wheel = Wheel::new(1, 100).unwrap();
    for power in 1..=6 {
        assert!(wheel.grow(1 << (2 * power)));
    }
    assert!(!wheel.grow(usize::MAX), "there is no memory for that");
    assert_eq!(wheel.partitions(), 4096);
}

#[test]
fn memory_is_twelve_bytes_a_partition() {
    let wheel = Wheel::new(1_000_000, 0).unwrap();
    let bytes = wheel.memory();
    assert!((12_000_000..12_200_000).contains(&bytes), "{bytes} bytes");
    for hash in 0..1000 {
        assert_eq!(wheel.schedule(hash << 54, hash as u32 * 100 + 1, 0), Scheduled::Filed);
    }
    assert_eq!(wheel.memory(), bytes);
    assert!(Wheel::new(usize::MAX, 0).is_err_and(|refused| refused.bytes == usize::MAX));
}
