//! An HTTPS server on OpenSSL whose sessions live in a `resumption` cache.
//!
//! ```sh
//! cargo run --release -p resumption-openssl --example openssl_server
//! openssl s_client -connect localhost:4433 -tls1_2 -reconnect </dev/null | grep -E '^(New|Reused)'
//! curl -sk https://localhost:4433/ https://localhost:4433/
//! ```
//!
//! Every answer says whether its connection was resumed, and what the cache has done so far. Ctrl-C or SIGTERM lets open
//! connections finish; once more cuts them off.

#![forbid(unsafe_code)]

mod args;
mod certificate;
mod counters;
mod http;
mod serve;

use args::Options;
use counters::Counters;
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod, SslOptions};
use resumption::SessionContext;
use resumption_openssl::ServerSessions;
use serve::Server;
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let options = match Options::from_command_line() {
        Ok(options) => options,
        Err(code) => return code,
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let counters = Arc::new(Counters::default());
    let (arrived, left) = (Arc::clone(&counters), Arc::clone(&counters));
    let cache = SessionContext::builder()
        .capacity(options.capacity)
        .timeout(options.timeout)
        .on_new(move |_, _| arrived.session_stored())
        .on_remove(move |_, _, reason| left.session_left(reason))
        .build()?;
    let sessions = ServerSessions::new(Arc::new(cache));
    let acceptor = acceptor(options, &sessions)?;
    let listener = TcpListener::bind(&options.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    say(&format_args!(
        "listening on {}, {}, {} sessions for {} s",
        listener.local_addr()?,
        openssl::version::version(),
        if options.capacity == 0 { "any number of".to_owned() } else { options.capacity.to_string() },
        options.timeout.as_secs(),
    ));
    Server { acceptor, sessions, counters, options: options.clone() }.run(listener)?;
    // The server is gone, and its sessions with it: their memory is wiped now and not whenever.
    resumption::idle();
    Ok(())
}

fn acceptor(options: &Options, sessions: &ServerSessions) -> Result<SslAcceptor, Box<dyn Error>> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    match &options.identity {
        Some((chain, key)) => {
            let unusable = |file: &std::path::Path, error| format!("cannot use {}: {error}", file.display());
            builder.set_certificate_chain_file(chain).map_err(|error| unusable(chain, error))?;
            builder.set_private_key_file(key, SslFiletype::PEM).map_err(|error| unusable(key, error))?;
            builder.check_private_key().map_err(|_| "the private key is not that of the certificate")?;
        }
        None => {
            let (certificate, key) = certificate::for_localhost()?;
            builder.set_certificate(&certificate)?;
            builder.set_private_key(&key)?;
        }
    }
    // HTTP says itself where a message ends, so a client that goes away without a word has not cut anything short.
    // The option is of OpenSSL 3.0; the openssl crate does not have its name when it is built with an older one.
    const IGNORE_UNEXPECTED_EOF: SslOptions = SslOptions::from_bits_retain(1 << 7);
    builder.set_options(IGNORE_UNEXPECTED_EOF);
    builder.set_num_tickets(options.tickets)?;
    builder.set_max_early_data(options.early_data)?;
    sessions.install(&mut builder)?;
    Ok(builder.build())
}

/// A line for whoever reads the output, who may have gone away.
fn say(line: &impl Display) {
    let mut out = io::stdout().lock();
    _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn complain(message: &dyn Display) {
    _ = writeln!(io::stderr().lock(), "openssl_server: {message}");
}
