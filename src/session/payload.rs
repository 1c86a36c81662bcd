//! What a session carries for the TLS stack.

use std::sync::Arc;

/// What a TLS stack stores in a session: an encoded session, a ticket, a reference-counted foreign object.
///
/// The engine never looks inside. It asks for the payload's weight once, when the session is built, to hold sessions
/// to the configured largest size.
///
/// Secrets belong in a type that wipes itself when dropped, such as [`Secret`](crate::Secret); the implementations
/// for plain buffers are for payloads that are not secret, or sealed.
///
/// A payload is dropped some time after its session left the cache, on whichever thread reclaims it. Its `Drop` may
/// call the engine; it must not panic.
pub trait Payload: Send + Sync + 'static {
    /// Bytes this payload keeps alive beyond `size_of::<Self>()`.
    fn weight(&self) -> usize;
}

macro_rules! weightless {
    ($($t:ty),*) => {$(
        impl Payload for $t {
            fn weight(&self) -> usize { 0 }
        }
    )*};
}
weightless!((), bool, u8, u16, u32, u64, usize, i32, i64, &'static str);

impl<const N: usize> Payload for [u8; N] {
    fn weight(&self) -> usize {
        0
    }
}

impl Payload for Vec<u8> {
    fn weight(&self) -> usize {
        self.capacity()
    }
}

impl Payload for Box<[u8]> {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Payload for Arc<[u8]> {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Payload for String {
    fn weight(&self) -> usize {
        self.capacity()
    }
}
