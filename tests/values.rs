//! The values: ids, contexts, keys, sessions, secrets. Section 2.1 (S1, S6, S7, S9, S10, S22), X1, and promise I's rule for
//! `Debug`.

mod common;

use common::{Bed, NOW, at, key, seconds, ticket, www};
use resumption::{
    Payload, ProtocolVersion, Secret, Session, SessionCacheMode, SessionId, SessionIdContext,
    SessionIdContextError, SessionIdError, SessionKey, Timestamp,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

fn id(bytes: &[u8]) -> SessionId {
    SessionId::new(bytes).expect("1 to 32 bytes")
}

/// S6 and S7: 1 to 32 bytes, given back as they came; nothing and more are refused.
#[test]
fn s6_s7_a_session_id_has_1_to_32_bytes() {
    for len in 1..=32 {
        let bytes: Vec<u8> = (0..len).collect();
        let id = id(&bytes);
        assert_eq!((id.as_bytes(), id.len()), (&bytes[..], usize::from(len)));
        assert_eq!(SessionId::try_from(&bytes[..]), Ok(id));
    }
    assert_eq!(SessionId::new(&[]), Err(SessionIdError::Empty));
    for len in [33, 64, 1 << 16] {
        assert_eq!(SessionId::new(&vec![0; len]), Err(SessionIdError::TooLong { len }));
    }
    assert_eq!(SessionId::from([9; 32]), id(&[9; 32]));
}

/// S9 and X1: 0 to 32 bytes; more is refused, and the default is no constant of ours but the empty one.
#[test]
fn s9_x1_a_session_id_context_has_0_to_32_bytes() {
    for len in 0..=32 {
        let bytes = vec![0xc0; len];
        let context = SessionIdContext::new(&bytes).expect("at most 32 bytes");
        assert_eq!((context.as_bytes(), context.is_empty()), (&bytes[..], len == 0));
        assert_eq!(SessionIdContext::try_from(&bytes[..]), Ok(context));
    }
    assert_eq!(SessionIdContext::new(&[0; 33]), Err(SessionIdContextError { len: 33 }));
    assert_eq!(SessionIdContext::new(&[]), Ok(SessionIdContext::EMPTY));
    assert_eq!(Bed::new().context.session(key(1)).build(1).id_context(), &SessionIdContext::EMPTY);
}

/// A-34 and Q2: bytes and length both count, for ids, contexts and keys.
#[test]
fn prefixes_and_trailing_zeros_are_distinct() {
    let bytes: [&[u8]; 6] = [&[1], &[1, 0], &[1, 0, 0], &[1; 31], &[1; 32], &[0]];
    let ids: HashSet<SessionId> = bytes.iter().map(|bytes| id(bytes)).collect();
    let contexts: HashSet<SessionIdContext> =
        bytes.iter().map(|bytes| SessionIdContext::new(bytes).expect("short")).collect();
    assert_eq!((ids.len(), contexts.len()), (6, 6));
    let versions = [ProtocolVersion::TLS1_2, ProtocolVersion::TLS1_3, ProtocolVersion(7)];
    let keys: HashSet<SessionKey> = versions
        .iter()
        .flat_map(|&version| ids.iter().map(move |&id| SessionKey::new(version, id)))
        .collect();
    assert_eq!(keys.len(), 18);
}

/// The key is version and id.
#[test]
fn a_key_is_a_version_and_an_id() {
    let key = SessionKey::parse(ProtocolVersion::DTLS1_2, &[1, 2, 3]).expect("3 bytes");
    assert_eq!((key.version(), key.id().as_bytes()), (ProtocolVersion(0xfefd), &[1, 2, 3][..]));
}

/// The versions have their numbers on the wire.
#[test]
fn versions_are_those_of_the_wire() {
    let versions = [
        (ProtocolVersion::TLS1_0, 0x0301, false),
        (ProtocolVersion::TLS1_1, 0x0302, false),
        (ProtocolVersion::TLS1_2, 0x0303, false),
        (ProtocolVersion::TLS1_3, 0x0304, true),
        (ProtocolVersion::DTLS1_0, 0xfeff, false),
        (ProtocolVersion::DTLS1_2, 0xfefd, false),
        (ProtocolVersion::DTLS1_3, 0xfefc, true),
    ];
    for (version, number, tickets) in versions {
        assert_eq!((version.0, version.has_tickets_only()), (number, tickets));
    }
}

/// S1: a session that is started without a context has OpenSSL's timeout and the empty session id context.
#[test]
fn s1_a_plain_session() {
    let session = Session::<u32>::builder(key(1)).build(5);
    assert_eq!((session.time(), session.timeout()), (Timestamp::EPOCH, seconds(304)));
    assert!(session.id_context().is_empty());
    assert_eq!((session.end_of_life(), session.key(), *session.payload()), (Timestamp::NEVER, key(1), 5));
    assert_eq!((session.id(), session.version()), (*key(1).id(), ProtocolVersion::TLS1_2));
}

/// S10: no version is refused, and each is a key of its own.
#[test]
fn s10_any_version_number_is_a_version() {
    let bed = Bed::with(|builder, _| builder.capacity(0));
    let versions = [0, 1, 0x0300, 0x0303, 0x0304, 0x7f1c, 0xfefd, u16::MAX];
    for (n, version) in (0..).zip(versions) {
        bed.add_of(common::key_of(ProtocolVersion(version), 1), n);
    }
    for (n, version) in (0..).zip(versions) {
        assert_eq!(bed.find(&common::key_of(ProtocolVersion(version), 1)), Some(n), "{version:#x}");
    }
}

/// S22: `is_resumable` is the mark and nothing else: neither the clock nor a cache is asked.
#[test]
fn s22_is_resumable_is_the_mark() {
    let session = Session::<u32>::builder(key(1)).timeout(seconds(0)).build(1);
    assert!(session.is_resumable());
    session.mark_not_resumable();
    session.mark_not_resumable();
    assert!(!session.is_resumable());
}

/// A session that was handed out is the session that was put in: nothing about it changes.
#[test]
fn a_session_is_what_it_was_built_as() {
    let bed = Bed::new();
    let session = bed
        .context
        .session(ticket(1))
        .id_context(www())
        .time(at(3))
        .timeout(Duration::from_millis(9_999))
        .end_of_life(at(8))
        .build(77);
    bed.context.add_session(Arc::new(session)).expect("it fits");
    let found = bed.context.lookup_arc(&ticket(1), &www()).expect("it is cached");
    assert_eq!((found.key(), found.id_context()), (ticket(1), &www()));
    assert_eq!((found.time(), found.timeout(), found.end_of_life()), (at(3), seconds(9), at(8)));
    assert_eq!((found.expires_at(), *found.payload()), (at(8), 77));
}

/// Weights: the session's own size and what the payload says it keeps alive.
#[test]
fn a_weight_is_the_session_and_what_it_keeps() {
    let build = || Session::<u32>::builder(key(1));
    let mut spare = Vec::with_capacity(512);
    spare.push(1_u8);
    assert_eq!(build().build(7_u64).weight(), size_of::<Session<u64>>());
    assert_eq!(build().build(vec![0_u8; 100]).weight(), size_of::<Session<Vec<u8>>>() + 100);
    assert_eq!(build().build(spare).weight(), size_of::<Session<Vec<u8>>>() + 512);
    assert_eq!(build().build(Secret::new([1; 48])).weight(), size_of::<Session<Secret>>() + 48);
    let shared: Arc<[u8]> = Arc::from([0; 9]);
    assert_eq!(build().build(shared).weight(), size_of::<Session<Arc<[u8]>>>() + 9);
    let boxed: Box<[u8]> = Box::from([0; 5]);
    assert_eq!(build().build(boxed).weight(), size_of::<Session<Box<[u8]>>>() + 5);
}

struct Liar;

impl Payload for Liar {
    fn weight(&self) -> usize {
        usize::MAX
    }
}

/// An absurd weight saturates, at 4 GiB, and does not wrap past a limit.
#[test]
fn an_absurd_weight_saturates() {
    let context =
        resumption::SessionContext::<Liar>::builder().max_session_bytes(1 << 20).build().expect("valid");
    let session = Arc::new(context.session(key(1)).build(Liar));
    assert_eq!(session.weight(), u32::MAX as usize);
    assert!(context.add_session(session).is_err());
    assert!(context.is_empty());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Promise I: no id in full, in any length, and nothing of a payload.
#[test]
fn debug_tells_no_secrets() {
    for len in 1..=32 {
        let bytes: Vec<u8> = (0..len).map(|n| 0xa0 ^ (n * 7)).collect();
        let key = SessionKey::parse(ProtocolVersion::TLS1_3, &bytes).expect("1 to 32 bytes");
        let context = SessionIdContext::new(&bytes).expect("at most 32 bytes");
        let session = Session::<Secret>::builder(key).id_context(context).build(Secret::from(bytes.clone()));
        let texts = [
            format!("{:?}", key.id()),
            format!("{key:?}"),
            format!("{context:?}"),
            format!("{session:?}"),
            format!("{:?}", session.payload()),
            format!("{:#?}", Session::<Secret>::builder(key).id_context(context)),
        ];
        for text in texts {
            assert!(!text.contains(&hex(&bytes)), "{text}");
            // Not as a list of numbers either, which is what derived implementations print.
            assert!(!text.contains(&format!("{bytes:?}")), "{text}");
            let shown = bytes.iter().filter(|byte| text.contains(&hex(&[**byte]))).count();
            assert!(len < 8 || shown <= bytes.len() / 2, "{text} shows {shown} of {len} bytes");
        }
    }
}

/// What `Debug` of a context shows is its size and settings.
#[test]
fn debug_of_a_context_shows_its_settings() {
    let bed =
        Bed::with(|builder, _| builder.mode(SessionCacheMode::SERVER | SessionCacheMode::NO_INTERNAL_STORE));
    bed.add(1);
    let text = format!("{:?}", bed.context);
    assert!(text.contains("sessions: 1") && text.contains("SERVER | NO_INTERNAL_STORE"), "{text}");
    assert!(!text.contains("5a5a"), "{text}");
}

/// Timestamps saturate at both ends.
#[test]
fn timestamps_saturate() {
    assert_eq!(Timestamp::from_unix(0), Timestamp::EPOCH);
    assert_eq!(Timestamp::from_unix(u64::from(u32::MAX) - 1).as_unix(), u64::from(u32::MAX) - 1);
    for end in [u64::from(u32::MAX), u64::from(u32::MAX) + 1, i64::MAX as u64, u64::MAX] {
        assert_eq!(Timestamp::from_unix(end), Timestamp::NEVER);
    }
    assert_eq!(Timestamp::NEVER.saturating_add(Duration::MAX), Timestamp::NEVER);
    assert_eq!(Timestamp::EPOCH.saturating_add(Duration::MAX), Timestamp::NEVER);
    assert_eq!(NOW.saturating_add(Duration::from_millis(999)), NOW);
}

/// Errors say what was wrong, with the numbers.
#[test]
fn errors_say_what_was_wrong() {
    assert_eq!(SessionIdError::Empty.to_string(), "a session id has at least 1 byte");
    assert_eq!(SessionIdError::TooLong { len: 33 }.to_string(), "a session id has at most 32 bytes, not 33");
    let context = SessionIdContextError { len: 40 };
    assert_eq!(context.to_string(), "a session id context has at most 32 bytes, not 40");
}
