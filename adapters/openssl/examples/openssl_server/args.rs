//! The command line.

use crate::complain;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What the program was asked to do.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) listen: String,
    /// Certificate chain and private key, both in PEM.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// Sessions in the cache; 0 is no limit.
    pub(crate) capacity: usize,
    /// How long a session may be resumed.
    pub(crate) timeout: Duration,
    /// TLS 1.3 tickets after a full handshake.
    pub(crate) tickets: usize,
    /// Bytes of early data that a client may send; 0 is none.
    pub(crate) early_data: u32,
    /// How often statistics are printed.
    pub(crate) report: Duration,
    pub(crate) connections: usize,
    /// How long a client may be silent.
    pub(crate) idle: Duration,
    /// How long open connections may go on after the program was told to stop.
    pub(crate) drain: Duration,
}

#[derive(Parser)]
#[command(
    name = "openssl_server",
    about = "An HTTPS server on OpenSSL whose sessions live in a `resumption` cache",
    version
)]
struct CommandLine {
    /// Accept TLS connections on this address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4433")]
    listen: String,
    /// The certificate chain; without it, a self-signed certificate for localhost is made
    #[arg(long, value_name = "PEM", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of the certificate
    #[arg(long, value_name = "PEM", requires = "cert")]
    key: Option<PathBuf>,
    /// Most sessions in the cache; 0 is no limit
    #[arg(long, value_name = "N", default_value_t = 20_480)]
    capacity: usize,
    /// Seconds for which a session may be resumed
    #[arg(long, value_name = "S", default_value_t = 300, value_parser = seconds())]
    timeout: u64,
    /// TLS 1.3 tickets after a full handshake
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = RangedU64ValueParser::<usize>::new().range(0..=100))]
    tickets: usize,
    /// Most bytes of early data (TLS 1.3); 0 is none
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    early_data: u32,
    /// Seconds between two lines of statistics
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds())]
    report: u64,
    /// Most connections at one time; those that come meanwhile wait for their turn
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    max_connections: usize,
    /// Seconds for which a client may be silent
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds())]
    idle_timeout: u64,
    /// Seconds that open connections get after Ctrl-C
    #[arg(long, value_name = "S", default_value_t = 10)]
    drain_timeout: u32,
}

/// A year is more than anything here is for, and far from what a clock can overflow on.
fn seconds() -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(1..=31_536_000)
}

impl Options {
    /// Reads the command line. What comes back as an error has been told to the user already.
    pub(crate) fn from_command_line() -> Result<Self, ExitCode> {
        CommandLine::try_parse().map(Self::from).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // A reader that has gone away has what it wants of the help text.
                _ = error.print();
                ExitCode::SUCCESS
            }
            _ => {
                complain(&format_args!("{} (--help tells more)", in_one_line(&error.to_string())));
                ExitCode::from(2)
            }
        })
    }
}

/// clap says what is wrong in its first paragraph and how to do better in those that follow.
fn in_one_line(message: &str) -> String {
    let first = message.split("\n\n").next().unwrap_or(message);
    let line = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

impl From<CommandLine> for Options {
    fn from(line: CommandLine) -> Self {
        Self {
            listen: line.listen,
            identity: line.cert.zip(line.key),
            capacity: line.capacity,
            timeout: Duration::from_secs(line.timeout),
            tickets: line.tickets,
            early_data: line.early_data,
            report: Duration::from_secs(line.report),
            connections: line.max_connections,
            idle: Duration::from_secs(line.idle_timeout),
            drain: Duration::from_secs(line.drain_timeout.into()),
        }
    }
}
