//! What the cache hears of the life of a connection, and what happens when one of its callbacks fails.

mod common;

use common::{Client, Open, Removals, TLS12, TLS13, cache, cache_of, caching, server, server_builder};
use openssl::ssl::{ClientHelloResponse, ShutdownState, SslContext, SslContextRef, SslSession};
use resumption::{RemoveReason, Secret, SessionContext, SessionKey};
use resumption_openssl::{OpensslCounters, SelectError, ServerSessions, select_context};
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

fn open(client: &Client, server: &SslContextRef, offer: Option<&common::Offer>) -> Open {
    let mut open = client.try_visit("a.example", server, offer).expect("they accept each other");
    open.read_tickets();
    open
}

#[test]
fn a_clean_end_keeps_the_session() {
    for version in [TLS12, TLS13] {
        let removals = Removals::default();
        let cache = cache_of(removals.clone().of(SessionContext::builder()));
        let (server, client) = (server(&cache), Client::new(version));
        let first = client.visit(&server, None);
        let kept = cache.len();
        assert_eq!(kept, first.sessions.len());
        // SSL_set_shutdown: as good as a close_notify, and nothing is sent.
        let mut quiet = open(&client, &server, None);
        quiet.server.set_shutdown(ShutdownState::SENT);
        drop(quiet);
        assert_eq!((cache.len(), removals.take()), (2 * kept, vec![]));
    }
}

#[test]
fn an_unclean_end_removes_the_session_of_the_connection() {
    let removals = Removals::default();
    let cache = cache_of(removals.clone().of(SessionContext::builder()));
    let server = server(&cache);
    drop(open(&Client::new(TLS12), &server, None));
    assert_eq!((cache.len(), removals.take()), (0, vec![RemoveReason::Removed]));
    // In TLS 1.3 that is the session of the last ticket; the other one stays (SSL_get_session(3)).
    let client = Client::new(TLS13);
    let connection = open(&client, &server, None);
    let tickets = connection.visit().sessions;
    drop(connection);
    assert_eq!((cache.len(), removals.take()), (1, vec![RemoveReason::Removed]));
    assert!(!client.visit(&server, Some(&tickets[1])).resumed);
    assert!(client.visit(&server, Some(&tickets[0])).resumed);
}

#[test]
fn one_unclean_end_is_enough_for_all_who_share_the_session() {
    let cache = cache();
    let (server, client) = (server(&cache), Client::new(TLS12));
    let first = client.visit(&server, None);
    let connections: Vec<_> = (0..3).map(|_| open(&client, &server, Some(first.only()))).collect();
    assert!(connections.iter().all(Open::resumed));
    assert_eq!(cache.len(), 1);
    drop(connections);
    assert!(cache.is_empty());
    assert!(!client.visit(&server, Some(first.only())).resumed);
}

#[test]
fn a_fatal_alert_removes_the_session_at_once() {
    for version in [TLS12, TLS13] {
        let removals = Removals::default();
        let cache = cache_of(removals.clone().of(SessionContext::builder()));
        let (server, client) = (server(&cache), Client::new(version));
        let mut connection = open(&client, &server, None);
        let stored = cache.len();
        connection.server.get_ref().inject(b"this is no record of TLS");
        connection.server.ssl_read(&mut [0; 16]).expect_err("garbage");
        assert_eq!((cache.len(), removals.take()), (stored - 1, vec![RemoveReason::Removed]));
        drop(connection);
        assert_eq!(removals.take(), vec![], "its end says nothing more");
    }
}

#[test]
fn the_new_callback_gets_the_session_that_the_client_has() {
    let log: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let (told, cache) = (Arc::clone(&log), SessionContext::<Secret>::builder());
    let cache = cache_of(cache.on_new(move |context, session| {
        assert!(context.contains(&session.key()), "it is cached before it is announced");
        let decoded = SslSession::from_der(session.payload().as_bytes()).expect("an encoded session");
        assert_eq!(decoded.id(), session.id().as_bytes());
        let mut secret = vec![0; decoded.master_key_len()];
        decoded.master_key(&mut secret);
        told.lock().expect("no test panics in here").push(secret);
    }));
    let server = server(&cache);
    for version in [TLS12, TLS13] {
        let visit = Client::new(version).visit(&server, None);
        let secrets = visit.sessions.iter().map(|offer| {
            let session = offer.session();
            let mut secret = vec![0; session.master_key_len()];
            session.master_key(&mut secret);
            secret
        });
        let told = std::mem::take(&mut *log.lock().expect("no test panics in here"));
        assert_eq!(secrets.collect::<Vec<_>>(), told);
    }
}

#[test]
fn callbacks_may_use_the_cache_and_openssl_as_they_like() {
    let context: Arc<Mutex<Option<SslContext>>> = Arc::default();
    let inner = Arc::clone(&context);
    let cache = cache_of(SessionContext::builder().on_remove(move |cache, session, reason| {
        if reason == RemoveReason::Removed && cache.stats().number < 4 {
            assert!(!cache.contains(&session.key()));
            let server = inner.lock().expect("no test panics in here").clone().expect("the server is there");
            let visit = Client::new(TLS12).visit(&server, None);
            assert!(Client::new(TLS12).visit(&server, Some(visit.only())).resumed);
        }
    }));
    let server = server(&cache);
    *context.lock().expect("no test panics in here") = Some(server.clone());
    drop(open(&Client::new(TLS12), &server, None));
    assert_eq!(cache.len(), 1, "the session of the handshake inside the callback");
    // The callback, the cache and the context hold each other.
    context.lock().expect("no test panics in here").take();
}

#[test]
fn a_callback_that_panics_costs_a_resumption_and_nothing_else() {
    let panicking = SessionContext::<Secret>::builder()
        .on_new(|_, _| resume_unwind(Box::new("new")))
        .on_get(|_, _| resume_unwind(Box::new("get")))
        .on_remove(|_, _, _| resume_unwind(Box::new("remove")));
    let sessions = ServerSessions::new(cache_of(panicking));
    let (server, client) = (caching(server_builder(), &sessions), Client::new(TLS12));
    let first = client.visit(&server, None);
    assert_eq!(sessions.faults(), 1, "new");
    assert!(client.visit(&server, Some(first.only())).resumed, "it was stored before it was announced");
    let elsewhere = client.visit(&common::server(&cache()), None);
    let visit = client.visit(&server, Some(elsewhere.only()));
    assert!(!visit.resumed);
    assert_eq!(sessions.faults(), 3, "get, and new for the session of the full handshake");
    drop(open(&client, &server, Some(visit.only())));
    assert_eq!(sessions.faults(), 4, "remove");
    assert!(!client.visit(&server, Some(visit.only())).resumed);
    assert_eq!(sessions.faults(), 6, "get, and new");
    // The context of OpenSSL is the last to hold the cache, or the callback would panic in this test.
    drop(sessions);
    drop(server);
}

/// Panics, and panics again when the panic is over.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            resume_unwind(Box::new(()));
        }
    }
}

#[test]
fn a_panic_whose_payload_panics_is_contained_too() {
    let cache = cache_of(SessionContext::builder().on_new(|_, _| resume_unwind(Box::new(Bomb))));
    let sessions = ServerSessions::new(cache);
    let server = caching(server_builder(), &sessions);
    Client::new(TLS12).visit(&server, None);
    assert_eq!(sessions.faults(), 1);
}

#[test]
fn the_end_of_a_context_announces_its_sessions_and_may_panic() {
    for panics in [false, true] {
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let cache = cache_of(SessionContext::builder().on_remove(move |_, _, reason| {
            assert_eq!(reason, RemoveReason::ContextDropped);
            count.fetch_add(1, Ordering::Relaxed);
            if panics {
                resume_unwind(Box::new("remove"));
            }
        }));
        // The context of OpenSSL is the only one that holds the cache: SSL_CTX_free ends it.
        let server = server(&cache);
        drop(cache);
        Client::new(TLS12).visit(&server, None);
        assert_eq!(ended.load(Ordering::Relaxed), 0);
        drop(server);
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn what_cannot_be_decoded_is_not_resumed() {
    for version in [TLS12, TLS13] {
        let cache = cache();
        let sessions = ServerSessions::new(Arc::clone(&cache));
        let (server, client) = (caching(server_builder(), &sessions), Client::new(version));
        let first = client.visit(&server, None);
        let mut keys: Vec<(SessionKey, _)> = Vec::new();
        cache.for_each(&cache.pin(), |session| keys.push((session.key(), *session.id_context())));
        for (key, id_context) in keys {
            let garbage = cache.session(key).id_context(id_context).build(Secret::from(vec![0x30, 0x82, 1]));
            cache.add_session(Arc::new(garbage)).expect("a small session");
        }
        assert!(!client.visit(&server, Some(&first.sessions[0])).resumed);
        assert_eq!(sessions.faults(), 1);
    }
}

/// Sessions that come back altered, as from a store that somebody else can write: each visit ends in a handshake, resumed or
/// full, or in an alert, and the next client is served.
#[test]
fn whatever_comes_back_the_server_goes_on() {
    let mut random = fastrand::Rng::with_seed(7);
    for version in [TLS12, TLS13] {
        let cache = cache();
        let sessions = ServerSessions::new(Arc::clone(&cache));
        let (server, client) = (caching(server_builder(), &sessions), Client::new(version));
        for _ in 0..150 {
            let offer = client.visit(&server, None).sessions.swap_remove(0);
            let mut altered = Vec::new();
            cache.for_each(&cache.pin(), |session| {
                let bytes = alter(session.payload().as_bytes(), &mut random);
                let builder = cache.session(session.key()).id_context(*session.id_context());
                altered.push(Arc::new(builder.build(Secret::from(bytes))));
            });
            altered
                .into_iter()
                .for_each(|session| drop(cache.add_session(session).expect("a small session")));
            let _ = client.try_visit("a.example", &server, Some(&offer));
            cache.flush_all();
        }
        assert!(sessions.faults() > 0, "some cannot be decoded");
        let offer = client.visit(&server, None).sessions.swap_remove(0);
        assert!(client.visit(&server, Some(&offer)).resumed);
    }
}

fn alter(bytes: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut altered = bytes.to_vec();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..altered.len());
        match random.u8(..4) {
            0 => altered.truncate(at.max(1)),
            1 => altered.insert(at, random.u8(..)),
            2 => altered[at] ^= 1 << random.u8(..8),
            _ => altered[at] = random.u8(..),
        }
    }
    altered
}

#[test]
fn the_counters_of_both_sides_agree() {
    for version in [TLS12, TLS13] {
        let cache = cache_of(SessionContext::builder().capacity(4));
        let sessions = ServerSessions::new(Arc::clone(&cache));
        let (server, client) = (caching(server_builder(), &sessions), Client::new(version));
        let (mut resumed, mut offered, mut visits) = (0, 0, 0);
        let mut known = Vec::new();
        for round in 0..40_usize {
            // Some are fresh, some evicted, some used up.
            let offer = (round % 3 > 0).then(|| &known[round * 7 % known.len()]);
            offered += u64::from(offer.is_some());
            let visit = client.visit(&server, offer);
            resumed += u64::from(visit.resumed);
            visits += 1;
            known.extend(visit.sessions);
        }
        let (openssl, stats) = (OpensslCounters::of(&server), cache.stats());
        assert_eq!((openssl.accept, openssl.accept_good), (visits, visits));
        assert!(resumed > 0 && resumed < offered, "both happened");
        assert_eq!((stats.outcomes.total(), stats.outcomes.hit), (offered, resumed));
        assert_eq!((openssl.hits, openssl.cb_hits), (stats.hits, stats.hits));
        assert_eq!((openssl.number, openssl.misses, openssl.timeouts, openssl.cache_full), (0, 0, 0, 0));
        assert_eq!(stats.number, cache.len() as u64);
        let consumed = if version == TLS13 { resumed } else { 0 };
        assert_eq!(known.len() as u64, stats.number + stats.cache_full + consumed, "none is lost");
        assert_eq!(OpensslCounters::of(&client.context).hits, resumed);
        assert_eq!(sessions.faults(), 0);
    }
}

#[test]
fn a_context_with_another_cache_is_not_selected() {
    for shared in [true, false] {
        let first_cache = cache();
        let other_cache = if shared { Arc::clone(&first_cache) } else { cache() };
        let other = server(&other_cache);
        let mut first = server_builder();
        first.set_client_hello_callback(move |ssl, _| {
            let selected = select_context(ssl, &other);
            assert_eq!(matches!(selected, Err(SelectError::Cache)), !shared);
            Ok(ClientHelloResponse::SUCCESS)
        });
        let server = caching(first, &ServerSessions::new(Arc::clone(&first_cache)));
        // The session goes to the cache that is told of the unclean end.
        let connection = open(&Client::new(TLS12), &server, None);
        assert_eq!(first_cache.len(), 1);
        drop(connection);
        assert!(first_cache.is_empty());
    }
}

#[test]
fn a_context_may_end_with_its_thread() {
    thread_local! {
        static LAST: RefCell<Option<SslContext>> = const { RefCell::new(None) };
    }
    let removals = Removals::default();
    let of_thread = removals.clone();
    let thread = thread::spawn(move || {
        // What is first used is last destroyed: the engine's own part of this thread goes before the context does.
        LAST.set(None);
        let server = server(&cache_of(of_thread.of(SessionContext::builder())));
        Client::new(TLS12).visit(&server, None);
        LAST.set(Some(server));
    });
    thread.join().expect("it ends in peace");
    assert_eq!(removals.take(), [RemoveReason::ContextDropped]);
}
