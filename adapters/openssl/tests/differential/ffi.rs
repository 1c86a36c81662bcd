//! The session calls of libssl that openssl-sys does not declare.

use libc::{c_int, c_long, c_uchar, c_uint, c_void};
use openssl_sys::{SSL, SSL_CTX, SSL_METHOD, SSL_SESSION};

unsafe extern "C" {
    pub(crate) fn SSL_SESSION_new() -> *mut SSL_SESSION;
    pub(crate) fn SSL_SESSION_set1_id(session: *mut SSL_SESSION, id: *const c_uchar, length: c_uint)
    -> c_int;
    pub(crate) fn SSL_SESSION_set_time(session: *mut SSL_SESSION, time: c_long) -> c_long;
    pub(crate) fn SSL_SESSION_set_timeout(session: *mut SSL_SESSION, timeout: c_long) -> c_long;
    pub(crate) fn SSL_SESSION_set_protocol_version(session: *mut SSL_SESSION, version: c_int) -> c_int;
    pub(crate) fn SSL_SESSION_is_resumable(session: *const SSL_SESSION) -> c_int;
    pub(crate) fn SSL_CTX_flush_sessions(context: *mut SSL_CTX, time: c_long);
    pub(crate) fn SSL_CTX_set_timeout(context: *mut SSL_CTX, timeout: c_long) -> c_long;
    pub(crate) fn SSL_CTX_sessions(context: *mut SSL_CTX) -> *mut c_void;
    pub(crate) fn OPENSSL_LH_retrieve(table: *mut c_void, item: *const c_void) -> *mut c_void;
    pub(crate) fn SSL_has_matching_session_id(ssl: *const SSL, id: *const c_uchar, length: c_uint) -> c_int;
    pub(crate) fn TLSv1_2_method() -> *const SSL_METHOD;
}

pub(crate) const SSL_CTRL_SET_SESS_CACHE_SIZE: c_int = 42;
pub(crate) const SSL_CTRL_SET_SESS_CACHE_MODE: c_int = 44;
/// The first of twelve counters; the last one counts evictions.
pub(crate) const SSL_CTRL_SESS_NUMBER: c_int = 20;
pub(crate) const SSL_CTRL_SESS_CACHE_FULL: c_int = 31;
