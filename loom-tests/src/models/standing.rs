//! A pin that stands between a thread's guards, and those who take it down.

use crate::run::check;
use loom::sync::Arc;
use loom::thread;
use resumption::model::ModelStanding;

const COLLECTS: bool = true;

fn standing() -> (Arc<ModelStanding>, Arc<ModelStanding>) {
    let standing = Arc::new(ModelStanding::new());
    (Arc::clone(&standing), standing)
}

/// Has the owner do this while somebody takes the session, takes the pin down and collects.
fn taken_meanwhile(owner: impl FnOnce(&ModelStanding) + Send + 'static) {
    let (other, standing) = standing();
    let owner = thread::spawn(move || owner(&other));
    let participant = standing.participant();
    check(standing.take(&participant), "one take finds it");
    drop(participant);
    owner.join().unwrap();
    check(standing.is_all_freed(), "never freed");
}

/// Nobody else is there any more.
fn take_at_last(standing: &ModelStanding) {
    standing.take(&standing.participant());
    check(standing.is_all_freed(), "never freed");
}

models! {
    /// A borrow under the standing pin against who takes the session, and the pin down.
    fn standing_pin_meets_take_down() {
        taken_meanwhile(|standing| {
            let own = standing.participant();
            check(standing.read(&own) != Some(false), "freed while borrowed");
        });
    }

    /// The owner lets the collector pass while somebody takes the pin down.
    fn passing_meets_take_down() {
        taken_meanwhile(|standing| {
            let own = standing.participant();
            check(standing.pass_and_read(&own) != Some(false), "freed while borrowed");
        });
    }

    /// The owner begins a guard while its pin is claimed, and lets the collector pass both.
    fn passing_both_meets_take_down() {
        taken_meanwhile(|standing| {
            let own = standing.participant();
            check(standing.pass_both_and_read(&own) != Some(false), "freed while borrowed");
        });
    }

    /// What is read after the collector has passed is not what was there before. The yields make it likely: they are where a
    /// schedule switches without a preemption. The collector is one step ahead of the pin, so that one passing suffices.
    fn reading_after_passing_meets_take() {
        let (other, standing) = standing();
        let participant = standing.participant();
        participant.collect_once();
        standing.pass();
        let owner = thread::spawn(move || {
            check(other.begin(), "nobody claims it");
            thread::yield_now();
            other.pass_now();
            thread::yield_now();
            check(other.read_now() != Some(false), "freed while borrowed");
            other.end();
        });
        thread::yield_now();
        check(standing.take_only(&participant), "one take finds it");
        participant.collect_once();
        thread::yield_now();
        participant.collect_once();
        participant.collect_once();
        drop(participant);
        owner.join().unwrap();
        check(standing.is_all_freed(), "never freed");
    }

    /// The owner reads and has its pin stand again while somebody takes it down.
    fn erecting_meets_take_down() {
        let (other, standing) = standing();
        let owner = thread::spawn(move || other.erect_again());
        standing.take_down();
        standing.take_down();
        owner.join().unwrap();
        take_at_last(&standing);
    }

    /// The owner lets the collector pass, and then begins a guard, perhaps in vain, while somebody takes the pin down.
    fn a_guard_in_vain_meets_take_down() {
        let (other, standing) = standing();
        let taker = thread::spawn(move || {
            // The first may only note that the owner has let the collector pass.
            other.take_down();
            other.take_down();
        });
        standing.pass();
        standing.enter();
        taker.join().unwrap();
        take_at_last(&standing);
    }

    /// Two take the pin down, and the owner reads.
    fn two_take_down() {
        let (one, standing) = standing();
        let other = Arc::clone(&standing);
        let one = thread::spawn(move || one.take_down());
        let other = thread::spawn(move || other.take_down());
        let own = standing.participant();
        check(standing.read(&own) == Some(true), "it is there");
        drop(own);
        one.join().unwrap();
        other.join().unwrap();
        take_at_last(&standing);
    }
}

twins! {
    a_guard_without_a_barrier: StandingFence breaks standing_pin_meets_take_down;
    a_pin_that_is_taken_down_unlooked: StandingLooks breaks standing_pin_meets_take_down;
    a_pin_that_is_taken_down_as_the_collector_passes: StandingLooks breaks passing_meets_take_down;
    a_passing_without_a_barrier: StandingFence breaks passing_meets_take_down;
    a_read_that_is_ahead_of_the_passing: PassFence breaks reading_after_passing_meets_take;
}
