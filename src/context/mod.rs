//! The session half of an `SSL_CTX`: modes, callbacks, the external store, counters.
#![forbid(unsafe_code)]

mod builder;
#[allow(clippy::module_inception)]
mod context;
mod events;
mod external;
mod lookup;
mod mode;
mod stats;
mod store;

pub use builder::ContextBuilder;
pub use context::SessionContext;
pub use external::{ExternalStore, NoExternalStore};
pub use mode::{SessionCacheMode, Side};
pub use stats::{HandshakeEvent, Outcomes, Stats};
pub use store::{Added, Stored};
