//! Any sequence of operations on a table that grows agrees with a map.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resumption_fuzz::table::{Program, run};

fuzz_target!(|program: Program| run(&program));
