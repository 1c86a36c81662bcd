//! A connection's slot: a ticket replaces the session while other threads read it, with crossbeam's collector at work.
//!
//! The collector cannot be unwound inside a model, so a model here notes what went wrong and fails when it is over.

use loom::sync::Arc;
use loom::thread;
use resumption::model::{ModelSlot, Rule, Seen, break_rule};
use resumption_loom_tests::explore;
use std::sync::{Arc as Shared, Mutex};

/// What went wrong in some interleaving, if anything did.
type Complaint = Shared<Mutex<Option<&'static str>>>;

fn complain(complaint: &Complaint, what: &'static str) {
    complaint.lock().expect("nobody panics with it").get_or_insert(what);
}

/// Explores `model` with `rule` broken, and returns what it complained of.
fn explored(
    name: &str,
    rule: Option<Rule>,
    model: impl Fn(&Complaint) + Send + Sync + 'static,
) -> Option<&'static str> {
    let complaint = Complaint::default();
    let inside = Shared::clone(&complaint);
    break_rule(rule);
    explore(name, move || model(&inside));
    break_rule(None);
    *complaint.lock().expect("nobody panics with it")
}

/// A borrow against one replacement: what is read is whole, and alive as long as it is borrowed.
fn read_meets_put(complaint: &Complaint) {
    let slot = Arc::new(ModelSlot::new(2));
    slot.put(0, 1);
    let (other, notes) = (Arc::clone(&slot), Shared::clone(complaint));
    let reader = thread::spawn(move || match other.read() {
        Some(Seen { is_alive: false, .. }) => complain(&notes, "freed while borrowed"),
        Some(Seen { number: 1 | 2, .. }) => {}
        Some(_) => complain(&notes, "seen before it was published"),
        None => complain(&notes, "never empty"),
    });
    slot.put(1, 2);
    reader.join().unwrap();
    if slot.read() != Some(Seen { number: 2, is_alive: true }) {
        complain(complaint, "not the last that was put");
    }
}

#[test]
fn read_meets_replacement() {
    assert_eq!(explored("read_meets_replacement", None, read_meets_put), None);
}

#[test]
fn replacement_that_frees_at_once() {
    let noticed = explored("replacement_that_frees_at_once", Some(Rule::RetireCurrent), read_meets_put);
    assert_eq!(noticed, Some("freed while borrowed"));
}

#[test]
fn replacement_that_does_not_publish() {
    let noticed = explored("replacement_that_does_not_publish", Some(Rule::PublishCurrent), read_meets_put);
    assert_eq!(noticed, Some("seen before it was published"));
}

/// A count taken against one replacement: of the one or the other.
#[test]
fn counted_read_meets_replacement() {
    let noticed = explored("counted_read_meets_replacement", None, |complaint| {
        let slot = Arc::new(ModelSlot::new(2));
        slot.put(0, 1);
        let (other, notes) = (Arc::clone(&slot), Shared::clone(complaint));
        let reader = thread::spawn(move || {
            if !matches!(other.read_counted(), Some(1 | 2)) {
                complain(&notes, "neither the old nor the new");
            }
        });
        slot.put(1, 2);
        reader.join().unwrap();
    });
    assert_eq!(noticed, None);
}
