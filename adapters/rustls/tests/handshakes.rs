//! Resumption as real rustls clients and servers see it.

mod common;

use common::{Cache, Identity, cache, cache_of, clock, feed_server, handshake};
use resumption::{SessionCacheMode, SessionContext, Timestamp};
use resumption_rustls::ServerSessions;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, HandshakeKind, ServerConnection};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

fn hits_and_misses(cache: &Cache) -> (u64, u64) {
    let outcomes = cache.stats().outcomes;
    (outcomes.hit, outcomes.misses())
}

#[test]
fn tls12_resumes_by_session_id_any_number_of_times() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let (client, server) = (identity.client(&TLS12), identity.caching_server(&cache));
    assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Full);
    for _ in 0..3 {
        assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Resumed);
    }
    assert_eq!(cache.len(), 1, "the one session is still there");
    assert_eq!(hits_and_misses(&cache), (3, 0));
}

#[test]
fn tls13_resumes_and_every_ticket_is_used_up() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let (client, server) = (identity.client(&TLS13), identity.caching_server(&cache));
    assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Full);
    assert_eq!(cache.len(), 2, "two tickets, as rustls sends by default");
    for resumptions in 1..=3 {
        assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Resumed);
        assert_eq!(cache.len(), 2 + resumptions, "one ticket taken, two new ones");
    }
    assert_eq!(hits_and_misses(&cache), (3, 0));
}

/// The ClientHello of a client that resumes a TLS 1.3 session, as a listener on the wire has it.
fn recorded_hello(client: &rustls::ClientConfig, name: &'static str) -> Vec<u8> {
    let name = ServerName::try_from(name).expect("a valid name");
    let mut connection =
        ClientConnection::new(Arc::new(client.clone()), name).expect("a valid configuration");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("memory takes all bytes");
    hello
}

/// What the server makes of a ClientHello.
fn answer(server: &Arc<rustls::ServerConfig>, hello: &[u8]) -> Option<HandshakeKind> {
    let mut connection = ServerConnection::new(Arc::clone(server)).expect("a valid configuration");
    feed_server(&mut connection, hello).expect("a hello of a real client");
    connection.handshake_kind()
}

#[test]
fn a_replayed_tls13_ticket_resumes_once() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let (client, server) = (identity.client(&TLS13), identity.caching_server(&cache));
    handshake(&client, &server, "a.example");
    let hello = recorded_hello(&client, "a.example");
    assert_eq!(answer(&server, &hello), Some(HandshakeKind::Resumed));
    for _ in 0..3 {
        assert_eq!(
            answer(&server, &hello),
            Some(HandshakeKind::Full),
            "the binder is right, the ticket is gone"
        );
    }
    assert_eq!(hits_and_misses(&cache), (1, 3));
}

#[test]
fn of_many_threads_that_replay_a_ticket_one_resumes() {
    const THREADS: usize = 8;
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let (client, server) = (identity.client(&TLS13), identity.caching_server(&cache));
    for _ in 0..20 {
        handshake(&client, &server, "a.example");
        let hello = recorded_hello(&client, "a.example");
        let start = Barrier::new(THREADS);
        let resumed: usize = thread::scope(|scope| {
            let attempt = || {
                start.wait();
                usize::from(answer(&server, &hello) == Some(HandshakeKind::Resumed))
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(attempt)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
        });
        assert_eq!(resumed, 1);
    }
}

#[test]
fn sessions_expire_after_the_timeout_of_the_cache() {
    let (identity, clock) = (Identity::new(&["a.example"]), clock());
    let timeout = Duration::from_secs(300);
    let cache = cache_of(SessionContext::builder().clock(clock.clone()).timeout(timeout));
    let server = identity.caching_server(&cache);
    let (tls12, tls13) = (identity.client(&TLS12), identity.client(&TLS13));
    for client in [&tls12, &tls13] {
        handshake(client, &server, "a.example");
    }
    clock.advance(timeout);
    for client in [&tls12, &tls13] {
        assert_eq!(
            handshake(client, &server, "a.example"),
            HandshakeKind::Resumed,
            "the last second still counts"
        );
    }
    clock.advance(timeout + Duration::from_secs(1));
    for client in [&tls12, &tls13] {
        assert_eq!(handshake(client, &server, "a.example"), HandshakeKind::Full);
    }
    assert_eq!(hits_and_misses(&cache), (2, 2));
}

#[test]
fn the_longest_life_is_not_renewed_by_use() {
    let (identity, clock) = (Identity::new(&["a.example"]), clock());
    let mode = SessionCacheMode::SERVER | SessionCacheMode::UPDATE_TIME;
    let cache =
        cache_of(SessionContext::builder().clock(clock.clone()).timeout(Duration::from_secs(60)).mode(mode));
    let sessions = ServerSessions::new(Arc::clone(&cache), &identity.policy());
    let mut server = identity.server();
    Arc::new(sessions.with_longest_life(Duration::from_secs(100)))
        .install(&mut server)
        .expect("no contradiction");
    let (client, server) = (identity.client(&TLS12), Arc::new(server));
    handshake(&client, &server, "a.example");
    clock.advance(Duration::from_secs(50));
    assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Resumed);
    clock.advance(Duration::from_secs(45));
    assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Resumed, "renewed by its use");
    clock.advance(Duration::from_secs(10));
    assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Full, "100 s have passed");
}

#[test]
fn no_chain_of_tickets_outlives_the_end_of_life() {
    let (identity, clock) = (Identity::new(&["a.example"]), clock());
    let cache = cache_of(SessionContext::builder().clock(clock.clone()).timeout(Duration::from_secs(60)));
    let end = Timestamp::from_unix(1_700_000_000 + 90);
    let mut server = identity.server();
    let sessions = ServerSessions::new(Arc::clone(&cache), &identity.policy());
    Arc::new(sessions.with_end_of_life(end)).install(&mut server).expect("no contradiction");
    let (client, server) = (identity.client(&TLS13), Arc::new(server));
    handshake(&client, &server, "a.example");
    clock.advance(Duration::from_secs(60));
    assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Resumed);
    clock.advance(Duration::from_secs(31));
    assert_eq!(
        handshake(&client, &server, "a.example"),
        HandshakeKind::Full,
        "tickets of 31 s ago, but past the end"
    );
}

#[test]
fn a_tiny_cache_costs_resumptions_and_nothing_else() {
    let identity = Identity::new(&["a.example"]);
    for version in [&TLS12, &TLS13] {
        let cache = cache_of(SessionContext::builder().capacity(2));
        let server = identity.caching_server(&cache);
        let visitors: Vec<_> = (0..10).map(|_| identity.client(version)).collect();
        let mut resumed = 0;
        for client in visitors.iter().chain(&visitors) {
            resumed += usize::from(handshake(client, &server, "a.example") == HandshakeKind::Resumed);
            assert!(cache.len() <= 2, "{} sessions where 2 may be", cache.len());
        }
        assert!(resumed <= 2, "{resumed} of 10 came back to a cache of 2");
        assert!(cache.stats().cache_full > 0);
    }
}

#[test]
fn mode_off_makes_every_handshake_a_full_one() {
    let identity = Identity::new(&["a.example"]);
    for version in [&TLS12, &TLS13] {
        let cache = cache_of(SessionContext::builder().mode(SessionCacheMode::OFF));
        let (client, server) = (identity.client(version), identity.caching_server(&cache));
        for _ in 0..3 {
            assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Full);
        }
        assert!(cache.is_empty());

        cache.set_mode(SessionCacheMode::SERVER);
        handshake(&client, &server, "a.example");
        assert_eq!(
            handshake(&client, &server, "a.example"),
            HandshakeKind::Resumed,
            "switched on while running"
        );
        cache.set_mode(SessionCacheMode::OFF);
        assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Full, "and off again");
    }
}

#[test]
fn the_number_of_tickets_is_the_users_choice() {
    let identity = Identity::new(&["a.example"]);
    for tickets in [0, 1, 5] {
        let cache = cache();
        let mut server = identity.server();
        server.send_tls13_tickets = tickets;
        identity.sessions(&cache).install(&mut server).expect("no contradiction");
        handshake(&identity.client(&TLS13), &Arc::new(server), "a.example");
        assert_eq!(cache.len(), tickets);
    }
}
