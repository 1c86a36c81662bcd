//! The end of a connection: close_notify, alerts, the end of the transport, and drop.

use super::Connection;
use super::client::Proposal;
use super::connection::{Origin, State};
use super::{NotEstablished, RenegotiationPending};
use crate::cache::RemoveReason;
use crate::context::Side;
use crate::session::Payload;
use std::fmt;
use std::ops::BitOr;

/// Which close_notify alerts were exchanged: the bits of `SSL_set_shutdown(3)`, with the same values.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ShutdownState(u8);

impl ShutdownState {
    /// The connection is open in both directions.
    pub const NONE: Self = Self(0);
    /// `SSL_SENT_SHUTDOWN`: our close_notify was sent, or we pretend so. What makes a session survive its connection.
    pub const SENT: Self = Self(1);
    /// `SSL_RECEIVED_SHUTDOWN`: the peer's close_notify, or a fatal alert, has come.
    pub const RECEIVED: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    /// The bits, as OpenSSL numbers them.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for ShutdownState {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for ShutdownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["NONE", "SENT", "RECEIVED", "SENT | RECEIVED"][usize::from(self.0 & 3)])
    }
}

/// How far the close of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// Our close_notify is on its way; the peer's has not come. 0 of `SSL_shutdown(3)`.
    Sent,
    /// Both were exchanged. 1 of `SSL_shutdown(3)`.
    Complete,
}

impl<T: Payload> Connection<T> {
    /// Closes an established connection (`SSL_shutdown(3)`): the TLS stack sends its close_notify now, if it has not
    /// yet. The session is safe from this moment, even if the write fails (E6). A
    /// [quiet](crate::ConnectionBuilder::quiet_shutdown) connection sends nothing and is complete at once (E8).
    ///
    /// # Errors
    ///
    /// [`NotEstablished`], with nothing changed, during a handshake, before the first and after a failure (E7).
    pub fn shutdown(&mut self) -> Result<Closing, NotEstablished> {
        if self.state != State::Established {
            return Err(NotEstablished);
        }
        let sent = if self.settings.quiet_shutdown { ShutdownState::BOTH } else { ShutdownState::SENT };
        self.shutdown = self.shutdown | sent;
        let complete = self.shutdown.contains(ShutdownState::RECEIVED);
        Ok(if complete { Closing::Complete } else { Closing::Sent })
    }

    /// Which close_notify alerts were exchanged (`SSL_get_shutdown(3)`).
    pub fn shutdown_state(&self) -> ShutdownState {
        self.shutdown
    }

    /// Sets which close_notify alerts count as exchanged, all bits at once (`SSL_set_shutdown(3)`). With
    /// [`SENT`](ShutdownState::SENT) the session survives without any I/O (E9).
    pub fn set_shutdown(&mut self, state: ShutdownState) {
        self.shutdown = state;
    }

    /// The peer's close_notify has come. By itself it saves no session: ours must follow (E10).
    pub fn close_notify_received(&mut self) {
        self.shutdown = self.shutdown | ShutdownState::RECEIVED;
    }

    /// A fatal alert goes out: the current session is removed and marked, be it established, proposed or resumed (E11,
    /// H12). After a close_notify of our own the alert is suppressed and the session spared. The connection has failed.
    pub fn fatal_alert_sent(&mut self) {
        if self.has_begun() && !self.shutdown.contains(ShutdownState::SENT) {
            self.punish(RemoveReason::FatalAlert);
        }
        self.fail();
    }

    /// A fatal alert has come, which in TLS 1.3 is any but close_notify and user_canceled: the current session is
    /// removed and marked, even after a close_notify of our own (E12). The connection has failed.
    pub fn fatal_alert_received(&mut self) {
        if self.has_begun() {
            self.punish(RemoveReason::FatalAlert);
        }
        self.shutdown = self.shutdown | ShutdownState::RECEIVED;
        self.fail();
    }

    /// The transport has ended without a close_notify: a truncation, and since OpenSSL 3.0 a fatal error (E14). The
    /// current session is removed and marked, unless our own close_notify was sent, and the connection has failed.
    ///
    /// If it was built to [keep](crate::ConnectionBuilder::keep_session_on_eof) the session, this is as good as a
    /// close_notify: nothing is removed now or when the connection is dropped.
    pub fn eof(&mut self) {
        if self.settings.keep_session_on_eof {
            self.excused = true;
            return self.close_notify_received();
        }
        if self.has_begun() && !self.shutdown.contains(ShutdownState::SENT) {
            self.punish(RemoveReason::UncleanClose);
        }
        self.fail();
    }

    /// Makes the connection new again for another handshake (`SSL_clear(3)`), on the same side and with the same
    /// settings. A session that ended cleanly stays and is offered next (E3); an open one is removed, marked and
    /// dropped (E4).
    ///
    /// # Errors
    ///
    /// While a renegotiation is pending: the session has been dealt with and the close_notify bits are reset, but the
    /// connection stays in its renegotiation (E5).
    pub fn clear(&mut self) -> Result<(), RenegotiationPending> {
        if self.end_open_session() {
            self.attach(None, Origin::Shared);
        }
        self.reused = false;
        self.shutdown = ShutdownState::NONE;
        if self.renegotiating {
            return Err(RenegotiationPending);
        }
        self.start_over();
        Ok(())
    }

    /// Makes this a client's connection whose handshake has not begun (`SSL_set_connect_state(3)`). The session stays
    /// attached, and in the cache, even if the connection was open (E15).
    pub fn set_connect_state(&mut self) {
        self.set_side(Side::Client);
    }

    /// As [`set_connect_state`](Self::set_connect_state), for a server's connection (`SSL_set_accept_state(3)`).
    pub fn set_accept_state(&mut self) {
        self.set_side(Side::Server);
    }

    fn set_side(&mut self, side: Side) {
        self.side = side;
        self.shutdown = ShutdownState::NONE;
        self.start_over();
    }

    fn start_over(&mut self) {
        self.state = State::Before;
        self.proposal = Proposal::None;
        self.excused = false;
        self.renegotiating = false;
    }

    fn fail(&mut self) {
        self.state = State::Failed;
        self.proposal = Proposal::None;
    }

    /// Removes the current session if the connection is open: established, and without a close_notify of its own.
    /// `true` if it was and had a session.
    pub(super) fn end_open_session(&mut self) -> bool {
        let is_open =
            self.state == State::Established && !self.shutdown.contains(ShutdownState::SENT) && !self.excused;
        let Some(session) = self.session_arc().filter(|_| is_open) else { return false };
        if self.origin != Origin::WithoutId {
            self.session_context.remove_session_because(&session, RemoveReason::UncleanClose);
        }
        true
    }

    fn punish(&self, reason: RemoveReason) {
        if self.settings.spare_before_authentication && !self.authenticated {
            return;
        }
        if let Some(session) = self.session_with_id() {
            self.session_context.remove_session_because(&session, reason);
        }
    }
}

impl<T: Payload> Drop for Connection<T> {
    /// `SSL_free(3)`: an open connection takes its session out of the cache (E1, E2).
    fn drop(&mut self) {
        self.end_open_session();
        // Handles may outlive the connection; its session does not wait for them.
        self.attach(None, Origin::Shared);
    }
}
