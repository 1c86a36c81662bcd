//! The callbacks, and the one place that calls them.

use super::SessionContext;
use crate::cache::{Departures, RemoveReason};
use crate::session::{Session, SessionKey};
use std::any::Any;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

pub(super) type OnNew<T> = dyn Fn(&SessionContext<T>, &Arc<Session<T>>) + Send + Sync;
pub(super) type OnGet<T> = dyn Fn(&SessionContext<T>, &SessionKey) -> Option<Arc<Session<T>>> + Send + Sync;
pub(super) type OnRemove<T> = dyn Fn(&SessionContext<T>, &Arc<Session<T>>, RemoveReason) + Send + Sync;

/// The callbacks of a context.
pub(super) struct Events<T: crate::Payload> {
    pub(super) on_new: Option<Box<OnNew<T>>>,
    pub(super) on_get: Option<Box<OnGet<T>>>,
    pub(super) on_remove: Option<Box<OnRemove<T>>>,
}

impl<T: crate::Payload> Default for Events<T> {
    fn default() -> Self {
        Self { on_new: None, on_get: None, on_remove: None }
    }
}

impl<T: crate::Payload> SessionContext<T> {
    /// Whether a remove callback is installed.
    pub(crate) fn tells_of_removals(&self) -> bool {
        self.events.on_remove.is_some()
    }

    /// A list for what an operation removes, empty of cost when nobody listens.
    pub(super) fn departures(&self) -> Departures<T> {
        Departures::new(self.events.on_remove.is_some() || self.external.is_some())
    }

    /// Tells everyone concerned about the sessions that left. Called when the update is over and nothing is held.
    #[inline]
    pub(super) fn announce(&self, departures: Departures<T>) {
        if !departures.is_empty() {
            self.announce_all(departures);
        }
    }

    #[cold]
    fn announce_all(&self, mut departures: Departures<T>) {
        let mut panics = FirstPanic::default();
        for (session, reason) in departures.drain() {
            panics.run(|| self.announce_removal(&session, reason));
        }
        panics.resume();
    }

    /// A removal of this key begins.
    pub(super) fn begin_removal(&self, key: &SessionKey) {
        if self.asks_outside {
            self.removals.add(self.cache.hash_of(key));
        }
    }

    /// A removal of anything begins.
    pub(super) fn begin_removals(&self) {
        if self.asks_outside {
            self.removals.add_all();
        }
    }

    /// The outside has been told of the removal of this key: what a lookup has brought in meanwhile goes.
    fn end_removal(&self, key: &SessionKey) {
        if self.asks_outside {
            self.removals.add(self.cache.hash_of(key));
            self.cache.revoke_fetched(key, &self.pin());
        }
    }

    pub(super) fn announce_removal(&self, session: &Arc<Session<T>>, reason: RemoveReason) {
        let mut panics = FirstPanic::default();
        if let Some(external) = self.external.as_deref().filter(|_| reason.concerns_external()) {
            panics.run(|| external.remove(&session.key()));
        }
        if let Some(on_remove) = &self.events.on_remove {
            panics.run(|| on_remove(self, session, reason));
        }
        if reason.concerns_external() {
            self.end_removal(&session.key());
        }
        panics.resume();
    }
}

/// What keeps a callback that panics from leaving a removal half done: everything is run, then the first panic goes on.
#[derive(Default)]
pub(super) struct FirstPanic(Option<Box<dyn Any + Send>>);

impl FirstPanic {
    /// Runs `part`, of what has to be done whole.
    pub(super) fn run(&mut self, part: impl FnOnce()) {
        // Asserted: nothing of ours is half done while foreign code runs, and what is foreign is as if its caller had
        // been unwound.
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(part)) {
            match self.0 {
                None => self.0 = Some(payload),
                // Dropping it might panic again.
                Some(_) => mem::forget(payload),
            }
        }
    }

    /// Lets the first panic go on. In a thread that is unwinding already it ends here: it has been reported.
    pub(super) fn resume(self) {
        match self.0 {
            Some(payload) if std::thread::panicking() => mem::forget(payload),
            Some(payload) => panic::resume_unwind(payload),
            None => {}
        }
    }
}
