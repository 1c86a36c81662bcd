//! One end of a connection, over memory.

use crate::ffi;
use crate::observe::Reading;
use crate::program::Side;
use libc::{c_int, c_long, c_void};
use openssl_sys as sys;
use std::ptr;

/// An `SSL` with its memory BIOs, which belong to it. Alive until `free` is called; only one thread has it.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    ssl: *mut sys::SSL,
    input: *mut sys::BIO,
    output: *mut sys::BIO,
    /// Whether reading from it makes sense: it is established, and nothing has failed.
    pub(crate) readable: bool,
    /// Whether it was given another session while it was established.
    pub(crate) reset: bool,
    /// Whether its state was set behind its back. OpenSSL does not get it going again.
    pub(crate) stuck: bool,
}

// SAFETY, for all calls here: the pointers are alive, as the type says, buffers are as long as is said, and OpenSSL
// copies what it is given.
impl Endpoint {
    /// A connection of this one version.
    pub(crate) fn new(context: *mut sys::SSL_CTX, side: Side, version: u16) -> Self {
        const SSL_CTRL_SET_MIN_PROTO_VERSION: c_int = 123;
        const SSL_CTRL_SET_MAX_PROTO_VERSION: c_int = 124;
        // SAFETY: see above.
        unsafe {
            let ssl = sys::SSL_new(context);
            let (input, output) = (sys::BIO_new(sys::BIO_s_mem()), sys::BIO_new(sys::BIO_s_mem()));
            assert!(!ssl.is_null() && !input.is_null() && !output.is_null());
            sys::SSL_set_bio(ssl, input, output);
            for control in [SSL_CTRL_SET_MIN_PROTO_VERSION, SSL_CTRL_SET_MAX_PROTO_VERSION] {
                assert_eq!(sys::SSL_ctrl(ssl, control, version.into(), ptr::null_mut()), 1);
            }
            let end = Self { ssl, input, output, readable: false, reset: false, stuck: false };
            end.set_state(side);
            end.wait_at_the_end();
            end
        }
    }

    fn wait_at_the_end(self) {
        // SAFETY: see above.
        unsafe { ffi::BIO_ctrl(self.input, ffi::BIO_C_SET_BUF_MEM_EOF_RETURN, -1, ptr::null_mut()) };
    }

    /// What reads from it finds the end of the transport.
    pub(crate) fn feed_eof(self) {
        // SAFETY: see above.
        unsafe { ffi::BIO_ctrl(self.input, ffi::BIO_C_SET_BUF_MEM_EOF_RETURN, 0, ptr::null_mut()) };
    }

    pub(crate) fn feed(self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let length = c_int::try_from(bytes.len()).expect("a few records");
        // SAFETY: see above.
        assert_eq!(unsafe { sys::BIO_write(self.input, bytes.as_ptr().cast(), length) }, length);
    }

    /// What it has written since the last call.
    pub(crate) fn written(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut buffer = [0_u8; 4096];
        loop {
            // SAFETY: see above.
            let length =
                unsafe { sys::BIO_read(self.output, buffer.as_mut_ptr().cast(), buffer.len() as c_int) };
            match usize::try_from(length) {
                Ok(length) if length > 0 => bytes.extend(&buffer[..length]),
                _ => return bytes,
            }
        }
    }

    /// Goes on with the handshake; whether it has failed.
    pub(crate) fn step(self) -> bool {
        // SAFETY: see above.
        unsafe {
            sys::ERR_clear_error();
            let returned = sys::SSL_do_handshake(self.ssl);
            returned <= 0 && sys::SSL_get_error(self.ssl, returned) != sys::SSL_ERROR_WANT_READ
        }
    }

    pub(crate) fn read(self) -> Reading {
        let mut buffer = [0_u8; 64];
        // SAFETY: see above.
        let (error, reason) = unsafe {
            sys::ERR_clear_error();
            let returned = sys::SSL_read(self.ssl, buffer.as_mut_ptr().cast(), buffer.len() as c_int);
            assert!(returned <= 0, "nobody sends any data");
            let error = sys::SSL_get_error(self.ssl, returned);
            (error, sys::ERR_GET_REASON(sys::ERR_peek_last_error()))
        };
        match error {
            sys::SSL_ERROR_WANT_READ => Reading::Nothing,
            sys::SSL_ERROR_ZERO_RETURN => Reading::CloseNotify,
            _ if reason == ffi::SSL_R_UNEXPECTED_EOF_WHILE_READING => Reading::Eof,
            _ if reason >= ffi::SSL_AD_REASON_OFFSET => Reading::AlertReceived,
            _ => Reading::AlertSent,
        }
    }

    pub(crate) fn shutdown(self) -> i64 {
        // SAFETY: see above.
        i64::from(unsafe { sys::SSL_shutdown(self.ssl) })
    }

    pub(crate) fn shutdown_bits(self) -> u8 {
        // SAFETY: see above.
        unsafe { sys::SSL_get_shutdown(self.ssl) as u8 }
    }

    /// A second call would read.
    pub(crate) fn can_shut_down(self) -> bool {
        !self.reset && self.shutdown_bits() & 1 == 0
    }

    pub(crate) fn set_shutdown(self, bits: u8) {
        // SAFETY: see above.
        unsafe { sys::SSL_set_shutdown(self.ssl, bits.into()) };
    }

    pub(crate) fn set_state(self, side: Side) {
        // SAFETY: see above.
        unsafe {
            match side {
                Side::Client => sys::SSL_set_connect_state(self.ssl),
                Side::Server => sys::SSL_set_accept_state(self.ssl),
            }
        }
    }

    /// The session is alive, or null.
    pub(crate) fn set_session(self, session: *mut sys::SSL_SESSION) -> i64 {
        // SAFETY: see above.
        i64::from(unsafe { sys::SSL_set_session(self.ssl, session) })
    }

    pub(crate) fn session(self) -> *mut sys::SSL_SESSION {
        // SAFETY: see above.
        unsafe { sys::SSL_get_session(self.ssl) }
    }

    pub(crate) fn is_reused(self) -> bool {
        // SAFETY: see above.
        unsafe { sys::SSL_session_reused(self.ssl) == 1 }
    }

    pub(crate) fn is_finished(self) -> bool {
        // SAFETY: see above.
        unsafe { ffi::SSL_is_init_finished(self.ssl) == 1 }
    }

    /// `SSL_clear`, with nothing left on the wire.
    pub(crate) fn clear(self) {
        const BIO_CTRL_RESET: c_int = 1;
        // SAFETY: see above.
        unsafe {
            assert_eq!(ffi::SSL_clear(self.ssl), 1);
            for bio in [self.input, self.output] {
                ffi::BIO_ctrl(bio, BIO_CTRL_RESET, 0 as c_long, ptr::null_mut::<c_void>());
            }
        }
        self.wait_at_the_end();
    }

    pub(crate) fn free(self) {
        // SAFETY: see above; nobody uses it after this.
        unsafe { sys::SSL_free(self.ssl) };
    }
}

/// Whether a ClientHello offers a session: by its id, or in TLS 1.3 by a pre-shared key (RFC 8446, section 4.2.11).
pub(crate) fn offers(flight: &[u8], tls13: bool) -> bool {
    const PRE_SHARED_KEY: usize = 41;
    // Record header, handshake header, version and random.
    let mut rest = &flight[5 + 4 + 2 + 32..];
    let id = vector::<1>(&mut rest);
    if !tls13 {
        return !id.is_empty();
    }
    vector::<2>(&mut rest);
    vector::<1>(&mut rest);
    let mut extensions = vector::<2>(&mut rest);
    while !extensions.is_empty() {
        let kind = integer::<2>(&mut extensions);
        vector::<2>(&mut extensions);
        if kind == PRE_SHARED_KEY {
            return true;
        }
    }
    false
}

fn integer<const N: usize>(rest: &mut &[u8]) -> usize {
    let (head, tail) = rest.split_at(N);
    *rest = tail;
    head.iter().fold(0, |value, byte| value << 8 | usize::from(*byte))
}

fn vector<'a, const N: usize>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = integer::<N>(rest);
    let (head, tail) = rest.split_at(length);
    *rest = tail;
    head
}
