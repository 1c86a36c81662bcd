//! What OpenSSL itself has counted.

use crate::ffi;
use openssl::ssl::SslContextRef;

/// The counters of an `SSL_CTX`, as `SSL_CTX_sess_number(3)` explains them.
///
/// The cache of the engine is outside of OpenSSL, which therefore always has `number`, `misses` and `cache_full` at zero:
/// the engine's own [`Stats`](resumption::Stats) has these. What OpenSSL knows and the engine does not are the
/// handshakes. In a server whose resumptions all succeed, `cb_hits` and `hits` are the `hits` of the engine.
///
/// OpenSSL counts in 32 bits and starts again at zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpensslCounters {
    /// Sessions in OpenSSL's internal cache.
    pub number: u64,
    /// Handshakes that clients have started.
    pub connect: u64,
    /// Handshakes that clients have completed.
    pub connect_good: u64,
    /// Renegotiations that clients have started.
    pub connect_renegotiate: u64,
    /// Handshakes that servers have started.
    pub accept: u64,
    /// Handshakes that servers have completed.
    pub accept_good: u64,
    /// Renegotiations that servers have started, each of which may count several times.
    pub accept_renegotiate: u64,
    /// Sessions that were resumed.
    pub hits: u64,
    /// Sessions that came from the engine.
    pub cb_hits: u64,
    /// Sessions that clients offered in vain, and lookups in OpenSSL's internal cache that found nothing.
    pub misses: u64,
    /// Sessions that OpenSSL refused because they had expired.
    pub timeouts: u64,
    /// Sessions that OpenSSL evicted from its internal cache.
    pub cache_full: u64,
}

impl OpensslCounters {
    /// Reads the counters of a context: the one that connections were made from, not the one that a server name has
    /// led them to.
    pub fn of(context: &SslContextRef) -> Self {
        // SSL_CTRL_SESS_NUMBER and those that follow it.
        let counter = |position| ffi::counter(context, 20 + position);
        Self {
            number: counter(0),
            connect: counter(1),
            connect_good: counter(2),
            connect_renegotiate: counter(3),
            accept: counter(4),
            accept_good: counter(5),
            accept_renegotiate: counter(6),
            hits: counter(7),
            cb_hits: counter(8),
            misses: counter(9),
            timeouts: counter(10),
            cache_full: counter(11),
        }
    }
}
