//! What a client or a caller may send, and what must come of it.

mod common;

use common::{Identity, cache, cache_of, feed_server, handshake};
use resumption::{Secret, SessionCacheMode, SessionContext};
use rustls::server::StoresServerSessions;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ServerConnection};
use std::sync::Arc;

/// A session as rustls would encode it, as far as the storage looks.
fn tls13_value(secret: u8) -> Vec<u8> {
    [&[0, 3, 4, 0x13, 0x01, 32][..], &[secret; 32]].concat()
}

#[test]
fn ids_of_the_wrong_length_are_misses() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let sessions = identity.sessions(&cache);
    for length in [0, 33, 64, 255, 65_535] {
        let id = vec![7; length];
        assert_eq!(sessions.get(&id), None, "{length}");
        assert_eq!(sessions.take(&id), None, "{length}");
        assert!(!sessions.put(id, tls13_value(1)), "{length}");
    }
    for length in [1, 31, 32] {
        let id = vec![7; length];
        assert!(sessions.put(id.clone(), tls13_value(1)));
        assert_eq!(sessions.take(&id), Some(tls13_value(1)), "{length}");
    }
    assert!(cache.is_empty());
}

#[test]
fn values_that_are_no_sessions_are_refused() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let sessions = identity.sessions(&cache);
    let unknown_version = [&[0, 3, 5, 0x13, 0x01, 32][..], &[1; 32]].concat();
    for value in [vec![], vec![0], vec![0xff; 400], vec![0; 400], tls13_value(0), unknown_version] {
        assert!(!sessions.put(vec![7; 32], value));
    }
    assert!(cache.is_empty());
}

#[test]
fn a_session_that_is_too_large_is_not_stored() {
    let identity = Identity::new(&["a.example"]);
    let cache = cache_of(SessionContext::builder().max_session_bytes(1000));
    let sessions = identity.sessions(&cache);
    let large = [tls13_value(1), vec![0; 2000]].concat();
    assert!(!sessions.put(vec![7; 32], large));
    assert!(sessions.put(vec![7; 32], tls13_value(1)));
}

#[test]
fn storing_follows_the_mode() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let sessions = identity.sessions(&cache);
    for (mode, stores) in [
        (SessionCacheMode::OFF, false),
        (SessionCacheMode::CLIENT, false),
        (SessionCacheMode::SERVER, true),
        (SessionCacheMode::BOTH, true),
    ] {
        cache.set_mode(mode);
        assert_eq!(sessions.can_cache(), stores, "{mode:?}");
        assert_eq!(sessions.put(vec![7; 32], tls13_value(1)), stores, "{mode:?}");
        assert_eq!(sessions.take(&[7; 32]).is_some(), stores, "{mode:?}");
    }
}

#[test]
fn debug_output_has_no_secret_in_it() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let sessions = identity.sessions(&cache);
    assert!(sessions.put(vec![0xab; 32], tls13_value(0xcd)));
    let storage: Arc<dyn StoresServerSessions> = sessions.clone();
    for text in
        [format!("{sessions:?}"), format!("{storage:#?}"), format!("{:?}", Secret::from(vec![0xcd; 32]))]
    {
        for secret in ["cdcdcdcd", "CDCDCDCD", "205, 205", "abababab", "ABABABAB", "171, 171"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

/// A TLS 1.3 ClientHello that offers `identities`, with binders that fit nothing, in as many records as it takes.
fn hello_with_identities(identities: &[[u8; 32]]) -> Vec<u8> {
    fn vector16(body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("fits its length field");
        [&length.to_be_bytes()[..], body].concat()
    }
    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &vector16(body)].concat()
    }
    let offered: Vec<u8> =
        identities.iter().flat_map(|identity| [&vector16(identity)[..], &[0; 4]].concat()).collect();
    let binders: Vec<u8> = identities.iter().flat_map(|_| [&[32][..], &[0x5a; 32]].concat()).collect();
    // RFC 7748 4.1: nine is the x coordinate of the base point, so a valid public key.
    let mut share = [0; 32];
    share[0] = 9;
    let extensions = [
        extension(43, &[2, 3, 4]),            // supported_versions
        extension(10, &vector16(&[0, 0x1d])), // supported_groups: x25519
        extension(13, &vector16(&[4, 3])),    // ecdsa_secp256r1_sha256
        extension(51, &vector16(&[&[0, 0x1d][..], &vector16(&share)].concat())), // key_share
        extension(45, &[1, 1]),               // psk_dhe_ke
        extension(41, &[vector16(&offered), vector16(&binders)].concat()), // pre_shared_key comes last
    ]
    .concat();
    let body =
        [&[3, 3][..], &[0x11; 32], &[0], &vector16(&[0x13, 0x01]), &[1, 0], &vector16(&extensions)].concat();
    let length = u32::try_from(body.len()).expect("a hello is not that long").to_be_bytes();
    let message = [&[1][..], &length[1..], &body].concat();
    message.chunks(16_000).flat_map(|part| [&[22, 3, 1][..], &vector16(part)].concat()).collect()
}

#[test]
fn hundreds_of_identities_cost_a_lookup_each_and_no_session() {
    const OFFERED: usize = 700;
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let (client, server) = (identity.client(&TLS13), identity.caching_server(&cache));
    handshake(&client, &server, "a.example");
    handshake(&identity.client(&TLS12), &server, "a.example");
    let (sessions, before) = (cache.len(), cache.stats().outcomes);

    let identities: Vec<[u8; 32]> = (0..OFFERED)
        .map(|number| {
            let mut identity = [0x77; 32];
            identity[..8].copy_from_slice(&(number as u64).to_be_bytes());
            identity
        })
        .collect();
    let mut connection = ServerConnection::new(Arc::clone(&server)).expect("a valid configuration");
    feed_server(&mut connection, &hello_with_identities(&identities)).expect("a hello that is in order");
    assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full), "none of them fits, so none is used");

    let after = cache.stats().outcomes;
    assert_eq!(after.total() - before.total(), OFFERED as u64);
    assert_eq!(after.unknown - before.unknown, OFFERED as u64);
    assert_eq!(cache.len(), sessions);
    assert_eq!(handshake(&client, &server, "a.example"), HandshakeKind::Resumed);
}
