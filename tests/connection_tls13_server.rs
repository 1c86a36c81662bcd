//! TLS 1.3 at the server: the U rows of section 2.9.

#[path = "common/connection.rs"]
mod bed;
mod common;

use bed::{End, NO_ID, TLS1_3, add_ticket, current};
use common::{LIFE, Told, key_of, seconds, ticket};
use resumption::{
    Connection, ProtocolVersion, RemoveReason, ResumeError, Session, SessionCacheMode, SessionContext,
    SessionIdContext, ShutdownState, Side, Stored, TicketKind,
};
use std::sync::Arc;
use std::time::Duration;

const CONSUMED: RemoveReason = RemoveReason::Consumed;
const UNCLEAN: RemoveReason = RemoveReason::UncleanClose;
const ALERT: RemoveReason = RemoveReason::FatalAlert;

/// Servers that let tickets be used again.
fn reusing() -> End {
    End::built(Side::Server, |builder| builder.reuse_tickets(true))
}

/// A clean connection that has issued these tickets.
fn issued(server: &End, tickets: &[u32]) {
    server.full_with_tickets(tickets).set_shutdown(ShutdownState::SENT);
}

/// A connection that ended cleanly leaves its session in the cache.
fn close(mut connection: Connection<u32>) {
    connection.shutdown().expect("established");
}

fn issue(connection: &mut Connection<u32>, n: u32, kind: TicketKind) -> Stored {
    let session = bed::ticket(connection, n);
    connection.ticket_issued(session, kind).expect("it fits")
}

/// U1: as many tickets as configured after a full handshake, one after a resumption.
#[test]
fn u1_tickets_due() {
    let server = End::server();
    let full = server.full_with_tickets(&[1]);
    let due = |connection: &Connection<u32>| {
        [0, 1, 2, 5].map(|configured| connection.tickets_due(configured, TicketKind::Stateful))
    };
    assert_eq!(due(&full), [0, 1, 2, 5]);
    let resumed = server.asked_for(ticket(1));
    assert!(resumed.is_reused());
    assert_eq!(due(&resumed), [0, 1, 1, 1]);
    assert_eq!(due(&End::client().full_with_tickets(&[])), [0; 4]);
}

/// U2: each ticket has a session of its own, and the connection moves to it.
#[test]
fn u2_every_ticket_has_its_own_session() {
    let server = End::server();
    let mut connection = server.full_with_tickets(&[]);
    let mut seen: Vec<Arc<Session<u32>>> = Vec::new();
    for n in 1..=4 {
        add_ticket(&mut connection, n);
        let session = connection.session_arc().expect("a ticket was issued");
        assert!(seen.iter().all(|other| !Arc::ptr_eq(other, &session)));
        assert_eq!(*session.payload(), n);
        seen.push(session);
    }
}

/// U2, T1: it has the timeout of the session that the connection had; a changed timeout is for later full handshakes.
#[test]
fn u2_tickets_inherit_the_timeout_of_their_connection() {
    let server = End::server();
    let mut connection = server.full_with_tickets(&[1]);
    server.context.set_timeout(seconds(7));
    add_ticket(&mut connection, 2);
    connection.set_shutdown(ShutdownState::SENT);
    let mut resumed = server.asked_for(ticket(2));
    resumed.established(TLS1_3).expect("it fits");
    add_ticket(&mut resumed, 3);
    let timeout =
        |connection: &Connection<u32>| connection.session_arc().expect("a ticket was issued").timeout();
    assert_eq!([timeout(&connection), timeout(&resumed)], [seconds(LIFE); 2]);
    assert_eq!(timeout(&server.full_with_tickets(&[4])), seconds(7));
}

/// U3: each ticket's session starts its life when it is built.
#[test]
fn u3_every_ticket_starts_a_life() {
    let server = End::server();
    let mut connection = server.full_with_tickets(&[1]);
    server.clock.advance(seconds(100));
    add_ticket(&mut connection, 2);
    let session = connection.session_arc().expect("a ticket was issued");
    assert_eq!((session.time(), session.expires_at()), (common::at(100), common::at(100 + LIFE)));
}

/// U4, U6: stored and announced while it is built, during the handshake or after it, whatever the write does later.
#[test]
fn u4_u6_the_store_step_is_done_per_ticket() {
    let server = End::server();
    let mut connection = server.begun();
    connection.new_session_without_id(TLS1_3, NO_ID);
    let early = issue(&mut connection, 1, TicketKind::Stateful);
    assert!(early.internal && early.announced);
    assert_eq!(server.told(), [Told::New(1)]);
    connection.established(TLS1_3).expect("nothing to store");
    issue(&mut connection, 2, TicketKind::Stateless);
    assert_eq!(server.told(), [Told::New(2)]);
    assert_eq!(server.held(), [1, 2]);
}

/// U5: a stateless ticket's session is stored only if somebody is told of removals; it is announced all the same.
#[test]
fn u5_stateless_tickets_are_stored_for_the_remove_callback_only() {
    let log = common::Log::default();
    let news = log.clone();
    let context = SessionContext::builder()
        .on_new(move |_, session: &Arc<Session<u32>>| news.push(Told::New(*session.payload())))
        .build()
        .expect("valid");
    let context = Arc::new(context);
    let mut connection = Connection::server(Arc::clone(&context));
    connection.accept();
    connection.established(TLS1_3).expect("nothing to store");
    let stateless = issue(&mut connection, 1, TicketKind::Stateless);
    assert!(!stateless.internal && stateless.announced);
    let stateful = issue(&mut connection, 2, TicketKind::Stateful);
    assert!(stateful.internal && stateful.announced);
    assert_eq!((context.len(), log.take()), (1, vec![Told::New(1), Told::New(2)]));

    // The bed's context has a remove callback.
    let told = End::server();
    assert!(issue(&mut told.full_with_tickets(&[]), 3, TicketKind::Stateless).internal);
}

/// U7, where reuse is allowed: a stateful ticket works any number of times, and each time adds a session.
#[test]
fn u7_a_reused_ticket_adds_a_session_each_time() {
    let server = reusing();
    issued(&server, &[1, 2]);
    for (n, held) in [(3, vec![1, 2, 3]), (4, vec![1, 2, 3, 4])] {
        let mut connection = server.asked_for(ticket(1));
        assert!(connection.is_reused());
        connection.established(TLS1_3).expect("nothing to store");
        add_ticket(&mut connection, n);
        close(connection);
        assert_eq!(server.held(), held);
    }
}

/// U8 and departure 8: the ticket is removed, marked and told of before the handshake goes on; it does not work twice.
#[test]
fn u8_a_ticket_is_consumed_by_the_resumption() {
    let server = End::server();
    issued(&server, &[1, 2]);
    server.told();
    let connection = server.asked_for(ticket(1));
    assert!(connection.is_reused() && !bed::is_resumable(&connection));
    assert_eq!((server.told(), server.held()), (vec![Told::Left(1, CONSUMED)], vec![2]));
    let again = server.asked_for(ticket(1));
    assert!(!again.is_reused());
    let stats = server.context.stats();
    assert_eq!((stats.hits, stats.misses, stats.outcomes.consumed), (1, 1, 1));
}

/// U10: no ticket that could not be redeemed: no SERVER bit, or peers that are verified without an id context.
#[test]
fn u10_no_ticket_is_due_that_cannot_be_redeemed() {
    let due = |end: &End, kind| end.full_with_tickets(&[]).tickets_due(2, kind);
    let off = End::in_mode(Side::Server, SessionCacheMode::OFF);
    assert_eq!((due(&off, TicketKind::Stateful), due(&off, TicketKind::Stateless)), (0, 2));
    let no_context = SessionIdContext::EMPTY;
    let verifying = End::built(Side::Server, |builder| builder.id_context(no_context).verify_peer(true));
    assert_eq!((due(&verifying, TicketKind::Stateful), due(&verifying, TicketKind::Stateless)), (0, 0));
    let with_context = End::built(Side::Server, |builder| builder.verify_peer(true));
    assert_eq!(due(&with_context, TicketKind::Stateful), 2);
}

/// U11: after a post-handshake authentication as many are due again: all of them, or one on a resumed connection.
#[test]
fn u11_a_post_handshake_authentication_brings_tickets_again() {
    let server = End::server();
    let mut connection = server.full_with_tickets(&[1, 2]);
    assert_eq!(connection.tickets_due(2, TicketKind::Stateful), 2);
    add_ticket(&mut connection, 3);
    add_ticket(&mut connection, 4);
    assert_eq!(server.held(), [1, 2, 3, 4]);
    let mut resumed = server.asked_for(ticket(1));
    resumed.established(TLS1_3).expect("nothing to store");
    add_ticket(&mut resumed, 5);
    assert_eq!(resumed.tickets_due(2, TicketKind::Stateful), 1);
}

/// U14: the lifetime that is written into a ticket.
#[test]
fn u14_the_lifetime_of_a_ticket() {
    const WEEK: u64 = 604_800;
    let server = End::server();
    server.context.set_timeout(seconds(2 * WEEK));
    let mut connection = server.full_with_tickets(&[]);
    let of = |connection: &Connection<u32>, version| {
        let session: Session<u32> = connection.next_session(key_of(version, 1)).build(1);
        connection.lifetime_hint(&session)
    };
    assert_eq!(of(&connection, TLS1_3), seconds(WEEK));
    assert_eq!(of(&connection, ProtocolVersion::TLS1_2), seconds(2 * WEEK));
    add_ticket(&mut connection, 1);
    let resumed = server.asked_for(ticket(1));
    assert_eq!(of(&resumed, TLS1_3), seconds(WEEK));
    assert_eq!(of(&resumed, ProtocolVersion::TLS1_2), Duration::ZERO);
    server.context.set_timeout(seconds(60));
    assert_eq!(of(&resumed, TLS1_3), seconds(WEEK), "as the session that it comes from");
    assert_eq!(of(&server.full_with_tickets(&[]), TLS1_3), seconds(60));
}

/// U15: an expired entry: a timeout, a full handshake, and it stays.
#[test]
fn u15_an_expired_ticket_stays() {
    for server in [End::server(), reusing()] {
        issued(&server, &[1]);
        server.told();
        server.clock.advance(seconds(LIFE + 1));
        assert!(!server.asked_for(ticket(1)).is_reused());
        let stats = server.context.stats();
        assert_eq!((stats.timeouts, stats.hits, stats.misses), (1, 0, 0));
        assert!(server.context.contains(&ticket(1)) && server.told().is_empty());
    }
}

/// U16: a fatal alert after the resumption destroys the entry that was resumed.
#[test]
fn u16_a_fatal_alert_destroys_the_resumed_session() {
    let server = reusing();
    issued(&server, &[1, 2]);
    server.told();
    let mut connection = server.asked_for(ticket(1));
    connection.fatal_alert_sent();
    assert_eq!((server.told(), server.held()), (vec![Told::Left(1, ALERT)], vec![2]));
}

/// Q3 in TLS 1.3, A-16: the session is attached by then, and the alert destroys it.
#[test]
fn q3_without_an_id_context_the_alert_destroys_the_session() {
    let no_context = SessionIdContext::EMPTY;
    let server = End::built(Side::Server, |builder| {
        builder.id_context(no_context).verify_peer(true).reuse_tickets(true)
    });
    for n in [1, 2] {
        let session = Arc::new(server.context.session(ticket(n)).build(n));
        server.context.add_session(session).expect("it fits");
    }
    let mut connection = server.begun();
    let resumed = connection.resume(TLS1_3, ticket(1).id().as_bytes());
    assert_eq!(resumed.map(|found| found.is_some()), Err(ResumeError::NoIdContext));
    assert!(!connection.is_reused());
    connection.fatal_alert_sent();
    assert_eq!((server.told(), server.held()), (vec![Told::Left(1, ALERT)], vec![2]));
}

/// U17, E17: a resumed connection that ends open takes its new ticket along, not the session that it resumed.
#[test]
fn u17_an_unclean_end_takes_the_new_ticket() {
    let server = reusing();
    issued(&server, &[1]);
    let mut connection = server.asked_for(ticket(1));
    connection.established(TLS1_3).expect("nothing to store");
    add_ticket(&mut connection, 2);
    server.told();
    drop(connection);
    assert_eq!((server.told(), server.held()), (vec![Told::Left(2, UNCLEAN)], vec![1]));
}

/// L14: a ticket that is not 32 bytes long is none of the cache's.
#[test]
fn l14_a_ticket_of_another_length_is_not_looked_up() {
    let server = End::server();
    let short = resumption::SessionKey::parse(TLS1_3, &[7; 16]).expect("16 bytes");
    let session = Arc::new(server.context.session(short).id_context(common::www()).build(1));
    server.context.add_session(session).expect("it fits");
    assert!(!server.asked_for(short).is_reused());
    assert_eq!(server.context.stats().outcomes.total(), 0);
    assert_eq!(server.held(), [1]);
}

/// L16: several identities are tried in order.
#[test]
fn l16_identities_are_tried_in_order() {
    let server = End::server();
    issued(&server, &[3, 4]);
    let mut connection = server.begun();
    for n in [1, 2, 3, 4] {
        connection.resume(TLS1_3, ticket(n).id().as_bytes()).expect("no conflict of settings");
    }
    assert_eq!((current(&connection), server.held()), (Some(3), vec![4]));
    assert_eq!((server.context.stats().misses, server.context.stats().hits), (2, 1));
}

/// A server does not receive tickets.
#[test]
fn a_server_receives_no_ticket() {
    let server = End::server();
    let mut connection = server.full_with_tickets(&[1]);
    let foreign = bed::ticket(&connection, 2);
    connection.ticket_received(foreign).expect("nothing to store");
    assert_eq!((current(&connection), server.held()), (Some(1), vec![1]));
}
