//! Every seed and every past finding, run once more: what a fuzzer has found stays mended.
//!
//! `corpus/<target>` has the seeds, `findings/<target>` the inputs that once failed, named after what went wrong.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use arbitrary::{Arbitrary, Unstructured};
use resumption_fuzz::{context, schedule, stored, table, wheel};

/// One target at a time: a guard of one would keep what another waits for.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs all inputs of a target, as libFuzzer does, and returns how many there were.
fn replay<P: for<'a> Arbitrary<'a>>(target: &str, run: impl Fn(&P)) -> usize {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut count = 0;
    for folder in ["corpus", "findings"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let bytes = std::fs::read(&path).expect("a readable file");
            println!("{}", path.display());
            if let Ok(program) = P::arbitrary_take_rest(Unstructured::new(&bytes)) {
                run(&program);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn context_inputs() {
    assert!(replay("context", context::run) > 0);
}

#[test]
fn schedule_inputs() {
    assert!(replay("schedule", schedule::run) > 0);
}

#[test]
fn stored_inputs() {
    assert!(replay("stored", stored::run) > 0);
}

#[test]
fn table_inputs() {
    assert!(replay("table", table::run) > 0);
}

#[test]
fn wheel_inputs() {
    assert!(replay("wheel", wheel::run) > 0);
}
