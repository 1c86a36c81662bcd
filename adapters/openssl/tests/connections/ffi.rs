//! The calls of libssl and libcrypto that openssl-sys does not declare.

use libc::{c_int, c_long, c_uchar, c_uint, c_ulong, c_void};
use openssl_sys::{BIO, SSL, SSL_CTX, SSL_SESSION};

pub(crate) type GenerateId = unsafe extern "C" fn(*mut SSL, *mut c_uchar, *mut c_uint) -> c_int;

unsafe extern "C" {
    pub(crate) fn SSL_SESSION_is_resumable(session: *const SSL_SESSION) -> c_int;
    pub(crate) fn SSL_SESSION_get_ticket_lifetime_hint(session: *const SSL_SESSION) -> c_ulong;
    pub(crate) fn SSL_SESSION_get0_ticket(
        session: *const SSL_SESSION,
        ticket: *mut *const c_uchar,
        length: *mut usize,
    );
    pub(crate) fn SSL_CTX_flush_sessions(context: *mut SSL_CTX, time: c_long);
    pub(crate) fn SSL_CTX_set_timeout(context: *mut SSL_CTX, timeout: c_long) -> c_long;
    pub(crate) fn SSL_CTX_sessions(context: *mut SSL_CTX) -> *mut c_void;
    pub(crate) fn OPENSSL_LH_retrieve(table: *mut c_void, item: *const c_void) -> *mut c_void;
    pub(crate) fn SSL_CTX_set_generate_session_id(context: *mut SSL_CTX, callback: GenerateId) -> c_int;
    pub(crate) fn SSL_clear(ssl: *mut SSL) -> c_int;
    pub(crate) fn SSL_is_init_finished(ssl: *const SSL) -> c_int;
    pub(crate) fn BIO_ctrl(bio: *mut BIO, command: c_int, number: c_long, pointer: *mut c_void) -> c_long;
}

pub(crate) const SSL_CTRL_SET_SESS_CACHE_SIZE: c_int = 42;
pub(crate) const SSL_CTRL_GET_SESS_CACHE_SIZE: c_int = 43;
pub(crate) const SSL_CTRL_SET_SESS_CACHE_MODE: c_int = 44;
pub(crate) const BIO_C_SET_BUF_MEM_EOF_RETURN: c_int = 130;
/// An alert that was received is reported as an error with this added to its number.
pub(crate) const SSL_AD_REASON_OFFSET: c_int = 1000;
pub(crate) const SSL_R_UNEXPECTED_EOF_WHILE_READING: c_int = 294;
