//! The external cache: a second tier behind the engine's table.

use crate::session::{Session, SessionKey};
use std::sync::Arc;

/// A second tier of sessions: another process, another host, a disk.
///
/// The context calls it from lookups, takes, stores and removals, on the thread that called the context, holding
/// nothing. It may be lossy: a session it has lost costs a full handshake. It must not be generous: [`take`] returns a
/// session to one caller only, however many processes ask.
///
/// Keys are not used again: of two sessions that had one key, the store may hold one and the table the other, and `take`
/// asks the store for the key, not for the session.
///
/// Handshake code calls lookups synchronously, so a store should answer from memory and do its I/O elsewhere. Keys that
/// are asked for come from the network and are untrusted. Sessions are secrets: seal what leaves the process and parse
/// what comes back as hostile input. Whatever a store returns, the context checks mark, id, version, session id context
/// and expiry itself.
///
/// [`take`]: Self::take
pub trait ExternalStore<T>: Send + Sync + 'static {
    /// The session with this key, if the store has it. Called when the table has not.
    fn get(&self, key: &SessionKey) -> Option<Arc<Session<T>>>;

    /// Removes the session with this key and returns it, to exactly one of all callers.
    fn take(&self, key: &SessionKey) -> Option<Arc<Session<T>>>;

    /// A session was established. `true` if the store now holds it (or will).
    fn put(&self, session: &Arc<Session<T>>) -> bool;

    /// The session with this key must not be resumed any more.
    fn remove(&self, key: &SessionKey);
}

/// No external store: holds nothing, finds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoExternalStore;

impl<T> ExternalStore<T> for NoExternalStore {
    fn get(&self, _: &SessionKey) -> Option<Arc<Session<T>>> {
        None
    }

    fn take(&self, _: &SessionKey) -> Option<Arc<Session<T>>> {
        None
    }

    fn put(&self, _: &Arc<Session<T>>) -> bool {
        false
    }

    fn remove(&self, _: &SessionKey) {}
}
