//! The wheel's protocol: schedulers against drivers, and for each fence and look its twin without.
//!
//! Two levels of two slots: level 0 holds what dies at the next tick, level 1 the rest, in slots of two ticks. Every
//! model ends with an advance to the last death: when that says it is done, nothing may be left.

use loom::sync::Arc;
use loom::thread;
use resumption::model::ModelWheel;

/// The two halves of the hashes when there are two partitions.
const LOW: u64 = 0;
const HIGH: u64 = u64::MAX;

const COLLECTS: bool = false;

fn end(wheel: &ModelWheel, now: u32) {
    assert!(wheel.advance(now), "an advance that nobody meets is done");
    assert!(!wheel.holds(0) && !wheel.holds(1), "done, and an entry that is dead was not visited");
}

/// One thread files for the next time in a slot that is being emptied for this time; another bit of it is set.
fn next_round(partitions: usize, hashes: [u64; 2]) {
    let wheel = Arc::new(ModelWheel::new(partitions, &hashes));
    wheel.insert(0, 1, 0);
    let (a, b) = (Arc::clone(&wheel), Arc::clone(&wheel));
    let scheduler = thread::spawn(move || a.insert(1, 3, 2));
    let driver = thread::spawn(move || b.advance(2));
    scheduler.join().unwrap();
    driver.join().unwrap();
    end(&wheel, 3);
}

models! {
    /// Two threads file in one slot while it opens.
    fn two_schedulers_meet_an_advance() {
        let wheel = Arc::new(ModelWheel::new(1, &[LOW, LOW]));
        let (a, b) = (Arc::clone(&wheel), Arc::clone(&wheel));
        let first = thread::spawn(move || a.insert(0, 1, 0));
        let second = thread::spawn(move || b.insert(1, 1, 0));
        wheel.advance(1);
        first.join().unwrap();
        second.join().unwrap();
        end(&wheel, 1);
    }

    /// One thread files in a slot while it opens; a bit is set there already.
    fn a_set_bit_meets_an_advance() {
        let wheel = Arc::new(ModelWheel::new(1, &[LOW, LOW]));
        wheel.insert(0, 1, 0);
        let (a, b) = (Arc::clone(&wheel), Arc::clone(&wheel));
        let scheduler = thread::spawn(move || a.insert(1, 1, 0));
        let driver = thread::spawn(move || b.advance(1));
        scheduler.join().unwrap();
        driver.join().unwrap();
        end(&wheel, 1);
    }

    /// One thread files in an empty slot while it opens.
    fn a_new_bit_meets_an_advance() {
        let wheel = Arc::new(ModelWheel::new(1, &[LOW, LOW]));
        let (a, b) = (Arc::clone(&wheel), Arc::clone(&wheel));
        let scheduler = thread::spawn(move || a.insert(0, 1, 0));
        let driver = thread::spawn(move || b.advance(1));
        scheduler.join().unwrap();
        driver.join().unwrap();
        end(&wheel, 1);
    }

    /// As `next_round`, and one driver takes the bit, another closes the slot.
    fn a_slot_that_another_closes_is_filed_in() {
        let wheel = Arc::new(ModelWheel::new(1, &[LOW, LOW]));
        wheel.insert(0, 1, 0);
        let (a, b, c) = (Arc::clone(&wheel), Arc::clone(&wheel), Arc::clone(&wheel));
        let scheduler = thread::spawn(move || a.insert(1, 3, 2));
        let first = thread::spawn(move || b.step(2, 1));
        let second = thread::spawn(move || c.advance(2));
        scheduler.join().unwrap();
        first.join().unwrap();
        second.join().unwrap();
        end(&wheel, 3);
    }

    /// A visit that files again what is alive, and a scheduler that files in the same slots.
    fn a_refiled_entry_meets_a_scheduler() {
        let wheel = Arc::new(ModelWheel::new(1, &[LOW, LOW]));
        wheel.insert(0, 3, 0);
        let (a, b) = (Arc::clone(&wheel), Arc::clone(&wheel));
        let scheduler = thread::spawn(move || a.insert(1, 3, 1));
        let driver = thread::spawn(move || b.advance(2));
        scheduler.join().unwrap();
        driver.join().unwrap();
        end(&wheel, 3);
    }

    /// Two threads advance: one is the driver, and done means done.
    fn advance_meets_advance() {
        let wheel = Arc::new(ModelWheel::new(2, &[LOW, HIGH]));
        wheel.insert(0, 1, 0);
        wheel.insert(1, 2, 0);
        let threads = [0, 1].map(|_| {
            let wheel = Arc::clone(&wheel);
            thread::spawn(move || {
                if wheel.advance(2) {
                    assert!(!wheel.holds(0) && !wheel.holds(1), "done before both were visited");
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        end(&wheel, 2);
    }

    /// Two threads share the work: each goes on where the other stopped.
    fn a_driver_goes_on_for_another() {
        let wheel = Arc::new(ModelWheel::new(2, &[LOW, HIGH]));
        wheel.insert(0, 1, 0);
        wheel.insert(1, 2, 0);
        let threads = [0, 1].map(|_| {
            let wheel = Arc::clone(&wheel);
            thread::spawn(move || {
                if wheel.step(2, 1) {
                    assert!(!wheel.holds(0) && !wheel.holds(1), "done before both were visited");
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        end(&wheel, 2);
    }

    /// The tick is ahead of a scheduler whose entry dies in between, while a driver moves it on.
    fn a_clock_set_back_meets_an_advance() {
        let wheel = Arc::new(ModelWheel::new(1, &[LOW, LOW]));
        assert!(wheel.advance(3));
        let (a, b) = (Arc::clone(&wheel), Arc::clone(&wheel));
        let scheduler = thread::spawn(move || a.insert(0, 2, 1));
        let driver = thread::spawn(move || b.advance(4));
        wheel.insert(1, 5, 3);
        scheduler.join().unwrap();
        driver.join().unwrap();
        end(&wheel, 5);
    }

    /// One thread divides the hashes more finely and files, another opens the slot.
    fn a_new_division_meets_an_advance() {
        let wheel = Arc::new(ModelWheel::new(1, &[LOW, HIGH]));
        wheel.insert(0, 1, 0);
        let (a, b) = (Arc::clone(&wheel), Arc::clone(&wheel));
        let scheduler = thread::spawn(move || {
            assert!(a.grow(4));
            a.insert(1, 1, 0);
        });
        let driver = thread::spawn(move || b.advance(1));
        scheduler.join().unwrap();
        driver.join().unwrap();
        end(&wheel, 1);
    }

    fn an_open_slot_is_filed_in() {
        next_round(1, [LOW, LOW]);
    }

    fn another_bit_of_an_open_slot_is_set() {
        next_round(2, [LOW, HIGH]);
    }

    fn another_word_of_an_open_slot_is_set() {
        next_round(128, [HIGH, LOW]);
    }
}

twins! {
    two_schedulers_without_a_fence_after_the_mark: MarkFence breaks two_schedulers_meet_an_advance;
    a_set_bit_without_a_fence_after_the_mark: MarkFence breaks a_set_bit_meets_an_advance;
    a_set_bit_without_a_fence_before_the_visit: TakeFence breaks a_set_bit_meets_an_advance;
    a_set_bit_without_a_second_look_at_the_gate: ConfirmGate breaks a_set_bit_meets_an_advance;
    a_new_bit_without_a_second_look_at_the_tick: ConfirmTick breaks a_new_bit_meets_an_advance;
    a_new_bit_without_a_fence_after_the_tick: TickFence breaks a_new_bit_meets_an_advance;
    an_open_slot_without_a_fence_before_the_mark: OpenFence breaks an_open_slot_is_filed_in;
    an_open_slot_without_a_fence_before_the_visit: TakeFence breaks an_open_slot_is_filed_in;
    an_open_slot_without_a_fence_before_the_words: GateFence breaks another_word_of_an_open_slot_is_set;
    an_open_slot_whose_gate_opens_last: OpenFirst breaks another_bit_of_an_open_slot_is_set;
    an_open_slot_whose_words_are_overwritten: TakeSwaps breaks another_bit_of_an_open_slot_is_set;
    a_slot_that_closes_unseen: CloseReleases breaks a_slot_that_another_closes_is_filed_in;
    advance_meets_advance_with_two_drivers: OneDriver breaks advance_meets_advance;
    a_driver_goes_on_without_its_backlog: StopReleases breaks a_driver_goes_on_for_another;
    a_driver_stops_and_calls_it_done: Settled breaks a_driver_goes_on_for_another;
    a_clock_set_back_by_a_store: SetBackSwaps breaks a_clock_set_back_meets_an_advance;
}
