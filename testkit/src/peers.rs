//! Starters of real TLS programs on the loopback interface: `openssl s_client`, `openssl s_server` and `curl`.
//!
//! Every program is stopped when its value is dropped, and every wait has a limit of [`PATIENCE`], so that a test
//! that goes wrong fails with the program's output instead of hanging.

mod curl;
mod process;
mod s_client;
mod s_server;

use std::fmt;
use std::io;
use std::time::Duration;

pub use curl::{Curl, CurlReport};
pub use s_client::{Handshake, SClient, SClientReport, parse_handshakes};
pub use s_server::SServer;

/// How long a starter waits for a program before it gives up.
///
/// It is a limit for hopeless cases and far above what any of the programs needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Why a real peer could not be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum PeerError {
    /// The program is not installed; the message names the Debian package that has it.
    Missing {
        /// The name of the program.
        program: &'static str,
    },
    /// The program could not be started or talked to.
    Io {
        /// The name of the program.
        program: &'static str,
        /// What the operating system answered.
        error: io::Error,
    },
    /// The program ended, or [`PATIENCE`] ran out, before its output contained what was waited for.
    NoAnswer {
        /// The name of the program.
        program: &'static str,
        /// The text that was waited for.
        expected: String,
        /// What the program had written so far.
        output: String,
    },
    /// The program ended with an error status.
    Failed {
        /// The name of the program.
        program: &'static str,
        /// Its exit status, or nothing when a signal ended it.
        status: Option<i32>,
        /// What the program had written.
        output: String,
    },
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { program } => write!(
                f,
                "`{program}` is not installed, and this test needs the real program: apt-get install {program}"
            ),
            Self::Io { program, error } => write!(f, "cannot run `{program}`: {error}"),
            Self::NoAnswer { program, expected, output } => {
                write!(f, "`{program}` never wrote {expected:?}; its output:\n{output}")
            }
            Self::Failed { program, status, output } => {
                write!(f, "`{program}` ended with status {status:?}; its output:\n{output}")
            }
        }
    }
}

impl std::error::Error for PeerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
