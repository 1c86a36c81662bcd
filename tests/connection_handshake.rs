//! Handshakes of TLS 1.2 and older: the H rows of section 2.8, and what a server asks the cache (2.6, 2.7, 2.18).

#[path = "common/connection.rs"]
mod bed;
mod common;

use bed::{End, NO_ID, TLS1_2, TLS1_3, current, finish_full, session};
use common::{LIFE, Told, key, key_of, mail, seconds, www};
use resumption::{
    Offer, ProtocolVersion, RemoveReason, ResumeError, SessionCacheMode, SessionIdContext, Side, Stored,
};
use std::sync::Arc;

const CONSUMED: RemoveReason = RemoveReason::Consumed;
const ALERT: RemoveReason = RemoveReason::FatalAlert;
const OFF: SessionCacheMode = SessionCacheMode::OFF;

fn is_nothing(stored: Stored) -> bool {
    !stored.internal && !stored.announced
}

/// H1: the server stores and announces its session; the client, without its bit, does neither.
#[test]
fn h1_a_full_handshake_with_ids() {
    let (server, client) = (End::server(), End::in_mode(Side::Client, SessionCacheMode::SERVER));
    let (_accepted, connected) = (server.full(1), client.full(1));
    assert_eq!((server.held(), server.told()), (vec![1], vec![Told::New(1)]));
    assert!(client.held().is_empty() && client.told().is_empty());
    assert!(connected.session_arc().is_some_and(|session| session.is_resumable()));
}

/// H2: a stateless ticket: nothing at the server; at the client the ticket's session, after the handshake.
#[test]
fn h2_a_full_handshake_with_a_ticket() {
    let (server, client) = (End::server(), End::client());
    let mut accepted = server.begun();
    accepted.new_session_without_id(TLS1_2, NO_ID);
    assert!(is_nothing(accepted.established(TLS1_2).expect("nothing to store")));
    assert!(server.held().is_empty() && server.told().is_empty());

    let mut connected = client.begun();
    connected.new_session_without_id(TLS1_2, NO_ID);
    let of_ticket = session(&connected, 1);
    assert!(is_nothing(connected.ticket_received(of_ticket).expect("it fits")));
    assert!(client.held().is_empty() && client.told().is_empty());
    let stored = connected.established(TLS1_2).expect("it fits");
    assert!(stored.internal && stored.announced);
    assert_eq!((client.held(), client.told()), (vec![1], vec![Told::New(1)]));
}

/// H3: a resumption by id: a hit at both ends, the same objects, nothing stored and nobody told.
#[test]
fn h3_a_resumption_by_id() {
    let (server, client) = (End::server(), End::client());
    let (mut first, mut second) = (server.full(1), client.full(1));
    let at_client = second.session_arc().expect("established");
    first.shutdown().expect("established");
    second.shutdown().expect("established");
    server.told();
    client.told();

    let mut accepted = server.asked_for(key(1));
    assert!(is_nothing(accepted.established(TLS1_2).expect("nothing to store")));
    let connected = client.resumed(&at_client);
    assert!(accepted.is_reused() && connected.is_reused());
    assert!(connected.session_arc().is_some_and(|session| Arc::ptr_eq(&session, &at_client)));
    assert!(server.told().is_empty() && client.told().is_empty());
    assert_eq!((server.held(), client.held()), (vec![1], vec![1]));
    assert_eq!((server.context.stats().hits, client.context.stats().hits), (1, 1));
}

/// H4: a resumption by a stateless ticket: a hit, and nothing stored.
#[test]
fn h4_a_resumption_by_ticket() {
    let server = End::server();
    let mut accepted = server.begun();
    let from_ticket = session(&accepted, 1);
    assert_eq!(accepted.resume_ticket(TLS1_2, from_ticket), Ok(true));
    assert!(accepted.is_reused());
    assert!(is_nothing(accepted.established(TLS1_2).expect("nothing to store")));
    assert!(server.held().is_empty() && server.told().is_empty());
    assert_eq!(server.context.stats().hits, 1);
    assert_eq!(server.context.stats().outcomes.total(), 0);
}

/// A ticket is checked as a lookup is: version, id context, mark, expiry. Only the expiry counts anywhere (Q1, Q2, Q4).
#[test]
fn h4_a_ticket_that_fails_a_check_is_not_resumed() {
    let server = End::server();
    let mut connection = server.begun();
    let resume = |connection: &mut resumption::Connection<u32>, session| {
        connection.resume_ticket(TLS1_2, Arc::new(session)).expect("no conflict of settings")
    };
    let next = connection.next_session(key(1));
    let other_version = connection.next_session(key_of(TLS1_3, 1)).build(1);
    assert!(!resume(&mut connection, other_version));
    assert!(!resume(&mut connection, next.clone().id_context(mail()).build(1)));
    let marked = next.clone().build(1);
    marked.mark_not_resumable();
    assert!(!resume(&mut connection, marked));
    assert_eq!((server.context.stats().hits, server.context.stats().timeouts), (0, 0));
    server.clock.advance(seconds(LIFE + 1));
    assert!(!resume(&mut connection, next.clone().build(1)));
    assert_eq!((server.context.stats().hits, server.context.stats().timeouts), (0, 1));
    server.clock.set(common::NOW);
    assert!(resume(&mut connection, next.build(1)));
}

/// H5: a ticket that renews a resumed session: with the CLIENT bit the old one leaves, marked; the new one is neither
/// stored nor announced.
#[test]
fn h5_a_resumption_with_a_new_ticket() {
    let client = End::client();
    let mut full = client.full(1);
    full.shutdown().expect("established");
    let old = full.session_arc().expect("established");
    client.told();
    let mut connection = client.accepted(&old);
    let renewed = session(&connection, 2);
    assert!(is_nothing(connection.ticket_received(renewed).expect("it fits")));
    assert_eq!((client.told(), client.held()), (vec![Told::Left(1, CONSUMED)], vec![]));
    assert!(!old.is_resumable());
    assert!(is_nothing(connection.established(TLS1_2).expect("nothing to store")));
    assert!(connection.is_reused());
    assert_eq!(current(&connection), Some(2));
    assert!(client.told().is_empty() && client.held().is_empty());
}

/// H5 without the CLIENT bit: the session is replaced and nobody is told.
#[test]
fn h5_without_the_client_bit_the_old_session_stays_resumable() {
    let client = End::in_mode(Side::Client, OFF);
    let old = client.full(1).session_arc().expect("established");
    let fresh = Arc::new(client.context.session(old.key()).id_context(www()).build(1));
    client.told();
    let mut connection = client.accepted(&fresh);
    let renewed = session(&connection, 2);
    connection.ticket_received(renewed).expect("it fits");
    assert!(fresh.is_resumable() && client.told().is_empty());
    assert_eq!(current(&connection), Some(2));
}

/// A ticket of TLS 1.2 belongs to a handshake; one that comes later is none.
#[test]
fn h5_a_ticket_after_the_handshake_is_ignored() {
    let client = End::client();
    let mut connection = client.full(1);
    client.told();
    let late = session(&connection, 2);
    assert!(is_nothing(connection.ticket_received(late).expect("nothing to store")));
    assert_eq!((current(&connection), client.held(), client.told()), (Some(1), vec![1], vec![]));
}

/// H6: offered and refused: it leaves the connection, still resumable, and counts as the client's miss.
#[test]
fn h6_a_refused_session_leaves_and_counts_a_miss() {
    let client = End::client();
    let mut connection = client.connection();
    let offered = session(&connection, 1);
    connection.set_session(Some(Arc::clone(&offered)));
    assert!(connection.connect(&Offer::default()).is_some());
    finish_full(&mut connection, 2);
    assert!(!connection.is_reused());
    assert_eq!(current(&connection), Some(2));
    assert!(offered.is_resumable());
    assert_eq!((client.context.stats().misses, client.context.stats().hits), (1, 0));
    assert_eq!(client.told(), [Told::New(2)]);
}

/// H6, for a stack that says no more than that the handshake has finished.
#[test]
fn h6_a_finished_handshake_without_a_word_is_a_refusal() {
    let client = End::client();
    let mut connection = client.connection();
    let offered = session(&connection, 1);
    connection.set_session(Some(Arc::clone(&offered)));
    connection.connect(&Offer::default());
    assert!(is_nothing(connection.established(TLS1_2).expect("nothing to store")));
    assert_eq!((current(&connection), client.context.stats().misses), (None, 1));
    assert!(offered.is_resumable() && client.told().is_empty());
}

/// H7: without the SERVER bit of the current context there is no id, except to answer a resumption; nothing is stored.
#[test]
fn h7_a_server_without_its_bit_sends_no_id() {
    let server = End::in_mode(Side::Server, SessionCacheMode::CLIENT);
    let mut connection = server.begun();
    assert!(!connection.sends_session_id());
    connection.new_session_without_id(TLS1_2, NO_ID);
    connection.established(TLS1_2).expect("nothing to store");
    assert!(server.held().is_empty() && server.told().is_empty());
    // Mode CLIENT still looks up.
    let by_hand = Arc::new(server.context.session(key(1)).id_context(www()).build(1));
    server.context.add_session(by_hand).expect("it fits");
    assert!(server.asked_for(key(1)).sends_session_id());
    // The bit is that of the current context.
    let mut switched = server.begun();
    switched.set_context(Arc::clone(&End::server().context));
    assert!(switched.sends_session_id());
}

/// H8: a vetoed session: marked, neither stored nor announced.
#[test]
fn h8_a_vetoed_session_is_not_stored() {
    let server = End::server();
    let mut connection = server.begun();
    let vetoed = session(&connection, 1);
    vetoed.mark_not_resumable();
    connection.new_session(vetoed);
    assert!(is_nothing(connection.established(TLS1_2).expect("nothing to store")));
    assert!(server.held().is_empty() && server.told().is_empty());
}

/// H9: an id and a ticket in one full handshake: the session of the id is marked and its removal told, though it never
/// was stored.
#[test]
fn h9_an_id_and_a_ticket_in_a_full_handshake() {
    let client = End::client();
    let mut connection = client.begun();
    let of_id = session(&connection, 1);
    connection.new_session(Arc::clone(&of_id));
    let of_ticket = session(&connection, 2);
    connection.ticket_received(of_ticket).expect("it fits");
    connection.established(TLS1_2).expect("it fits");
    assert!(!of_id.is_resumable());
    assert_eq!(client.told(), [Told::Left(1, CONSUMED), Told::New(2)]);
    assert_eq!(client.held(), [2]);
}

/// H9 does not hit the session that was offered and refused.
#[test]
fn h9_a_ticket_spares_the_refused_offer() {
    let client = End::client();
    let mut connection = client.connection();
    let offered = session(&connection, 1);
    connection.set_session(Some(Arc::clone(&offered)));
    connection.connect(&Offer::default());
    let of_ticket = session(&connection, 2);
    connection.ticket_received(of_ticket).expect("it fits");
    connection.established(TLS1_2).expect("it fits");
    assert!(offered.is_resumable());
    assert_eq!(client.told(), [Told::New(2)]);
    assert_eq!(client.context.stats().misses, 1);
}

/// H11, X6: the server resumes a session of another id context than the connection's.
#[test]
fn h11_another_id_context_is_fatal_for_the_client() {
    let client = End::client();
    let mut connection = client.connection();
    let other = Arc::new(client.context.session(key(1)).id_context(mail()).build(1));
    connection.set_session(Some(Arc::clone(&other)));
    assert!(connection.connect(&Offer::default()).is_some());
    assert_eq!(connection.offer_accepted(), Err(ResumeError::OtherIdContext));
    connection.fatal_alert_sent();
    assert!(!other.is_resumable() && !connection.is_reused());
    assert_eq!(client.told(), [Told::Left(1, ALERT)]);
}

/// A server cannot resume what was not offered.
#[test]
fn an_acceptance_of_nothing_is_an_error() {
    let client = End::client();
    assert_eq!(client.connection().offer_accepted(), Err(ResumeError::NothingOffered));
    assert_eq!(client.begun().offer_accepted(), Err(ResumeError::NothingOffered));
    assert_eq!(client.full(1).offer_accepted(), Err(ResumeError::NothingOffered));
}

/// H12: a failure on the way takes the offered session with it, at the sender and at the receiver.
#[test]
fn h12_a_failure_on_the_way_takes_the_offered_session() {
    for is_sender in [true, false] {
        let client = End::client();
        let mut connection = client.connection();
        let offered = session(&connection, 1);
        connection.set_session(Some(Arc::clone(&offered)));
        connection.connect(&Offer::default());
        if is_sender {
            connection.fatal_alert_sent()
        } else {
            connection.fatal_alert_received()
        }
        assert!(!offered.is_resumable());
        assert_eq!(client.told(), [Told::Left(1, ALERT)]);
        assert_eq!(current(&connection), Some(1)); // still attached, as in A-24
        drop(connection);
        assert!(client.told().is_empty());
    }
}

/// H12 at a server: the new session with an id, though nobody knows it yet; none without an id.
#[test]
fn h12_a_failure_on_the_way_takes_a_servers_new_session() {
    let server = End::server();
    let mut connection = server.begun();
    let new = session(&connection, 1);
    connection.new_session(new);
    connection.fatal_alert_received();
    assert_eq!(server.told(), [Told::Left(1, ALERT)]);
    let mut without_id = server.begun();
    without_id.new_session_without_id(TLS1_2, NO_ID);
    without_id.fatal_alert_received();
    assert!(server.told().is_empty());
}

/// H13: a connection that is dropped on the way removes nothing.
#[test]
fn h13_a_drop_on_the_way_removes_nothing() {
    let client = End::client();
    let mut connection = client.connection();
    let offered = session(&connection, 1);
    client.context.add_session(Arc::clone(&offered)).expect("it fits");
    connection.set_session(Some(Arc::clone(&offered)));
    connection.connect(&Offer::default());
    drop(connection);
    assert!(offered.is_resumable());
    assert_eq!((client.told(), client.held()), (vec![], vec![1]));
    let stats = client.context.stats();
    assert_eq!((stats.connect, stats.connect_good, stats.misses), (1, 0, 0));
}

/// H14: a session of a version that is not allowed is dropped before the hello, without a miss.
#[test]
fn h14_a_session_of_a_version_that_is_not_allowed_is_not_offered() {
    type V = ProtocolVersion;
    let client = End::client();
    let cases = [
        (V::TLS1_1, Offer::versions(V::TLS1_2, V::TLS1_3), false),
        (V::TLS1_2, Offer::versions(V::TLS1_2, V::TLS1_3), true),
        (V::TLS1_3, Offer::versions(V::TLS1_0, V::TLS1_2), false),
        (V::TLS1_3, Offer::default(), true),
        (V::DTLS1_2, Offer::default(), false),
        (V::DTLS1_0, Offer::versions(V::DTLS1_0, V::DTLS1_2), true),
        (V::DTLS1_2, Offer::versions(V::DTLS1_0, V::DTLS1_2), true),
        (V::DTLS1_3, Offer::versions(V::DTLS1_0, V::DTLS1_2), false),
        (V::TLS1_2, Offer::versions(V::DTLS1_0, V::DTLS1_3), false),
    ];
    for (version, offer, is_offered) in cases {
        let mut connection = client.connection();
        let session = Arc::new(connection.next_session(key_of(version, 1)).build(1));
        connection.set_session(Some(Arc::clone(&session)));
        assert_eq!(connection.connect(&offer).is_some(), is_offered, "{version:?} {offer:?}");
        assert_eq!(current(&connection).is_some(), is_offered);
        assert!(session.is_resumable());
    }
    assert_eq!(client.context.stats().misses, 0);
}

/// H15: a client never looks at its own expiry.
#[test]
fn h15_an_expired_session_is_offered() {
    let client = End::client();
    let session = client.full(1).session_arc().expect("established");
    let fresh = Arc::new(client.context.session(session.key()).id_context(www()).build(1));
    client.clock.advance(seconds(LIFE * 100));
    assert!(client.resumed(&fresh).is_reused());
}

/// L11: no id, no lookup. What is too long for an id is none of ours either.
#[test]
fn l11_no_id_is_not_looked_up() {
    let server = End::server();
    let mut connection = server.begun();
    assert_eq!(connection.resume(TLS1_2, &[]).map(|found| found.is_some()), Ok(false));
    assert_eq!(connection.resume(TLS1_2, &[1; 33]).map(|found| found.is_some()), Ok(false));
    assert_eq!(connection.resume(TLS1_2, &[1; 1000]).map(|found| found.is_some()), Ok(false));
    let stats = server.context.stats();
    assert_eq!((stats.misses, stats.outcomes.total()), (0, 0));
}

/// Q2, X4: another id context: a full handshake, and the entry stays.
#[test]
fn q2_another_id_context_is_a_full_handshake() {
    let server = End::server();
    let mut first = server.full(1);
    first.shutdown().expect("established");
    let mut connection = server.connection();
    connection.set_id_context(mail());
    connection.accept();
    assert_eq!(connection.resume(TLS1_2, key(1).id().as_bytes()).map(|found| found.is_some()), Ok(false));
    finish_full(&mut connection, 2);
    let stats = server.context.stats();
    assert_eq!((stats.hits, stats.misses, stats.outcomes.other_context), (0, 0, 1));
    assert_eq!(server.held(), [1, 2]);
}

/// Q3, X5: peers are verified and there is no id context: the resumption is fatal, and spares a TLS 1.2 session.
#[test]
fn q3_a_resumption_without_an_id_context_is_fatal() {
    let server =
        End::built(Side::Server, |builder| builder.id_context(SessionIdContext::EMPTY).verify_peer(true));
    let session = Arc::new(server.context.session(key(1)).build(1));
    server.context.add_session(Arc::clone(&session)).expect("it fits");
    let mut connection = server.begun();
    let resumed = connection.resume(TLS1_2, key(1).id().as_bytes());
    assert_eq!(resumed.map(|found| found.is_some()), Err(ResumeError::NoIdContext));
    connection.fatal_alert_sent();
    assert_eq!((server.held(), server.told()), (vec![1], vec![]));
    assert!(session.is_resumable() && !connection.is_reused());
    // A full handshake is fine, and nothing is stored.
    let mut full = server.begun();
    assert_eq!(full.resume(TLS1_2, key(2).id().as_bytes()).map(|found| found.is_some()), Ok(false));
    finish_full(&mut full, 2);
    assert_eq!((server.held(), server.told()), (vec![1], vec![]));
}

/// Q6, Q8 and what else only the stack can check: a full handshake after all.
#[test]
fn a_stack_can_decline_what_the_cache_offers() {
    let server = End::server();
    server.full(1).shutdown().expect("established");
    let mut connection = server.asked_for(key(1));
    assert!(connection.is_reused());
    finish_full(&mut connection, 2);
    assert!(!connection.is_reused());
    assert_eq!((current(&connection), server.held()), (Some(2), vec![1, 2]));
}

/// A stack that looks up by itself says what it resumed.
#[test]
fn a_stack_can_look_up_by_itself() {
    let server = End::server();
    let mut first = server.full(1);
    first.shutdown().expect("established");
    let found = server.context.lookup_arc(&key(1), &www()).expect("it is cached");
    let mut connection = server.begun();
    connection.resumed(found);
    connection.established(TLS1_2).expect("nothing to store");
    assert!(connection.is_reused());
    assert_eq!((current(&connection), server.context.stats().hits), (Some(1), 1));
    assert_eq!(server.told(), [Told::New(1)]);
}

/// One resumption for each handshake: once a session is resumed no further identity is tried.
#[test]
fn the_first_identity_that_works_is_the_last_that_is_tried() {
    let server = End::server();
    let (_one, _two) = (server.full(1), server.full(2));
    let mut connection = server.begun();
    for (n, expected) in [(9, None), (1, Some(1)), (2, None)] {
        let found = connection.resume(TLS1_2, key(n).id().as_bytes()).expect("no conflict of settings");
        assert_eq!(found.map(|session| *session.payload()), expected);
    }
    assert_eq!(server.context.stats().outcomes.total(), 2);
}
