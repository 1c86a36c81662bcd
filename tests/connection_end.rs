//! The end of a connection: the E rows of section 2.12.

#[path = "common/connection.rs"]
mod bed;
mod common;

use bed::{End, TLS1_2, TLS1_3, add_ticket, begin, current, finish_full, is_resumable, session};
use common::{Told, eventually, key};
use resumption::{
    Closing, Connection, NotEstablished, Offer, RemoveReason, RenegotiationPending, SessionCacheMode,
    ShutdownState, Side,
};
use std::sync::Arc;

const UNCLEAN: RemoveReason = RemoveReason::UncleanClose;
const ALERT: RemoveReason = RemoveReason::FatalAlert;

/// An end, and an established connection of it with session 1 in the cache.
fn established() -> (End, Connection<u32>) {
    let end = End::server();
    let connection = end.full(1);
    end.told();
    (end, connection)
}

/// E1: clean: the count is given back and the cache is left alone.
#[test]
fn e1_a_clean_connection_leaves_its_session() {
    let (end, mut connection) = established();
    let session = connection.session_arc().expect("established");
    connection.shutdown().expect("established");
    drop(connection);
    assert!(session.is_resumable());
    assert_eq!((end.told(), end.held()), (vec![], vec![1]));
    assert!(eventually(|| Arc::strong_count(&session) == 2), "ours and the cache's");
}

/// E2: open: removed, marked, told. In every mode, cached or not.
#[test]
fn e2_an_open_connection_takes_its_session_along() {
    let (end, connection) = established();
    let session = connection.session_arc().expect("established");
    drop(connection);
    assert!(!session.is_resumable());
    assert_eq!((end.told(), end.held()), (vec![Told::Left(1, UNCLEAN)], vec![]));
    assert!(eventually(|| Arc::strong_count(&session) == 1));

    for side in [Side::Client, Side::Server] {
        let off = End::in_mode(side, SessionCacheMode::OFF);
        drop(off.full(1));
        assert_eq!(off.told(), [Told::Left(1, UNCLEAN)]);
    }
}

/// E2 for a session without an id: nobody hears of it.
#[test]
fn e2_a_session_without_an_id_is_not_told_of() {
    let end = End::client();
    drop(end.full_with_tickets(&[]));
    assert!(end.told().is_empty());
}

/// E3: clear after a clean end keeps the session, which the next handshake offers; the bits and `reused` are reset.
#[test]
fn e3_clear_after_a_clean_end_keeps_the_session() {
    let end = End::client();
    let first = end.full(1).session_arc().expect("established");
    let fresh = Arc::new(end.context.session(first.key()).id_context(common::www()).build(1));
    let mut connection = end.resumed(&fresh);
    connection.shutdown().expect("established");
    connection.close_notify_received();
    assert_eq!(connection.clear(), Ok(()));
    assert_eq!(connection.shutdown_state(), ShutdownState::NONE);
    assert!(!connection.is_reused() && !connection.is_established());
    assert_eq!(current(&connection), Some(1));
    let offered = connection.connect(&Offer::default());
    assert!(offered.is_some_and(|session| Arc::ptr_eq(&session, &fresh)));
}

/// E4: clear of an open connection removes the session and leaves none.
#[test]
fn e4_clear_of_an_open_connection_drops_the_session() {
    let (end, mut connection) = established();
    assert_eq!(connection.clear(), Ok(()));
    assert_eq!(current(&connection), None);
    assert_eq!((end.told(), end.held()), (vec![Told::Left(1, UNCLEAN)], vec![]));
    // The connection is as new.
    begin(&mut connection);
    finish_full(&mut connection, 2);
    assert_eq!(end.held(), [2]);
    assert_eq!(end.context.stats().accept, 2);
}

/// E4 with a session that has no id: gone, without a word.
#[test]
fn e4_clear_drops_a_session_without_an_id() {
    let end = End::client();
    let mut connection = end.full_with_tickets(&[]);
    assert_eq!(connection.clear(), Ok(()));
    assert_eq!(current(&connection), None);
    assert!(end.told().is_empty());
}

/// E5: clear while a renegotiation is pending fails, after the session was dealt with.
#[test]
fn e5_clear_during_a_renegotiation_fails_half_way() {
    let (end, mut connection) = established();
    connection.request_renegotiation();
    assert_eq!(connection.clear(), Err(RenegotiationPending));
    assert_eq!((end.told(), current(&connection)), (vec![Told::Left(1, UNCLEAN)], None));
    assert!(connection.is_established());

    let client = End::client();
    let mut connection = client.full(1);
    client.told();
    begin(&mut connection);
    assert_eq!(connection.clear(), Err(RenegotiationPending));
    assert!(client.told().is_empty(), "it is in a handshake, so it is not open");
}

/// E6: 0 first, then 1 once the peer's has come; the session is safe from the first call on.
#[test]
fn e6_shutdown_goes_in_two_steps() {
    let (end, mut connection) = established();
    assert_eq!(connection.shutdown(), Ok(Closing::Sent));
    assert_eq!(connection.shutdown_state(), ShutdownState::SENT);
    assert_eq!(connection.shutdown(), Ok(Closing::Sent));
    connection.close_notify_received();
    assert_eq!(connection.shutdown(), Ok(Closing::Complete));
    assert_eq!(connection.shutdown_state(), ShutdownState::SENT | ShutdownState::RECEIVED);
    drop(connection);
    assert_eq!((end.told(), end.held()), (vec![], vec![1]));

    let (_end, mut second) = established();
    second.close_notify_received();
    assert_eq!(second.shutdown(), Ok(Closing::Complete));
}

/// E7: not before the handshake has finished, nor after a failure; the bits stay.
#[test]
fn e7_shutdown_needs_an_established_connection() {
    let end = End::server();
    let mut before = end.connection();
    let mut begun = end.begun();
    let (_end, mut failed) = established();
    failed.fatal_alert_sent();
    for connection in [&mut before, &mut begun, &mut failed] {
        assert_eq!(connection.shutdown(), Err(NotEstablished));
        assert_eq!(connection.shutdown_state(), ShutdownState::NONE);
    }
}

/// E8: a quiet shutdown is complete at once.
#[test]
fn e8_a_quiet_shutdown_is_complete() {
    let end = End::built(Side::Server, |builder| builder.quiet_shutdown(true));
    let mut connection = end.full(1);
    assert_eq!(connection.shutdown(), Ok(Closing::Complete));
    assert_eq!(connection.shutdown_state(), ShutdownState::BOTH);
    drop(connection);
    assert_eq!(end.held(), [1]);
}

/// E9: the bit alone is enough.
#[test]
fn e9_a_pretended_close_notify_saves_the_session() {
    for (state, held) in [(ShutdownState::SENT, vec![1]), (ShutdownState::BOTH, vec![1])] {
        let (end, mut connection) = established();
        connection.set_shutdown(state);
        drop(connection);
        assert_eq!(end.held(), held);
    }
}

/// E10: the peer's close_notify alone is not; nor is one that was taken back.
#[test]
fn e10_the_peers_close_notify_saves_nothing() {
    for state in [ShutdownState::RECEIVED, ShutdownState::NONE] {
        let (end, mut connection) = established();
        connection.set_shutdown(ShutdownState::SENT);
        connection.set_shutdown(state);
        drop(connection);
        assert_eq!((end.told(), end.held()), (vec![Told::Left(1, UNCLEAN)], vec![]));
    }
    let (end, mut connection) = established();
    connection.close_notify_received();
    drop(connection);
    assert!(end.held().is_empty());
}

/// E11, E13: a fatal alert that is sent takes the session at once, and the drop adds nothing.
#[test]
fn e11_e13_a_fatal_alert_that_is_sent() {
    let (end, mut connection) = established();
    connection.fatal_alert_sent();
    assert_eq!((end.told(), end.held()), (vec![Told::Left(1, ALERT)], vec![]));
    assert!(!is_resumable(&connection) && !connection.is_established());
    connection.fatal_alert_sent();
    connection.fatal_alert_received();
    connection.eof();
    drop(connection);
    assert!(end.told().is_empty());
}

/// E11: after our own close_notify it is suppressed.
#[test]
fn e11_no_alert_is_sent_after_the_close_notify() {
    let (end, mut connection) = established();
    connection.shutdown().expect("established");
    connection.fatal_alert_sent();
    drop(connection);
    assert_eq!((end.told(), end.held()), (vec![], vec![1]));
}

/// E12, E13: a fatal alert that is received takes the session at once, even after our own close_notify.
#[test]
fn e12_e13_a_fatal_alert_that_is_received() {
    for is_closed in [false, true] {
        let (end, mut connection) = established();
        if is_closed {
            connection.shutdown().expect("established");
        }
        connection.fatal_alert_received();
        assert!(connection.shutdown_state().contains(ShutdownState::RECEIVED));
        assert_eq!((end.told(), end.held()), (vec![Told::Left(1, ALERT)], vec![]));
        drop(connection);
        assert!(end.told().is_empty());
    }
}

/// E13: nothing follows a failure but a new beginning.
#[test]
fn e13_a_failed_connection_can_only_start_over() {
    let end = End::client();
    let mut connection = end.begun();
    connection.fatal_alert_received();
    assert!(connection.connect(&Offer::default()).is_none());
    connection.new_session(session(&connection, 1));
    connection.established(TLS1_2).expect("nothing to store");
    connection.ticket_received(bed::ticket(&connection, 2)).expect("nothing to store");
    assert!(!connection.is_established() && current(&connection).is_none());
    assert!(end.told().is_empty());
    connection.clear().expect("no renegotiation is pending");
    begin(&mut connection);
    finish_full(&mut connection, 3);
    assert_eq!(end.told(), [Told::New(3)]);
}

/// E14: the transport ends without a close_notify: the session goes at once, and nothing more with the drop.
#[test]
fn e14_a_truncation_takes_the_session() {
    let (end, mut connection) = established();
    connection.eof();
    assert_eq!((end.told(), end.held()), (vec![Told::Left(1, UNCLEAN)], vec![]));
    assert!(!connection.is_established());
    drop(connection);
    assert!(end.told().is_empty());
}

/// E14 after our own close_notify: we have said all we had to say.
#[test]
fn e14_an_end_after_the_close_notify_is_fine() {
    let (end, mut connection) = established();
    connection.shutdown().expect("established");
    connection.eof();
    drop(connection);
    assert_eq!((end.told(), end.held()), (vec![], vec![1]));
}

/// E15: setting the side makes the connection new without a word; nothing is removed then or later.
#[test]
fn e15_setting_the_side_forgets_that_the_connection_is_open() {
    let (end, mut connection) = established();
    connection.set_accept_state();
    assert!(!connection.is_established());
    assert_eq!((connection.side(), current(&connection)), (Side::Server, Some(1)));
    drop(connection);
    assert_eq!((end.told(), end.held()), (vec![], vec![1]));

    let (_end, mut turned) = established();
    turned.set_connect_state();
    assert_eq!(turned.side(), Side::Client);
    assert!(turned.connect(&Offer::default()).is_some());
}

/// E16: of many tickets only the last one's session goes.
#[test]
fn e16_only_the_last_tickets_session_goes() {
    for end in [End::client(), End::server()] {
        drop(end.full_with_tickets(&[1, 2, 3, 4, 5]));
        assert_eq!(end.held(), [1, 2, 3, 4]);
        assert_eq!(end.told().last(), Some(&Told::Left(5, UNCLEAN)));
    }
}

/// E18: two live connections share a session; one ends open, and neither can be resumed any more.
#[test]
fn e18_an_unclean_end_marks_the_session_for_all() {
    let (end, first) = established();
    let mut second = end.asked_for(key(1));
    second.established(TLS1_2).expect("nothing to store");
    drop(first);
    assert!(!is_resumable(&second));
    assert!(end.held().is_empty());
}

/// E19: the server ended open, the client cleanly: the client offers, the server does not find: a miss each.
#[test]
fn e19_the_server_ends_open() {
    let (server, client) = (End::server(), End::client());
    let (accepted, mut connected) = (server.full(1), client.full(1));
    let at_client = connected.session_arc().expect("established");
    connected.shutdown().expect("established");
    drop(accepted);
    let mut again = client.connection();
    again.set_session(Some(at_client));
    let offered = again.connect(&Offer::default()).expect("it is resumable");
    assert!(!server.asked_for(offered.key()).is_reused());
    finish_full(&mut again, 2);
    assert_eq!((server.context.stats().misses, client.context.stats().misses), (1, 1));
}

/// E20: the client ended open, the server cleanly: the client does not offer; no miss.
#[test]
fn e20_the_client_ends_open() {
    let client = End::client();
    let connected = client.full(1);
    let at_client = connected.session_arc().expect("established");
    drop(connected);
    let mut again = client.connection();
    again.set_session(Some(at_client));
    assert!(again.connect(&Offer::default()).is_none());
    finish_full(&mut again, 2);
    assert_eq!(client.context.stats().misses, 0);
}

/// The bits are OpenSSL's; a first handshake starts with none, a renegotiation leaves them.
#[test]
fn the_shutdown_bits_are_openssls() {
    let bits = [ShutdownState::NONE, ShutdownState::SENT, ShutdownState::RECEIVED, ShutdownState::BOTH];
    assert_eq!(bits.map(ShutdownState::bits), [0, 1, 2, 3]);
    let texts = bits.map(|state| format!("{state:?}"));
    assert_eq!(texts, ["NONE", "SENT", "RECEIVED", "SENT | RECEIVED"]);
    let mut connection = End::client().connection();
    connection.set_shutdown(ShutdownState::BOTH);
    begin(&mut connection);
    assert_eq!(connection.shutdown_state(), ShutdownState::NONE);
    connection.established(TLS1_3).expect("nothing to store");
    connection.set_shutdown(ShutdownState::RECEIVED);
    begin(&mut connection);
    assert_eq!(connection.shutdown_state(), ShutdownState::RECEIVED);
}

/// A connection keeps its context alive; the context's end removes nothing while a connection lives (C8).
#[test]
fn c8_a_connection_keeps_its_context() {
    let end = End::client();
    let mut connection = end.full_with_tickets(&[1]);
    let (log, _) = (end.log.clone(), drop(end));
    log.take();
    add_ticket(&mut connection, 2);
    assert_eq!(log.take(), [Told::New(2)]);
    drop(connection);
    let told = log.take();
    assert_eq!(told[0], Told::Left(2, UNCLEAN));
    assert_eq!(told[1..], [Told::Left(1, RemoveReason::ContextDropped)]);
}
