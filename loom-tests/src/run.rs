//! Exploring a model, and a model that must fail.

use resumption::model::{
    Rule, Weakened, abandon_model, break_rule, end_of_model, narrate, narration, weaken, with_collector,
};
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A model.
#[derive(Clone, Copy)]
pub struct Model {
    /// What it is called.
    pub name: &'static str,
    /// One interleaving of it.
    pub run: fn(),
    /// Whether crossbeam's collector is part of it. Otherwise what is retired is kept until the model ends.
    pub collects: bool,
}

/// What exploring a model took.
pub struct Explored {
    /// How many interleavings there are within the bound.
    pub interleavings: usize,
    /// How long that took.
    pub time: Duration,
}

/// What a model is broken by.
#[derive(Clone, Debug)]
pub enum Defect {
    /// A rule of the engine.
    Rule(Rule),
    /// A memory ordering that has lost something.
    Ordering(Weakened),
}

// loom runs all threads of a model on one thread of the system, so these are the model's own.
std::thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
    static COMPLAINT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes what went wrong, for models that must not be unwound: the first complaint fails the model when the interleaving
/// is over.
pub fn complain(what: impl Into<String>) {
    COMPLAINT.with_borrow_mut(|complaint| {
        complaint.get_or_insert_with(|| what.into());
    });
}

/// Complains of what does not hold.
pub fn check(holds: bool, what: &str) {
    if !holds {
        complain(what);
    }
}

/// Silences panics: what they say is printed here, once, and loom's own coroutines end by one that nobody is meant to see.
fn silence_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let coroutine = panic.location().is_some_and(|at| at.file().contains("generator"));
            if !coroutine && !IS_QUIET.get() {
                report(panic);
            }
        }));
    });
}

/// Runs all interleavings of a model, and narrates the one with this number. What the first that fails says and its
/// number, or how many there were.
fn try_explore(model: Model, narrated: Option<usize>) -> Result<Explored, (String, usize)> {
    silence_panics();
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, started) = (Arc::clone(&count), Instant::now());
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.max_branches = 20_000;
    with_collector(model.collects);
    IS_QUIET.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        builder.check(move || {
            if Some(counted.fetch_add(1, Ordering::Relaxed)) == narrated {
                narrate();
            }
            (model.run)();
            end_of_model();
            if let Some(complaint) = COMPLAINT.take() {
                panic!("{complaint}");
            }
        });
    }));
    IS_QUIET.set(false);
    let interleavings = count.load(Ordering::Relaxed);
    COMPLAINT.take();
    match outcome {
        Ok(()) => Ok(Explored { interleavings, time: started.elapsed() }),
        Err(panic) => {
            abandon_model();
            let what = panic.downcast_ref::<String>().map(String::as_str);
            let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a failure");
            Err((what.to_owned(), interleavings - 1))
        }
    }
}

/// Explores a model and prints how many interleavings it has.
///
/// # Panics
///
/// When one fails: with its narration. loom is deterministic, so a second exploration comes to the same interleaving.
pub fn explore(model: Model) {
    match try_explore(model, None) {
        Ok(Explored { interleavings, time }) => {
            println!("model {}: {interleavings} interleavings, {:.1} s", model.name, time.as_secs_f32());
            assert!(interleavings > 1, "{}: nothing was interleaved", model.name);
        }
        Err((what, number)) => {
            let _ = try_explore(model, Some(number));
            panic!("{}: {what}\ninterleaving {number}:\n  {}", model.name, narration().join("\n  "));
        }
    }
}

/// Explores a model with a defect; what the interleaving that notices says.
pub fn failure(defect: &Defect, model: Model) -> Option<String> {
    match defect {
        Defect::Rule(rule) => break_rule(Some(*rule)),
        Defect::Ordering(weakened) => weaken(Some(weakened.clone())),
    }
    let outcome = try_explore(model, None);
    break_rule(None);
    weaken(None);
    outcome.err().map(|(what, _)| what.lines().next().unwrap_or_default().to_owned())
}

/// Explores the twin of a model, with `rule` broken, and prints what caught it.
///
/// # Panics
///
/// When no interleaving fails.
pub fn must_fail(twin: &str, rule: Rule, model: Model) {
    match failure(&Defect::Rule(rule), model) {
        Some(what) => println!("twin {twin}: {rule:?} broken, caught by {}: {what}", model.name),
        None => panic!("{twin}: {} does not notice that {rule:?} is broken", model.name),
    }
}
