//! The clients of the demonstration: a crowd whose members come back, each with its own memory of sessions.

use crate::origin::GREETING;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

/// Of a hundred visits, how many are by someone who has been there before.
pub(crate) const RETURNING_PERCENT: u64 = 80;

/// How many visitors one crowd remembers; a newcomer takes the place of an old one.
const REMEMBERED: usize = 64;

/// A visit that hangs is a failed visit.
const VISIT_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer that is longer is not the origin's.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// What one crowd has experienced.
#[derive(Default)]
pub(crate) struct Experience {
    /// How long full handshakes took, and resumed ones, in ascending order.
    pub(crate) full: Vec<Duration>,
    pub(crate) resumed: Vec<Duration>,
    /// Visits by someone who had been there before.
    pub(crate) returning: usize,
    pub(crate) failures: usize,
    /// What went wrong first.
    pub(crate) first_failure: Option<String>,
}

impl Experience {
    pub(crate) fn visits(&self) -> usize {
        self.full.len() + self.resumed.len() + self.failures
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.full.extend(other.full);
        self.resumed.extend(other.resumed);
        self.full.sort_unstable();
        self.resumed.sort_unstable();
        self.returning += other.returning;
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    fn record(&mut self, visit: io::Result<Visit>) {
        match visit {
            Ok(Visit { resumed: true, handshake }) => self.resumed.push(handshake),
            Ok(Visit { resumed: false, handshake }) => self.full.push(handshake),
            Err(error) => {
                self.failures += 1;
                self.first_failure.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

/// Visitors who come one after the other.
pub(crate) struct Crowd {
    /// What all of them have in common; each gets a session memory of its own.
    config: ClientConfig,
    proxy: SocketAddr,
    regulars: Vec<TlsConnector>,
    dice: Dice,
}

impl Crowd {
    pub(crate) fn new(config: ClientConfig, proxy: SocketAddr, seed: u64) -> Self {
        Self { config, proxy, regulars: Vec::new(), dice: Dice(seed) }
    }

    /// Visits until `end`, telling `on_visit` after each.
    pub(crate) async fn visit_until(mut self, end: Instant, on_visit: impl Fn()) -> Experience {
        let mut experience = Experience::default();
        while Instant::now() < end {
            let (visitor, returning) = self.next_visitor();
            experience.returning += usize::from(returning);
            experience.record(visit(&visitor, self.proxy).await);
            on_visit();
        }
        experience
    }

    /// Somebody known, or a newcomer, who is known from then on.
    fn next_visitor(&mut self) -> (TlsConnector, bool) {
        let returning = !self.regulars.is_empty() && self.dice.roll(100) < RETURNING_PERCENT;
        if returning {
            let someone = self.dice.roll(self.regulars.len() as u64) as usize;
            return (self.regulars[someone].clone(), true);
        }
        let mut config = self.config.clone();
        config.resumption = Resumption::in_memory_sessions(8);
        let newcomer = TlsConnector::from(Arc::new(config));
        if self.regulars.len() < REMEMBERED {
            self.regulars.push(newcomer.clone());
        } else {
            let someone = self.dice.roll(REMEMBERED as u64) as usize;
            self.regulars[someone] = newcomer.clone();
        }
        (newcomer, false)
    }
}

/// What a visitor noticed of the handshake.
struct Visit {
    resumed: bool,
    handshake: Duration,
}

async fn visit(visitor: &TlsConnector, proxy: SocketAddr) -> io::Result<Visit> {
    timeout(VISIT_TIMEOUT, fetch(visitor, proxy))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Gets the origin's page over a connection of its own. The clock runs for the handshake only, not for TCP or HTTP.
async fn fetch(visitor: &TlsConnector, proxy: SocketAddr) -> io::Result<Visit> {
    let stream = TcpStream::connect(proxy).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;

    let start = Instant::now();
    let mut stream = visitor.connect(name, stream).await?;
    let handshake = start.elapsed();
    let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);

    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    (&mut stream).take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    stream.shutdown().await?;
    let answer = String::from_utf8_lossy(&answer);
    if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(GREETING) {
        Ok(Visit { resumed, handshake })
    } else {
        Err(io::Error::other(format!("an answer that is not the origin's: {answer:.40?}")))
    }
}

/// Numbers that look random enough to choose visitors by: Marsaglia's xorshift64.
struct Dice(u64);

impl Dice {
    /// A number below `sides`. The seed must not be 0.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}
