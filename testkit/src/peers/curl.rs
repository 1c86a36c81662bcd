//! `curl` (manual page curl(1)) as an HTTPS client.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::PeerError;
use super::process::Process;

/// A run of `curl` that is being put together.
#[derive(Debug, Clone)]
pub struct Curl {
    arguments: Vec<OsString>,
}

/// What a run of `curl` reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurlReport {
    /// The HTTP status of every response, in order.
    pub statuses: Vec<u16>,
    /// How often curl says that it offered a session that it had. Whether the server accepted it is the server's
    /// to say: curl does not report that.
    pub offered: usize,
    /// All that the program wrote, headers and bodies included.
    pub output: String,
}

impl Curl {
    /// A client that trusts only the authorities in the PEM file `roots` and opens a connection per request.
    pub fn new(roots: impl AsRef<Path>) -> Self {
        let curl = Self { arguments: Vec::new() };
        curl.argument("--verbose")
            .argument("--silent")
            .argument("--show-error")
            .argument("--noproxy")
            .argument("*")
            .argument("--header")
            .argument("Connection: close")
            .argument("--cacert")
            .argument(roots.as_ref())
    }

    /// Connects to `server` for `https://{name}:{port}/`, whatever the name service says.
    pub fn resolve(self, name: &str, server: SocketAddr) -> Self {
        self.argument("--resolve").argument(format!("{name}:{}:{}", server.port(), server.ip()))
    }

    /// Adds one argument that has no method of its own, for instance `--tls-max` and `1.2`.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Requests `urls` one after the other in one process, which shares sessions between its connections.
    ///
    /// # Errors
    ///
    /// [`PeerError::Failed`] when a transfer fails, and the other errors of [`PeerError`].
    pub fn get(&self, urls: &[&str]) -> Result<CurlReport, PeerError> {
        let arguments = self.arguments.iter().cloned().chain(urls.iter().map(OsString::from));
        let output = Process::start("curl", arguments)?.finish()?;
        let statuses = output.lines().filter_map(parse_status).collect();
        // 7.88 writes "re-using", 8.x "reusing".
        let offered =
            output.matches("SSL re-using session ID").count() + output.matches("SSL reusing session").count();
        Ok(CurlReport { statuses, offered, output })
    }
}

/// In verbose output a received header line begins with `< `: `< HTTP/1.1 200 OK`.
fn parse_status(line: &str) -> Option<u16> {
    let mut words = line.strip_prefix("< HTTP/")?.split(' ');
    words.nth(1)?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_from_received_header_lines_only() {
        assert_eq!(parse_status("< HTTP/1.1 200 OK\r"), Some(200));
        assert_eq!(parse_status("< HTTP/2 404"), Some(404));
        assert_eq!(parse_status("HTTP/1.1 200 OK"), None);
        assert_eq!(parse_status("< Content-Length: 3"), None);
    }
}
