//! Whom a client connects to.

use crate::digest::{self, FieldDigest};
use resumption::SessionIdContext;
use std::error::Error;
use std::fmt;
use std::net::IpAddr;

/// A server as a client means it: the name or address that its certificate must have, the port, and the role it plays.
///
/// Sessions are kept by peer. A session that was authenticated for one name is never offered to another, nor is a
/// session with a proxy offered to the server behind it, if their roles are told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    pub(crate) host: Host,
    port: u16,
    role: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Peer {
    /// A server by its DNS name, which may have capital letters and a trailing dot, or its IP address.
    ///
    /// # Errors
    ///
    /// When this is no name: empty, longer than 253 bytes, or with other characters than letters, digits, `-`, `_`
    /// and dots. Internationalised names are given in their ASCII form (`xn--…`).
    pub fn new(host: &str, port: u16) -> Result<Self, PeerError> {
        let host = match host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(dns_name(host).ok_or_else(|| PeerError { host: host.to_owned() })?),
        };
        Ok(Self { host, port, role: String::new() })
    }

    /// Tells apart what is reached at one name and port: "proxy", a service, a client identity.
    #[must_use]
    pub fn role(mut self, role: impl Into<String>) -> Self {
        self.role = role.into();
        self
    }

    /// What one of the places for sessions with this peer under a policy is filed under.
    pub(crate) fn place(&self, policy: &SessionIdContext, number: u64) -> [u8; digest::LEN] {
        let mut digest = FieldDigest::new("resumption-openssl peer 1");
        digest.field(policy.as_bytes());
        match &self.host {
            Host::Name(name) => digest.field(name.as_bytes()),
            // No name looks like an address, so these cannot be mixed up.
            Host::Address(address) => digest.field(address.to_string().as_bytes()),
        }
        digest.number(self.port.into());
        digest.field(self.role.as_bytes());
        digest.number(number);
        digest.finish()
    }
}

fn dns_name(host: &str) -> Option<String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let labels_fit = name.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    });
    (labels_fit && name.len() <= 253).then(|| name.to_ascii_lowercase())
}

/// Neither a DNS name in ASCII nor an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerError {
    /// What it was instead.
    pub host: String,
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a host name in ASCII and not an IP address: {:?}", self.host)
    }
}

impl Error for PeerError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(host: &str, port: u16) -> [u8; 32] {
        Peer::new(host, port).expect("a valid host").place(&SessionIdContext::EMPTY, 0)
    }

    #[test]
    fn spellings_of_one_peer_are_one_peer() {
        assert_eq!(place("A.Example.", 443), place("a.example", 443));
        assert_eq!(place("0:0:0:0:0:0:0:1", 443), place("::1", 443));
    }

    #[test]
    fn different_peers_are_told_apart() {
        let places = [
            place("a.example", 443),
            place("a.example", 444),
            place("b.example", 443),
            place("192.0.2.1", 443),
            Peer::new("a.example", 443)
                .expect("a valid host")
                .role("proxy")
                .place(&SessionIdContext::EMPTY, 0),
            Peer::new("a.example", 443).expect("a valid host").place(&SessionIdContext::EMPTY, 1),
            Peer::new("a.example", 443).expect("a valid host").place(&SessionIdContext::from([1; 32]), 0),
        ];
        let different: std::collections::HashSet<_> = places.into_iter().collect();
        assert_eq!(different.len(), places.len());
    }

    #[test]
    fn what_is_no_host_is_an_error() {
        let long_label = "a".repeat(64);
        let long_name = ["a"; 128].join(".");
        for host in
            ["", ".", "a..b", ".a", "a b", "b\u{fc}cher.example", "a\0", "a/b", &long_label, &long_name]
        {
            let error = Peer::new(host, 443).expect_err(host);
            assert_eq!(error.host, host);
        }
    }
}
