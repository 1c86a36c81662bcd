//! `openssl s_server` (manual page openssl-s_server(1)).

use std::ffi::OsStr;
use std::net::SocketAddr;

use super::PeerError;
use super::process::Process;
use crate::certificates::PemFiles;

/// A running `openssl s_server` on a free port of the loopback interface.
#[derive(Debug)]
pub struct SServer {
    process: Process,
    address: SocketAddr,
}

impl SServer {
    /// Starts a server that answers every line with the same line backwards.
    ///
    /// It uses the certificate in `files` and `arguments` besides (for instance `-tls1_2`, `-no_ticket`,
    /// `-num_tickets 4`), and this returns when it listens.
    ///
    /// # Errors
    ///
    /// [`PeerError::NoAnswer`] when the server ends before it listens, with its output; and the other errors of
    /// [`PeerError`].
    pub fn start<A: AsRef<OsStr>>(
        files: &PemFiles,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, PeerError> {
        Self::start_as("-rev", files, arguments)
    }

    /// Starts a web server whose only page shows the connection, with `Reused,` or `New,` as the server sees it.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_web<A: AsRef<OsStr>>(
        files: &PemFiles,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, PeerError> {
        Self::start_as("-www", files, arguments)
    }

    fn start_as<A: AsRef<OsStr>>(
        answer: &str,
        files: &PemFiles,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, PeerError> {
        let (certificate, key) = (files.certificate(), files.key());
        let fixed: [&OsStr; 8] = [
            "s_server".as_ref(),
            "-accept".as_ref(),
            "127.0.0.1:0".as_ref(),
            answer.as_ref(),
            "-cert".as_ref(),
            certificate.as_ref(),
            "-key".as_ref(),
            key.as_ref(),
        ];
        let fixed = fixed.map(OsStr::to_owned);
        let more = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        let process = Process::start("openssl", fixed.into_iter().chain(more))?;
        let address = process.wait_for("ACCEPT with its address", listening_address)?;
        Ok(Self { process, address })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the server has written so far, for failure messages.
    pub fn output(&self) -> String {
        self.process.output()
    }
}

/// With port 0 the server prints the port that it was given: `ACCEPT 127.0.0.1:39467`.
fn listening_address(output: &str) -> Option<SocketAddr> {
    output
        .split_inclusive('\n')
        .find_map(|line| line.strip_prefix("ACCEPT ")?.strip_suffix('\n')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_only_when_its_line_is_complete() {
        let expected = "127.0.0.1:39467".parse().ok();
        assert_eq!(listening_address("Using default temp DH parameters\nACCEPT 127.0.0.1:39467\n"), expected);
        assert_eq!(listening_address("ACCEPT 127.0.0.1:394"), None);
    }
}
