//! The engine behind a TLS server, before clients that are not ours: `openssl s_client` and `curl`.
//!
//! What was resumed is asserted twice, as the client saw it and as the server did.

mod server;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use resumption::{ManualClock, Secret, SessionContext, Timestamp};
use resumption_testkit::peers::{Curl, PeerError, SClient};
use rustls::{HandshakeKind, ProtocolVersion};
use server::{ClientAuth, Site, TlsServer};

use HandshakeKind::{Full, Resumed};

type Cache = Arc<SessionContext<Secret>>;

fn cache() -> Cache {
    Arc::new(SessionContext::builder().capacity(1000).build().expect("a small table"))
}

fn client(server: &TlsServer) -> SClient {
    SClient::new(server.address()).server_name("www.example").trust(server.files().authority())
}

#[test]
fn tls12_reconnects_resume_five_of_five() {
    let (cache, site) = (cache(), Site::new("www.example"));
    let server = TlsServer::start(&site, &cache);
    let report = client(&server).tls12().reconnect().run().unwrap();
    assert_eq!((report.handshakes.len(), report.resumed()), (6, 5), "{}", report.output);
    assert_eq!(server.kinds(), [Full, Resumed, Resumed, Resumed, Resumed, Resumed]);
    assert!(server.seen().iter().all(|seen| seen.version == ProtocolVersion::TLSv1_2));
    let stats = cache.stats();
    assert_eq!((stats.number, stats.hits, stats.outcomes.total()), (1, 5, 5));
}

#[test]
fn a_tls13_ticket_in_a_file_resumes_and_brings_new_ones() {
    let (cache, site) = (cache(), Site::new("www.example"));
    let server = TlsServer::start(&site, &cache);
    let session = server.files().path("session.pem");
    let first = client(&server).tls13().session_out(&session).run().unwrap();
    assert_eq!((first.resumed(), first.tickets), (0, 2), "{}", first.output);
    assert_eq!(cache.len(), 2);
    let second = client(&server).tls13().session_in(&session).session_out(&session).run().unwrap();
    let third = client(&server).tls13().session_in(&session).run().unwrap();
    assert_eq!((second.resumed(), third.resumed()), (1, 1), "{}{}", second.output, third.output);
    assert_eq!(server.kinds(), [Full, Resumed, Resumed]);
    assert!(server.seen().iter().all(|seen| seen.version == ProtocolVersion::TLSv1_3));
    // Six tickets were issued and two used up.
    assert_eq!((cache.len(), cache.stats().hits), (4, 2));
}

#[test]
fn the_same_ticket_resumes_once() {
    let (cache, site) = (cache(), Site::new("www.example"));
    let server = TlsServer::start(&site, &cache);
    let session = server.files().path("session.pem");
    client(&server).tls13().session_out(&session).run().unwrap();
    let offer = client(&server).tls13().session_in(&session);
    let (first, second) = (offer.run().unwrap(), offer.run().unwrap());
    assert_eq!((first.resumed(), second.resumed()), (1, 0), "{}{}", first.output, second.output);
    assert_eq!(server.kinds(), [Full, Resumed, Full]);
    let outcomes = cache.stats().outcomes;
    assert_eq!((outcomes.hit, outcomes.consumed, outcomes.total()), (1, 1, 2));
}

#[test]
fn of_many_clients_with_one_ticket_exactly_one_resumes() {
    let (cache, site) = (cache(), Site::new("www.example"));
    let server = TlsServer::start(&site, &cache);
    let session = server.files().path("session.pem");
    client(&server).tls13().session_out(&session).run().unwrap();
    let offer = client(&server).tls13().session_in(&session);
    let resumed: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| offer.run().unwrap().resumed())).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(resumed, 1);
    let kinds = server.kinds();
    assert_eq!((kinds.len(), kinds.iter().filter(|kind| **kind == Resumed).count()), (9, 1));
}

/// Two servers over one cache, as a process with several virtual hosts has them.
#[test]
fn a_session_of_one_server_name_is_refused_at_another() {
    for version in [SClient::tls12, SClient::tls13] {
        let cache = cache();
        let here = TlsServer::start(&Site::new("www.example"), &cache);
        let there = TlsServer::start(&Site::new("mail.example"), &cache);
        let session = here.files().path("session.pem");
        version(client(&here)).session_out(&session).run().unwrap();

        let elsewhere = SClient::new(there.address()).server_name("mail.example").session_in(&session);
        let report = version(elsewhere).run().unwrap();
        assert_eq!((report.handshakes.len(), report.resumed()), (1, 0), "{}", report.output);
        assert_eq!(there.kinds(), [Full]);
        assert_eq!(cache.stats().outcomes.other_context, 1);

        // The attempt has not cost the session: it still resumes where it belongs.
        let back = version(client(&here)).session_in(&session).run().unwrap();
        assert_eq!(back.resumed(), 1, "{}", back.output);
    }
}

/// The session carries no client certificate; resuming it must not stand in for one.
#[test]
fn a_session_without_a_client_certificate_does_not_open_a_server_that_asks_for_one() {
    for version in [SClient::tls12, SClient::tls13] {
        let (cache, site) = (cache(), Site::new("www.example"));
        let open = TlsServer::start(&site, &cache);
        let closed = TlsServer::start_with(&site, &cache, ClientAuth::Required);
        let session = open.files().path("session.pem");
        version(client(&open)).session_out(&session).run().unwrap();

        let refused = version(client(&closed)).session_in(&session).run().unwrap_err();
        assert!(matches!(refused, PeerError::NoAnswer { .. } | PeerError::Failed { .. }), "{refused}");
        assert_eq!((closed.answered(), cache.stats().hits), (0, 0));

        let identity = site.client_certificate();
        let known = client(&closed).certificate(identity.certificate(), identity.key()).session_in(&session);
        let report = version(known).run().unwrap();
        assert_eq!((report.resumed(), closed.answered()), (0, 1), "{}", report.output);
    }
}

#[test]
fn an_expired_session_is_a_full_handshake() {
    for version in [SClient::tls12, SClient::tls13] {
        let clock = ManualClock::new(Timestamp::from_unix(1_000_000));
        let builder = SessionContext::builder().capacity(1000).timeout(Duration::from_secs(60));
        let cache: Cache = Arc::new(builder.clock(clock.clone()).build().unwrap());
        let server = TlsServer::start(&Site::new("www.example"), &cache);
        let session = server.files().path("session.pem");
        version(client(&server)).session_out(&session).run().unwrap();
        clock.advance(Duration::from_secs(61));
        let report = version(client(&server)).session_in(&session).run().unwrap();
        assert_eq!((report.handshakes.len(), report.resumed()), (1, 0), "{}", report.output);
        assert_eq!(server.kinds(), [Full, Full]);
        assert_eq!((cache.stats().outcomes.expired, cache.stats().timeouts), (1, 1));
    }
}

#[test]
fn a_flushed_session_is_a_full_handshake() {
    for version in [SClient::tls12, SClient::tls13] {
        let (cache, site) = (cache(), Site::new("www.example"));
        let server = TlsServer::start(&site, &cache);
        let session = server.files().path("session.pem");
        version(client(&server)).session_out(&session).run().unwrap();
        assert!(cache.flush_all() > 0);
        let report = version(client(&server)).session_in(&session).run().unwrap();
        assert_eq!((report.handshakes.len(), report.resumed()), (1, 0), "{}", report.output);
        assert_eq!(server.kinds(), [Full, Full]);
    }
}

#[test]
fn curl_resumes_over_both_versions() {
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let (cache, site) = (cache(), Site::new("www.example"));
        let server = TlsServer::start(&site, &cache);
        let url = format!("https://www.example:{}/", server.address().port());
        let mut curl = Curl::new(server.files().authority()).resolve("www.example", server.address());
        for word in version.split('=') {
            curl = curl.argument(word);
        }
        let report = curl.get(&[&url, &url, &url]).unwrap();
        assert_eq!(report.statuses, [200, 200, 200], "{}", report.output);
        assert_eq!(server.kinds(), [Full, Resumed, Resumed], "{}", report.output);
    }
}
