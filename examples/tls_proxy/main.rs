//! A TLS proxy whose sessions resume from a `resumption` cache.
//!
//! ```text
//! cargo run --release --example tls_proxy
//! cargo run --release --example tls_proxy -- --listen 127.0.0.1:8443 --upstream 127.0.0.1:8080
//! ```
//!
//! Without arguments it is a demonstration on loopback: an HTTP origin, the proxy before it, and visitors of whom most
//! come back. It ends with a table, and with exit code 0 only when sessions were resumed in TLS 1.2 and in TLS 1.3.
//! With `--listen` and `--upstream` it is a proxy for an origin of yours until Ctrl-C.

mod args;
mod counters;
mod demo;
mod identity;
mod listen;
mod origin;
mod proxy;
mod relay;
mod report;
mod signals;
mod tls;
mod visitors;

use args::{Options, Task};
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// What stops the program before it has done anything, told in one line.
#[derive(Debug)]
struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn main() -> ExitCode {
    let options = match Options::from_command_line() {
        Ok(options) => options,
        Err(early) => return early,
    };
    run(options).unwrap_or_else(|fault| {
        complain(&fault);
        ExitCode::from(2)
    })
}

/// Writes a line for the user. One who closed the other end of the pipe does not stop the proxy.
fn say(line: &dyn fmt::Display) {
    _ = writeln!(io::stdout(), "{line}");
}

/// The same for what went wrong.
fn complain(line: &dyn fmt::Display) {
    _ = writeln!(io::stderr(), "tls_proxy: {line}");
}

fn run(options: Options) -> Result<ExitCode, Fault> {
    // A thread that is about to sleep gives back the memory of sessions that were removed since its last look-up.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(resumption::idle)
        .build()
        .map_err(|error| Fault(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        match &options.task {
            Task::Demo(task) => demo::run(&options, task).await,
            Task::Listen(task) => listen::run(&options, task).await,
        }
    })
}
