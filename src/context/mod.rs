//! The session half of an `SSL_CTX`: modes, callbacks, the external store, counters.
#![forbid(unsafe_code)]

mod batch;
mod builder;
#[allow(clippy::module_inception)]
mod context;
mod events;
mod external;
mod lookup;
mod mode;
mod overtaken;
mod stats;
mod store;
mod upkeep;

pub use builder::ContextBuilder;
pub use context::SessionContext;
pub use external::{ExternalStore, NoExternalStore};
pub use mode::{SessionCacheMode, Side};
pub use stats::{HandshakeEvent, Outcomes, Stats};
pub use store::{Added, Stored};
pub use upkeep::{Driver, Tick};
