//! What the tests of connections share: one end of a wire, with the context, clock and log of `common::Bed`, and whole
//! handshakes in one call. The other end is played by the test.
#![allow(dead_code, unreachable_pub)] // every test binary uses a part of it

use crate::common::{Bed, Log, Told};
use resumption::{
    Connection, ConnectionBuilder, ContextBuilder, ManualClock, Offer, ProtocolVersion, Session,
    SessionCacheMode, SessionContext, SessionKey, Side, TicketKind,
};
use std::sync::Arc;

pub const TLS1_2: ProtocolVersion = ProtocolVersion::TLS1_2;
pub const TLS1_3: ProtocolVersion = ProtocolVersion::TLS1_3;

/// The payload of a session that has no id.
pub const NO_ID: u32 = 0;

/// What makes connections of one side.
pub struct End {
    pub context: Arc<SessionContext<u32>>,
    pub clock: ManualClock,
    pub log: Log,
    pub connections: ConnectionBuilder<u32>,
}

impl End {
    /// Clients whose context stores their sessions: mode CLIENT.
    pub fn client() -> Self {
        Self::with(Side::Client, |builder| builder.mode(SessionCacheMode::CLIENT), |builder| builder)
    }

    /// Servers whose context stores their sessions: mode SERVER.
    pub fn server() -> Self {
        Self::with(Side::Server, |builder| builder, |builder| builder)
    }

    /// An end of one side in a mode.
    pub fn in_mode(side: Side, mode: SessionCacheMode) -> Self {
        Self::with(side, |builder| builder.mode(mode), |builder| builder)
    }

    /// An end whose context is in the mode of its side, with other connections.
    pub fn built(side: Side, build: impl FnOnce(ConnectionBuilder<u32>) -> ConnectionBuilder<u32>) -> Self {
        let mode = if side == Side::Client { SessionCacheMode::CLIENT } else { SessionCacheMode::SERVER };
        Self::with(side, |builder| builder.mode(mode), build)
    }

    pub fn with(
        side: Side,
        configure: impl FnOnce(ContextBuilder<u32>) -> ContextBuilder<u32>,
        build: impl FnOnce(ConnectionBuilder<u32>) -> ConnectionBuilder<u32>,
    ) -> Self {
        let Bed { context, clock, log } = Bed::with(|builder, _| configure(builder));
        let context = Arc::new(context);
        let connections = Connection::builder(Arc::clone(&context), side).id_context(crate::common::www());
        Self { context, clock, log, connections: build(connections) }
    }

    pub fn connection(&self) -> Connection<u32> {
        self.connections.build()
    }

    /// A connection whose handshake has begun, and offers nothing.
    pub fn begun(&self) -> Connection<u32> {
        let mut connection = self.connection();
        begin(&mut connection);
        connection
    }

    /// An established connection of TLS 1.2, after a full handshake that started session `n`.
    pub fn full(&self, n: u32) -> Connection<u32> {
        let mut connection = self.begun();
        finish_full(&mut connection, n);
        connection
    }

    /// An established connection of TLS 1.3, after a full handshake and these tickets.
    pub fn full_with_tickets(&self, tickets: &[u32]) -> Connection<u32> {
        let mut connection = self.begun();
        connection.new_session_without_id(TLS1_3, NO_ID);
        connection.established(TLS1_3).expect("nothing to store");
        tickets.iter().for_each(|&n| add_ticket(&mut connection, n));
        connection
    }

    /// A client's connection that has offered `session` and whose offer was accepted.
    pub fn accepted(&self, session: &Arc<Session<u32>>) -> Connection<u32> {
        let mut connection = self.connection();
        connection.set_session(Some(Arc::clone(session)));
        let offered = connection.connect(&Offer::default()).expect("it can be offered");
        assert!(Arc::ptr_eq(&offered, session));
        connection.offer_accepted().expect("it was offered");
        connection
    }

    /// A client's connection that has resumed `session`.
    pub fn resumed(&self, session: &Arc<Session<u32>>) -> Connection<u32> {
        let mut connection = self.accepted(session);
        connection.established(session.version()).expect("nothing to store");
        connection
    }

    /// A server's connection whose client has asked for `key`; whether it is resumed shows on it.
    pub fn asked_for(&self, key: SessionKey) -> Connection<u32> {
        let mut connection = self.begun();
        connection.resume(key.version(), key.id().as_bytes()).expect("no conflict of settings");
        connection
    }

    pub fn told(&self) -> Vec<Told> {
        self.log.take()
    }

    /// The numbers of the sessions in the cache, ascending.
    pub fn held(&self) -> Vec<u32> {
        let mut held = Vec::new();
        self.context.for_each(&self.context.pin(), |session| held.push(*session.payload()));
        held.sort_unstable();
        held
    }
}

pub fn begin(connection: &mut Connection<u32>) {
    match connection.side() {
        Side::Client => drop(connection.connect(&Offer::default())),
        Side::Server => connection.accept(),
    }
}

/// TLS 1.2 session `n` for this connection.
pub fn session(connection: &Connection<u32>, n: u32) -> Arc<Session<u32>> {
    Arc::new(connection.next_session(crate::common::key(n)).build(n))
}

/// TLS 1.3 session `n` for this connection.
pub fn ticket(connection: &Connection<u32>, n: u32) -> Arc<Session<u32>> {
    Arc::new(connection.next_session(crate::common::ticket(n)).build(n))
}

/// A full TLS 1.2 handshake that has begun starts session `n` and finishes.
pub fn finish_full(connection: &mut Connection<u32>, n: u32) {
    let session = session(connection, n);
    connection.new_session(session);
    connection.established(TLS1_2).expect("it fits");
}

/// Ticket `n` comes, or goes as a stateful one.
pub fn add_ticket(connection: &mut Connection<u32>, n: u32) {
    let session = ticket(connection, n);
    let stored = match connection.side() {
        Side::Client => connection.ticket_received(session),
        Side::Server => connection.ticket_issued(session, TicketKind::Stateful),
    };
    stored.expect("it fits");
}

/// The number of the connection's session.
pub fn current(connection: &Connection<u32>) -> Option<u32> {
    connection.session(&resumption::pin()).map(|session| *session.payload())
}

/// Whether the connection has a session that may be resumed.
pub fn is_resumable(connection: &Connection<u32>) -> bool {
    connection.session(&resumption::pin()).is_some_and(Session::is_resumable)
}
