//! Whatever is scheduled on the wheel is visited in time, and nothing is late when the wheel says that it is done.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resumption_fuzz::wheel::{Program, run};

fuzz_target!(|program: Program| run(&program));
