//! How the models are run: bounded, counted, and silent unless one fails.
//!
//! `LOOM_MAX_PREEMPTIONS` bounds the preemptions of a thread (2 unless set): the number of interleavings grows steeply
//! with it. `LOOM_LOG=trace` narrates.

use resumption::model::{Rule, break_rule};
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Silences loom's own coroutines, which end by a panic that nobody is meant to see.
fn quiet_coroutines() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let coroutine = panic.location().is_some_and(|at| at.file().contains("generator"));
            if !coroutine && !EXPECTED.get() {
                report(panic);
            }
        }));
    });
}

std::thread_local! {
    // Whether a failure is what the current thread's test wants.
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

/// Explores every interleaving of `model` within the bound, and prints how many there were.
pub fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    quiet_coroutines();
    let iterations = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&iterations);
    let started = std::time::Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(2);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let iterations = iterations.load(Ordering::Relaxed);
    println!("{name}: {iterations} interleavings, {:.1} s", started.elapsed().as_secs_f32());
    assert!(iterations > 1, "{name}: nothing was interleaved");
}

/// Explores the twin of a model: with `rule` broken, or a model that is wrong in itself, some interleaving must fail. Prints what caught it.
pub fn must_fail(name: &str, rule: Option<Rule>, model: impl Fn() + Send + Sync + 'static) {
    break_rule(rule);
    EXPECTED.set(true);
    let caught = panic::catch_unwind(AssertUnwindSafe(|| explore(name, model)));
    EXPECTED.set(false);
    break_rule(None);
    match caught {
        Ok(()) => panic!("{name}: no interleaving noticed what is broken ({rule:?})"),
        Err(panic) => {
            let what = panic.downcast_ref::<String>().map(String::as_str);
            let what = what.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a failure");
            println!("{name}: caught by: {}", what.lines().next().unwrap_or_default());
        }
    }
}
