//! What a connection refuses.

use std::error::Error;
use std::fmt;

/// Why a handshake must not go on with the session that was to be resumed. The TLS stack ends it with a fatal alert and
/// tells the connection so ([`Connection::fatal_alert_sent`](crate::Connection::fatal_alert_sent)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResumeError {
    /// The server verifies its peers and has no session id context: a resumption would skip the verification on behalf
    /// of whatever else shares the cache. The alert is internal_error.
    NoIdContext,
    /// The server resumed a session of another session id context than the client's connection has. The alert is
    /// illegal_parameter.
    OtherIdContext,
    /// The server resumed a session, but the client had not offered one. The alert is illegal_parameter.
    NothingOffered,
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoIdContext => "peers are verified, but the connection has no session id context",
            Self::OtherIdContext => "the session belongs to another session id context than the connection",
            Self::NothingOffered => "the server resumed a session that was not offered",
        })
    }
}

impl Error for ResumeError {}

/// The connection is not established: its handshake has not finished, or it has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEstablished;

impl fmt::Display for NotEstablished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is not established")
    }
}

impl Error for NotEstablished {}

/// A renegotiation is pending, so the connection cannot be made new again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenegotiationPending;

impl fmt::Display for RenegotiationPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a renegotiation is pending")
    }
}

impl Error for RenegotiationPending {}
