//! Cases of OpenSSL's own tests (`test/sslapitest.c` and others) that are about a server and where its sessions are, on
//! OpenSSL with our cache. Those about contexts and sessions alone, and about connections, run in lockstep with OpenSSL's
//! cache: `differential/cases.rs`, `connections/cases.rs`.

mod common;

use common::{Client, Offer, TLS12, TLS13, cache, cache_of, caching, server, server_builder};
use foreign_types::ForeignTypeRef as _;
use openssl::ssl::{NameType, SslContext, SslSession};
use resumption::{
    ExternalStore, Secret, Session, SessionCacheMode, SessionContext, SessionId, SessionKey, Timestamp,
};
use resumption_openssl::ServerSessions;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A second tier in memory.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<HashMap<SessionKey, Arc<Session<Secret>>>>>);

/// A session as the second tier has it: a copy, which no mark of another one reaches.
fn copy(session: &Session<Secret>) -> Arc<Session<Secret>> {
    let builder = Session::<Secret>::builder(session.key()).id_context(*session.id_context());
    let builder = builder.time(session.time()).timeout(session.timeout());
    Arc::new(builder.build(Secret::from(session.payload().as_bytes().to_vec())))
}

impl ExternalStore<Secret> for Shelf {
    fn get(&self, key: &SessionKey) -> Option<Arc<Session<Secret>>> {
        self.0.lock().expect("nobody panics in here").get(key).map(|session| copy(session))
    }

    fn take(&self, key: &SessionKey) -> Option<Arc<Session<Secret>>> {
        self.0.lock().expect("nobody panics in here").remove(key)
    }

    fn put(&self, session: &Arc<Session<Secret>>) -> bool {
        self.0.lock().expect("nobody panics in here").insert(session.key(), copy(session));
        true
    }

    fn remove(&self, key: &SessionKey) {
        self.0.lock().expect("nobody panics in here").remove(key);
    }
}

/// `test_session_cache_overflow`: one place, two sessions, the first of which may live for ever; what was evicted is
/// resumed from outside.
#[test]
fn an_evicted_session_is_resumed_from_the_second_tier() {
    let lives = [Duration::from_secs(300), Duration::MAX];
    for (version, life) in [TLS12, TLS13].into_iter().flat_map(|version| lives.map(|life| (version, life))) {
        let shelf = Shelf::default();
        let cache = cache_of(SessionContext::builder().capacity(1).external(shelf));
        let (server, client) = (server(&cache), Client::new(version));
        let make = |life| {
            cache.set_timeout(life);
            client.visit(&server, None).sessions[0].clone()
        };
        let offers: [Offer; 2] = [life, Duration::from_secs(300)].map(make);
        assert_eq!(cache.len(), 1);
        for offer in &offers {
            assert!(client.visit(&server, Some(offer)).resumed);
        }
        assert!(cache.stats().outcomes.external_hit > 0 && cache.len() == 1);
    }
}

/// `execute_test_session` with only an external cache (`NO_INTERNAL`).
#[test]
fn an_external_cache_alone_is_enough() {
    for version in [TLS12, TLS13] {
        let mode = SessionCacheMode::SERVER | SessionCacheMode::NO_INTERNAL;
        let cache = cache_of(SessionContext::builder().mode(mode).external(Shelf::default()));
        let (server, client) = (server(&cache), Client::new(version));
        let first = client.visit(&server, None);
        let again = client.visit(&server, Some(&first.sessions[0]));
        assert!(again.resumed && cache.is_empty());
        let twice = client.visit(&server, Some(&first.sessions[0])).resumed;
        assert_eq!(twice, version == TLS12, "a ticket is used up there, too");
    }
}

/// `test_multi_resume`: rounds of one full handshake and two resumptions of it, with places for five.
#[test]
fn many_rounds_stay_within_the_capacity() {
    for (version, early_data) in [(TLS12, 0), (TLS13, 0), (TLS13, 1000)] {
        let cache = cache_of(SessionContext::builder().capacity(5));
        let mut builder = server_builder();
        builder.set_max_early_data(early_data).expect("a number");
        let server = caching(builder, &ServerSessions::new(Arc::clone(&cache)));
        let client = Client::new(version);
        let mut offer: Option<Offer> = None;
        for round in 0..30 {
            let visit = client.visit(&server, offer.as_ref().filter(|_| round % 3 > 0));
            assert_eq!(visit.resumed, round % 3 > 0, "connection {round}");
            offer = visit.sessions.last().cloned().or(offer);
            assert!(cache.len() <= 5);
        }
    }
}

/// `test_multi_resume`, variant 3: in the middle of a resumption another connection offers the same session, and fails.
#[test]
fn a_failure_inside_a_handshake_leaves_the_outer_one_alone() {
    type Inner = Arc<Mutex<Option<(SslContext, Offer)>>>;
    for version in [TLS12, TLS13] {
        let inner: Inner = Arc::default();
        let (cache, nested) = (cache_of(SessionContext::builder().capacity(5)), Arc::clone(&inner));
        let mut builder = server_builder();
        builder.set_servername_callback(move |ssl, _| {
            let nested = nested.lock().expect("nobody panics in here").take();
            if let (Some((server, offer)), Some("a.example")) = (nested, ssl.servername(NameType::HOST_NAME))
            {
                // A client that ends the handshake: it does not like the server's certificate.
                let picky = Client::with(version, |builder| {
                    builder.set_verify(openssl::ssl::SslVerifyMode::PEER);
                });
                let outcome = picky.try_visit("a.example", &server, Some(&offer));
                assert_eq!(outcome.is_ok(), version == TLS12, "resumed, or refused in full");
            }
            Ok(())
        });
        let server = caching(builder, &ServerSessions::new(Arc::clone(&cache)));
        let client = Client::new(version);
        let first = client.visit(&server, None);
        *inner.lock().expect("nobody panics in here") = Some((server.clone(), first.sessions[0].clone()));
        assert!(client.visit(&server, Some(&first.sessions[0])).resumed);
        assert!(cache.len() <= 5);
        assert!(inner.lock().expect("nobody panics in here").is_none(), "the inner connection was made");
    }
}

unsafe extern "C" {
    fn SSL_SESSION_get_ticket_lifetime_hint(session: *const openssl_sys::SSL_SESSION) -> libc::c_ulong;
}

fn lifetime(session: &SslSession) -> u64 {
    // SAFETY: the session is alive.
    unsafe { SSL_SESSION_get_ticket_lifetime_hint(session.as_ptr()) }
}

/// `test_ticket_lifetime`: clients are told the timeout of the cache, and never more than a week.
#[test]
fn a_ticket_states_the_timeout_of_the_cache() {
    const WEEK: u64 = 7 * 24 * 3600;
    for (timeout, stated) in [(300, 300), (WEEK, WEEK), (2 * WEEK, WEEK)] {
        let cache = cache_of(SessionContext::builder().timeout(Duration::from_secs(timeout)));
        let ticket = Client::new(TLS13).visit(&server(&cache), None).sessions.remove(0);
        assert_eq!(lifetime(&ticket.session()), stated);
    }
}

/// `test/tls12psk.c`: an external cache answers with a session whose id is not the one that was asked for.
#[test]
fn a_session_with_another_id_is_not_resumed() {
    for version in [TLS12, TLS13] {
        let other: Arc<Mutex<Option<Arc<Session<Secret>>>>> = Arc::default();
        let answer = Arc::clone(&other);
        let cache = cache_of(
            SessionContext::builder()
                .on_get(move |_, _| answer.lock().expect("nobody panics in here").clone()),
        );
        let (server, client) = (server(&cache), Client::new(version));
        let first = client.visit(&server, None);
        // All but its id is right.
        cache.for_each(&cache.pin(), |session| {
            let key = SessionKey::new(session.version(), SessionId::from([9; 32]));
            let renamed = Session::<Secret>::builder(key)
                .id_context(*session.id_context())
                .time(Timestamp::from_unix(u64::from(u32::MAX) - 1))
                .build(Secret::from(session.payload().as_bytes().to_vec()));
            *other.lock().expect("nobody panics in here") = Some(Arc::new(renamed));
        });
        cache.flush_all();
        assert!(!client.visit(&server, Some(&first.sessions[0])).resumed);
    }
}

/// `test/tls13tickettest.c`: two tickets and then one; none when the cache is off, though OpenSSL before 4.1 sends them.
#[test]
fn tickets_follow_the_configuration() {
    let cache = cache();
    let (server, client) = (server(&cache), Client::new(TLS13));
    let first = client.visit(&server, None);
    assert_eq!(first.sessions.len(), 2);
    assert_eq!(client.visit(&server, Some(&first.sessions[0])).sessions.len(), 1);
    assert_eq!(Client::new(TLS12).visit(&server, None).sessions.len(), 1, "a session id");
    cache.set_mode(SessionCacheMode::OFF);
    let second = client.visit(&server, None);
    assert!(second.sessions.iter().all(|ticket| !client.visit(&server, Some(ticket)).resumed));
}
