//! Retirement with crossbeam's collector: nothing is freed while it is borrowed, everything in the end, and what was counted
//! in time stays.
//!
//! The models complain when all is over, because the collector cannot be unwound.

use crate::run::check;
use loom::sync::Arc;
use loom::thread;
use resumption::model::ModelPlace;

const COLLECTS: bool = true;

/// A place with a session in it, and as many others as one may put there.
fn with_session(others: u8) -> (Arc<ModelPlace>, Arc<ModelPlace>) {
    let place = Arc::new(ModelPlace::new(1 + others));
    let participant = place.participant();
    place.put(0, &participant);
    (Arc::clone(&place), place)
}

models! {
    /// A borrow against a take that collects at once.
    fn borrow_meets_take() {
        let (other, place) = with_session(0);
        let reader = thread::spawn(move || {
            let participant = other.participant();
            check(other.read(&participant) != Some(false), "freed while borrowed");
        });
        let participant = place.participant();
        check(place.take(&participant), "one take finds it");
        participant.collect();
        drop(participant);
        reader.join().unwrap();
        check(place.is_all_freed(), "never freed");
    }

    /// A borrow against a replacement that collects at once.
    fn borrow_meets_replacement() {
        let (other, place) = with_session(1);
        let reader = thread::spawn(move || {
            let participant = other.participant();
            match other.read(&participant) {
                Some(is_owned) => check(is_owned, "freed while borrowed"),
                None => check(false, "a replacement leaves no gap"),
            }
        });
        let participant = place.participant();
        place.put(1, &participant);
        participant.collect();
        drop(participant);
        reader.join().unwrap();
        check(place.is_all_freed(), "never freed");
    }

    /// A count that is made against the last drop.
    fn count_meets_last_drop() {
        let (other, place) = with_session(0);
        let counter = thread::spawn(move || {
            let participant = other.participant();
            check(other.count(&participant) != Some(false), "counted when it was freed");
        });
        let participant = place.participant();
        check(place.take(&participant), "one take finds it");
        participant.collect();
        drop(participant);
        counter.join().unwrap();
        check(place.is_all_freed(), "never freed");
    }

    /// Two takes, one of which collects: freed once.
    fn two_takes_collect() {
        let (other, place) = with_session(0);
        let taker = thread::spawn(move || {
            let participant = other.participant();
            other.take(&participant)
        });
        let participant = place.participant();
        let ours = place.take(&participant);
        participant.collect();
        drop(participant);
        check(ours != taker.join().unwrap(), "one of the two gets it");
        check(place.is_all_freed(), "never freed");
    }
}

twins! {
    a_taken_session_that_is_freed_at_once: RetireEntry breaks borrow_meets_take;
    a_taken_session_that_is_never_freed: FreeEntry breaks borrow_meets_take;
    a_replaced_session_that_is_freed_at_once: RetireEntry breaks borrow_meets_replacement;
    a_session_that_is_freed_before_it_is_counted: RetireEntry breaks count_meets_last_drop;
    a_session_that_two_take_and_nobody_frees: FreeEntry breaks two_takes_collect;
}
