//! The session half of an `SSL` object: one connection's session, from the offer to the close.
//!
//! A connection is told what the TLS stack does and does with its session what OpenSSL would; it performs no I/O and
//! reads no records. Rows in parentheses, such as (G13), are those of the table of OpenSSL's behaviour that the tests
//! follow.
#![forbid(unsafe_code)]

mod builder;
mod client;
#[allow(clippy::module_inception)]
mod connection;
mod current;
mod error;
mod establish;
#[cfg(resumption_loom)]
pub(crate) mod model;
mod server;
mod shutdown;
mod tickets;

pub use builder::ConnectionBuilder;
pub use client::Offer;
pub use connection::Connection;
pub use current::CurrentSession;
pub use error::{NotEstablished, RenegotiationPending, ResumeError};
pub use shutdown::{Closing, ShutdownState};
pub use tickets::TicketKind;
