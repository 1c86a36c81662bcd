//! Accepts TLS connections and forwards what they carry.

use crate::args::Limits;
use crate::counters::{Counters, Trouble};
use crate::relay::{End, relay};
use crate::tls::Cache;
use resumption::HandshakeEvent;
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long the origin may take to accept a connection.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);

/// A TLS proxy for one origin.
pub(crate) struct Proxy {
    acceptor: TlsAcceptor,
    upstream: String,
    cache: Cache,
    limits: Limits,
    counters: Counters,
}

/// What the proxy is told to do, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Accept nothing more, finish what is open.
    Draining,
    /// Cut off what is open.
    Stopping,
}

/// How the connections ended that were open when the proxy was told to stop.
pub(crate) struct Drained {
    pub(crate) open: usize,
    pub(crate) cut_off: usize,
}

impl Proxy {
    pub(crate) fn new(config: Arc<ServerConfig>, upstream: String, cache: Cache, limits: Limits) -> Self {
        Self { acceptor: TlsAcceptor::from(config), upstream, cache, limits, counters: Counters::default() }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Serves until it is told to drain, then accepts nothing more and lets the open connections come to their end, until
    /// it is told to stop or the time for draining is over.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        mut phase: watch::Receiver<Phase>,
    ) -> Drained {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = reached(&mut phase, Phase::Draining) => break,
                Some(ended) = connections.join_next() => self.note_panic(ended),
                accepted = listener.accept() => self.admit(accepted, &mut connections).await,
            }
        }
        drop(listener);
        self.drain(connections, phase).await
    }

    async fn admit(
        self: &Arc<Self>,
        accepted: io::Result<(TcpStream, impl Sized)>,
        connections: &mut JoinSet<()>,
    ) {
        match accepted {
            Ok((stream, _)) if connections.len() < self.limits.connections => {
                let proxy = Arc::clone(self);
                connections.spawn(async move { proxy.serve(stream).await });
            }
            Ok(_) => self.counters.note(Trouble::TooMany, &self.limits.connections),
            // Most likely there is no file descriptor left; waiting may free one, and a busy loop would not.
            Err(error) => {
                self.counters.note(Trouble::Accept, &error);
                sleep(Duration::from_millis(50)).await;
            }
        }
    }

    async fn drain(&self, mut connections: JoinSet<()>, mut phase: watch::Receiver<Phase>) -> Drained {
        let open = connections.len();
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                self.note_panic(ended);
            }
        };
        tokio::select! {
            () = all_ended => {}
            () = sleep(self.limits.drain) => {}
            () = reached(&mut phase, Phase::Stopping) => {}
        }
        let cut_off = connections.len();
        connections.shutdown().await;
        Drained { open, cut_off }
    }

    fn note_panic(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            self.counters.note(Trouble::Panic, &error);
        }
    }

    async fn serve(&self, stream: TcpStream) {
        let _open = self.counters.connection();
        let Some(client) = self.handshake(stream).await else { return };
        let upstream = match self.connect().await {
            Ok(upstream) => upstream,
            Err(error) => return self.counters.note(Trouble::Upstream, &error),
        };
        match relay(client, upstream, self.limits.idle).await {
            End::Closed => {}
            End::Idle => self.counters.note(Trouble::Idle, &"neither side sent anything"),
            End::Broken(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.counters.note(Trouble::Unclean, &error);
            }
            End::Broken(error) => self.counters.note(Trouble::Broken, &error),
        }
    }

    /// The server's side of the handshake, or nothing when it did not work, which is then counted.
    async fn handshake(&self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        // Small records that wait for each other would cost a client's time and gain the network nothing.
        _ = stream.set_nodelay(true);
        self.cache.record(HandshakeEvent::AcceptStarted);
        match timeout(self.limits.handshake, self.acceptor.accept(stream)).await {
            Ok(Ok(client)) => {
                let connection = client.get_ref().1;
                self.counters.handshake(connection.protocol_version(), connection.handshake_kind());
                self.cache.record(HandshakeEvent::AcceptFinished);
                Some(client)
            }
            Ok(Err(error)) => {
                self.counters.note(trouble_of(&error), &error);
                None
            }
            Err(_) => {
                self.counters.note(Trouble::HandshakeTimeout, &"the client fell silent");
                None
            }
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = timeout(UPSTREAM_TIMEOUT, TcpStream::connect(&self.upstream))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Waits until the proxy is told to do `goal` or more. A sender that is gone can tell nothing else any more.
async fn reached(phase: &mut watch::Receiver<Phase>, goal: Phase) {
    _ = phase.wait_for(|phase| *phase >= goal).await;
}

/// What a failed handshake tells of the client.
fn trouble_of(error: &io::Error) -> Trouble {
    let from_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match from_tls {
        Some(rustls::Error::InvalidMessage(_)) => Trouble::NotTls,
        Some(_) => Trouble::Handshake,
        None => Trouble::HandshakeAbandoned,
    }
}
