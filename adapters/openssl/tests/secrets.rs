//! Session secrets are wiped before the memory that held them is given back.

mod common;

use common::{Client, TLS12, TLS13, cache, server};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// The system's allocator, which looks for a secret in whatever is given back.
struct Inspecting;

const LENGTH: usize = 32;
static NEEDLE: AtomicPtr<[u8; LENGTH]> = AtomicPtr::new(std::ptr::null_mut());
static FOUND: AtomicUsize = AtomicUsize::new(0);

fn inspect(block: *mut u8, size: usize) {
    // SAFETY: a needle is leaked, so it stays for ever once it is there.
    let Some(needle) = (unsafe { NEEDLE.load(Ordering::Acquire).as_ref() }) else { return };
    // SAFETY: the caller of the allocator owns the block until it is given back, which happens after this.
    let contains = |at: usize| (0..LENGTH).all(|i| unsafe { block.add(at + i).read_volatile() } == needle[i]);
    if size >= LENGTH && (0..=size - LENGTH).any(contains) {
        FOUND.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator unchanged; looking at a block before it is given back changes nothing
// and allocates nothing.
unsafe impl GlobalAlloc for Inspecting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        inspect(pointer, layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Inspecting = Inspecting;

/// How often the secret is given back unwiped while `work` runs.
fn leaks(needle: &[u8], work: impl FnOnce()) -> usize {
    let needle: [u8; LENGTH] = needle[..LENGTH].try_into().expect("a secret of a session is longer");
    let before = FOUND.load(Ordering::Relaxed);
    // Release: pairs with the Acquire in `inspect`; who sees the pointer sees the bytes.
    NEEDLE.store(Box::leak(Box::new(needle)), Ordering::Release);
    work();
    NEEDLE.store(std::ptr::null_mut(), Ordering::Release);
    FOUND.load(Ordering::Relaxed) - before
}

#[test]
fn secrets_are_wiped_whichever_way_a_session_goes() {
    for version in [TLS12, TLS13] {
        let cache = cache();
        let (server, client) = (server(&cache), Client::new(version));
        let offer = client.visit(&server, None).sessions.remove(0);
        let session = offer.session();
        let mut secret = vec![0; session.master_key_len()];
        session.master_key(&mut secret);

        let copy = secret.clone();
        assert_eq!(leaks(&secret, || drop(copy)), 1, "an ordinary buffer is given back as it is");
        let mut holds_it = 0;
        cache.for_each(&cache.pin(), |session| {
            let bytes = session.payload().as_bytes();
            holds_it += usize::from(bytes.windows(LENGTH).any(|window| window == &secret[..LENGTH]));
        });
        assert_eq!(holds_it, 1, "the secret is in the cache");

        let leaked = leaks(&secret, || {
            // Encoded once more for the cache's own callback, when the connection ends uncleanly.
            let connection = client.try_visit("a.example", &server, Some(&offer));
            assert!(connection.as_ref().expect("they accept each other").resumed());
            drop(connection);
            cache.flush_all();
            drop(server);
            assert_eq!(Arc::strong_count(&cache), 1);
            drop(cache);
            resumption::idle();
        });
        assert_eq!(leaked, 0);
    }
}
