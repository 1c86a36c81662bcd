//! Whatever bytes rustls hands over, a server gets back what it has stored, and nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resumption_fuzz::stored::{Program, run};

fuzz_target!(|program: Program| run(&program));
