//! The counters that connections keep, section 2.19, and which context keeps them.

#[path = "common/connection.rs"]
mod bed;
mod common;

use bed::{End, TLS1_2, TLS1_3, begin, finish_full};
use common::key;
use resumption::{SessionContext, ShutdownState, Stats};
use std::sync::Arc;

/// connect, connect_good, connect_renegotiate.
fn client_side(stats: &Stats) -> [u64; 3] {
    [stats.connect, stats.connect_good, stats.connect_renegotiate]
}

/// accept, accept_good, accept_renegotiate.
fn server_side(stats: &Stats) -> [u64; 3] {
    [stats.accept, stats.accept_good, stats.accept_renegotiate]
}

/// Started, then finished; each side its own.
#[test]
fn a_handshake_is_counted_when_it_starts_and_when_it_finishes() {
    for version in [TLS1_2, TLS1_3] {
        let (client, server) = (End::client(), End::server());
        let (mut connected, mut accepted) = (client.begun(), server.begun());
        assert_eq!(client_side(&client.context.stats()), [1, 0, 0]);
        assert_eq!(server_side(&server.context.stats()), [1, 0, 0]);
        connected.established(version).expect("nothing to store");
        accepted.established(version).expect("nothing to store");
        assert_eq!(client_side(&client.context.stats()), [1, 1, 0]);
        assert_eq!(server_side(&server.context.stats()), [1, 1, 0]);
        assert_eq!(server_side(&client.context.stats()), [0; 3]);
        assert_eq!(client_side(&server.context.stats()), [0; 3]);
    }
}

/// a full handshake and a resumption: a hit at each end.
#[test]
fn a_resumption_is_a_hit_at_both_ends() {
    let (client, server) = (End::client(), End::server());
    let (mut connected, mut accepted) = (client.full(1), server.full(1));
    connected.shutdown().expect("established");
    accepted.shutdown().expect("established");
    let mut again = server.asked_for(key(1));
    assert_eq!(server.context.stats().hits, 1, "counted before the handshake finishes");
    again.established(TLS1_2).expect("nothing to store");
    let accepted = client.accepted(&connected.session_arc().expect("established"));
    assert_eq!(client.context.stats().hits, 0, "a client's when it finishes");
    drop(accepted);
    client.resumed(&connected.session_arc().expect("established"));
    assert_eq!(client.context.stats().hits, 1);
    assert_eq!((server.context.stats().misses, client.context.stats().misses), (0, 0));
}

/// A client's hits and misses are no lookups: the outcomes of lookups stay what they are.
#[test]
fn a_clients_hits_are_no_lookups() {
    let client = End::client();
    let session = client.full(1).session_arc().expect("established");
    let fresh = Arc::new(client.context.session(session.key()).id_context(common::www()).build(1));
    client.resumed(&fresh).set_shutdown(ShutdownState::SENT);
    let stats = client.context.stats();
    assert_eq!((stats.hits, stats.outcomes.total()), (1, 0));
}

/// a renegotiation that the server asks for: 1 accept, 2 good, 3 renegotiate; the client 1, 2, 1.
#[test]
fn a_renegotiation_that_the_server_asks_for() {
    let (client, server) = (End::client(), End::server());
    let (mut connected, mut accepted) = (client.full(1), server.full(1));
    accepted.request_renegotiation();
    assert_eq!(server_side(&server.context.stats()), [1, 1, 1]);
    let offered = connected.connect(&resumption::Offer::default()).expect("its own session");
    accepted.accept();
    assert!(accepted.resume(TLS1_2, offered.id().as_bytes()).is_ok_and(|found| found.is_some()));
    connected.offer_accepted().expect("it was offered");
    accepted.established(TLS1_2).expect("nothing to store");
    connected.established(TLS1_2).expect("nothing to store");
    assert_eq!(server_side(&server.context.stats()), [1, 2, 3]);
    assert_eq!(client_side(&client.context.stats()), [1, 2, 1]);
    assert_eq!((server.context.stats().hits, client.context.stats().hits), (1, 1));
}

/// A-20, where the option forbids resumption in a renegotiation: a new session, and a miss of the client.
#[test]
fn a_renegotiation_without_resumption() {
    let (client, server) = (End::client(), End::server());
    let (mut connected, mut accepted) = (client.full(1), server.full(1));
    accepted.request_renegotiation();
    begin(&mut connected);
    accepted.accept();
    finish_full(&mut accepted, 2);
    finish_full(&mut connected, 2);
    assert_eq!((server.context.stats().hits, client.context.stats().misses), (0, 1));
    assert_eq!(server.held(), [1, 2]);
    assert!(accepted.is_established() && accepted.clear().is_ok(), "nothing is pending any more");
}

/// Only an established server asks for a renegotiation.
#[test]
fn a_renegotiation_needs_an_established_server() {
    let (client, server) = (End::client(), End::server());
    client.full(1).request_renegotiation();
    server.begun().request_renegotiation();
    assert_eq!(server_side(&client.context.stats()), [0; 3]);
    assert_eq!(server_side(&server.context.stats()), [1, 0, 0]);
}

/// Server names: the start moves to the new context, the finish is counted there, and hits stay with the session context.
#[test]
fn a_server_that_changes_its_context() {
    let (first, second) = (End::server(), End::server());
    first.full(1).shutdown().expect("established");
    let mut connection = first.asked_for(key(1));
    assert_eq!(server_side(&first.context.stats()), [2, 1, 0]);
    connection.set_context(Arc::clone(&second.context));
    assert_eq!(server_side(&first.context.stats()), [1, 1, 0]);
    assert_eq!(server_side(&second.context.stats()), [1, 0, 0]);
    connection.established(TLS1_2).expect("nothing to store");
    assert_eq!(server_side(&first.context.stats()), [1, 1, 0]);
    assert_eq!(server_side(&second.context.stats()), [1, 1, 0]);
    assert_eq!((first.context.stats().hits, second.context.stats().hits), (1, 0));
    connection.request_renegotiation();
    assert_eq!(server_side(&second.context.stats()), [1, 1, 1]);
    assert!(Arc::ptr_eq(connection.session_context(), &first.context));
    assert!(Arc::ptr_eq(connection.context(), &second.context));
}

/// Nothing moves outside a server's first handshake.
#[test]
fn a_change_of_context_moves_a_started_handshake_only() {
    let other = Arc::new(SessionContext::<u32>::new());
    let (client, server) = (End::client(), End::server());
    client.begun().set_context(Arc::clone(&other));
    server.connection().set_context(Arc::clone(&other));
    server.full(1).set_context(Arc::clone(&other));
    let mut renegotiating = server.full(2);
    renegotiating.accept();
    renegotiating.set_context(Arc::clone(&other));
    assert_eq!((server_side(&other.stats()), client_side(&other.stats())), ([0; 3], [0; 3]));
    assert_eq!(server_side(&server.context.stats()), [2, 2, 2]);
    assert_eq!(client_side(&client.context.stats()), [1, 0, 0]);
}

/// The sides do not take each other's calls.
#[test]
fn a_side_begins_its_own_handshake_only() {
    let (client, server) = (End::client(), End::server());
    let (mut connects, mut accepts) = (client.connection(), server.connection());
    connects.accept();
    assert!(accepts.connect(&resumption::Offer::default()).is_none());
    for (end, mut connection) in [(&client, connects), (&server, accepts)] {
        connection.established(TLS1_2).expect("nothing to store");
        assert!(!connection.is_established());
        let stats = end.context.stats();
        assert_eq!((client_side(&stats), server_side(&stats)), ([0; 3], [0; 3]));
    }
}
