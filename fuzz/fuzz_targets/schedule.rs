//! Threads that are stopped before any access, in the order that the input says, make linearizable histories.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resumption_fuzz::schedule::{Program, run};

fuzz_target!(|program: Program| run(&program));
