//! Resumption as real OpenSSL clients and servers see it.

mod common;

use common::{Cache, Client, TLS12, TLS13, cache, cache_of, caching, clock, server, server_builder};
use foreign_types::ForeignTypeRef as _;
use openssl::ssl::{SslAcceptor, SslContextBuilder, SslMethod, SslSession};
use resumption::{Secret, Session, SessionCacheMode, SessionContext, Timestamp};
use resumption_openssl::{OpensslCounters, ServerSessions, TicketUse};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

fn hits_and_misses(cache: &Cache) -> (u64, u64) {
    let outcomes = cache.stats().outcomes;
    (outcomes.hit, outcomes.misses())
}

#[test]
fn tls12_resumes_by_session_id_any_number_of_times() {
    let cache = cache();
    let (server, client) = (server(&cache), Client::new(TLS12));
    let first = client.visit(&server, None);
    assert!(!first.resumed);
    for _ in 0..3 {
        assert!(client.visit(&server, Some(first.only())).resumed);
    }
    assert_eq!(cache.len(), 1, "the one session is still there");
    assert_eq!(hits_and_misses(&cache), (3, 0));
}

#[test]
fn a_tls13_ticket_resumes_once_and_not_twice() {
    let cache = cache();
    let (server, client) = (server(&cache), Client::new(TLS13));
    let first = client.visit(&server, None);
    assert_eq!((first.resumed, first.sessions.len(), cache.len()), (false, 2, 2));
    for ticket in &first.sessions {
        let second = client.visit(&server, Some(ticket));
        assert!(second.resumed);
        assert_eq!(second.sessions.len(), 1, "a resumption brings one new ticket");
        assert!(!client.visit(&server, Some(ticket)).resumed, "the ticket is used up");
        assert!(client.visit(&server, Some(second.only())).resumed, "the new one is not");
    }
    assert_eq!(hits_and_misses(&cache), (4, 2));
}

#[test]
fn of_many_threads_that_offer_a_ticket_one_resumes() {
    const THREADS: usize = 8;
    let cache = cache();
    let server = server(&cache);
    for _ in 0..10 {
        let ticket = Client::new(TLS13).visit(&server, None).sessions.remove(0);
        let start = Barrier::new(THREADS);
        let resumed: usize = thread::scope(|scope| {
            let attempt = || {
                let client = Client::new(TLS13);
                start.wait();
                usize::from(client.visit(&server, Some(&ticket)).resumed)
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(attempt)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
        });
        assert_eq!(resumed, 1);
    }
}

#[test]
fn tickets_may_be_reused_where_the_operator_wants_it() {
    let cache = cache();
    let sessions = ServerSessions::new(Arc::clone(&cache)).ticket_use(TicketUse::UntilExpiry);
    let (server, client) = (caching(server_builder(), &sessions), Client::new(TLS13));
    let first = client.visit(&server, None);
    for visits in 1..=3 {
        assert!(client.visit(&server, Some(&first.sessions[0])).resumed);
        assert_eq!(cache.len(), 2 + visits, "nothing is used up, and each visit brings a ticket");
    }
}

#[test]
fn a_ticket_survives_a_hello_retry_request() {
    let cache = cache();
    let mut builder = server_builder();
    builder.set_groups_list("P-384").expect("a group");
    let server = caching(builder, &ServerSessions::new(Arc::clone(&cache)));
    // The client's key share is for the first of its groups, which the server does not accept.
    let client = Client::with(TLS13, |builder| builder.set_groups_list("X25519:P-384").expect("groups"));
    let first = client.visit(&server, None);
    assert!(client.visit(&server, Some(&first.sessions[0])).resumed);
    assert_eq!(OpensslCounters::of(&server).cb_hits, 2, "there was a second hello, with the ticket");
    assert_eq!(hits_and_misses(&cache), (1, 0), "and it was the same attempt");
    assert!(!client.visit(&server, Some(&first.sessions[0])).resumed);
}

#[test]
fn sessions_expire_when_the_cache_says_so() {
    let (clock, timeout) = (clock(), Duration::from_secs(300));
    for version in [TLS12, TLS13] {
        let cache = cache_of(SessionContext::builder().clock(clock.clone()).timeout(timeout));
        let (server, client) = (server(&cache), Client::new(version));
        let first = client.visit(&server, None);
        let in_time = if version == TLS13 { &first.sessions[1] } else { first.only() };
        clock.advance(timeout);
        assert!(client.visit(&server, Some(in_time)).resumed, "the last second still counts");
        clock.advance(Duration::from_secs(1));
        assert!(!client.visit(&server, Some(&first.sessions[0])).resumed);
        let outcomes = cache.stats().outcomes;
        assert_eq!((outcomes.hit, outcomes.expired, cache.stats().timeouts), (1, 1, 1));
    }
}

#[test]
fn a_session_that_use_renews_outlives_the_timeout() {
    let (clock, mode) = (clock(), SessionCacheMode::SERVER | SessionCacheMode::UPDATE_TIME);
    let builder = SessionContext::builder().clock(clock.clone()).timeout(Duration::from_secs(1)).mode(mode);
    let sessions = ServerSessions::new(cache_of(builder)).longest_life(Duration::from_secs(5));
    let (server, client) = (caching(server_builder(), &sessions), Client::new(TLS12));
    let first = client.visit(&server, None);
    for second in 1..=5 {
        clock.advance(Duration::from_secs(1));
        assert!(client.visit(&server, Some(first.only())).resumed, "{second} s after the full handshake");
    }
    clock.advance(Duration::from_secs(1));
    assert!(!client.visit(&server, Some(first.only())).resumed, "but not the longest life");
}

#[test]
fn a_chain_of_tickets_ends_with_the_life_of_its_full_handshake() {
    let clock = clock();
    let cache = cache_of(SessionContext::builder().clock(clock.clone()).timeout(Duration::from_secs(60)));
    let sessions = ServerSessions::new(cache).longest_life(Duration::from_secs(100));
    let (server, client) = (caching(server_builder(), &sessions), Client::new(TLS13));
    let mut ticket = client.visit(&server, None).sessions.remove(0);
    for _ in 0..2 {
        clock.advance(Duration::from_secs(50));
        let visit = client.visit(&server, Some(&ticket));
        assert!(visit.resumed);
        ticket = visit.sessions[0].clone();
    }
    clock.advance(Duration::from_secs(1));
    let visit = client.visit(&server, Some(&ticket));
    assert!(!visit.resumed, "a ticket of one second ago, 101 seconds after the full handshake");
    assert!(client.visit(&server, Some(&visit.sessions[0])).resumed, "a new chain begins");
}

#[test]
fn no_session_outlives_the_end_of_life() {
    let clock = clock();
    let end = Timestamp::from_unix(1_700_000_010);
    for version in [TLS12, TLS13] {
        clock.set(Timestamp::from_unix(1_700_000_000));
        let cache = cache_of(SessionContext::builder().clock(clock.clone()));
        let sessions = ServerSessions::new(cache).end_of_life(end).longest_life(Duration::from_secs(100));
        let (server, client) = (caching(server_builder(), &sessions), Client::new(version));
        let first = client.visit(&server, None);
        clock.advance(Duration::from_secs(11));
        assert!(!client.visit(&server, Some(&first.sessions[0])).resumed);
    }
}

#[test]
fn a_tiny_cache_costs_resumptions_and_nothing_else() {
    for version in [TLS12, TLS13] {
        let cache = cache_of(SessionContext::builder().capacity(2));
        let server = server(&cache);
        let clients: Vec<_> = (0..10).map(|_| Client::new(version)).collect();
        let offers: Vec<_> =
            clients.iter().map(|client| client.visit(&server, None).sessions.remove(0)).collect();
        assert!(cache.len() <= 2);
        let resumed = clients.iter().zip(&offers).filter(|(client, offer)| {
            let visit = client.visit(&server, Some(offer));
            assert!(cache.len() <= 2, "{} sessions where 2 may be", cache.len());
            visit.resumed
        });
        assert!(resumed.count() <= 2);
        assert!(cache.stats().cache_full > 0);
    }
}

#[test]
fn mode_off_makes_every_handshake_a_full_one() {
    for version in [TLS12, TLS13] {
        let cache = cache_of(SessionContext::builder().mode(SessionCacheMode::OFF));
        let (server, client) = (server(&cache), Client::new(version));
        let first = client.visit(&server, None);
        assert!(!client.visit(&server, Some(&first.sessions[0])).resumed);
        assert!(cache.is_empty());

        cache.set_mode(SessionCacheMode::SERVER);
        let first = client.visit(&server, None);
        assert!(client.visit(&server, Some(&first.sessions[0])).resumed, "switched on while running");
        let second = client.visit(&server, None);
        cache.set_mode(SessionCacheMode::OFF);
        assert!(!client.visit(&server, Some(&second.sessions[0])).resumed, "and off again");
    }
}

#[test]
fn the_number_of_tickets_is_the_users_choice() {
    for tickets in [0, 1, 5] {
        let (cache, mut builder) = (cache(), server_builder());
        builder.set_num_tickets(tickets).expect("a number");
        let server = caching(builder, &ServerSessions::new(Arc::clone(&cache)));
        let visit = Client::new(TLS13).visit(&server, None);
        assert_eq!((visit.sessions.len(), cache.len()), (tickets, tickets));
    }
}

#[test]
fn a_session_that_is_too_large_is_not_kept() {
    let cache = cache_of(SessionContext::builder().max_session_bytes(200));
    let server = server(&cache);
    for version in [TLS12, TLS13] {
        let client = Client::new(version);
        let first = client.visit(&server, None);
        assert!(!client.visit(&server, Some(&first.sessions[0])).resumed);
    }
    assert!(cache.is_empty());
}

#[test]
fn an_acceptor_takes_the_cache_too() {
    let cache = cache();
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("a context");
    common::Identity::server(&common::authority("ca"), &["a.example"]).put_into(&mut acceptor);
    let context: &mut SslContextBuilder = &mut acceptor;
    ServerSessions::new(Arc::clone(&cache)).install(context).expect("a context with a certificate");
    let acceptor = acceptor.build();
    for version in [TLS12, TLS13] {
        let client = Client::new(version);
        let first = client.visit(acceptor.context(), None);
        assert!(client.visit(acceptor.context(), Some(&first.sessions[0])).resumed);
    }
}

#[test]
fn ids_that_nobody_knows_are_misses() {
    let cache = cache();
    let server = server(&cache);
    let elsewhere = common::server(&common::cache());
    for version in [TLS12, TLS13] {
        let client = Client::new(version);
        let foreign = client.visit(&elsewhere, None);
        assert!(!client.visit(&server, Some(&foreign.sessions[0])).resumed);
    }
    assert_eq!((hits_and_misses(&cache), cache.stats().outcomes.unknown), ((0, 2), 2));
}

unsafe extern "C" {
    fn SSL_SESSION_set_time(session: *mut openssl_sys::SSL_SESSION, seconds: libc::c_long) -> libc::c_long;
}

/// Replaces the only session of the cache that `pick` accepts by one that is as valid to the cache, and that OpenSSL
/// believes to be as old as this.
fn age_in_the_eyes_of_openssl(cache: &Cache, age: i64, pick: impl Fn(&Session<Secret>) -> bool) {
    let mut aged = None;
    cache.for_each(&cache.pin(), |session| {
        if !pick(session) {
            return;
        }
        let decoded = SslSession::from_der(session.payload().as_bytes()).expect("an encoded session");
        // SAFETY: the session was decoded just now; nobody else has it.
        unsafe { SSL_SESSION_set_time(decoded.as_ptr(), decoded.time() - age) };
        let encoded = decoded.to_der().expect("a session");
        let builder = cache.session(session.key()).id_context(*session.id_context());
        aged = Some(builder.build(Secret::from(encoded)));
    });
    cache.add_session(Arc::new(aged.expect("there is one"))).expect("a small session");
}

#[test]
fn expiry_is_up_to_the_cache_and_not_to_the_clock_of_openssl() {
    for (version, age) in [(TLS12, 10_000), (TLS13, 1000), (TLS13, 10_000)] {
        let cache = cache_of(SessionContext::builder().timeout(Duration::from_secs(300)));
        let (server, client) = (server(&cache), Client::new(version));
        // Longer than what OpenSSL was told when the cache was installed, and not as long as it takes the last to be old.
        cache.set_timeout(Duration::from_secs(3600));
        let first = client.visit(&server, None);
        let id = first.sessions[0].session().id().to_vec();
        let is_first = |session: &Session<Secret>| version == TLS13 || session.id().as_bytes() == id;
        age_in_the_eyes_of_openssl(&cache, age, is_first);
        let resumed = first.sessions.iter().filter(|offer| client.visit(&server, Some(offer)).resumed);
        assert_eq!(resumed.count(), first.sessions.len());
        assert_eq!(OpensslCounters::of(&server).timeouts, 0);
    }
}
