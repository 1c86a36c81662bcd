//! Any sequence of calls on a context agrees with the sequential model, and borrows stay intact.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resumption_fuzz::context::{Program, run};

fuzz_target!(|program: Program| run(&program));
