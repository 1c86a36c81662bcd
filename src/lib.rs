#![doc = include_str!("../README.md")]

mod cache;
#[cfg_attr(resumption_loom, allow(dead_code))] // models have no process
mod clock;
mod connection;
mod context;
mod epoch;
mod error;
mod eviction;
#[cfg_attr(resumption_loom, allow(dead_code))] // models have no process
mod ledger;
mod session;
mod sync;
mod table;
mod thread_index;
mod wheel;

/// What the models in `loom-tests` need and nobody else can see.
#[cfg(resumption_loom)]
#[doc(hidden)]
pub mod model {
    pub use crate::cache::ModelCapacity;
    pub use crate::connection::model::{ModelSlot, Seen};
    pub use crate::epoch::{
        ModelParticipant, ModelPlace, ModelStack, ModelStanding, abandon_model, end_of_model, with_collector,
    };
    pub use crate::ledger::ModelStash;
    pub use crate::sync::imp::{Half, Rule, Weakened, break_rule, narrate, narration, weaken};
    pub use crate::table::model::ModelTable;
    pub use crate::wheel::model::ModelWheel;
}

/// How `stress` breaks a rule, to show that a sanitizer finds that out.
#[cfg(all(resumption_planted, not(any(resumption_loom, fuzzing))))]
#[doc(hidden)]
pub mod planted {
    pub use crate::sync::imp::{Rule, break_rule};
}

/// What the fuzz targets in `fuzz` need and nobody else can see.
#[cfg(all(fuzzing, not(resumption_loom)))]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::sync::imp::{Rule, break_rule, on_step};
    pub use crate::table::fuzzing::{FuzzInsert, FuzzTable};
    pub use crate::wheel::fuzzing::FuzzWheel;
}

pub use cache::RemoveReason;
pub use clock::{Clock, CoarseClock, ManualClock, Timestamp};
pub use connection::{
    Closing, Connection, ConnectionBuilder, CurrentSession, NotEstablished, Offer, RenegotiationPending,
    ResumeError, ShutdownState, TicketKind,
};
pub use context::{
    Added, ContextBuilder, Driver, ExternalStore, HandshakeEvent, NoExternalStore, Outcomes,
    SessionCacheMode, SessionContext, Side, Stats, Stored, Tick,
};
pub use epoch::{Guard, idle, pin};
pub use error::{AddError, BuildError, CapacityError, SessionIdContextError, SessionIdError};
pub use ledger::Reclamation;
pub use session::{
    Payload, ProtocolVersion, Secret, Session, SessionBuilder, SessionId, SessionIdContext, SessionKey,
};

/// Chapters: how it works, what is promised, how to run it.
pub mod docs {
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}
    #[doc = include_str!("../docs/guarantees.md")]
    pub mod guarantees {}
    #[doc = include_str!("../docs/orderings.md")]
    pub mod orderings {}
    #[doc = include_str!("../docs/operating.md")]
    pub mod operating {}
}
