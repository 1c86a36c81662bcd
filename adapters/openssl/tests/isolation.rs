//! A session of one policy is worth nothing under another, and a policy is everything that a resumption skips.

mod common;

use common::{
    Cache, Client, Identity, Offer, Open, TLS12, TLS13, authority, cache, cache_of, caching, certificate_of,
    require_clients_of, server_builder, server_for,
};
use openssl::error::ErrorStack;
use openssl::ssl::{
    ClientHelloResponse, NameType, Ssl, SslAlert, SslContext, SslContextBuilder, SslContextRef, SslMethod,
    SslVerifyMode, SslVersion,
};
use resumption::{Secret, SessionCacheMode, SessionContext};
use resumption_openssl::{
    ClientSessions, InstallError, SelectError, ServerSessions, client_hello_server_name, select_context,
};
use resumption_testkit::certificates::Authority;
use std::sync::Arc;

fn strict_builder(clients: &Authority) -> SslContextBuilder {
    let mut builder = server_for(&["b.example"]);
    require_clients_of(&mut builder, clients);
    builder
}

fn by_client_hello(first: &mut SslContextBuilder, other: SslContext) {
    first.set_client_hello_callback(move |ssl, alert| {
        if client_hello_server_name(ssl) == Some("b.example") {
            select_context(ssl, &other).map_err(|_| {
                *alert = SslAlert::UNRECOGNIZED_NAME;
                ErrorStack::get()
            })?;
        }
        Ok(ClientHelloResponse::SUCCESS)
    });
}

/// As most programs do it.
fn by_server_name_callback(first: &mut SslContextBuilder, other: SslContext) {
    first.set_servername_callback(move |ssl, _| {
        if ssl.servername(NameType::HOST_NAME) == Some("b.example") {
            ssl.set_ssl_context(&other).expect("a context");
            ssl.set_verify(other.verify_mode());
        }
        Ok(())
    });
}

type Select = fn(&mut SslContextBuilder, SslContext);

/// a.example asks nobody for a certificate, b.example requires one of `clients`; both have one cache and one port.
fn virtual_hosts(cache: &Cache, clients: &Authority, select: Select) -> SslContext {
    let sessions = ServerSessions::new(Arc::clone(cache));
    let strict = caching(strict_builder(clients), &sessions);
    let mut first = server_for(&["a.example"]);
    select(&mut first, strict);
    caching(first, &sessions)
}

fn refused_because(outcome: Result<Open, String>, reason: &str) {
    let error = outcome.map(drop).expect_err("the server refuses the client");
    assert!(error.contains(reason), "{error}");
}

/// The heart of CVE-2025-23419 and CVE-2025-23048.
#[test]
fn a_session_without_a_client_certificate_does_not_resume_where_one_is_required() {
    for select in [by_client_hello as Select, by_server_name_callback] {
        for version in [TLS12, TLS13] {
            let cache = cache();
            let server = virtual_hosts(&cache, &authority("clients"), select);
            let client = Client::new(version);
            let first = client.visit_as("a.example", &server, None);
            let again = client.visit_as("a.example", &server, Some(&first.sessions[0]));
            assert!(again.resumed, "where it was made, it is worth something");
            let offer = again.sessions.first().unwrap_or(&first.sessions[0]);
            let refused = client.try_visit("b.example", &server, Some(offer));
            refused_because(refused, "peer did not return a certificate");
            assert_eq!(cache.stats().outcomes.other_context, 1);
        }
    }
}

#[test]
fn contexts_with_different_client_authorities_do_not_share_sessions() {
    let (one, other) = (authority("one"), authority("other"));
    for version in [TLS12, TLS13] {
        let cache = cache();
        let sessions = ServerSessions::new(Arc::clone(&cache));
        let servers = [&one, &other].map(|clients| caching(strict_builder(clients), &sessions));
        let client = Client::with_identity(version, &Identity::client(&one, "somebody"));
        let first = client.visit(&servers[0], None);
        assert!(client.visit(&servers[0], Some(&first.sessions[0])).resumed);
        let first = client.visit(&servers[0], None);
        let refused = client.try_visit("a.example", &servers[1], Some(&first.sessions[0]));
        refused_because(refused, "certificate verify failed");
        assert_eq!(cache.stats().outcomes.other_context, 1);
    }
}

#[test]
fn a_server_that_verifies_clients_resumes_with_what_it_knows_of_them() {
    let clients = authority("clients");
    for version in [TLS12, TLS13] {
        let server = virtual_hosts(&cache(), &clients, by_client_hello);
        let client = Client::with_identity(version, &Identity::client(&clients, "somebody"));
        let first = client.visit_as("b.example", &server, None);
        // With an empty session id context this would be fatal: "session id context uninitialized".
        let open = client
            .try_visit("b.example", &server, Some(&first.sessions[0]))
            .expect("client and server accept each other");
        assert!(open.resumed());
        let known = open.server.ssl().peer_certificate().expect("the certificate of the full handshake");
        assert_eq!(common_name(&known), "somebody");
        assert_eq!(
            common_name(&open.client.ssl().peer_certificate().expect("a server has one")),
            "b.example"
        );
    }
}

fn common_name(certificate: &openssl::x509::X509Ref) -> String {
    let mut entries = certificate.subject_name().entries_by_nid(openssl::nid::Nid::COMMONNAME);
    entries.next().expect("a name").data().to_string().expect("a string")
}

#[test]
fn contexts_that_are_selected_too_late_never_resume() {
    let clients = authority("clients");
    for version in [TLS12, TLS13] {
        let server = virtual_hosts(&cache(), &clients, by_server_name_callback);
        let client = Client::with_identity(version, &Identity::client(&clients, "somebody"));
        let first = client.visit_as("b.example", &server, None);
        assert!(!client.visit_as("b.example", &server, Some(&first.sessions[0])).resumed);
    }
}

#[test]
fn openssl_compares_the_policy_too() {
    let clients = authority("clients");
    for version in [TLS12, TLS13] {
        let cache = cache();
        let sessions = ServerSessions::new(Arc::clone(&cache));
        let lax = caching(server_builder(), &sessions);
        let mut strict = strict_builder(&clients);
        let policy = sessions.install(&mut strict).expect("a context with a certificate");
        let strict = strict.build();
        let client = Client::new(version);
        let first = client.visit(&lax, None);
        // As if the cache had mixed up the two.
        let mut planted = Vec::new();
        cache.for_each(&cache.pin(), |session| {
            let bytes = session.payload().as_bytes().to_vec();
            let builder = cache.session(session.key()).id_context(policy.id_context(Some("a.example")));
            planted.push(builder.build(Secret::from(bytes)));
        });
        for session in planted {
            cache.add_session(Arc::new(session)).expect("a small session");
        }
        let refused = client.try_visit("a.example", &strict, Some(&first.sessions[0]));
        refused_because(refused, "peer did not return a certificate");
        assert_eq!(cache.stats().outcomes.hit, 1, "the cache did hand it out");
    }
}

#[test]
fn a_session_stays_with_the_server_name_it_was_made_for() {
    for version in [TLS12, TLS13] {
        let (server, client) = (common::server(&cache()), Client::new(version));
        let attempt = |made_for: &str, offered_to: &str| {
            let first = client.visit_as(made_for, &server, None);
            client.visit_as(offered_to, &server, Some(&first.sessions[0])).resumed
        };
        assert!(attempt("a.example", "a.example"));
        assert!(attempt("a.example", "A.Example"), "names have no case");
        assert!(attempt("", ""), "no name at all");
        assert!(!attempt("a.example", "b.example"));
        assert!(!attempt("a.example", ""));
        assert!(!attempt("", "a.example"));
    }
}

#[test]
fn a_connection_that_verifies_more_than_its_context_does_not_resume() {
    for version in [TLS12, TLS13] {
        let (server, client) = (common::server(&cache()), Client::new(version));
        let visit = |mode: SslVerifyMode, offer: Option<&Offer>| {
            let mut far = Ssl::new(&server).expect("a connection");
            far.set_verify(mode);
            let mut near = Ssl::new(&client.context).expect("a connection");
            if let Some(offer) = offer {
                offer.set_to(&mut near);
            }
            let (mut near, far) = common::connect(near, far).expect("no certificate is required");
            common::wants_more(near.ssl_read(&mut [0; 1]).map(drop));
            (far.ssl().session_reused(), Offer::of(&near.ssl().session().expect("one").to_owned()), far, near)
        };
        let (_, offer, ..) = visit(SslVerifyMode::NONE, None);
        let kept = visit(SslVerifyMode::NONE, None);
        assert!(!visit(SslVerifyMode::PEER, Some(&kept.1)).0);
        drop(offer);
        assert!(visit(SslVerifyMode::NONE, Some(&kept.1)).0);
    }
}

#[test]
fn a_context_without_the_cache_stores_nothing() {
    let cache = cache();
    let mut first = server_for(&["a.example"]);
    by_client_hello(&mut first, server_for(&["b.example"]).build());
    let server = caching(first, &ServerSessions::new(Arc::clone(&cache)));
    for version in [TLS12, TLS13] {
        let client = Client::new(version);
        let visit = client.visit_as("b.example", &server, None);
        assert!(cache.is_empty());
        assert!(!client.visit_as("b.example", &server, visit.sessions.first()).resumed);
    }
    assert_eq!(cache.stats().outcomes.total(), 0, "nobody even asks");
}

#[test]
fn a_context_with_another_verify_callback_is_not_selected() {
    let mut other = server_for(&["b.example"]);
    other.set_verify_callback(SslVerifyMode::PEER, |valid, _| valid);
    let mut first = server_for(&["a.example"]);
    let other = other.build();
    first.set_client_hello_callback(move |ssl, _| {
        let refused = select_context(ssl, &other).expect_err("OpenSSL would go on with no callback at all");
        assert!(matches!(refused, SelectError::VerifyCallback));
        Ok(ClientHelloResponse::SUCCESS)
    });
    let server = caching(first, &ServerSessions::new(cache()));
    let open = Client::new(TLS13).try_visit("b.example", &server, None).expect("they accept each other");
    let served = open.client.ssl().peer_certificate().expect("a server has one");
    assert_eq!(common_name(&served), "a.example", "the connection was left as it was");
}

#[test]
fn a_selected_context_brings_its_way_to_verify() {
    let clients = authority("clients");
    let client = Client::with_identity(TLS13, &Identity::client(&clients, "somebody"));
    for checks_revocation in [false, true] {
        let mut strict = strict_builder(&clients);
        if checks_revocation {
            let flags = openssl::x509::verify::X509VerifyFlags::CRL_CHECK;
            strict.verify_param_mut().set_flags(flags).expect("a flag");
        }
        let mut first = server_for(&["a.example"]);
        by_client_hello(&mut first, strict.build());
        let outcome = client.try_visit("b.example", &first.build(), None);
        // There is no list.
        assert_eq!(outcome.is_err(), checks_revocation);
    }
}

#[test]
fn purge_ends_the_sessions_of_one_name_of_one_policy() {
    let cache = cache();
    let sessions = ServerSessions::new(Arc::clone(&cache));
    let (mut one, other) = (server_builder(), caching(server_builder(), &sessions));
    let policy = sessions.install(&mut one).expect("a context with a certificate");
    let (one, client) = (one.build(), Client::new(TLS12));
    let visits = [("a.example", &one), ("b.example", &one), ("a.example", &other)];
    let made: Vec<_> =
        visits.iter().map(|(name, server)| client.visit_as(name, server, None).only().clone()).collect();
    assert_eq!(cache.purge(&policy.id_context(Some("A.EXAMPLE."))), 1);
    let resumed = visits.iter().zip(&made).map(|((name, server), offer)| {
        let server: &SslContextRef = server;
        client.visit_as(name, server, Some(offer)).resumed
    });
    assert_eq!(resumed.collect::<Vec<_>>(), [false, true, true]);
}

fn refused(adjust: impl FnOnce(&mut SslContextBuilder), sessions: &ServerSessions) -> InstallError {
    let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
    adjust(&mut builder);
    let options = builder.options();
    let error = sessions.install(&mut builder).expect_err("a policy that says too little");
    assert_eq!(builder.options(), options, "left as it was");
    error
}

#[test]
fn a_context_that_says_too_little_is_an_error() {
    let sessions = ServerSessions::new(cache());
    assert!(matches!(refused(|_| {}, &sessions), InstallError::NoCertificate));
    let verifying = |builder: &mut SslContextBuilder| {
        Identity::server(&authority("ca"), &["a.example"]).put_into(builder);
        builder.set_verify(SslVerifyMode::PEER);
    };
    assert!(matches!(refused(verifying, &sessions), InstallError::NoClientAuthority));
    let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
    verifying(&mut builder);
    assert!(sessions.clone().extra("our own verifier, version 3").install(&mut builder).is_ok());
    let of_clients = cache_of(SessionContext::builder().mode(SessionCacheMode::CLIENT));
    assert!(matches!(refused(verifying, &ServerSessions::new(of_clients)), InstallError::Mode));
    let of_both = cache_of(SessionContext::builder().mode(SessionCacheMode::BOTH));
    let client_first = |builder: &mut SslContextBuilder| {
        ClientSessions::new(Arc::clone(&of_both)).install(builder).expect("a client needs nothing");
    };
    let both = ServerSessions::new(Arc::clone(&of_both));
    assert!(matches!(refused(client_first, &both), InstallError::OtherSide));
}

/// Ways to make a server, no two of which may share sessions.
fn variations() -> Vec<SslContextBuilder> {
    let (issuer, ca, other_ca) = (authority("issuer"), authority("ca"), authority("other ca"));
    let (identity, other) =
        (Identity::server(&issuer, &["a.example"]), Identity::server(&issuer, &["a.example"]));
    let rsa = rsa_identity();
    let plain = || {
        let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
        identity.put_into(&mut builder);
        builder
    };
    let strict = || {
        let mut builder = plain();
        require_clients_of(&mut builder, &ca);
        builder
    };
    let adjusted = |mut builder: SslContextBuilder, adjust: &dyn Fn(&mut SslContextBuilder)| {
        adjust(&mut builder);
        builder
    };
    vec![
        plain(),
        adjusted(plain(), &|builder| other.put_into(builder)),
        adjusted(plain(), &|builder| rsa.put_into(builder)),
        adjusted(plain(), &|builder| {
            other.put_into(builder);
            rsa.put_into(builder);
        }),
        strict(),
        adjusted(strict(), &|builder| builder.set_verify(SslVerifyMode::PEER)),
        adjusted(strict(), &|builder| builder.add_client_ca(&certificate_of(&other_ca)).expect("a name")),
        adjusted(strict(), &|builder| {
            builder.cert_store_mut().add_cert(certificate_of(&other_ca)).expect("a certificate");
        }),
        adjusted(strict(), &|builder| builder.set_verify_depth(3)),
        adjusted(strict(), &|builder| {
            let flags = openssl::x509::verify::X509VerifyFlags::CRL_CHECK;
            builder.verify_param_mut().set_flags(flags).expect("a flag");
        }),
        adjusted(strict(), &|builder| {
            let mut store = openssl::x509::store::X509StoreBuilder::new().expect("a store");
            store.add_cert(certificate_of(&other_ca)).expect("a certificate");
            builder.set_verify_cert_store(store.build()).expect("a store");
        }),
    ]
}

/// RSA beside ECDSA: a context may have one certificate of each.
fn rsa_identity() -> Identity {
    let key = openssl::rsa::Rsa::generate(2048).expect("a key");
    let key = openssl::pkey::PKey::from_rsa(key).expect("a key");
    let mut builder = openssl::x509::X509::builder().expect("a certificate");
    let now = openssl::asn1::Asn1Time::days_from_now(0).expect("a time");
    let later = openssl::asn1::Asn1Time::days_from_now(1).expect("a time");
    builder.set_not_before(&now).expect("a time");
    builder.set_not_after(&later).expect("a time");
    builder.set_pubkey(&key).expect("a key");
    builder.sign(&key, openssl::hash::MessageDigest::sha256()).expect("a signature");
    Identity { certificate: builder.build(), key }
}

#[test]
fn every_part_of_a_policy_changes_its_context() {
    let sessions = ServerSessions::new(cache());
    let mut contexts: Vec<Vec<u8>> = Vec::new();
    for mut builder in variations() {
        let policy = sessions.install(&mut builder).expect("a context with a certificate");
        contexts.push(policy.id_context(None).as_bytes().to_vec());
    }
    let mut extra = server_builder();
    let mut install = |sessions: ServerSessions| sessions.install(&mut extra).expect("a certificate");
    let policies = [
        install(sessions.clone()),
        install(sessions.clone().extra("a")),
        install(sessions.clone().extra("b")),
        install(sessions.clone().extra("a").extra("b")),
        install(sessions.clone().extra("ab")),
    ];
    contexts.extend(policies.iter().map(|policy| policy.id_context(None).as_bytes().to_vec()));
    contexts.push(policies[0].id_context(Some("a.example")).as_bytes().to_vec());
    let count = contexts.len();
    contexts.sort_unstable();
    contexts.dedup();
    assert_eq!(contexts.len(), count, "no two of them are the same");
    assert!(contexts.iter().all(|context| context.len() == 32));
}

#[test]
fn a_revocation_list_is_part_of_the_policy() {
    let clients = authority("clients");
    let identity = Identity::server(&clients, &["a.example"]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("list.pem");
    std::fs::write(&file, revocation_list()).expect("a file");
    let policy_of = |with_list: bool| {
        let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
        identity.put_into(&mut builder);
        require_clients_of(&mut builder, &clients);
        if with_list {
            let lookup = openssl::x509::store::X509Lookup::file();
            let lookup = builder.cert_store_mut().add_lookup(lookup).expect("a lookup");
            lookup.load_crl_file(&file, openssl::ssl::SslFiletype::PEM).expect("a revocation list");
        }
        ServerSessions::new(cache()).install(&mut builder).expect("a context with a certificate")
    };
    assert_eq!(policy_of(false), policy_of(false));
    assert_eq!(policy_of(true), policy_of(true));
    assert_ne!(policy_of(true), policy_of(false));
}

/// An empty list of somebody, in PEM.
fn revocation_list() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign];
    let list = rcgen::CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2036, 1, 1),
        crl_number: rcgen::SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let issuer = rcgen::Issuer::new(params, key);
    list.signed_by(&issuer).expect("a list").pem().expect("a list in PEM")
}

#[test]
fn contexts_that_are_made_alike_share_sessions() {
    let identity = Identity::server(&authority("issuer"), &["a.example"]);
    let sessions = ServerSessions::new(cache());
    let make = || {
        let mut builder = SslContext::builder(SslMethod::tls_server()).expect("a context");
        identity.put_into(&mut builder);
        caching(builder, &sessions)
    };
    let (one, other) = (make(), make());
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let client = Client::new(version);
        let first = client.visit(&one, None);
        assert!(client.visit(&other, Some(&first.sessions[0])).resumed);
    }
}
