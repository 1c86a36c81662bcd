//! The store step, section 2.11: its order, and what each step stops.

#[path = "common/connection.rs"]
mod bed;
mod common;

use bed::{End, NO_ID, TLS1_2, TLS1_3, add_ticket, begin, session, ticket};
use common::{Log, Told, key, www};
use resumption::{
    AddError, Connection, CurrentSession, ManualClock, RemoveReason, Session, SessionCacheMode,
    SessionContext, SessionIdContext, Side, Stored, TicketKind,
};
use std::sync::{Arc, Mutex, OnceLock};

const EVICTED: RemoveReason = RemoveReason::Evicted;

fn outcome(stored: Stored) -> (bool, bool) {
    (stored.internal, stored.announced)
}

/// A full handshake of `session`, and what its store step did.
fn establish(end: &End, session: Arc<Session<u32>>) -> (bool, bool) {
    let mut connection = end.begun();
    connection.new_session(session);
    let stored = outcome(connection.established(TLS1_2).expect("it fits"));
    connection.shutdown().expect("established");
    stored
}

/// Step 1: without an id, or marked, nothing happens, in TLS 1.2 and for tickets.
#[test]
fn step_1_a_session_without_an_id_or_marked_stops() {
    for end in [End::client(), End::server()] {
        let mut without_id = end.begun();
        without_id.new_session_without_id(TLS1_2, NO_ID);
        assert_eq!(without_id.established(TLS1_2).map(outcome), Ok((false, false)));
        let marked = session(&end.connection(), 1);
        marked.mark_not_resumable();
        assert_eq!(establish(&end, marked), (false, false));
        assert!(end.held().is_empty() && end.told().is_empty());
    }
    let server = End::server();
    let mut connection = server.full_with_tickets(&[]);
    let marked = ticket(&connection, 1);
    marked.mark_not_resumable();
    let stored = connection.ticket_issued(marked, TicketKind::Stateful);
    assert_eq!(stored.map(outcome), Ok((false, false)));
    assert!(server.held().is_empty() && server.told().is_empty());
}

/// Step 2: a server that verifies its peers needs an id context in the session; a client does not.
#[test]
fn step_2_verification_without_an_id_context_stops() {
    let no_context = SessionIdContext::EMPTY;
    for (side, id_context, verify, expected) in [
        (Side::Server, no_context, true, (false, false)),
        (Side::Server, no_context, false, (true, true)),
        (Side::Server, www(), true, (true, true)),
        (Side::Client, no_context, true, (true, true)),
    ] {
        let end = End::built(side, |builder| builder.id_context(id_context).verify_peer(verify));
        let of_connection = session(&end.connection(), 1);
        assert_eq!(establish(&end, of_connection), expected, "{side:?} {id_context:?} {verify}");
        assert_eq!(end.told().len(), usize::from(expected.1));
    }
}

/// Step 2 looks at the connection as it is now.
#[test]
fn step_2_verification_can_be_switched_on() {
    let end = End::built(Side::Server, |builder| builder.id_context(SessionIdContext::EMPTY));
    let mut connection = end.begun();
    connection.set_verify_peer(true);
    connection.new_session(session(&connection, 1));
    assert_eq!(connection.established(TLS1_2).map(outcome), Ok((false, false)));
}

/// Step 3: the mode must have the side's bit.
#[test]
fn step_3_the_mode_needs_the_sides_bit() {
    type M = SessionCacheMode;
    for (side, mode, expected) in [
        (Side::Server, M::OFF, (false, false)),
        (Side::Server, M::CLIENT, (false, false)),
        (Side::Server, M::SERVER, (true, true)),
        (Side::Server, M::BOTH, (true, true)),
        (Side::Client, M::OFF, (false, false)),
        (Side::Client, M::SERVER, (false, false)),
        (Side::Client, M::CLIENT, (true, true)),
        (Side::Client, M::BOTH, (true, true)),
    ] {
        let end = End::in_mode(side, mode);
        let of_connection = session(&end.connection(), 1);
        assert_eq!(establish(&end, of_connection), expected, "{side:?} {mode:?}");
        let mut connection = end.full_with_tickets(&[2]);
        assert_eq!(end.held().len(), if expected.0 { 2 } else { 0 });
        connection.shutdown().expect("established");
    }
}

/// Step 4: what was resumed at TLS 1.2 is known; in TLS 1.3 a ticket after a resumption is new.
#[test]
fn step_4_a_resumed_session_is_known() {
    let server = End::server();
    server.full(1).shutdown().expect("established");
    server.told();
    let mut by_id = server.asked_for(key(1));
    assert_eq!(by_id.established(TLS1_2).map(outcome), Ok((false, false)));
    assert!(server.told().is_empty());
    by_id.shutdown().expect("established");

    server.full_with_tickets(&[2]).shutdown().expect("established");
    let mut by_ticket = server.asked_for(common::ticket(2));
    assert!(by_ticket.is_reused());
    by_ticket.established(TLS1_3).expect("nothing to store");
    server.told();
    add_ticket(&mut by_ticket, 3);
    assert_eq!((server.told(), server.held()), (vec![Told::New(3)], vec![1, 3]));
}

/// Step 5 under NO_INTERNAL_STORE adds nothing; step 6 is done all the same.
#[test]
fn step_5_and_6_are_independent() {
    for (side, bit) in [(Side::Server, SessionCacheMode::SERVER), (Side::Client, SessionCacheMode::CLIENT)] {
        let end = End::in_mode(side, bit | SessionCacheMode::NO_INTERNAL_STORE);
        let of_connection = session(&end.connection(), 1);
        assert_eq!(establish(&end, of_connection), (false, true));
        end.full_with_tickets(&[2]).shutdown().expect("established");
        assert_eq!((end.held(), end.told()), (vec![], vec![Told::New(1), Told::New(2)]));
    }
}

/// Step 5 without a new callback.
#[test]
fn step_5_needs_no_callback() {
    let context = Arc::new(SessionContext::<u32>::new());
    let mut connection = Connection::server(Arc::clone(&context));
    begin(&mut connection);
    connection.new_session(session(&connection, 1));
    assert_eq!(connection.established(TLS1_2).map(outcome), Ok((true, false)));
    assert!(context.contains(&key(1)));
}

/// Steps 5 and 6 in order (K18): the victim's removal is told before the new session.
#[test]
fn step_5_evicts_before_step_6_announces() {
    let end = End::with(Side::Server, |builder| builder.capacity(1), |builder| builder);
    for n in [1, 2] {
        let of_connection = session(&end.connection(), n);
        assert_eq!(establish(&end, of_connection), (true, true));
    }
    assert_eq!(end.told(), [Told::New(1), Told::Left(1, EVICTED), Told::New(2)]);
    assert_eq!(end.context.stats().cache_full, 1);
}

/// What the new callback sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    is_current: bool,
    cached: usize,
    finished: u64,
}

/// What the new callbacks see of a connection in which `drive` establishes sessions.
fn seen_by_new(side: Side, mode: SessionCacheMode, drive: impl FnOnce(&mut Connection<u32>)) -> Vec<Seen> {
    let current = Arc::new(OnceLock::<CurrentSession<u32>>::new());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (inside, notes) = (Arc::clone(&current), Arc::clone(&seen));
    let context = SessionContext::builder().mode(mode).on_new(move |context, session| {
        let attached = inside.get().expect("set below").session_arc();
        let stats = context.stats();
        notes.lock().expect("no test panics in here").push(Seen {
            is_current: attached.is_some_and(|attached| Arc::ptr_eq(&attached, session)),
            cached: context.len(),
            finished: stats.accept_good + stats.connect_good,
        });
    });
    let context = Arc::new(context.build().expect("valid"));
    let mut connection = Connection::builder(context, side).build();
    current.set(connection.current_session()).expect("once");
    begin(&mut connection);
    drive(&mut connection);
    let seen = seen.lock().expect("no test panics in here");
    seen.clone()
}

/// K4 and the consequences of 2.11: in the new callback get0 is the same object, the cache has it already, and a TLS 1.2
/// handshake has not been counted while a TLS 1.3 one has.
#[test]
fn step_6_what_the_new_callback_sees() {
    for (side, mode) in [(Side::Client, SessionCacheMode::CLIENT), (Side::Server, SessionCacheMode::SERVER)] {
        let tls_1_2 = seen_by_new(side, mode, |connection| bed::finish_full(connection, 1));
        assert_eq!(tls_1_2, [Seen { is_current: true, cached: 1, finished: 0 }]);
        let tls_1_3 = seen_by_new(side, mode, |connection| {
            connection.established(TLS1_3).expect("nothing to store");
            add_ticket(connection, 1);
            add_ticket(connection, 2);
        });
        let seen = |cached| Seen { is_current: true, cached, finished: 1 };
        assert_eq!(tls_1_3, [seen(1), seen(2)]);
    }
}

/// R9: the new callback may remove what it was just told of; the handshake succeeds.
#[test]
fn step_6_the_callback_may_remove_the_session() {
    let log = Log::default();
    let told = log.clone();
    let context = SessionContext::builder()
        .on_new(|context, session: &Arc<Session<u32>>| assert!(context.remove_session(session)))
        .on_remove(move |_, session, reason| told.push(Told::Left(*session.payload(), reason)));
    let context = Arc::new(context.build().expect("valid"));
    let mut connection = Connection::server(Arc::clone(&context));
    begin(&mut connection);
    bed::finish_full(&mut connection, 1);
    assert!(connection.is_established() && !bed::is_resumable(&connection));
    assert!(context.is_empty());
    assert_eq!(log.take(), [Told::Left(1, RemoveReason::Removed)]);
}

/// A session that cannot be cached is refused, and the connection is established with it.
#[test]
fn a_session_that_is_too_large_is_refused() {
    let end = End::with(Side::Server, |builder| builder.max_session_bytes(8), |builder| builder);
    let mut connection = end.begun();
    connection.new_session(session(&connection, 1));
    let refused = connection.established(TLS1_2);
    assert!(matches!(refused, Err(AddError::TooLarge { limit: 8, .. })), "{refused:?}");
    assert!(connection.is_established());
    assert_eq!(bed::current(&connection), Some(1));
    assert!(end.told().is_empty());
    let mut tickets = end.full_with_tickets(&[]);
    let refused = tickets.ticket_issued(ticket(&tickets, 2), TicketKind::Stateful);
    assert!(refused.is_err());
    assert_eq!(bed::current(&tickets), Some(2));
}

/// The step goes to the session context, whatever the current context is.
#[test]
fn the_session_context_stores() {
    let (first, second) = (End::server(), End::in_mode(Side::Server, SessionCacheMode::OFF));
    let mut connection = first.begun();
    connection.set_context(Arc::clone(&second.context));
    connection.new_session(session(&connection, 1));
    assert_eq!(connection.established(TLS1_2).map(outcome), Ok((true, true)));
    assert_eq!((first.held(), second.held()), (vec![1], vec![]));
    assert_eq!(connection.next_session(key(2)).build(2_u32).id_context(), &www());
}

/// A clock that the context reads once more than that would show here: the session starts its life with the context.
#[test]
fn the_session_starts_with_the_contexts_clock_and_timeout() {
    let clock = ManualClock::new(common::at(5));
    let context = SessionContext::<u32>::builder().clock(clock).timeout(common::seconds(9)).build();
    let connection = Connection::client(Arc::new(context.expect("valid")));
    let session: Session<u32> = connection.next_session(key(1)).build(1);
    assert_eq!((session.time(), session.timeout()), (common::at(5), common::seconds(9)));
}
