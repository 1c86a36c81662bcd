//! Connections come, are served each on a thread of its own, and are waited for in the end.

use crate::args::Options;
use crate::counters::{Counters, count};
use crate::http::{Request, answer};
use crate::say;
use openssl::ssl::{ErrorCode, ShutdownState, Ssl, SslAcceptor, SslStream, SslVersion};
use resumption_openssl::ServerSessions;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How many connections may wait for their turn.
const MOST_WAITING: usize = 1024;

pub(crate) struct Server {
    pub(crate) acceptor: SslAcceptor,
    pub(crate) sessions: ServerSessions,
    pub(crate) counters: Arc<Counters>,
    pub(crate) options: Options,
}

enum Event {
    Arrival(TcpStream),
    /// A connection has ended.
    Departure,
    Signal,
}

impl Server {
    pub(crate) fn run(self, listener: TcpListener) -> io::Result<()> {
        let server = Arc::new(self);
        let (sender, events) = mpsc::channel();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let of_signals = sender.clone();
        thread::Builder::new()
            .spawn(move || signals.forever().try_for_each(|_| of_signals.send(Event::Signal)))?;
        let of_arrivals = sender.clone();
        // It waits in accept(2) until the process ends.
        thread::Builder::new().spawn(move || accept(&listener, &of_arrivals))?;
        server.serve(&events, &sender);
        Ok(())
    }

    fn serve(self: &Arc<Self>, events: &Receiver<Event>, sender: &Sender<Event>) {
        let open = Arc::new(AtomicUsize::new(0));
        let mut waiting = VecDeque::new();
        let mut next_report = Instant::now() + self.options.report;
        loop {
            match events.recv_timeout(next_report.saturating_duration_since(Instant::now())) {
                Ok(Event::Arrival(stream)) if waiting.len() < MOST_WAITING => waiting.push_back(stream),
                Ok(Event::Arrival(_)) => count(&self.counters.refused_connections),
                Ok(Event::Departure) => {}
                Ok(Event::Signal) => break,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    say(&self.counters.line(&self.sessions));
                    next_report = Instant::now() + self.options.report;
                    // Memory of sessions that have gone is given back, also when nobody connects.
                    resumption::idle();
                }
            }
            while open.load(Ordering::Acquire) < self.options.connections {
                let Some(stream) = waiting.pop_front() else { break };
                self.admit(stream, &open, sender);
            }
        }
        self.drain(events, &open);
        say(&self.counters.line(&self.sessions));
        say(&self.counters.report(&self.sessions, self.acceptor.context()));
    }

    fn drain(&self, events: &Receiver<Event>, open: &AtomicUsize) {
        if open.load(Ordering::Acquire) > 0 {
            say(&"draining; Ctrl-C once more cuts off");
        }
        let end = Instant::now() + self.options.drain;
        // Acquire pairs with the Release at the end of a connection.
        while open.load(Ordering::Acquire) > 0 {
            match events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(Event::Departure | Event::Arrival(_)) => {}
                Ok(Event::Signal) | Err(_) => break,
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, open: &Arc<AtomicUsize>, sender: &Sender<Event>) {
        open.fetch_add(1, Ordering::Relaxed);
        let (server, still_open, events) = (Arc::clone(self), Arc::clone(open), sender.clone());
        let started = thread::Builder::new().spawn(move || {
            server.visit(stream);
            // Pairs with the loads of the server: what was counted is seen in its report.
            still_open.fetch_sub(1, Ordering::Release);
            // Nobody waits for it any more when the drain time is over.
            _ = events.send(Event::Departure);
        });
        if started.is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
            count(&self.counters.refused_connections);
        }
    }

    fn visit(&self, stream: TcpStream) {
        let mut request = Request::default();
        let Some(mut stream) = self.handshake(stream, &mut request) else {
            return count(&self.counters.failed_handshakes);
        };
        self.counters.handshake(stream.ssl());
        match request.read(&mut stream) {
            Ok(true) => {
                let page = self.page(&stream);
                if answer(&mut stream, &page).is_err() {
                    count(&self.counters.broken_connections);
                }
            }
            Ok(false) => {}
            Err(_) => count(&self.counters.broken_connections),
        }
        // Our close_notify; whether it arrives or not, the session is as good as it was.
        _ = stream.shutdown();
        stream.set_shutdown(ShutdownState::SENT);
    }

    fn handshake(&self, stream: TcpStream, request: &mut Request) -> Option<SslStream<TcpStream>> {
        stream.set_read_timeout(Some(self.options.idle)).ok()?;
        stream.set_write_timeout(Some(self.options.idle)).ok()?;
        stream.set_nodelay(true).ok()?;
        let mut stream = SslStream::new(Ssl::new(self.acceptor.context()).ok()?, stream).ok()?;
        if self.options.early_data > 0 {
            self.read_early_data(&mut stream, request)?;
        }
        stream.accept().ok()?;
        Some(stream)
    }

    fn read_early_data(&self, stream: &mut SslStream<TcpStream>, request: &mut Request) -> Option<()> {
        let mut buffer = [0; 2048];
        let mut any = false;
        loop {
            match stream.read_early_data(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    request.push(&buffer[..length]);
                    any = true;
                }
                Err(error) if error.code() == ErrorCode::WANT_READ => return None,
                Err(_) => return None,
            }
        }
        if any {
            count(&self.counters.early_data);
        }
        Some(())
    }

    fn page(&self, stream: &SslStream<TcpStream>) -> String {
        let ssl = stream.ssl();
        let version = if ssl.version2() == Some(SslVersion::TLS1_3) { "TLS 1.3" } else { ssl.version_str() };
        let kind = if ssl.session_reused() { "resumed" } else { "full" };
        format!("{version}, {kind} handshake\n\n{}\n", self.counters.line(&self.sessions))
    }
}

fn accept(listener: &TcpListener, events: &Sender<Event>) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                if events.send(Event::Arrival(stream)).is_err() {
                    return;
                }
            }
            // Out of file descriptors, most likely: wait for some connection to end.
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
