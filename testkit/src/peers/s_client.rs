//! `openssl s_client` (manual page openssl-s_client(1)) and what its output says about resumption.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use super::PeerError;
use super::process::Process;

/// A run of `openssl s_client` that is being put together.
///
/// It connects, sends one line, waits for the answer and closes with a close_notify. Waiting for the answer makes
/// sure that TLS 1.3 tickets, which the server sends before its first data, have been read.
#[derive(Debug, Clone)]
pub struct SClient {
    arguments: Vec<OsString>,
    send: String,
    expect: String,
}

/// What a run of `openssl s_client` reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SClientReport {
    /// One entry per handshake, in order: one, or six with [`SClient::reconnect`].
    pub handshakes: Vec<Handshake>,
    /// How many TLS 1.3 NewSessionTicket messages arrived (RFC 8446, section 4.6.1).
    pub tickets: usize,
    /// All that the program wrote, for failure messages.
    pub output: String,
}

/// One handshake as `s_client` saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Whether the server accepted the session that was offered.
    pub reused: bool,
    /// The protocol version as OpenSSL spells it, for instance `TLSv1.3`.
    pub version: String,
}

impl SClient {
    /// A client of `server` that offers every protocol version and verifies nothing.
    pub fn new(server: SocketAddr) -> Self {
        let mut client = Self { arguments: Vec::new(), send: "ping\n".into(), expect: "ping".into() };
        client.push(["s_client", "-connect", &server.to_string()]);
        client
    }

    /// Offers TLS 1.2 only.
    pub fn tls12(self) -> Self {
        self.argument("-tls1_2")
    }

    /// Offers TLS 1.3 only.
    pub fn tls13(self) -> Self {
        self.argument("-tls1_3")
    }

    /// Asks for `name` in the server name extension (RFC 6066, section 3).
    pub fn server_name(self, name: &str) -> Self {
        self.argument("-servername").argument(name)
    }

    /// Trusts the authorities in the PEM file `roots`, and fails when the server's certificate does not verify.
    pub fn trust(self, roots: impl AsRef<Path>) -> Self {
        self.argument("-verify_return_error").argument("-CAfile").argument(roots.as_ref())
    }

    /// Authenticates with a client certificate.
    pub fn certificate(self, certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.argument("-cert").argument(certificate.as_ref()).argument("-key").argument(key.as_ref())
    }

    /// Connects five more times after the first handshake, each time offering the session that it has.
    pub fn reconnect(self) -> Self {
        self.argument("-reconnect")
    }

    /// Offers no session tickets, so that TLS 1.2 resumes by session id.
    pub fn no_ticket(self) -> Self {
        self.argument("-no_ticket")
    }

    /// Writes the session to `file` when there is one; with TLS 1.3 that is the last ticket that arrived.
    pub fn session_out(self, file: impl AsRef<Path>) -> Self {
        self.argument("-sess_out").argument(file.as_ref())
    }

    /// Offers the session in `file`.
    pub fn session_in(self, file: impl AsRef<Path>) -> Self {
        self.argument("-sess_in").argument(file.as_ref())
    }

    /// Sends `line` and waits until the output contains `answer`, instead of expecting `ping` to be echoed.
    pub fn exchange(mut self, line: &str, answer: &str) -> Self {
        self.send = format!("{line}\n");
        self.expect = answer.to_owned();
        self
    }

    /// Adds one argument that has no method of its own.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    ///
    /// [`PeerError::NoAnswer`] when the handshake fails or the server does not answer, and the other errors of
    /// [`PeerError`].
    pub fn run(&self) -> Result<SClientReport, PeerError> {
        let mut process = Process::start("openssl", &self.arguments)?;
        process.send(&self.send)?;
        process.wait_for(&self.expect, |output| output.contains(&self.expect).then_some(()))?;
        let output = process.finish()?;
        let tickets = output.matches("Post-Handshake New Session Ticket arrived").count();
        Ok(SClientReport { handshakes: parse_handshakes(&output), tickets, output })
    }

    fn push<const N: usize>(&mut self, arguments: [&str; N]) {
        self.arguments.extend(arguments.map(OsString::from));
    }
}

impl SClientReport {
    /// How many of the handshakes resumed a session.
    pub fn resumed(&self) -> usize {
        self.handshakes.iter().filter(|handshake| handshake.reused).count()
    }
}

/// Finds the handshakes in the output of `s_client`: its lines `New, TLSv1.3, Cipher is …` and `Reused, …`.
pub fn parse_handshakes(output: &str) -> Vec<Handshake> {
    output.lines().filter_map(parse_handshake).collect()
}

fn parse_handshake(line: &str) -> Option<Handshake> {
    let mut fields = line.splitn(3, ", ");
    let reused = match fields.next()? {
        "New" => false,
        "Reused" => true,
        _ => return None,
    };
    let version = fields.next()?;
    // A handshake that failed is reported as `New, (NONE), Cipher is (NONE)`.
    (version != "(NONE)" && fields.next()?.starts_with("Cipher is "))
        .then(|| Handshake { reused, version: version.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_found_among_other_lines() {
        let output = "CONNECTED(00000003)\nNew, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384\n\
                      drop connection and then reconnect\nReused, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384\n\
                      Reused, it says\nNewer, TLSv1.2, Cipher is X\n";
        let version = "TLSv1.2".to_owned();
        assert_eq!(
            parse_handshakes(output),
            [Handshake { reused: false, version: version.clone() }, Handshake { reused: true, version }]
        );
    }

    #[test]
    fn a_failed_handshake_is_none() {
        assert_eq!(parse_handshakes("New, (NONE), Cipher is (NONE)\n"), []);
    }
}
