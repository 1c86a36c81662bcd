//! All that the openssl crate has no safe name for, and the only `unsafe` code of this crate.
//!
//! Every function here is safe to call: what OpenSSL asks of its callers is either stated by the types of the arguments
//! or established inside.

use crate::contain::caught;
use foreign_types::ForeignTypeRef as _;
use libc::{c_int, c_long, c_uint, c_void, size_t};
use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslContextRef, SslRef, SslSession, SslSessionRef};
use openssl::stack::StackRef;
use openssl::x509::{X509CrlRef, X509Name, X509Object};
use openssl_sys as sys;
use resumption::ProtocolVersion;
use std::ptr;

type AllowEarlyData = unsafe extern "C" fn(*mut sys::SSL, *mut c_void) -> c_int;

// Public functions of OpenSSL 1.1.1 and newer that openssl-sys does not declare.
unsafe extern "C" {
    fn SSL_CTX_set_allow_early_data_cb(
        ctx: *mut sys::SSL_CTX,
        callback: Option<AllowEarlyData>,
        arg: *mut c_void,
    );
    fn SSL_CTX_set_timeout(ctx: *mut sys::SSL_CTX, seconds: c_long) -> c_long;
    fn SSL_CTX_get_verify_depth(ctx: *const sys::SSL_CTX) -> c_int;
    fn SSL_CTX_get_verify_callback(ctx: *const sys::SSL_CTX) -> *mut c_void;
    fn SSL_get_verify_callback(ssl: *const sys::SSL) -> *mut c_void;
    fn SSL_CTX_get_client_CA_list(ctx: *const sys::SSL_CTX) -> *mut sys::stack_st_X509_NAME;
    fn SSL_set1_param(ssl: *mut sys::SSL, param: *mut sys::X509_VERIFY_PARAM) -> c_int;
    fn SSL_SESSION_set_time(session: *mut sys::SSL_SESSION, seconds: c_long) -> c_long;
    fn SSL_SESSION_set_timeout(session: *mut sys::SSL_SESSION, seconds: c_long) -> c_long;
    fn SSL_SESSION_get_ticket_lifetime_hint(session: *const sys::SSL_SESSION) -> libc::c_ulong;
    fn SSL_SESSION_has_ticket(session: *const sys::SSL_SESSION) -> c_int;
    fn X509_STORE_lock(store: *mut sys::X509_STORE) -> c_int;
    fn X509_STORE_unlock(store: *mut sys::X509_STORE) -> c_int;
    fn X509_OBJECT_get0_X509_CRL(object: *const sys::X509_OBJECT) -> *mut sys::X509_CRL;
}

const SSL_CTRL_SELECT_CURRENT_CERT: c_int = 116;
const SSL_CTRL_SET_CURRENT_CERT: c_int = 117;
const SSL_CTRL_GET_VERIFY_CERT_STORE: c_int = 137;
const SSL_CERT_SET_FIRST: c_long = 1;
const SSL_CERT_SET_NEXT: c_long = 2;

/// A session that was decoded just now: nothing else refers to it, and it belongs to no `SSL_CTX`.
///
/// This is what makes it sound to hand a session to any connection. OpenSSL's sessions are shared and mutable: each
/// carries links of the one cache that holds it, and connections write to the session they resume
/// (openssl/openssl#10210). A session that was decoded from bytes is in no cache, is nobody's current session, and has a
/// single reference, which the connection takes over.
pub(crate) struct FreshSession(SslSession);

impl FreshSession {
    /// The session with this encoding (`d2i_SSL_SESSION`).
    pub(crate) fn decode(der: &[u8]) -> Result<Self, ErrorStack> {
        SslSession::from_der(der).map(Self)
    }

    /// The second at which the session began (`SSL_SESSION_get_time`).
    pub(crate) fn time(&self) -> u64 {
        u64::try_from(self.0.time()).unwrap_or(0)
    }

    /// Lets the session begin at this second (`SSL_SESSION_set_time`).
    pub(crate) fn set_time(&self, seconds: u64) {
        let seconds = c_long::try_from(seconds).unwrap_or(c_long::MAX);
        // SAFETY: the session is alive, and by the invariant of this type no other thread can see it.
        unsafe { SSL_SESSION_set_time(self.0.as_ptr(), seconds) };
    }

    /// Lets the session live for so many seconds (`SSL_SESSION_set_timeout`).
    pub(crate) fn set_timeout(&self, seconds: u64) {
        // SAFETY: as in `set_time`.
        unsafe { SSL_SESSION_set_timeout(self.0.as_ptr(), lifetime(seconds)) };
    }
}

/// Asks `callback` for the sessions that clients want to resume (`SSL_CTX_sess_set_get_cb`).
pub(crate) fn set_get_session_callback(
    builder: &mut SslContextBuilder,
    callback: impl Fn(&mut SslRef, &[u8]) -> Option<FreshSession> + Send + Sync + 'static,
) {
    let unwrap = move |ssl: &mut SslRef, id: &[u8]| callback(ssl, id).map(|fresh| fresh.0);
    // SAFETY: the openssl crate asks that the session belong to no other `SSL_CTX`: a `FreshSession` belongs to none.
    // The crate leaves `copy` at 0, so that OpenSSL takes over the only reference there is.
    unsafe { builder.set_get_session_callback(unwrap) };
}

/// Lets a client's connection offer the session (`SSL_set_session`).
pub(crate) fn offer_session(ssl: &mut SslRef, session: &FreshSession) -> Result<(), ErrorStack> {
    // SAFETY: the openssl crate asks that the session belong to no other `SSL_CTX`: a `FreshSession` belongs to none.
    unsafe { ssl.set_session(&session.0) }
}

/// Decides about the early data of a connection that resumes.
pub(crate) trait EarlyDataGate {
    fn admits(ssl: &SslRef) -> bool;
}

/// Lets `G` decide about early data (`SSL_CTX_set_allow_early_data_cb`).
pub(crate) fn set_early_data_gate<G: EarlyDataGate>(builder: &mut SslContextBuilder) {
    unsafe extern "C" fn gate<G: EarlyDataGate>(ssl: *mut sys::SSL, _: *mut c_void) -> c_int {
        // SAFETY: OpenSSL passes the connection that it is working on, which outlives the call, and the openssl crate
        // makes every connection there is as an `Ssl`.
        let ssl = unsafe { SslRef::from_ptr(ssl) };
        // A panic must not cross into C.
        caught(|| G::admits(ssl)).unwrap_or(false).into()
    }
    // SAFETY: the context is alive, and the callback needs no argument.
    unsafe { SSL_CTX_set_allow_early_data_cb(builder.as_ptr(), Some(gate::<G>), ptr::null_mut()) };
}

/// Sets the timeout of new sessions in seconds (`SSL_CTX_set_timeout`).
pub(crate) fn set_timeout(builder: &mut SslContextBuilder, seconds: u64) {
    // SAFETY: the context is alive.
    unsafe { SSL_CTX_set_timeout(builder.as_ptr(), lifetime(seconds)) };
}

/// OpenSSL 3.2 and newer multiply a timeout by 10^9 without a check, and a `long` may have 32 bits.
fn lifetime(seconds: u64) -> c_long {
    c_long::from(i32::try_from(seconds).unwrap_or(i32::MAX))
}

/// The protocol version of a connection, negotiated or offered (`SSL_version`).
pub(crate) fn version(ssl: &SslRef) -> ProtocolVersion {
    // SAFETY: the connection is alive.
    wire_version(unsafe { sys::SSL_version(ssl.as_ptr()) })
}

/// The protocol version of a session (`SSL_SESSION_get_protocol_version`).
pub(crate) fn session_version(session: &SslSessionRef) -> ProtocolVersion {
    // SAFETY: the session is alive.
    wire_version(unsafe { sys::SSL_SESSION_get_protocol_version(session.as_ptr()) })
}

/// OpenSSL keeps a version in an `int`, with values for "any" that no session has.
fn wire_version(version: c_int) -> ProtocolVersion {
    ProtocolVersion(u16::try_from(version).unwrap_or(0))
}

/// The lifetime in seconds that the server gave a client's ticket; `None` when the session has no ticket.
pub(crate) fn ticket_lifetime(session: &SslSessionRef) -> Option<u64> {
    let session = session.as_ptr();
    // SAFETY: the session is alive.
    let (has_ticket, hint) =
        unsafe { (SSL_SESSION_has_ticket(session), SSL_SESSION_get_ticket_lifetime_hint(session)) };
    #[allow(clippy::unnecessary_cast, reason = "an unsigned long has 32 bits elsewhere")]
    (has_ticket == 1).then_some(hint as u64)
}

/// The server name extension of the ClientHello that is being processed, undecoded (`SSL_client_hello_get0_ext`).
pub(crate) fn server_name_extension(ssl: &SslRef) -> Option<&[u8]> {
    const TLSEXT_TYPE_SERVER_NAME: c_uint = 0;
    let (mut bytes, mut length): (_, size_t) = (ptr::null(), 0);
    // SAFETY: the connection is alive, and OpenSSL answers 0 when no ClientHello is being processed. Otherwise it
    // points to its copy of the hello, which stays as long as the callback runs that lent us `ssl`.
    unsafe {
        let found =
            sys::SSL_client_hello_get0_ext(ssl.as_ptr(), TLSEXT_TYPE_SERVER_NAME, &mut bytes, &mut length);
        (found == 1 && !bytes.is_null()).then(|| std::slice::from_raw_parts(bytes, length))
    }
}

/// Whether a connection and a context have one verify callback, or neither has any.
pub(crate) fn same_verify_callback(ssl: &SslRef, context: &SslContextRef) -> bool {
    // SAFETY: both are alive; the addresses are compared and not called.
    unsafe { SSL_get_verify_callback(ssl.as_ptr()) == SSL_CTX_get_verify_callback(context.as_ptr()) }
}

/// Gives a connection the verification parameters of a context: flags, depth, purpose (`SSL_set1_param`).
pub(crate) fn copy_verify_param(ssl: &mut SslRef, context: &SslContextRef) -> Result<(), ErrorStack> {
    // SAFETY: both are alive, and OpenSSL copies the parameters.
    let copied = unsafe { SSL_set1_param(ssl.as_ptr(), sys::SSL_CTX_get0_param(context.as_ptr())) };
    if copied == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// The chain depth to which a context verifies peers (`SSL_CTX_get_verify_depth`).
pub(crate) fn verify_depth(builder: &SslContextBuilder) -> i32 {
    // SAFETY: the context is alive.
    unsafe { SSL_CTX_get_verify_depth(builder.as_ptr()) }
}

/// The context that is being built, as the openssl crate shows finished ones.
pub(crate) fn unfinished(builder: &SslContextBuilder) -> &SslContextRef {
    // SAFETY: the pointer is the builder's own, which lives as long as the borrow.
    unsafe { SslContextRef::from_ptr(builder.as_ptr()) }
}

/// The end-entity certificates of a context, one for each type of key, encoded.
pub(crate) fn certificates(builder: &mut SslContextBuilder) -> Result<Vec<Vec<u8>>, ErrorStack> {
    let context = builder.as_ptr();
    let current = unfinished(builder).certificate().map(ToOwned::to_owned);
    let mut encoded = Vec::new();
    let mut step = SSL_CERT_SET_FIRST;
    // SAFETY: the context is alive, and nobody else uses a context that is being built. The control takes a number.
    while unsafe { sys::SSL_CTX_ctrl(context, SSL_CTRL_SET_CURRENT_CERT, step, ptr::null_mut()) } == 1 {
        encoded.extend(unfinished(builder).certificate().map(|certificate| certificate.to_der()));
        step = SSL_CERT_SET_NEXT;
    }
    if let Some(current) = current {
        // SAFETY: as above; the control takes a certificate, and only compares it.
        unsafe {
            sys::SSL_CTX_ctrl(context, SSL_CTRL_SELECT_CURRENT_CERT, 0, current.as_ptr().cast::<c_void>())
        };
    }
    encoded.into_iter().collect()
}

/// The names of the authorities that a server asks its clients for, encoded (`SSL_CTX_get_client_CA_list`).
pub(crate) fn client_authorities(builder: &SslContextBuilder) -> Result<Vec<Vec<u8>>, ErrorStack> {
    // SAFETY: the context is alive and owns the list, which nothing changes during this borrow of the builder.
    let names: &StackRef<X509Name> = unsafe {
        let names = SSL_CTX_get_client_CA_list(builder.as_ptr());
        if names.is_null() {
            return Ok(Vec::new());
        }
        StackRef::from_ptr(names)
    };
    names.iter().map(|name| name.to_der()).collect()
}

/// The certificates and revocation lists that peers are verified against, encoded, as far as they are in memory.
pub(crate) fn trusted(builder: &SslContextBuilder) -> Result<Vec<Vec<u8>>, ErrorStack> {
    let mut own: *mut sys::X509_STORE = ptr::null_mut();
    // SAFETY: the context is alive, and the store belongs to it. The control writes one pointer, or does not know the
    // command, before OpenSSL 3.0, and writes nothing.
    let store = unsafe {
        let context = builder.as_ptr();
        sys::SSL_CTX_ctrl(context, SSL_CTRL_GET_VERIFY_CERT_STORE, 0, (&raw mut own).cast::<c_void>());
        if own.is_null() { sys::SSL_CTX_get_cert_store(context) } else { own }
    };
    if store.is_null() {
        return Ok(Vec::new());
    }
    let _lock = StoreLock::new(store);
    // SAFETY: the store is alive, and the lock keeps other contexts that share it from changing its list.
    let objects: &StackRef<X509Object> = unsafe { StackRef::from_ptr(sys::X509_STORE_get0_objects(store)) };
    let mut encoded = Vec::new();
    for object in objects {
        if let Some(certificate) = object.x509() {
            encoded.push(certificate.to_der()?);
            continue;
        }
        // SAFETY: the object is alive, and OpenSSL answers NULL when it is no revocation list.
        let list = unsafe { X509_OBJECT_get0_X509_CRL(object.as_ptr()) };
        if !list.is_null() {
            // SAFETY: it belongs to the object, which the lock keeps in place.
            encoded.push(unsafe { X509CrlRef::from_ptr(list) }.to_der()?);
        }
    }
    Ok(encoded)
}

struct StoreLock(*mut sys::X509_STORE);

impl StoreLock {
    fn new(store: *mut sys::X509_STORE) -> Self {
        // SAFETY: the callers pass a store that is alive.
        unsafe { X509_STORE_lock(store) };
        Self(store)
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // SAFETY: the store is as alive as it was in `new`, on the same thread.
        unsafe { X509_STORE_unlock(self.0) };
    }
}

/// One of the numbers of `SSL_CTX_sess_number(3)`, by its control.
pub(crate) fn counter(context: &SslContextRef, control: c_int) -> u64 {
    // SAFETY: the context is alive, and these controls only read.
    let value = unsafe { sys::SSL_CTX_ctrl(context.as_ptr(), control, 0, ptr::null_mut()) };
    u64::try_from(value).unwrap_or(0)
}
