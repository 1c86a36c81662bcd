//! Values: session ids, keys, contexts, secrets and sessions. Nothing here knows a table.
#![forbid(unsafe_code)]

mod header;
mod id;
mod key;
mod payload;
mod secret;
#[allow(clippy::module_inception)]
mod session;

pub(crate) use header::{Header, Membership};
pub use id::{SessionId, SessionIdContext};
pub use key::{ProtocolVersion, SessionKey};
pub use payload::Payload;
pub use secret::Secret;
pub use session::{Session, SessionBuilder};
