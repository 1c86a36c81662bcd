//! What must not get out into C.

use openssl::error::ErrorStack;
use resumption::{Secret, SessionContext};
use std::any::Any;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Keeps panics from crossing into C, counts what goes wrong, and leaves OpenSSL's queue of errors as it was: it may
/// hold what the application is about to be told.
#[derive(Clone)]
pub(crate) struct Containment {
    faults: Arc<AtomicU64>,
}

impl Containment {
    pub(crate) fn new(faults: &Arc<AtomicU64>) -> Self {
        Self { faults: Arc::clone(faults) }
    }

    pub(crate) fn run<R>(&self, work: impl FnOnce() -> Result<R, ()>) -> Option<R> {
        let pending = ErrorStack::get();
        let result = caught(work).and_then(Result::ok);
        if result.is_none() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        drop(ErrorStack::get());
        pending.put();
        result
    }
}

/// What `work` returns, if it does.
pub(crate) fn caught<R>(work: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(work)).map_err(discard).ok()
}

/// What a panic carries may be anything, and may panic when it is dropped.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}

/// A share in a cache that is kept in an `SSL_CTX`.
///
/// `SSL_CTX_free` may be the last to let go of the cache, which then tells its remove callback of every session: that
/// is a user's code, called from C.
pub(crate) struct Share {
    /// There until it is dropped.
    cache: Option<Arc<SessionContext<Secret>>>,
    containment: Containment,
}

impl Share {
    pub(crate) fn new(cache: &Arc<SessionContext<Secret>>, containment: Containment) -> Self {
        Self { cache: Some(Arc::clone(cache)), containment }
    }
}

impl Deref for Share {
    type Target = SessionContext<Secret>;

    fn deref(&self) -> &Self::Target {
        match &self.cache {
            Some(cache) => cache,
            None => unreachable!("only drop takes the cache away"),
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let cache = self.cache.take();
        self.containment.run(|| {
            drop(cache);
            Ok(())
        });
    }
}
