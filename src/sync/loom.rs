//! loom's atomics: same names, explored exhaustively; and the switches that break a rule or weaken an ordering on purpose.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;

use loom::sync::atomic as inner;
pub(crate) use loom::sync::atomic::Ordering;

pub use super::Rule;

super::watched! {
    []
    AtomicU8: u8,
    AtomicU16: u16,
    AtomicU32: u32,
    AtomicU64: u64,
    AtomicUsize: usize,
}

/// Of something that is not atomic: loom complains of two that are not ordered.
pub(crate) struct Accesses(loom::cell::UnsafeCell<()>);

impl Accesses {
    pub(crate) fn new() -> Self {
        Self(loom::cell::UnsafeCell::new(()))
    }

    pub(crate) fn note(&self) {
        self.0.with_mut(|_| ());
    }
}

#[track_caller]
pub(crate) fn fence(order: Ordering) {
    let weakened = adjust(order, 0);
    if weakened != Ordering::Relaxed {
        inner::fence(weakened);
    }
    end("fence", order, None);
}

/// What an ordering loses when it is weakened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// Its Acquire half.
    Acquire,
    /// Its Release half.
    Release,
    /// Its place in the single order of all sequentially consistent fences.
    Total,
    /// All that a sequentially consistent load or store is besides, to loom, for which it has no place in that order.
    Only,
}

/// One ordering in the source, without one of its halves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Weakened {
    /// The file, as `src/table/find.rs`.
    pub file: String,
    /// Line and column of the name of the function that is called with the ordering, from 1.
    pub at: (u32, u32),
    /// 0, or 1 for the ordering of a failed compare-and-swap.
    pub argument: usize,
    /// What it has lost.
    pub half: Half,
}

/// An access that a model has made.
struct Access {
    thread: loom::thread::ThreadId,
    at: &'static Location<'static>,
    what: &'static str,
    order: Ordering,
    value: Option<Result<u64, u64>>,
}

// loom runs all threads of a model on one thread of the system, so all of these are the model's own.
std::thread_local! {
    static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    static WEAKENED: RefCell<Option<Weakened>> = const { RefCell::new(None) };
    static NARRATION: RefCell<Option<Vec<Access>>> = const { RefCell::new(None) };
}

/// Breaks `rule` in what the current thread's models run from now on.
pub fn break_rule(rule: Option<Rule>) {
    BROKEN.set(rule);
}

pub(crate) fn is_broken(rule: Rule) -> bool {
    BROKEN.get() == Some(rule)
}

/// Weakens an ordering in what the current thread's models run from now on.
pub fn weaken(weakened: Option<Weakened>) {
    WEAKENED.set(weakened);
}

/// Begins to note every access of the current thread's model.
pub fn narrate() {
    NARRATION.set(Some(Vec::new()));
}

/// The accesses that were noted, one a line, in their order; none are noted any more.
pub fn narration() -> Vec<String> {
    NARRATION.take().unwrap_or_default().iter().map(Access::to_string).collect()
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thread, at, what, order, value } = self;
        let file = at.file().rfind("src/").map_or(at.file(), |start| &at.file()[start..]);
        write!(f, "{thread:?} {file}:{} {what} {order:?}", at.line())?;
        match value {
            Some(Ok(value)) => write!(f, " -> {value:#x}"),
            Some(Err(found)) => write!(f, " -> no, found {found:#x}"),
            None => Ok(()),
        }
    }
}

fn begin() {}

/// The ordering to use in place of `order`.
#[track_caller]
fn adjust(order: Ordering, argument: usize) -> Ordering {
    if order == Ordering::Relaxed {
        return order;
    }
    let at = Location::caller();
    let half = WEAKENED.with_borrow(|weakened| {
        let weakened = weakened.as_ref()?;
        let is_here = weakened.at == (at.line(), at.column())
            && weakened.argument == argument
            && at.file().ends_with(&weakened.file);
        is_here.then_some(weakened.half)
    });
    match (order, half) {
        (Ordering::AcqRel, Some(Half::Acquire)) => Ordering::Release,
        (Ordering::AcqRel, Some(Half::Release)) => Ordering::Acquire,
        (Ordering::Acquire, Some(Half::Acquire)) | (Ordering::Release, Some(Half::Release)) => {
            Ordering::Relaxed
        }
        (Ordering::SeqCst, Some(Half::Total)) => Ordering::AcqRel,
        (Ordering::SeqCst, Some(Half::Only)) => Ordering::Relaxed,
        (Ordering::SeqCst, Some(Half::Acquire)) => Ordering::Release,
        (Ordering::SeqCst, Some(Half::Release)) => Ordering::Acquire,
        _ => order,
    }
}

#[track_caller]
fn end(what: &'static str, order: Ordering, value: Option<Result<u64, u64>>) {
    let at = Location::caller();
    NARRATION.with_borrow_mut(|accesses| {
        let Some(accesses) = accesses else { return };
        let thread = loom::thread::current().id();
        accesses.push(Access { thread, at, what, order, value });
    });
}
