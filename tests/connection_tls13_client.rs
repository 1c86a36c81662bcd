//! TLS 1.3 at the client: the W rows of section 2.10.

#[path = "common/connection.rs"]
mod bed;
mod common;

use bed::{End, TLS1_2, TLS1_3, add_ticket, current, finish_full, is_resumable};
use common::{LIFE, Told, seconds, ticket, www};
use resumption::{Offer, RemoveReason, Session, SessionCacheMode, ShutdownState, Side};
use std::sync::Arc;

const CONSUMED: RemoveReason = RemoveReason::Consumed;
const UNCLEAN: RemoveReason = RemoveReason::UncleanClose;

/// Clients that may use a session again.
fn reusing(mode: SessionCacheMode) -> End {
    End::with(Side::Client, |builder| builder.mode(mode), |builder| builder.reuse_tickets(true))
}

/// The sessions of tickets that came on a connection that ended cleanly.
fn received(client: &End, tickets: &[u32]) -> Vec<Arc<Session<u32>>> {
    let mut connection = client.full_with_tickets(&[]);
    let mut sessions = Vec::new();
    for &n in tickets {
        add_ticket(&mut connection, n);
        sessions.extend(connection.session_arc());
    }
    connection.set_shutdown(ShutdownState::SENT);
    client.told();
    sessions
}

/// W1: the handshake alone gives nothing that can be resumed.
#[test]
fn w1_no_session_without_a_ticket() {
    let connection = End::client().full_with_tickets(&[]);
    assert!(!is_resumable(&connection));
}

/// W2: every ticket is a new session, stored and announced; the mark of one is not the mark of the next.
#[test]
fn w2_every_ticket_is_a_session() {
    let client = End::client();
    let mut connection = client.full_with_tickets(&[1]);
    connection.session_arc().expect("a ticket has come").mark_not_resumable();
    client.clock.advance(seconds(7));
    add_ticket(&mut connection, 2);
    let second = connection.session_arc().expect("a ticket has come");
    assert!(second.is_resumable());
    assert_eq!(second.time(), common::at(7));
    assert_eq!((client.held(), client.told()), (vec![1, 2], vec![Told::New(1), Told::New(2)]));
}

/// W2: without the CLIENT bit neither, and the connection has the session all the same.
#[test]
fn w2_without_the_client_bit_a_ticket_is_not_stored() {
    let client = End::in_mode(Side::Client, SessionCacheMode::SERVER);
    let connection = client.full_with_tickets(&[1]);
    assert!(client.held().is_empty() && client.told().is_empty());
    assert!(is_resumable(&connection));
}

/// W3: a resumption uses the session up: removed, marked, told. A full handshake uses nothing.
#[test]
fn w3_a_resumption_consumes_the_session() {
    let client = End::client();
    let sessions = received(&client, &[1]);
    assert_eq!(client.held(), [1]);
    let connection = client.resumed(&sessions[0]);
    assert!(connection.is_reused() && !sessions[0].is_resumable());
    assert_eq!((client.told(), client.held()), (vec![Told::Left(1, CONSUMED)], vec![]));
    client.full_with_tickets(&[]);
    assert!(client.told().is_empty());
}

/// W3 with NO_INTERNAL_STORE: marked and told although it was not cached.
#[test]
fn w3_a_session_that_is_not_cached_is_consumed_too() {
    let client = End::in_mode(Side::Client, SessionCacheMode::CLIENT | SessionCacheMode::NO_INTERNAL_STORE);
    let sessions = received(&client, &[1]);
    assert!(client.held().is_empty());
    let _connection = client.resumed(&sessions[0]);
    assert!(!sessions[0].is_resumable());
    assert_eq!(client.told(), [Told::Left(1, CONSUMED)]);
}

/// W4, where reuse is allowed: one object, any number of times, with and without the CLIENT bit.
#[test]
fn w4_a_session_can_be_reused_where_that_is_allowed() {
    for mode in [SessionCacheMode::SERVER, SessionCacheMode::CLIENT] {
        let client = reusing(mode);
        let sessions = received(&client, &[1]);
        for _ in 0..3 {
            let mut connection = client.resumed(&sessions[0]);
            connection.set_shutdown(ShutdownState::SENT);
        }
        assert!(sessions[0].is_resumable() && client.told().is_empty());
        assert_eq!(client.context.stats().hits, 3);
    }
}

/// Departure 8: without the CLIENT bit a session is consumed as well.
#[test]
fn w4_without_the_client_bit_a_session_is_used_once() {
    let client = End::in_mode(Side::Client, SessionCacheMode::SERVER);
    let sessions = received(&client, &[1]);
    client.resumed(&sessions[0]).set_shutdown(ShutdownState::SENT);
    assert!(!sessions[0].is_resumable());
}

/// W5: the order of events of a resumption with one ticket and an unclean end.
#[test]
fn w5_the_order_of_events() {
    let client = End::client();
    let sessions = received(&client, &[1]);
    let mut connection = client.resumed(&sessions[0]);
    add_ticket(&mut connection, 2);
    drop(connection);
    assert_eq!(client.told(), [Told::Left(1, CONSUMED), Told::New(2), Told::Left(2, UNCLEAN)]);
}

/// W6: a consumed session is accepted, and silently not offered; no miss.
#[test]
fn w6_a_consumed_session_is_not_offered_again() {
    let client = End::client();
    let sessions = received(&client, &[1]);
    client.resumed(&sessions[0]);
    let mut connection = client.connection();
    connection.set_session(Some(Arc::clone(&sessions[0])));
    assert!(connection.connect(&Offer::default()).is_none());
    connection.established(TLS1_3).expect("nothing to store");
    assert!(!connection.is_reused());
    assert_eq!(client.context.stats().misses, 0);
}

/// W7: a ticket is offered while its age, less a second, is within the lifetime that the server gave, and can be told in
/// 32 bits of milliseconds. Its own timeout does not matter. What is withheld is a miss in the end.
#[test]
fn w7_a_ticket_is_offered_within_the_servers_lifetime() {
    const LONGEST: u64 = 4_294_967; // 2^32 ms
    let hint = |n| Offer::default().lifetime_hint(seconds(n));
    let cases = [
        (0, hint(0), true),
        (1, hint(0), true),
        (2, hint(0), false),
        (100, hint(100), true),
        (101, hint(100), true),
        (102, hint(100), false),
        (LIFE * 10, hint(604_800), true),
        (LONGEST + 1, hint(LONGEST * 2), true),
        (LONGEST + 2, hint(LONGEST * 2), false),
        (LONGEST + 1, Offer::default(), true),
        (LONGEST + 2, Offer::default(), false),
    ];
    for (age, offer, is_offered) in cases {
        let client = End::client();
        let mut connection = client.connection();
        let session = bed::ticket(&connection, 1);
        connection.set_session(Some(Arc::clone(&session)));
        client.clock.advance(seconds(age));
        assert_eq!(connection.connect(&offer).is_some(), is_offered, "{age} s, {offer:?}");
        assert_eq!(current(&connection), Some(1), "it stays attached");
        connection.established(TLS1_3).expect("nothing to store");
        assert_eq!((current(&connection), client.context.stats().misses), (None, 1));
        assert!(session.is_resumable());
    }
}

/// W7 is not for TLS 1.2, and a time to come is no age.
#[test]
fn w7_only_tls_1_3_tickets_have_an_age() {
    let client = End::client();
    let mut connection = client.connection();
    connection.set_session(Some(bed::session(&connection, 1)));
    client.clock.advance(seconds(10_000_000));
    assert!(connection.connect(&Offer::default().lifetime_hint(seconds(1))).is_some());
    let mut early = client.connection();
    let later = client.context.session(ticket(1)).id_context(www()).time(common::at(20_000_000));
    early.set_session(Some(Arc::new(later.build(1))));
    assert!(early.connect(&Offer::default().lifetime_hint(seconds(0))).is_some());
}

/// A session that was withheld cannot be accepted.
#[test]
fn w7_what_is_withheld_cannot_be_accepted() {
    let client = End::client();
    let mut connection = client.connection();
    connection.set_session(Some(bed::ticket(&connection, 1)));
    client.clock.advance(seconds(60));
    assert!(connection.connect(&Offer::default().lifetime_hint(seconds(1))).is_none());
    assert_eq!(connection.offer_accepted(), Err(resumption::ResumeError::NothingOffered));
}

/// W9: a session of one version against a server of another: a full handshake, a miss, and it stays resumable.
#[test]
fn w9_a_server_of_another_version_refuses() {
    for (session_version, server_version) in [(TLS1_2, TLS1_3), (TLS1_3, TLS1_2)] {
        let client = End::client();
        let mut connection = client.connection();
        let key = common::key_of(session_version, 1);
        let session = Arc::new(connection.next_session(key).build(1));
        connection.set_session(Some(Arc::clone(&session)));
        assert!(connection.connect(&Offer::default()).is_some());
        match server_version {
            TLS1_2 => finish_full(&mut connection, 2),
            _ => connection.established(TLS1_3).map(drop).expect("nothing to store"),
        }
        assert!(session.is_resumable());
        assert_eq!((client.context.stats().misses, client.context.stats().hits), (1, 0));
        // It can be offered again.
        let mut again = client.connection();
        again.set_session(Some(session));
        assert!(again.connect(&Offer::default()).is_some());
    }
}

/// W10: the timeout is that of the client's context.
#[test]
fn w10_the_timeout_is_the_clients() {
    let client = End::client();
    client.context.set_timeout(seconds(77));
    let connection = client.full_with_tickets(&[1]);
    let session = connection.session_arc().expect("a ticket has come");
    assert_eq!(session.timeout(), seconds(77));
}

/// After a HelloRetryRequest the ClientHello offers the same, and nothing is counted twice.
#[test]
fn a_second_hello_offers_the_same() {
    let client = End::client();
    let sessions = received(&client, &[1]);
    let mut connection = client.connection();
    connection.set_session(Some(Arc::clone(&sessions[0])));
    for _ in 0..2 {
        let offered = connection.connect(&Offer::default());
        assert!(offered.is_some_and(|session| Arc::ptr_eq(&session, &sessions[0])));
    }
    connection.offer_accepted().expect("it was offered");
    let stats = client.context.stats();
    assert_eq!((stats.connect, stats.connect_renegotiate), (2, 0)); // the first was that of `received`
    let mut nothing = client.connection();
    for _ in 0..2 {
        assert!(nothing.connect(&Offer::default()).is_none());
    }
}

/// A client does not issue tickets.
#[test]
fn a_client_issues_no_ticket() {
    let client = End::client();
    let mut connection = client.full_with_tickets(&[1]);
    let foreign = bed::ticket(&connection, 2);
    connection.ticket_issued(foreign, resumption::TicketKind::Stateful).expect("nothing to store");
    assert_eq!((current(&connection), client.held()), (Some(1), vec![1]));
}
