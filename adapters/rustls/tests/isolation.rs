//! A session of one policy is worth nothing under another, and a policy is everything that a resumption skips.

mod common;

use common::{Cache, Identity, Promiscuous, cache, handshake, try_handshake};
use resumption_rustls::{
    ClientVerification, InstallError, PolicyError, ServerPolicy, ServerPolicyBuilder, ServerSessions,
};
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, StoresServerSessions as _, WebPkiClientVerifier,
};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use std::collections::HashSet;
use std::sync::Arc;

#[test]
fn server_names_with_their_own_views_do_not_share_sessions() {
    let (a, b, cache) = (Identity::new(&["a.example"]), Identity::new(&["b.example"]), cache());
    let (server_a, server_b) = (a.caching_server(&cache), b.caching_server(&cache));
    let mut roots = a.as_roots();
    roots.add(b.certificate.clone()).expect("a certificate that can be a root");
    for version in [&TLS12, &TLS13] {
        let mut client = rustls::ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        client.resumption = Promiscuous::resumption();
        let before = cache.stats().outcomes;
        assert_eq!(handshake(&client, &server_a, "a.example"), HandshakeKind::Full);
        let stored = cache.len();
        assert_eq!(handshake(&client, &server_b, "b.example"), HandshakeKind::Full);
        let after = cache.stats().outcomes;
        assert_eq!(after.other_context, before.other_context + 1, "the session of a was offered to b");
        assert_eq!(after.hit, before.hit);
        assert!(cache.len() > stored, "the session of a stays where it is");
    }
}

/// A server that requires a client certificate, under a policy that says so.
fn strict_server(
    identity: &Identity,
    clients: &Identity,
    cache: &Cache,
    policy: &ServerPolicy,
) -> Arc<ServerConfig> {
    let verifier = WebPkiClientVerifier::builder(Arc::new(clients.as_roots()))
        .build()
        .expect("a root to verify against");
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(), identity.key())
        .expect("a certificate that fits its key");
    Arc::new(ServerSessions::new(Arc::clone(cache), policy)).install(&mut config).expect("no contradiction");
    Arc::new(config)
}

/// The configuration mistake behind CVE-2025-23419 and CVE-2025-23048, tried with and without a policy of its own for
/// the strict server.
#[test]
fn a_session_without_a_client_certificate_does_not_resume_where_one_is_required() {
    let (identity, clients) = (Identity::new(&["a.example"]), Identity::new(&["client.example"]));
    let strict = ServerPolicy::builder()
        .certificate_chain(&identity.chain())
        .client_verification(ClientVerification::Required)
        .client_roots(&clients.as_roots())
        .build()
        .expect("a complete policy");
    for version in [&TLS12, &TLS13] {
        // The second statement is a lie. That the client gets in shows that the view is what stops it in the first case,
        // where it is asked for the certificate that it does not have.
        let refused = Err(rustls::Error::NoCertificatesPresented);
        for (policy, expected) in [(&strict, refused), (&identity.policy(), Ok(HandshakeKind::Resumed))] {
            let cache = cache();
            let lax = identity.caching_server(&cache);
            let strict_server = strict_server(&identity, &clients, &cache, policy);
            let client = identity.client(version);
            handshake(&client, &lax, "a.example");
            assert_eq!(try_handshake(&client, &strict_server, "a.example"), expected, "{policy:?}");
        }
    }
}

#[test]
fn equal_policies_share_sessions() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let (one, other) = (identity.caching_server(&cache), identity.caching_server(&cache));
    for version in [&TLS12, &TLS13] {
        let client = identity.client(version);
        handshake(&client, &one, "a.example");
        assert_eq!(handshake(&client, &other, "a.example"), HandshakeKind::Resumed);
    }
}

#[test]
fn purge_ends_the_sessions_of_one_policy_only() {
    let (a, b, cache) = (Identity::new(&["a.example"]), Identity::new(&["b.example"]), cache());
    let (client_a, client_b) = (a.client(&TLS12), b.client(&TLS12));
    let (server_a, server_b) = (a.caching_server(&cache), b.caching_server(&cache));
    handshake(&client_a, &server_a, "a.example");
    handshake(&client_b, &server_b, "b.example");
    assert_eq!(a.sessions(&cache).purge(), 1);
    assert_eq!(handshake(&client_a, &server_a, "a.example"), HandshakeKind::Full);
    assert_eq!(handshake(&client_b, &server_b, "b.example"), HandshakeKind::Resumed);
}

#[test]
fn a_session_of_one_version_is_never_found_as_the_other() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let sessions = identity.sessions(&cache);
    let key = vec![9; 32];
    let tls12 = [&[0, 3, 3, 0xc0, 0x2f, 48][..], &[1; 48]].concat();
    let tls13 = [&[0, 3, 4, 0x13, 0x01, 32][..], &[2; 32]].concat();
    assert!(sessions.put(key.clone(), tls12.clone()));
    assert_eq!(sessions.take(&key), None, "a TLS 1.2 session is no ticket");
    assert!(sessions.put(key.clone(), tls13.clone()));
    assert_eq!(sessions.get(&key).as_ref(), Some(&tls12));
    assert_eq!(sessions.take(&key), Some(tls13));
    assert_eq!(sessions.take(&key), None);
    assert_eq!(sessions.get(&key), Some(tls12), "taking one left the other");
}

fn base(identity: &Identity) -> ServerPolicyBuilder {
    ServerPolicy::builder()
        .certificate_chain(&identity.chain())
        .client_verification(ClientVerification::Optional)
        .client_authority(b"one CA")
        .server_name("www.example")
        .alpn_protocols(["h2", "http/1.1"])
        .extra("listener 1")
}

#[test]
fn every_part_of_a_policy_changes_its_context() {
    let (identity, other) = (Identity::new(&["a.example"]), Identity::new(&["a.example"]));
    let (base, certified) =
        (|| base(&identity), || ServerPolicy::builder().certificate_chain(&identity.chain()));
    let policies = [
        base(),
        base().certificate_chain(&other.chain()),
        ServerPolicy::builder().certificate_chain(&identity.chain()),
        ServerPolicy::builder().certificate_chain(&other.chain()),
        ServerPolicy::builder().certificate_chain(&[identity.chain(), other.chain()].concat()),
        base().client_verification(ClientVerification::None),
        base().client_verification(ClientVerification::Required),
        base().client_authority(b"another CA"),
        base().client_roots(&identity.as_roots()),
        base().client_roots(&other.as_roots()),
        base().client_revocation_list(b"one CA"),
        base().client_revocation_list(b"two CAs"),
        base().server_name("example"),
        base().server_name("wwwexample"),
        base().alpn_protocols(["http/1.1", "h2"]),
        base().alpn_protocols(["h2"]),
        base().alpn_protocols(["h2http/1.1"]),
        base().alpn_protocols([""; 0]),
        base().alpn_protocols(["h2", "http/1.1", "listener 1"]),
        base().extra("listener 2"),
        base().extra(""),
        certified().alpn_protocols(["a", "b"]),
        certified().alpn_protocols(["a"]).extra("b"),
        certified().server_name("a").alpn_protocols(["b"]),
        certified().server_name("a").server_name("b"),
    ];
    let contexts: HashSet<Vec<u8>> = policies
        .iter()
        .map(|policy| policy.clone().build().expect("a complete policy").id_context().as_bytes().to_vec())
        .collect();
    assert_eq!(contexts.len(), policies.len(), "no two of them are the same");
    assert!(contexts.iter().all(|context| context.len() == 32));
}

#[test]
fn what_means_the_same_is_the_same_policy() {
    let identity = Identity::new(&["a.example"]);
    let reference = base(&identity).server_name("b.example").build().expect("a complete policy");
    for (name, other_name) in
        [("b.example", "WWW.Example."), ("B.EXAMPLE.", "b.example"), ("b.Example", "www.example")]
    {
        let policy = ServerPolicy::builder()
            .server_name(name)
            .extra("listener 1")
            .alpn_protocols(["h2", "http/1.1"])
            .server_name(other_name)
            .server_name("www.example")
            .client_authority(b"one CA")
            .client_authority(b"one CA")
            .client_verification(ClientVerification::Optional)
            .certificate_chain(&identity.chain())
            .certificate_chain(&[])
            .build()
            .expect("a complete policy");
        assert_eq!(policy, reference);
    }
}

#[test]
fn a_policy_that_says_too_little_is_an_error() {
    let identity = Identity::new(&["a.example"]);
    let certified = || ServerPolicy::builder().certificate_chain(&identity.chain());
    assert_eq!(ServerPolicy::builder().build(), Err(PolicyError::NoCertificate));
    assert_eq!(
        ServerPolicy::builder().certificate_chain(&[]).server_name("a").build(),
        Err(PolicyError::NoCertificate)
    );
    let verifying = || certified().client_verification(ClientVerification::Required);
    assert_eq!(verifying().build(), Err(PolicyError::NoClientAuthority));
    assert_eq!(
        verifying().client_roots(&RootCertStore::empty()).build(),
        Err(PolicyError::NoClientAuthority)
    );
    assert!(verifying().extra("our own verifier, version 3").build().is_ok());
    let too_long = "a".repeat(254);
    for name in ["", ".", "a..", "a b", "bücher.example", "a\n", "a\0", too_long.as_str()] {
        let outcome = certified().server_name(name).build();
        assert!(matches!(outcome, Err(PolicyError::ServerName(_))), "{name:?}");
    }
    for name in ["xn--bcher-kva.example", "*.example", "192.0.2.1", "2001:db8::1", "localhost"] {
        assert!(certified().server_name(name).build().is_ok(), "{name:?}");
    }
}

#[derive(Debug)]
struct Ticketer;

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        60
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn a_configuration_that_contradicts_its_policy_is_left_alone() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let sessions = identity.sessions(&cache);
    let refuse = |change: fn(&mut ServerConfig)| {
        let mut config = identity.server();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        change(&mut config);
        let error = sessions.install(&mut config).expect_err("a contradiction");
        assert!(!config.session_storage.can_cache(), "unchanged");
        error
    };
    assert_eq!(refuse(|config| config.alpn_protocols = vec![b"h2".to_vec()]), InstallError::AlpnProtocols);
    assert_eq!(refuse(|config| config.ticketer = Arc::new(Ticketer)), InstallError::StatelessTickets);
}
