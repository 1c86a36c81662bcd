//! Departures 8, 10 and 11 for connections: single use, what costs a session, and how long it may be prolonged.

#[path = "common/connection.rs"]
mod bed;
mod common;

use bed::{End, TLS1_2, TLS1_3, add_ticket, begin, current, finish_full, is_resumable};
use common::{LIFE, Told, at, key, mail, seconds, ticket};
use resumption::{
    Connection, Offer, RemoveReason, Session, SessionCacheMode, SessionContext, ShutdownState, Side,
    Timestamp,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

const CONSUMED: RemoveReason = RemoveReason::Consumed;
const UNCLEAN: RemoveReason = RemoveReason::UncleanClose;
const ALERT: RemoveReason = RemoveReason::FatalAlert;

/// A client's connection with `session` set, whose handshake has begun; whether it is offered.
fn offers(client: &End, session: &Arc<Session<u32>>) -> (Connection<u32>, bool) {
    let mut connection = client.connection();
    connection.set_session(Some(Arc::clone(session)));
    let is_offered = connection.connect(&Offer::default()).is_some();
    (connection, is_offered)
}

/// Departure 8 at the client: one connection at a time offers a TLS 1.3 session.
#[test]
fn departure_8_a_session_is_offered_by_one_connection_at_a_time() {
    let client = End::client();
    let session = bed::ticket(&client.connection(), 1);
    let (mut first, is_offered) = offers(&client, &session);
    assert!(is_offered);
    let (mut second, is_offered) = offers(&client, &session);
    assert!(!is_offered);
    assert_eq!(current(&second), None);
    second.established(TLS1_3).expect("nothing to store");
    assert_eq!(client.context.stats().misses, 0);
    first.offer_accepted().expect("it was offered");
    first.established(TLS1_3).expect("nothing to store");
    assert!(!session.is_resumable());
    assert!(!offers(&client, &session).1);
}

/// What becomes of a connection that has made an offer; what is left of it.
type Ending = fn(Connection<u32>) -> Option<Connection<u32>>;

/// An offer that came to nothing has not used the session, whatever it came to.
#[test]
fn departure_8_an_offer_that_came_to_nothing_can_be_made_again() {
    let client = End::built(Side::Client, |builder| builder.spare_before_authentication(true));
    let session = bed::ticket(&client.connection(), 1);
    let ends: [Ending; 8] = [
        |_dropped| None,
        |mut refused| refused.established(TLS1_3).map(|_| Some(refused)).expect("nothing to store"),
        |mut refused| {
            finish_full(&mut refused, 2);
            Some(refused)
        },
        |mut cleared| cleared.clear().map(|()| Some(cleared)).expect("no renegotiation is pending"),
        |mut failed| {
            failed.fatal_alert_received();
            Some(failed)
        },
        |mut set| {
            set.set_session(None);
            Some(set)
        },
        |mut turned| {
            turned.set_accept_state();
            Some(turned)
        },
        |mut ended| {
            ended.eof();
            Some(ended)
        },
    ];
    let mut kept = Vec::new(); // what gives the session up must not be the drop
    for (n, end) in ends.into_iter().enumerate() {
        let (connection, is_offered) = offers(&client, &session);
        assert!(is_offered, "after end {n}");
        kept.extend(end(connection));
    }
    assert!(offers(&client, &session).1);
}

/// Of many connections that begin at once, one offers the session.
#[test]
fn departure_8_of_concurrent_offers_exactly_one_is_made() {
    const THREADS: usize = 6;
    let client = End::client();
    for n in 0..200 {
        let session = bed::ticket(&client.connection(), n);
        let (start, made) = (Barrier::new(THREADS), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    let (connection, is_offered) = offers(&client, &session);
                    made.fetch_add(usize::from(is_offered), Ordering::Relaxed);
                    start.wait(); // nobody gives up before all have tried
                    drop(connection);
                });
            }
        });
        assert_eq!(made.into_inner(), 1, "round {n}");
    }
}

/// Where reuse is allowed, and in TLS 1.2, any number of connections offer it.
#[test]
fn departure_8_has_a_switch_and_is_for_tls_1_3() {
    let reusing = End::built(Side::Client, |builder| builder.reuse_tickets(true));
    let session = bed::ticket(&reusing.connection(), 1);
    let _both = (offers(&reusing, &session), offers(&reusing, &session));
    assert!(_both.0.1 && _both.1.1);
    let client = End::client();
    let session = bed::session(&client.connection(), 1);
    let _both = (offers(&client, &session), offers(&client, &session));
    assert!(_both.0.1 && _both.1.1);
}

/// Departure 8 at the server: of concurrent resumptions with one ticket exactly one succeeds.
#[test]
fn departure_8_of_concurrent_resumptions_exactly_one_succeeds() {
    const THREADS: usize = 6;
    let server = End::server();
    for n in 0..200 {
        server.full_with_tickets(&[n]).set_shutdown(ShutdownState::SENT);
        let (start, resumed) = (Barrier::new(THREADS), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    let connection = server.asked_for(ticket(n));
                    resumed.fetch_add(usize::from(connection.is_reused()), Ordering::Relaxed);
                });
            }
        });
        assert_eq!(resumed.into_inner(), 1, "round {n}");
    }
    assert_eq!(server.context.stats().hits, 200);
}

/// A client that finds its sessions by key takes one, and offers it once.
#[test]
fn departure_8_a_client_takes_a_session_by_its_key() {
    let client = End::client();
    client.full_with_tickets(&[1, 2]).set_shutdown(ShutdownState::SENT);
    client.told();
    let mut connection = client.connection();
    assert!(!connection.take_session(&ticket(9)));
    assert_eq!(current(&connection), None);
    assert!(connection.take_session(&ticket(1)));
    assert_eq!((client.told(), client.held()), (vec![Told::Left(1, CONSUMED)], vec![2]));
    assert!(!client.connection().take_session(&ticket(1)));

    assert!(connection.connect(&Offer::default()).is_some(), "although it is marked");
    assert!(connection.connect(&Offer::default()).is_some(), "after a HelloRetryRequest too");
    connection.offer_accepted().expect("it was offered");
    connection.established(TLS1_3).expect("nothing to store");
    assert!(connection.is_reused());
    assert!(client.told().is_empty(), "it was told of when it was taken");
    assert_eq!(client.context.stats().hits, 1, "and counted");
}

/// A taken session is spent by the offer, whatever becomes of it.
#[test]
fn departure_8_a_taken_session_is_offered_in_one_handshake() {
    let client = End::client();
    client.full_with_tickets(&[1]).set_shutdown(ShutdownState::SENT);
    let mut connection = client.connection();
    assert!(connection.take_session(&ticket(1)));
    assert!(connection.connect(&Offer::default()).is_some());
    connection.clear().expect("no renegotiation is pending");
    assert_eq!(current(&connection), Some(1));
    assert!(connection.connect(&Offer::default()).is_none());
    assert_eq!(current(&connection), None);
}

/// The take is that of the connection's id context, and ends an open connection's session as `set_session` does.
#[test]
fn departure_8_a_take_is_of_the_connections_context() {
    let client = End::client();
    client.full_with_tickets(&[1]).set_shutdown(ShutdownState::SENT);
    let mut other = client.connection();
    other.set_id_context(mail());
    assert!(!other.take_session(&ticket(1)));
    assert_eq!(client.held(), [1]);
    let mut open = client.full(2);
    client.told();
    assert!(open.take_session(&ticket(1)));
    assert_eq!(client.told(), [Told::Left(1, CONSUMED), Told::Left(2, UNCLEAN)]);
}

/// Departure 10: the end of the transport costs nothing, now or later, where that is the policy.
#[test]
fn departure_10_an_end_of_the_transport_can_be_forgiven() {
    for side in [Side::Client, Side::Server] {
        let end = End::built(side, |builder| builder.keep_session_on_eof(true));
        let mut connection = end.full(1);
        end.told();
        connection.eof();
        assert_eq!(connection.shutdown_state(), ShutdownState::RECEIVED);
        assert!(connection.is_established() && is_resumable(&connection));
        drop(connection);
        assert_eq!((end.told(), end.held()), (vec![], vec![1]));
    }
}

/// Forgiving is for the transport's end only, and for that connection's handshake only.
#[test]
fn departure_10_nothing_else_is_forgiven() {
    let end = End::built(Side::Server, |builder| builder.keep_session_on_eof(true));
    drop(end.full(1));
    assert_eq!(end.told(), [Told::New(1), Told::Left(1, UNCLEAN)]);
    let mut alerted = end.full(2);
    alerted.eof();
    alerted.fatal_alert_received();
    assert_eq!(end.told(), [Told::New(2), Told::Left(2, ALERT)]);
    let mut again = end.full(3);
    again.eof();
    again.clear().expect("no renegotiation is pending");
    assert_eq!((current(&again), end.held()), (Some(3), vec![3]));
    begin(&mut again);
    finish_full(&mut again, 4);
    drop(again);
    assert_eq!((end.told().last(), end.held()), (Some(&Told::Left(4, UNCLEAN)), vec![3]));
}

/// Departure 10: an alert, or an end, before the peer is known costs nothing where that is the policy.
#[test]
fn departure_10_what_comes_before_authentication_can_be_spared() {
    let events: [fn(&mut Connection<u32>); 3] =
        [Connection::fatal_alert_received, Connection::fatal_alert_sent, Connection::eof];
    for event in events {
        for (spares, is_authenticated) in [(true, false), (true, true), (false, false), (false, true)] {
            let client = End::built(Side::Client, |builder| builder.spare_before_authentication(spares));
            let session = bed::session(&client.connection(), 1);
            let (mut connection, _) = offers(&client, &session);
            if is_authenticated {
                connection.authenticated();
            }
            event(&mut connection);
            assert_eq!(session.is_resumable(), spares && !is_authenticated);
            drop(connection);
            assert_eq!(session.is_resumable(), spares && !is_authenticated);
        }
    }
}

/// Once established, and in a renegotiation, the peer is known; a new handshake starts with nobody.
#[test]
fn departure_10_authentication_lasts_as_long_as_the_connection() {
    let client = End::built(Side::Client, |builder| builder.spare_before_authentication(true));
    let mut connection = client.full(1);
    connection.fatal_alert_received();
    assert!(!is_resumable(&connection));

    let mut renegotiating = client.full(2);
    begin(&mut renegotiating);
    renegotiating.fatal_alert_received();
    assert!(!is_resumable(&renegotiating));

    let mut cleared = client.full(3);
    cleared.shutdown().expect("established");
    cleared.clear().expect("no renegotiation is pending");
    begin(&mut cleared);
    cleared.fatal_alert_received();
    assert!(is_resumable(&cleared));
}

/// Departure 11: every session that descends from a full handshake ends with it, however often it is resumed.
#[test]
fn departure_11_a_resumption_does_not_prolong_the_end_of_life() {
    const DAY: u64 = 86_400;
    for side in [Side::Client, Side::Server] {
        let end = End::with(
            side,
            |builder| builder.mode(SessionCacheMode::BOTH).timeout(seconds(DAY)),
            |builder| builder.longest_life(seconds(3 * DAY)),
        );
        let mut connection = end.full_with_tickets(&[0]);
        let mut resumptions = 0;
        loop {
            let session = connection.session_arc().expect("a ticket");
            assert_eq!(session.end_of_life(), at(3 * DAY));
            assert_eq!(session.expires_at(), (session.time().saturating_add(seconds(DAY))).min(at(3 * DAY)));
            connection.set_shutdown(ShutdownState::SENT);
            end.clock.advance(seconds(DAY / 2));
            connection = match side {
                Side::Client => {
                    let (mut next, is_offered) = offers(&end, &session);
                    if is_offered {
                        next.offer_accepted().expect("it was offered");
                    }
                    next
                }
                Side::Server => end.asked_for(session.key()),
            };
            if !connection.is_reused() {
                break;
            }
            connection.established(TLS1_3).expect("nothing to store");
            resumptions += 1;
            add_ticket(&mut connection, resumptions);
        }
        assert_eq!(resumptions, 6, "{side:?}: the last one in the last second of the third day");
    }
}

/// A session past its end of life is not offered, unlike one that has merely expired (H15).
#[test]
fn departure_11_a_client_does_not_offer_beyond_the_end_of_life() {
    let client = End::client();
    let ended = client.context.session(key(1)).id_context(common::www()).end_of_life(at(10));
    let session = Arc::new(ended.build(1));
    client.clock.advance(seconds(10));
    assert!(offers(&client, &session).1);
    client.clock.advance(seconds(1));
    assert!(!offers(&client, &session).1);
    assert_eq!(client.context.stats().misses, 0);
}

/// Without a longest life nothing ends, and an end that a session brings along is passed on all the same.
#[test]
fn departure_11_an_end_of_life_is_inherited_without_a_policy() {
    let server = End::server();
    let full = server.full_with_tickets(&[1]);
    assert_eq!(full.session_arc().map(|session| session.end_of_life()), Some(Timestamp::NEVER));
    let ending = server.context.session(ticket(2)).id_context(common::www()).end_of_life(at(50));
    server.context.add_session(Arc::new(ending.build(2))).expect("it fits");
    let mut resumed = server.asked_for(ticket(2));
    resumed.established(TLS1_3).expect("nothing to store");
    add_ticket(&mut resumed, 3);
    let next = resumed.session_arc().expect("a ticket was issued");
    assert_eq!((next.end_of_life(), next.expires_at()), (at(50), at(50)));
    assert_eq!(resumed.lifetime_hint(&next), seconds(50));
    // What the stack declines and starts anew descends from nothing.
    let mut declined = server.asked_for(ticket(3));
    assert!(declined.is_reused());
    finish_full(&mut declined, 4);
    assert_eq!(declined.next_session(key(5)).build(5_u32).end_of_life(), Timestamp::NEVER);
}

/// A session from before the policy is bounded from its own start.
#[test]
fn departure_11_a_session_without_an_end_is_bounded_by_its_own_start() {
    let server = End::built(Side::Server, |builder| builder.longest_life(seconds(100)));
    let old = server.context.session(ticket(1)).id_context(common::www());
    server.context.add_session(Arc::new(old.build(1))).expect("it fits");
    server.clock.advance(seconds(60));
    let resumed = server.asked_for(ticket(1));
    assert_eq!(resumed.next_session(ticket(2)).build(2_u32).end_of_life(), at(100));
    let full = server.begun();
    assert_eq!(full.next_session(ticket(2)).build(2_u32).end_of_life(), at(160));
}

/// A stateless ticket that was decrypted hands its end of life on as well.
#[test]
fn departure_11_a_stateless_ticket_hands_its_end_on() {
    let server = End::server();
    let mut connection = server.begun();
    let decrypted = connection.next_session(ticket(1)).end_of_life(at(LIFE - 1)).build(1);
    assert_eq!(connection.resume_ticket(TLS1_3, Arc::new(decrypted)), Ok(true));
    assert_eq!(connection.next_session(ticket(2)).build(2_u32).end_of_life(), at(LIFE - 1));
}

/// The switches are off unless set: a connection follows OpenSSL.
#[test]
fn the_defaults_are_openssls() {
    let context = Arc::new(SessionContext::<u32>::new());
    for mut connection in [Connection::client(Arc::clone(&context)), Connection::server(Arc::clone(&context))]
    {
        begin(&mut connection);
        finish_full(&mut connection, 1);
        assert_eq!(connection.shutdown_state(), ShutdownState::NONE);
        connection.eof();
        assert!(!is_resumable(&connection) && !connection.is_established());
        assert!(connection.id_context().is_empty());
        assert!(Arc::ptr_eq(connection.context(), connection.session_context()));
        let end = connection.next_session(key(1)).build(1_u32).end_of_life();
        assert_eq!((end, TLS1_2), (Timestamp::NEVER, key(1).version()));
    }
}
