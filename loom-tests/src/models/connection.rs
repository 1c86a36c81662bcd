//! A connection's slot: a ticket replaces the session while other threads read it.

use crate::run::{check, complain};
use loom::sync::Arc;
use loom::thread;
use resumption::model::{ModelSlot, Seen};

const COLLECTS: bool = true;

models! {
    /// A borrow against one replacement: what is read is whole, and alive as long as it is borrowed.
    fn read_meets_replacement() {
        let slot = Arc::new(ModelSlot::new(2));
        slot.put(0, 1);
        let other = Arc::clone(&slot);
        let reader = thread::spawn(move || match other.read() {
            Some(Seen { is_alive: false, .. }) => complain("freed while borrowed"),
            Some(Seen { number: 1 | 2, .. }) => {}
            Some(_) => complain("seen before it was published"),
            None => complain("never empty"),
        });
        slot.put(1, 2);
        reader.join().unwrap();
        check(slot.read() == Some(Seen { number: 2, is_alive: true }), "not the last that was put");
    }

    /// A count taken against one replacement: of the one or the other.
    fn counted_read_meets_replacement() {
        let slot = Arc::new(ModelSlot::new(2));
        slot.put(0, 1);
        let other = Arc::clone(&slot);
        let reader = thread::spawn(move || {
            check(matches!(other.read_counted(), Some(1 | 2)), "neither the old nor the new");
        });
        slot.put(1, 2);
        reader.join().unwrap();
    }
}

twins! {
    replacement_that_frees_at_once: RetireCurrent breaks read_meets_replacement;
}
