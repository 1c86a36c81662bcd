//! Reading and setting a connection's session: the G rows of section 2.5, and promises A and B for connections.

#[path = "common/connection.rs"]
mod bed;
mod common;

use bed::{End, NO_ID, TLS1_2, TLS1_3, add_ticket, begin, current, finish_full, is_resumable, session};
use common::{Told, eventually, key, ticket, www};
use resumption::{
    Connection, CurrentSession, Offer, ProtocolVersion, RemoveReason, Session, SessionCacheMode,
    ShutdownState, Side, pin,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

const UNCLEAN: RemoveReason = RemoveReason::UncleanClose;

/// G1, G4: nothing before the first handshake.
#[test]
fn g1_g4_a_new_connection_has_no_session() {
    for end in [End::client(), End::server()] {
        let connection = end.connection();
        assert!(connection.session(&pin()).is_none());
        assert!(connection.session_arc().is_none());
    }
}

/// G2, G3: the very object that was set; get0 counts nothing, get1 counts one.
#[test]
fn g2_g3_get0_and_get1_give_the_object_that_was_set() {
    let mut connection = End::client().connection();
    let session = session(&connection, 1);
    connection.set_session(Some(Arc::clone(&session)));
    assert_eq!(Arc::strong_count(&session), 2);
    let guard = pin();
    let borrowed = connection.session(&guard).expect("it was set");
    assert!(std::ptr::eq(borrowed, &*session));
    assert_eq!(Arc::strong_count(&session), 2);
    let counted = connection.session_arc().expect("it was set");
    assert!(Arc::ptr_eq(&counted, &session));
    assert_eq!(Arc::strong_count(&session), 3);
}

/// G5: a TLS 1.3 client has a session that is not resumable until a ticket comes.
#[test]
fn g5_before_the_first_ticket_the_session_is_not_resumable() {
    let end = End::client();
    let mut connection = end.full_with_tickets(&[]);
    assert_eq!(current(&connection), Some(NO_ID));
    assert!(!is_resumable(&connection));
    assert!(end.held().is_empty() && end.told().is_empty());
    add_ticket(&mut connection, 1);
    assert!(is_resumable(&connection));
}

/// G6: the object changes; the one before loses the connection's count, and here it outlives a borrow under a guard.
#[test]
fn g6_a_ticket_replaces_the_session_under_a_borrow() {
    let end = End::in_mode(Side::Client, SessionCacheMode::OFF);
    let mut connection = end.full_with_tickets(&[1]);
    let first = Arc::downgrade(&connection.session_arc().expect("a ticket has come"));
    let guard = pin();
    let borrowed = connection.session(&guard).expect("a ticket has come");
    for n in 2..100 {
        add_ticket(&mut connection, n);
    }
    resumption::idle();
    assert_eq!((*borrowed.payload(), borrowed.key()), (1, ticket(1)));
    assert_eq!(current(&connection), Some(99));
    drop(connection);
    resumption::idle();
    assert_eq!(*borrowed.payload(), 1);
    drop(guard);
    assert!(eventually(|| first.upgrade().is_none()), "nobody else holds the first ticket's session");
}

/// Promise B: what get1 returned is the caller's.
#[test]
fn g6_a_counted_session_outlives_its_connection() {
    let end = End::in_mode(Side::Client, SessionCacheMode::OFF);
    let mut connection = end.full_with_tickets(&[1]);
    let first = connection.session_arc().expect("a ticket has come");
    add_ticket(&mut connection, 2);
    drop(connection);
    assert_eq!(*first.payload(), 1);
    assert!(eventually(|| Arc::strong_count(&first) == 1));
}

/// Promise I: a thread that goes to sleep after a ticket, or after its connection, keeps no session from being freed.
#[test]
fn promise_i_an_idle_thread_keeps_no_session() {
    let end = End::in_mode(Side::Client, SessionCacheMode::OFF);
    let (to_main, from_thread) = mpsc::channel();
    let (wake, asleep) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let end = &end;
        scope.spawn(move || {
            let mut connection = end.full_with_tickets(&[1]);
            let first = connection.session_arc().map(|session| Arc::downgrade(&session));
            add_ticket(&mut connection, 2);
            let second = connection.session_arc().map(|session| Arc::downgrade(&session));
            drop(connection);
            to_main.send([first, second]).expect("main waits");
            let _ = asleep.recv();
        });
        for session in from_thread.recv().expect("the thread sends") {
            let session = session.expect("a ticket has come");
            assert!(eventually(|| session.upgrade().is_none()), "freed while its thread sleeps");
        }
        drop(wake);
    });
}

/// G7: the last ticket that came.
#[test]
fn g7_a_client_has_the_session_of_the_last_ticket() {
    assert_eq!(current(&End::client().full_with_tickets(&[1, 2, 3])), Some(3));
}

/// G8: the last ticket that was built; the others are in the cache.
#[test]
fn g8_a_server_has_the_session_of_the_last_ticket_built() {
    let end = End::server();
    let connection = end.full_with_tickets(&[1, 2, 3]);
    assert_eq!(current(&connection), Some(3));
    assert_eq!(end.held(), [1, 2, 3]);
}

/// G9: no ticket, no resumable session.
#[test]
fn g9_a_server_without_tickets_has_a_session_that_is_not_resumable() {
    let connection = End::server().full_with_tickets(&[]);
    assert_eq!(current(&connection), Some(NO_ID));
    assert!(!is_resumable(&connection));
}

/// G10: a TLS 1.2 server that sent a stateless ticket has a session without an id.
#[test]
fn g10_a_tls_1_2_server_that_sends_tickets_has_a_session_that_is_not_resumable() {
    let end = End::server();
    let mut connection = end.begun();
    connection.new_session_without_id(TLS1_2, NO_ID);
    let sent = session(&connection, 1);
    connection.ticket_issued(sent, resumption::TicketKind::Stateless).expect("nothing to store");
    connection.established(TLS1_2).expect("nothing to store");
    assert_eq!(current(&connection), Some(NO_ID));
    assert!(!is_resumable(&connection));
    assert!(end.held().is_empty() && end.told().is_empty());
}

/// G11, G12: the session before is given back; none can be set.
#[test]
fn g11_g12_setting_gives_the_session_before_back() {
    let end = End::client();
    let mut connection = end.connection();
    let (first, second) = (session(&connection, 1), session(&connection, 2));
    connection.set_session(Some(Arc::clone(&first)));
    connection.set_session(Some(Arc::clone(&second)));
    assert_eq!(current(&connection), Some(2));
    assert!(eventually(|| Arc::strong_count(&first) == 1));
    connection.set_session(None);
    assert_eq!(current(&connection), None);
    assert!(eventually(|| Arc::strong_count(&second) == 1));
    assert!(first.is_resumable() && second.is_resumable());
    assert!(end.told().is_empty());
}

/// G13: an open connection loses its session first.
#[test]
fn g13_setting_on_an_open_connection_removes_its_session() {
    let end = End::client();
    let mut connection = end.full(1);
    let old = connection.session_arc().expect("established");
    let new = session(&connection, 2);
    end.told();
    connection.set_session(Some(Arc::clone(&new)));
    assert!(!old.is_resumable() && new.is_resumable());
    assert_eq!(end.told(), [Told::Left(1, UNCLEAN)]);
    assert!(end.held().is_empty());
    assert_eq!(current(&connection), Some(2));
}

/// G13: one that has sent its close_notify does not; G12 with a session that is closed.
#[test]
fn g13_setting_on_a_clean_connection_removes_nothing() {
    let end = End::client();
    let mut connection = end.full(1);
    end.told();
    connection.set_shutdown(ShutdownState::SENT);
    connection.set_session(None);
    assert_eq!((end.told(), end.held()), (vec![], vec![1]));
}

/// G14, G15: the same object again: removed and marked, attached, and removed once more by the drop.
#[test]
fn g14_g15_setting_the_same_session_again_removes_it() {
    let end = End::client();
    let mut connection = end.full(1);
    end.told();
    let same = connection.session_arc();
    connection.set_session(same);
    assert_eq!(current(&connection), Some(1));
    assert!(!is_resumable(&connection));
    assert_eq!((end.told(), end.held()), (vec![Told::Left(1, UNCLEAN)], vec![]));
    drop(connection);
    assert_eq!(end.told(), [Told::Left(1, UNCLEAN)]);
}

/// G16: accepted, and silently dropped when the handshake begins.
#[test]
fn g16_a_session_that_is_not_resumable_is_not_offered() {
    let end = End::client();
    let mut connection = end.connection();
    let session = session(&connection, 1);
    session.mark_not_resumable();
    connection.set_session(Some(Arc::clone(&session)));
    assert_eq!(current(&connection), Some(1));
    assert!(connection.connect(&Offer::default()).is_none());
    assert_eq!(current(&connection), None);
    finish_full(&mut connection, 2);
    assert!(!connection.is_reused());
    assert_eq!(end.context.stats().misses, 0);
    assert_eq!(end.told(), [Told::New(2)]);
}

/// G18: the reference to the new session counts before the old one goes, so they may be one and the last.
#[test]
fn g18_the_only_reference_can_be_set_again() {
    let end = End::in_mode(Side::Client, SessionCacheMode::OFF);
    let mut connection = end.full(1);
    let only = connection.session_arc();
    connection.set_session(None);
    connection.set_session(only);
    assert_eq!(current(&connection), Some(1));
}

/// G20: on a server it is mechanical: what is set is replaced by what the handshake brings.
#[test]
fn g20_setting_on_a_server_has_no_effect_on_resumption() {
    let end = End::server();
    let mut connection = end.connection();
    let set = session(&connection, 1);
    connection.set_session(Some(set));
    connection.accept();
    assert!(!connection.is_reused());
    finish_full(&mut connection, 2);
    assert_eq!((current(&connection), end.held()), (Some(2), vec![2]));
}

/// G21: two connections share one object.
#[test]
fn g21_a_session_can_be_copied_to_another_connection() {
    let end = End::client();
    let (first, mut second) = (end.full(1), end.connection());
    second.set_session(first.session_arc());
    let guard = pin();
    let both = (first.session(&guard).expect("set"), second.session(&guard).expect("set"));
    assert!(std::ptr::eq(both.0, both.1));
}

/// G22: reset by clear and by each new handshake.
#[test]
fn g22_reused_is_of_the_last_handshake() {
    let end = End::client();
    let full = end.full(1);
    assert!(!full.is_reused());
    let mut connection = end.resumed(&full.session_arc().expect("established"));
    assert!(connection.is_reused());
    begin(&mut connection); // a renegotiation
    assert!(!connection.is_reused());
    connection.offer_accepted().expect("it was offered again");
    connection.established(TLS1_2).expect("nothing to store");
    assert!(connection.is_reused());
    connection.set_shutdown(ShutdownState::SENT);
    connection.clear().expect("no renegotiation is pending");
    assert!(!connection.is_reused());
}

/// The session of a connection is there for other connections of the server only as long as the cache says so.
#[test]
fn a_server_attaches_the_very_object_of_the_cache() {
    let end = End::server();
    let full = end.full(1);
    let resumed = end.asked_for(key(1));
    assert!(resumed.is_reused());
    let both = (full.session_arc().expect("set"), resumed.session_arc().expect("set"));
    assert!(Arc::ptr_eq(&both.0, &both.1));
}

/// Promise A across threads: one thread drives the connection through tickets, others borrow.
#[test]
fn promise_a_threads_read_while_tickets_come() {
    const TICKETS: u32 = 20_000;
    let end = End::in_mode(Side::Client, SessionCacheMode::OFF);
    let mut connection = end.full_with_tickets(&[1]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (handle, done) = (connection.current_session(), &done);
            scope.spawn(move || read_until(&handle, done));
        }
        for n in 2..TICKETS {
            add_ticket(&mut connection, n);
        }
        drop(connection);
        done.store(true, Ordering::Release);
    });
}

/// Reads until told to stop; what is read never changes and never goes backwards.
fn read_until(handle: &CurrentSession<u32>, done: &AtomicBool) {
    let mut last = 0;
    while !done.load(Ordering::Acquire) {
        let guard = pin();
        let Some(first) = handle.session(&guard) else { continue };
        let n = *first.payload();
        assert!(n >= last, "{n} after {last}");
        let later = handle.session_arc().map_or(n, |session| *session.payload());
        assert!(later >= n);
        assert_eq!((*first.payload(), first.key(), *first.id_context()), (n, ticket(n), www()));
        last = later;
    }
    assert!(handle.session_arc().is_none(), "the connection is gone");
}

/// A connection moves between threads, its handle is shared by them.
#[test]
fn a_connection_is_send_and_its_handle_is_sync() {
    fn is_send<S: Send>() {}
    fn is_sync<S: Send + Sync>() {}
    is_send::<Connection<u32>>();
    is_sync::<CurrentSession<u32>>();
    let mut connection = End::client().full_with_tickets(&[1]);
    let moved = std::thread::spawn(move || {
        add_ticket(&mut connection, 2);
        connection
    });
    assert_eq!(current(&moved.join().expect("it does not panic")), Some(2));
}

/// `Debug` prints no payload and no id in full.
#[test]
fn debug_prints_no_secret() {
    let end = End::client();
    let mut connection = end.connection();
    let secret = Arc::new(Session::<u32>::builder(key(1)).build(0xdead_beef));
    connection.set_session(Some(secret));
    let text = format!("{connection:?} {:?} {:?}", connection.current_session(), end.connections);
    let id = "5a, ".repeat(8);
    assert!(!text.contains("3735928559") && !text.contains(&id) && !text.contains("5a5a5a5a5a5a"), "{text}");
}

/// Versions have tickets or they have not.
#[test]
fn dtls_follows_its_tls_version() {
    assert!(ProtocolVersion::DTLS1_3.has_tickets_only() && TLS1_3.has_tickets_only());
    let end = End::client();
    let mut connection = end.begun();
    let key = common::key_of(ProtocolVersion::DTLS1_2, 1);
    let session = Arc::new(connection.next_session(key).build(1));
    connection.new_session(session);
    connection.established(ProtocolVersion::DTLS1_2).expect("it fits");
    assert_eq!(end.told(), [Told::New(1)]);
}
