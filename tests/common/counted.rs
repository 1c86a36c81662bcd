//! Payloads that are counted while they exist.
#![allow(dead_code, unreachable_pub)] // every test binary uses a part of it

use resumption::{Payload, ProtocolVersion, SessionId, SessionKey, idle, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

/// A guard of one test would hold back what another counts, and what one leaves to the collector comes first.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    (0..1_000).for_each(|_| idle());
    one
}

pub fn key(n: usize) -> SessionKey {
    SessionKey::new(ProtocolVersion::TLS1_3, SessionId::new(&n.to_be_bytes()).expect("8 bytes"))
}

/// Payloads of one kind that exist.
#[derive(Default)]
pub struct Live {
    pub now: AtomicUsize,
    pub most: AtomicUsize,
}

pub struct Counted(Arc<Live>);

impl Counted {
    pub fn new(live: &Arc<Live>) -> Self {
        live.most.fetch_max(live.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        Self(Arc::clone(live))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Payload for Counted {
    fn weight(&self) -> usize {
        0
    }
}

pub fn live(live: &Live) -> usize {
    live.now.load(Ordering::Relaxed)
}

/// Runs this on a thread that ends, while another's guard holds back what it retires.
pub fn under_a_guard(retires: impl FnOnce() + Send) {
    let _guard = pin();
    thread::scope(|scope| scope.spawn(retires).join()).expect("no panic");
}

/// Runs `before` on a thread that sleeps afterwards until `meanwhile` is done.
pub fn asleep(before: impl FnOnce() + Send, meanwhile: impl FnOnce()) {
    let (wake, sleeping) = mpsc::channel::<()>();
    let (ready, awaited) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            before();
            ready.send(()).expect("awaited");
            let _ = sleeping.recv();
        });
        awaited.recv().expect("no panic");
        meanwhile();
        drop(wake);
    });
}
