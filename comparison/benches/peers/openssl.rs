//! OpenSSL's own cache, the one inside every `SSL_CTX`, by its calls. Here is the only `unsafe` code of this package.
//!
//! What is asked of OpenSSL is less than what is asked of the others: a lookup tells that the session is there and checks
//! neither its context nor its expiry, and returns nothing; and sessions that are used once are made beforehand.

use crate::load::{Item, NOW};
use crate::worker::{Shared, Worker};
use libc::{c_int, c_long, c_uchar, c_uint};
use openssl_sys::{
    SSL, SSL_CTX, SSL_CTX_add_session, SSL_CTX_ctrl, SSL_CTX_free, SSL_CTX_new, SSL_CTX_remove_session,
    SSL_METHOD, SSL_SESSION, SSL_SESSION_free, SSL_free, SSL_new,
};
use resumption::{SessionKey, Timestamp};
use std::ptr;

// Public functions of OpenSSL 1.1.1 and newer that openssl-sys does not declare.
unsafe extern "C" {
    fn SSL_SESSION_new() -> *mut SSL_SESSION;
    fn SSL_SESSION_set1_id(session: *mut SSL_SESSION, id: *const c_uchar, length: c_uint) -> c_int;
    fn SSL_SESSION_set_time(session: *mut SSL_SESSION, time: c_long) -> c_long;
    fn SSL_SESSION_set_timeout(session: *mut SSL_SESSION, timeout: c_long) -> c_long;
    fn SSL_SESSION_set_protocol_version(session: *mut SSL_SESSION, version: c_int) -> c_int;
    fn SSL_CTX_flush_sessions(context: *mut SSL_CTX, time: c_long);
    fn SSL_has_matching_session_id(ssl: *const SSL, id: *const c_uchar, length: c_uint) -> c_int;
    fn TLSv1_2_method() -> *const SSL_METHOD;
}

const SSL_CTRL_SET_SESS_CACHE_SIZE: c_int = 42;
const SSL_CTRL_SESS_NUMBER: c_int = 20;
const TLS1_2: c_int = 0x0303;

/// A session, counted.
struct Counted(*mut SSL_SESSION);

// SAFETY: an SSL_SESSION's count is atomic, and the benchmark changes nothing else of a session once it is made; the
// links that the cache keeps in it are changed under the cache's lock.
unsafe impl Send for Counted {}
// SAFETY: as above.
unsafe impl Sync for Counted {}

impl Counted {
    fn new(item: &Item, expiry: Timestamp) -> Self {
        let id = item.key.id().as_bytes();
        let lifetime = expiry.as_unix() - NOW.as_unix();
        // SAFETY: the session was made just now and nobody else has it; `id` is as long as is said, at most 32 bytes.
        unsafe {
            let session = SSL_SESSION_new();
            assert!(!session.is_null(), "memory");
            SSL_SESSION_set_protocol_version(session, TLS1_2);
            SSL_SESSION_set_time(session, NOW.as_unix() as c_long);
            SSL_SESSION_set_timeout(session, lifetime as c_long);
            assert_eq!(SSL_SESSION_set1_id(session, id.as_ptr(), id.len() as c_uint), 1);
            Self(session)
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // SAFETY: this is one count of the session, given back once.
        unsafe { SSL_SESSION_free(self.0) };
    }
}

/// An `SSL_CTX`, and the sessions that were made beforehand, each at its key's index.
pub(crate) struct OpenSsl {
    context: *mut SSL_CTX,
    made: Vec<Counted>,
}

// SAFETY: an SSL_CTX may be used by several threads; its cache has a lock of its own.
unsafe impl Send for OpenSsl {}
// SAFETY: as above.
unsafe impl Sync for OpenSsl {}

impl OpenSsl {
    /// With a cache for so many sessions.
    pub(crate) fn new(capacity: usize) -> Self {
        // SAFETY: the method is static; the context is checked and freed once, by Drop.
        let context = unsafe { SSL_CTX_new(TLSv1_2_method()) };
        assert!(!context.is_null(), "memory");
        // OpenSSL 3 holds one session less than it says.
        let size = capacity as c_long + 1;
        // SAFETY: the control takes a number and no pointer.
        unsafe { SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_SIZE, size, ptr::null_mut()) };
        Self { context, made: Vec::new() }
    }

    /// Makes the sessions of these items, in order of their index. From now on inserts add these.
    pub(crate) fn prepare(&mut self, items: &[Item]) {
        self.made = items.iter().map(|item| Counted::new(item, crate::load::LATER)).collect();
    }

    pub(crate) fn len(&self) -> usize {
        // SAFETY: the control takes nothing and returns the number of sessions.
        (unsafe { SSL_CTX_ctrl(self.context, SSL_CTRL_SESS_NUMBER, 0, ptr::null_mut()) }) as usize
    }

    /// `SSL_CTX_flush_sessions`.
    pub(crate) fn expire(&self, now: Timestamp) {
        // OpenSSL removes what expires before the given time, the engine what expired before now: one second's difference.
        // SAFETY: the context is alive.
        unsafe { SSL_CTX_flush_sessions(self.context, now.as_unix() as c_long + 1) };
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed this once.
        unsafe { SSL_CTX_free(self.context) };
    }
}

pub(crate) struct OpenSslWorker<'a> {
    cache: &'a OpenSsl,
    // A connection, which a lookup needs for its version.
    ssl: *mut SSL,
}

impl Drop for OpenSslWorker<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `worker`, and freed this once.
        unsafe { SSL_free(self.ssl) };
    }
}

impl Shared for OpenSsl {
    type Worker<'a> = OpenSslWorker<'a>;

    fn worker(&self) -> OpenSslWorker<'_> {
        // SAFETY: the context is alive.
        let ssl = unsafe { SSL_new(self.context) };
        assert!(!ssl.is_null(), "memory");
        OpenSslWorker { cache: self, ssl }
    }
}

impl Worker for OpenSslWorker<'_> {
    fn find(&mut self, key: &SessionKey) -> u64 {
        let id = key.id().as_bytes();
        // SAFETY: the connection is alive and used by this thread only; the id is as long as is said.
        unsafe { SSL_has_matching_session_id(self.ssl, id.as_ptr(), id.len() as c_uint) as u64 }
    }

    fn insert(&mut self, item: &Item, expiry: Timestamp) {
        // SAFETY: the session is alive during the call; the cache counts it for itself.
        let add = |session: &Counted| unsafe { SSL_CTX_add_session(self.cache.context, session.0) };
        match self.cache.made.get(item.index as usize) {
            Some(made) => add(made),
            None => add(&Counted::new(item, expiry)),
        };
    }

    fn take(&mut self, item: &Item) -> u64 {
        let found = self.find(&item.key);
        if let Some(made) = self.cache.made.get(item.index as usize) {
            // SAFETY: the session is alive.
            let removed = unsafe { SSL_CTX_remove_session(self.cache.context, made.0) };
            assert_eq!(removed, 1, "it was cached");
        }
        found
    }
}
