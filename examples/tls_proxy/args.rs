//! The command line.

use crate::complain;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What the program was asked to do.
pub(crate) struct Options {
    pub(crate) task: Task,
    /// Sessions in the cache; 0 is no limit.
    pub(crate) capacity: usize,
    /// How long a session may be resumed.
    pub(crate) timeout: Duration,
    pub(crate) limits: Limits,
}

pub(crate) enum Task {
    Demo(Demo),
    Listen(Listen),
}

pub(crate) struct Demo {
    pub(crate) duration: Duration,
}

pub(crate) struct Listen {
    pub(crate) address: String,
    pub(crate) upstream: String,
    /// Certificate chain and private key, both in PEM.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// What one client, or all of them together, may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) handshake: Duration,
    /// How long a connection may be silent in both directions.
    pub(crate) idle: Duration,
    /// How long open connections may go on after the proxy was told to stop.
    pub(crate) drain: Duration,
}

#[derive(Parser)]
#[command(name = "tls_proxy", about = "A TLS proxy whose sessions resume from a `resumption` cache", version)]
struct CommandLine {
    /// Accept TLS connections on this address, HOST:PORT; without it, run the demonstration
    #[arg(long, value_name = "ADDR", requires = "upstream")]
    listen: Option<String>,
    /// Forward what the connections carry to this address, HOST:PORT
    #[arg(long, value_name = "ADDR", requires = "listen")]
    upstream: Option<String>,
    /// The certificate chain; without it, a self-signed certificate for localhost is made
    #[arg(long, value_name = "PEM", requires = "key", requires = "listen")]
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
    /// Most connections at one time
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    max_connections: usize,
    /// Seconds for which a handshake may last
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = seconds())]
    handshake_timeout: u64,
    /// Seconds for which a connection may be silent
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = seconds())]
    idle_timeout: u64,
    /// Seconds that open connections get after Ctrl-C
    #[arg(long, value_name = "S", default_value_t = 10)]
    drain_timeout: u32,
    /// Seconds for which the demonstration lasts
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = seconds(), conflicts_with = "listen")]
    duration: u64,
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
        let task = match (line.listen, line.upstream) {
            (Some(address), Some(upstream)) => {
                Task::Listen(Listen { address, upstream, identity: line.cert.zip(line.key) })
            }
            _ => Task::Demo(Demo { duration: Duration::from_secs(line.duration) }),
        };
        let limits = Limits {
            connections: line.max_connections,
            handshake: Duration::from_secs(line.handshake_timeout),
            idle: Duration::from_secs(line.idle_timeout),
            drain: Duration::from_secs(line.drain_timeout.into()),
        };
        Self { task, capacity: line.capacity, timeout: Duration::from_secs(line.timeout), limits }
    }
}
