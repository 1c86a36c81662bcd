#![doc = include_str!("../README.md")]

mod cache;
mod clock;
mod connection;
mod context;
mod epoch;
mod error;
mod eviction;
mod session;
mod sync;
mod table;
mod thread_index;

/// What the models in `loom-tests` need and nobody else can see.
#[cfg(resumption_loom)]
#[doc(hidden)]
pub mod model {
    pub use crate::connection::model::{ModelSlot, Seen};
    pub use crate::sync::imp::{Rule, break_rule};
    pub use crate::table::model::ModelTable;
}

pub use cache::RemoveReason;
pub use clock::{Clock, CoarseClock, ManualClock, Timestamp};
pub use connection::{
    Closing, Connection, ConnectionBuilder, CurrentSession, NotEstablished, Offer, RenegotiationPending,
    ResumeError, ShutdownState, TicketKind,
};
pub use context::{
    Added, ContextBuilder, ExternalStore, HandshakeEvent, NoExternalStore, Outcomes, SessionCacheMode,
    SessionContext, Side, Stats, Stored,
};
pub use epoch::{Guard, idle, pin};
pub use error::{AddError, BuildError, CapacityError, SessionIdContextError, SessionIdError};
pub use session::{
    Payload, ProtocolVersion, Secret, Session, SessionBuilder, SessionId, SessionIdContext, SessionKey,
};
