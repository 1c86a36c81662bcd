//! Freeing is not nested: a payload's destructor may pin or flush, which frees what else has waited, whose destructors
//! may do the same, and so on down the stack, one level for every batch there is.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// A closure of this crate that frees something.
trait Free {
    fn free(self: Box<Self>);
}

impl<F: FnOnce()> Free for F {
    fn free(self: Box<Self>) {
        self();
    }
}

type Waiting = RefCell<Vec<Box<dyn Free>>>;

thread_local! {
    // Neither has a destructor, so both work while their thread ends.
    static FREEING: Cell<bool> = const { Cell::new(false) };
    static WAITING: ManuallyDrop<Waiting> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Whether this thread is running a destructor, or unwinding: a second panic would end the process.
pub(super) fn is_freeing() -> bool {
    FREEING.get() || thread::panicking()
}

/// Runs what may free where nobody could bear a panic. A destructor that panics, against its promise, has told so already;
/// what it leaves is freed later.
pub(super) fn quietly(free: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(free)) {
        mem::forget(panic);
    }
}

/// Runs what may lead to freeing, and leaves that to others.
pub(super) fn without_freeing(run: impl FnOnce()) {
    let _freeing = Freeing::begin();
    run();
}

/// Runs `free`, or leaves it to the call further up the stack that is freeing already.
pub(super) fn one_at_a_time(free: impl FnOnce() + 'static) {
    if FREEING.get() {
        return WAITING.with(|waiting| waiting.borrow_mut().push(Box::new(free)));
    }
    let _freeing = Freeing::begin();
    free();
    while let Some(next) = WAITING.with(|waiting| waiting.borrow_mut().pop()) {
        next.free();
    }
}

/// The time in which this thread frees.
struct Freeing;

impl Freeing {
    fn begin() -> Self {
        FREEING.set(true);
        Self
    }
}

impl Drop for Freeing {
    fn drop(&mut self) {
        // After a destructor that panicked, what waits is left to the next call. Otherwise there is only room to give back.
        WAITING.with(|waiting| waiting.borrow_mut().shrink_to_fit());
        FREEING.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn nested(depth: &Rc<Cell<usize>>, deepest: &Rc<Cell<usize>>, left: usize) {
        let (depth, deepest) = (Rc::clone(depth), Rc::clone(deepest));
        one_at_a_time(move || {
            depth.set(depth.get() + 1);
            deepest.set(deepest.get().max(depth.get()));
            if left > 0 {
                nested(&depth, &deepest, left - 1);
            }
            depth.set(depth.get() - 1);
        });
    }

    #[test]
    fn what_frees_while_freeing_waits_for_its_turn() {
        let (depth, deepest) = (Rc::default(), Rc::default());
        nested(&depth, &deepest, 100_000);
        assert_eq!((depth.get(), deepest.get()), (0, 1));
    }

    #[test]
    fn a_panic_leaves_the_rest_for_the_next_call() {
        let freed = Rc::new(Cell::new(0));
        let panics = || {
            let freed = Rc::clone(&freed);
            one_at_a_time(move || {
                one_at_a_time(move || freed.set(freed.get() + 1));
                panic!("a destructor that breaks its promise");
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(freed.get(), 0);
        one_at_a_time(|| {});
        assert_eq!(freed.get(), 1);
    }
}
