//! The client's side: sessions by peer.

mod common;

use common::{
    Cache, Identity, Pipe, TLS12, TLS13, authority, cache_of, certificate_of, connect, server_builder, step,
    wants_more,
};
use openssl::ssl::{
    ErrorCode, NameType, Ssl, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode, SslVersion,
};
use resumption::{SessionCacheMode, SessionContext};
use resumption_openssl::{ClientSessions, InstallError, Peer, Policy, ServerSessions, StartError};
use resumption_testkit::certificates::Authority;
use std::sync::Arc;
use std::time::Duration;

fn client_cache() -> Cache {
    cache_of(SessionContext::builder().mode(SessionCacheMode::CLIENT))
}

fn peer(host: &str) -> Peer {
    Peer::new(host, 443).expect("a valid host")
}

/// A client that verifies its peers.
fn builder(version: SslVersion, roots: &Authority) -> SslContextBuilder {
    let mut builder = SslContext::builder(SslMethod::tls_client()).expect("a context");
    builder.set_min_proto_version(Some(version)).expect("a version");
    builder.set_max_proto_version(Some(version)).expect("a version");
    builder.cert_store_mut().add_cert(certificate_of(roots)).expect("a certificate");
    builder.set_verify(SslVerifyMode::PEER);
    builder
}

struct Client {
    context: SslContext,
    sessions: ClientSessions,
    policy: Policy,
}

impl Client {
    fn new(version: SslVersion, roots: &Authority) -> Self {
        Self::over(ClientSessions::new(client_cache()), builder(version, roots))
    }

    fn over(sessions: ClientSessions, mut builder: SslContextBuilder) -> Self {
        let policy = sessions.install(&mut builder).expect("a client needs nothing");
        Self { context: builder.build(), sessions, policy }
    }

    fn kept(&self) -> usize {
        self.sessions.context().len()
    }

    /// Whether the connection resumed, or what was wrong.
    fn visit(&self, peer: &Peer, server: &SslContext) -> Result<bool, String> {
        let near = ClientSessions::start(&self.context, peer).expect("the cache is installed");
        let (mut near, mut far) = connect(near, Ssl::new(server).expect("a connection"))?;
        wants_more(near.ssl_read(&mut [0; 1]).map(drop));
        near.shutdown().expect("a write");
        far.shutdown().expect("a write");
        assert_eq!(near.ssl().session_reused(), far.ssl().session_reused(), "both sides agree");
        Ok(near.ssl().session_reused())
    }
}

fn server(issuer: &Authority, adjust: impl FnOnce(&mut SslContextBuilder)) -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
    Identity::server(issuer, &["a.example", "b.example", "192.0.2.1"]).put_into(&mut builder);
    adjust(&mut builder);
    let sessions = ServerSessions::new(common::cache());
    sessions.install(&mut builder).expect("a context with a certificate");
    builder.build()
}

#[test]
fn every_tls13_ticket_is_offered_once_and_brings_another() {
    let issuer = authority("issuer");
    let (server, client) = (server(&issuer, |_| {}), Client::new(TLS13, &issuer));
    let peer = peer("a.example");
    assert_eq!(client.visit(&peer, &server), Ok(false));
    assert_eq!(client.kept(), 2);
    for _ in 0..5 {
        assert_eq!(client.visit(&peer, &server), Ok(true));
        assert_eq!(client.kept(), 2, "one ticket taken, one received");
    }
    let outcomes = client.sessions.context().stats().outcomes;
    assert_eq!((outcomes.hit, outcomes.misses()), (5, 1), "one outcome for every connection");
}

#[test]
fn concurrent_connections_offer_different_tickets() {
    let issuer = authority("issuer");
    let (server, client) = (server(&issuer, |_| {}), Client::new(TLS13, &issuer));
    let peer = peer("a.example");
    client.visit(&peer, &server).expect("they accept each other");
    let connections: Vec<_> = (0..3)
        .map(|_| {
            let near = ClientSessions::start(&client.context, &peer).expect("the cache is installed");
            connect(near, Ssl::new(&server).expect("a connection")).expect("they accept each other")
        })
        .collect();
    let resumed: Vec<_> = connections.iter().map(|(near, _)| near.ssl().session_reused()).collect();
    assert_eq!(resumed, [true, true, false], "there were two");
}

#[test]
fn a_tls12_session_is_offered_until_it_expires() {
    let issuer = authority("issuer");
    let (server, clock) = (server(&issuer, |_| {}), common::clock());
    let cache = SessionContext::builder().mode(SessionCacheMode::CLIENT).clock(clock.clone());
    let sessions = ClientSessions::new(cache_of(cache.timeout(Duration::from_secs(60))));
    let client = Client::over(sessions, builder(TLS12, &issuer));
    let peer = peer("a.example");
    let visit = || client.visit(&peer, &server);
    assert_eq!([visit(), visit(), visit()], [Ok(false), Ok(true), Ok(true)]);
    assert_eq!(client.kept(), 1);
    clock.advance(Duration::from_secs(61));
    assert_eq!([visit(), visit()], [Ok(false), Ok(true)]);
}

#[test]
fn stateless_tickets_of_other_servers_are_kept_too() {
    let issuer = authority("issuer");
    let mut plain = SslContext::builder(SslMethod::tls_server()).expect("a context");
    Identity::server(&issuer, &["a.example"]).put_into(&mut plain);
    let server = plain.build();
    for version in [TLS12, TLS13] {
        let client = Client::new(version, &issuer);
        let visit = || client.visit(&peer("a.example"), &server);
        assert_eq!([visit(), visit(), visit()], [Ok(false), Ok(true), Ok(true)]);
    }
}

#[test]
fn sessions_stay_with_their_peer() {
    let issuer = authority("issuer");
    let server = server(&issuer, |_| {});
    for version in [TLS12, TLS13] {
        let client = Client::new(version, &issuer);
        let others = [
            peer("b.example"),
            peer("192.0.2.1"),
            Peer::new("a.example", 8443).expect("a valid host"),
            peer("a.example").role("proxy"),
        ];
        assert_eq!(client.visit(&peer("a.example"), &server), Ok(false));
        for other in &others {
            assert_eq!(client.visit(other, &server), Ok(false), "{other:?}");
        }
        assert_eq!(client.visit(&peer("A.Example."), &server), Ok(true), "the same peer, in other words");
    }
}

#[test]
fn a_peer_must_be_what_it_is_called() {
    let issuer = authority("issuer");
    let server = server(&issuer, |_| {});
    for version in [TLS12, TLS13] {
        let client = Client::new(version, &issuer);
        for name in ["c.example", "192.0.2.2"] {
            let refused = client.visit(&peer(name), &server);
            assert!(refused.is_err_and(|error| error.contains("certificate verify failed")), "{name}");
        }
        assert_eq!(client.kept(), 0, "nothing is kept of what failed");
        assert_eq!(client.visit(&peer("192.0.2.1"), &server), Ok(false));
    }
}

#[test]
fn a_peer_is_asked_for_by_its_name() {
    let issuer = authority("issuer");
    let (server, client) = (server(&issuer, |_| {}), Client::new(TLS13, &issuer));
    for (host, asked) in [("A.example.", Some("a.example")), ("192.0.2.1", None)] {
        let near = ClientSessions::start(&client.context, &peer(host)).expect("the cache is installed");
        let (_near, far) = connect(near, Ssl::new(&server).expect("a connection")).expect("they agree");
        assert_eq!(far.ssl().servername(NameType::HOST_NAME), asked);
    }
}

#[test]
fn a_certificate_with_part_of_a_name_is_not_enough() {
    let issuer = authority("issuer");
    for (name, accepted) in [("*.some.example", true), ("w*.some.example", false)] {
        let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
        Identity::server(&issuer, &[name]).put_into(&mut builder);
        let visit = Client::new(TLS13, &issuer).visit(&peer("www.some.example"), &builder.build());
        assert_eq!(visit.is_ok(), accepted, "{name}");
    }
}

/// A client ends the handshake when the session it offered has another session id context than it has itself.
#[test]
fn session_id_contexts_of_clients_do_not_get_in_the_way() {
    let issuer = authority("issuer");
    let (server, sessions) = (server(&issuer, |_| {}), ClientSessions::new(client_cache()));
    let client = |id_context: &[u8]| {
        let mut builder = builder(TLS12, &issuer);
        builder.set_session_id_context(id_context).expect("a short one");
        Client::over(sessions.clone(), builder)
    };
    assert_eq!(client(b"one").visit(&peer("a.example"), &server), Ok(false));
    assert_eq!(client(b"other").visit(&peer("a.example"), &server), Ok(true));
}

#[test]
fn sessions_stay_with_the_policy_of_the_client() {
    let (issuer, other_root) = (authority("issuer"), authority("other"));
    let server = server(&issuer, |_| {});
    let sessions = ClientSessions::new(client_cache());
    let plain = Client::over(sessions.clone(), builder(TLS12, &issuer));
    assert_eq!(plain.visit(&peer("a.example"), &server), Ok(false));
    let mut with_identity = builder(TLS12, &issuer);
    Identity::client(&issuer, "somebody").put_into(&mut with_identity);
    let mut with_root = builder(TLS12, &issuer);
    with_root.cert_store_mut().add_cert(certificate_of(&other_root)).expect("a certificate");
    let mut careless = builder(TLS12, &issuer);
    careless.set_verify(SslVerifyMode::NONE);
    let different = [
        Client::over(sessions.clone(), with_identity),
        Client::over(sessions.clone(), with_root),
        Client::over(sessions.clone(), careless),
        Client::over(sessions.clone().extra("tenant 2"), builder(TLS12, &issuer)),
    ];
    for client in &different {
        assert_ne!(client.policy, plain.policy);
        assert_eq!(client.visit(&peer("a.example"), &server), Ok(false));
    }
    assert_eq!(plain.visit(&peer("a.example"), &server), Ok(true), "nor do they get in each other's way");
    let same = Client::over(sessions.clone().extra("tenant 2"), builder(TLS12, &issuer));
    assert_eq!(same.visit(&peer("a.example"), &server), Ok(true));
}

#[test]
fn at_most_eight_tickets_wait_for_a_peer() {
    let issuer = authority("issuer");
    let client = Client::new(TLS13, &issuer);
    for (name, tickets, kept) in [("a.example", 6, 6), ("b.example", 10, 14)] {
        let server = server(&issuer, |builder| builder.set_num_tickets(tickets).expect("a number"));
        assert_eq!(client.visit(&peer(name), &server), Ok(false));
        assert_eq!(client.kept(), kept);
    }
}

#[test]
fn a_peer_can_be_forgotten() {
    let issuer = authority("issuer");
    let server = server(&issuer, |_| {});
    for version in [TLS12, TLS13] {
        let client = Client::new(version, &issuer);
        client.visit(&peer("a.example"), &server).expect("they accept each other");
        client.visit(&peer("b.example"), &server).expect("they accept each other");
        client.sessions.forget(&client.policy, &peer("a.example"));
        assert_eq!(client.visit(&peer("a.example"), &server), Ok(false));
        assert_eq!(client.visit(&peer("b.example"), &server), Ok(true));
    }
}

#[test]
fn a_ticket_is_not_kept_for_longer_than_its_server_says() {
    let (issuer, clock) = (authority("issuer"), common::clock());
    let short_lived = cache_of(SessionContext::builder().timeout(Duration::from_secs(10)));
    let mut server = server_builder();
    ServerSessions::new(short_lived).install(&mut server).expect("a context with a certificate");
    let server = server.build();
    let cache = SessionContext::builder().mode(SessionCacheMode::CLIENT).clock(clock.clone());
    let sessions = ClientSessions::new(cache_of(cache.timeout(Duration::from_secs(300))));
    let mut careless = builder(TLS13, &issuer);
    careless.set_verify(SslVerifyMode::NONE);
    let client = Client::over(sessions, careless);
    assert_eq!(client.visit(&peer("a.example"), &server), Ok(false));
    clock.advance(Duration::from_secs(10));
    assert_eq!(client.visit(&peer("a.example"), &server), Ok(true));
    clock.advance(Duration::from_secs(11));
    assert_eq!(client.visit(&peer("a.example"), &server), Ok(false));
}

#[test]
fn a_connection_without_a_peer_keeps_nothing() {
    let issuer = authority("issuer");
    let server = server(&issuer, |_| {});
    for version in [TLS12, TLS13] {
        let client = Client::new(version, &issuer);
        let near = Ssl::new(&client.context).expect("a connection");
        let (mut near, _far) =
            connect(near, Ssl::new(&server).expect("a connection")).expect("they accept each other");
        wants_more(near.ssl_read(&mut [0; 1]).map(drop));
        assert_eq!(client.kept(), 0);
    }
}

#[test]
fn a_handshake_that_fails_does_not_cost_a_tls12_session() {
    let issuer = authority("issuer");
    let (server, client) = (server(&issuer, |_| {}), Client::new(TLS12, &issuer));
    let peer = peer("a.example");
    client.visit(&peer, &server).expect("they accept each other");
    // Somebody on the way answers with an alert, before anything is authenticated.
    let near = ClientSessions::start(&client.context, &peer).expect("the cache is installed");
    let (pipe, mut far) = Pipe::new();
    let mut near = SslStream::new(near, pipe).expect("a stream");
    assert_eq!(step("client", near.connect()), Ok(false));
    std::io::Write::write_all(&mut far, &[21, 3, 3, 0, 2, 2, 40]).expect("room in the pipe");
    assert_eq!(near.connect().expect_err("handshake_failure").code(), ErrorCode::SSL);
    drop(near);
    assert_eq!(client.visit(&peer, &server), Ok(true));
}

#[test]
fn what_is_missing_is_an_error() {
    let issuer = authority("issuer");
    let plain = builder(TLS13, &issuer).build();
    let error = ClientSessions::start(&plain, &peer("a.example")).expect_err("no cache");
    assert!(matches!(error, StartError::NotInstalled));
    let of_servers = ClientSessions::new(common::cache());
    let error = of_servers.install(&mut builder(TLS13, &issuer)).expect_err("the default mode is SERVER");
    assert!(matches!(error, InstallError::Mode));
    let both = cache_of(SessionContext::builder().mode(SessionCacheMode::BOTH));
    let mut taken = server_builder();
    ServerSessions::new(Arc::clone(&both)).install(&mut taken).expect("a context with a certificate");
    let error = ClientSessions::new(both).install(&mut taken).expect_err("it caches a server's sessions");
    assert!(matches!(error, InstallError::OtherSide));
}
