//! 0-RTT: early data is accepted once, because its ticket is taken once.

mod common;

use common::{Client, Offer, Pipe, TLS13, cache, cache_of, caching, server_builder, step};
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslContextRef, SslStream};
use resumption::SessionContext;
use resumption_openssl::{OpensslCounters, ServerSessions, TicketUse};
use std::sync::{Arc, Barrier};
use std::thread;

const MESSAGE: &[u8] = b"GET /early HTTP/1.1\r\n\r\n";

fn early_server(sessions: &ServerSessions) -> SslContext {
    let mut builder = server_builder();
    builder.set_max_early_data(16_384).expect("a number");
    caching(builder, sessions)
}

/// What a server made of a connection whose first flight had early data in it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    early_data: Vec<u8>,
    resumed: bool,
}

/// A client's first flight with early data: what an attacker can record and send again.
fn first_flight(client: &Client, ticket: &Offer) -> (SslStream<Pipe>, Pipe) {
    let mut ssl = Ssl::new(&client.context).expect("a connection");
    ssl.set_hostname("a.example").expect("a name");
    ticket.set_to(&mut ssl);
    let (near, far) = Pipe::new();
    let mut stream = SslStream::new(ssl, near).expect("a stream");
    assert_eq!(stream.write_early_data(MESSAGE).expect("room in the pipe"), MESSAGE.len());
    (stream, far)
}

/// The server reads early data to its end, or as far as it can.
fn read_early(server: &SslContextRef, pipe: Pipe) -> (SslStream<Pipe>, Vec<u8>) {
    let mut stream = SslStream::new(Ssl::new(server).expect("a connection"), pipe).expect("a stream");
    let mut early_data = Vec::new();
    let mut buffer = [0; 64];
    loop {
        match stream.read_early_data(&mut buffer) {
            Ok(0) => return (stream, early_data),
            Ok(length) => early_data.extend(&buffer[..length]),
            Err(error) if error.code() == ErrorCode::WANT_READ => return (stream, early_data),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A whole connection with early data.
fn visit(client: &Client, server: &SslContextRef, ticket: &Offer) -> Outcome {
    let (mut near, pipe) = first_flight(client, ticket);
    let (mut far, mut early_data) = read_early(server, pipe);
    let (mut client_done, mut server_done) = (false, false);
    for _ in 0..20 {
        client_done = client_done || step("client", near.connect()).expect("a handshake");
        let mut buffer = [0; 64];
        match far.read_early_data(&mut buffer) {
            Ok(length) => early_data.extend(&buffer[..length]),
            // It is an error to ask for early data once it is over.
            Err(_) => server_done = server_done || step("server", far.accept()).expect("a handshake"),
        }
        if client_done && server_done {
            let resumed = far.ssl().session_reused();
            assert_eq!(near.ssl().session_reused(), resumed, "both sides agree");
            return Outcome { early_data, resumed };
        }
    }
    panic!("the handshake does not end");
}

#[test]
fn early_data_is_accepted_once_and_refused_when_the_ticket_comes_back() {
    let cache = cache();
    let (server, client) = (early_server(&ServerSessions::new(Arc::clone(&cache))), Client::new(TLS13));
    let tickets = client.visit(&server, None).sessions;
    for ticket in &tickets {
        let accepted = Outcome { early_data: MESSAGE.to_vec(), resumed: true };
        assert_eq!(visit(&client, &server, ticket), accepted);
        let refused = Outcome { early_data: Vec::new(), resumed: false };
        assert_eq!(visit(&client, &server, ticket), refused);
    }
    let outcomes = cache.stats().outcomes;
    assert_eq!((outcomes.hit, outcomes.consumed + outcomes.unknown), (2, 2));
}

#[test]
fn a_recorded_first_flight_is_worth_nothing() {
    const REPLAYS: usize = 8;
    let server = early_server(&ServerSessions::new(cache()));
    let client = Client::new(TLS13);
    for ticket in client.visit(&server, None).sessions {
        let (_near, pipe) = first_flight(&client, &ticket);
        let flight = pipe.waiting();
        let start = Barrier::new(REPLAYS);
        let accepted: usize = thread::scope(|scope| {
            let attempt = || {
                let (_near, far) = Pipe::new();
                far.inject(&flight);
                start.wait();
                let (_stream, early_data) = read_early(&server, far);
                usize::from(early_data == MESSAGE)
            };
            let threads: Vec<_> = (0..REPLAYS).map(|_| scope.spawn(attempt)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
        });
        assert_eq!(accepted, 1, "of {REPLAYS} copies of one flight");
    }
}

#[test]
fn tickets_that_may_be_reused_carry_no_early_data() {
    let sessions = ServerSessions::new(cache()).ticket_use(TicketUse::UntilExpiry);
    let (server, client) = (early_server(&sessions), Client::new(TLS13));
    let ticket = client.visit(&server, None).sessions.remove(0);
    let resumed_without = Outcome { early_data: Vec::new(), resumed: true };
    for _ in 0..2 {
        assert_eq!(visit(&client, &server, &ticket), resumed_without);
    }
}

#[test]
fn an_evicted_ticket_costs_the_early_data() {
    let cache = cache_of(SessionContext::builder().capacity(1));
    let (server, client) = (early_server(&ServerSessions::new(cache)), Client::new(TLS13));
    let tickets = client.visit(&server, None).sessions;
    let evicted = Outcome { early_data: Vec::new(), resumed: false };
    assert_eq!(visit(&client, &server, &tickets[0]), evicted);
}

#[test]
fn the_cache_of_openssl_is_not_asked() {
    let server = early_server(&ServerSessions::new(cache()));
    let client = Client::new(TLS13);
    let ticket = client.visit(&server, None).sessions.remove(0);
    visit(&client, &server, &ticket);
    let counters = OpensslCounters::of(&server);
    assert_eq!((counters.number, counters.misses, counters.cb_hits, counters.hits), (0, 0, 1, 1));
}
