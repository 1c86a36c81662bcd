//! A miss allocates nothing, and neither does the part of a hit that is not the copy for rustls.

mod common;

use common::{Identity, cache};
use rustls::server::StoresServerSessions as _;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged; the counter is a plain cell of the calling thread, which
// needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn misses_allocate_nothing() {
    let (identity, cache) = (Identity::new(&["a.example"]), cache());
    let (sessions, other) = (identity.sessions(&cache), Identity::new(&["b.example"]).sessions(&cache));
    let value = [&[0, 3, 4, 0x13, 0x01, 32][..], &[1; 32]].concat();
    assert!(sessions.put(vec![9; 32], value));
    // The first call on a thread registers it with the engine.
    assert_eq!(sessions.get(&[0; 32]), None);

    let too_long = [7; 4000];
    let missed = allocations(|| {
        for number in 0..2000_u32 {
            let mut ticket = [0x55; 32];
            ticket[..4].copy_from_slice(&number.to_be_bytes());
            assert!(sessions.take(&ticket).is_none());
            assert!(sessions.get(&ticket).is_none());
        }
        assert!(sessions.take(&too_long).is_none());
        assert!(sessions.get(&[9; 32]).is_none(), "another version");
        assert!(other.take(&[9; 32]).is_none(), "another policy");
    });
    assert_eq!(missed, 0);

    assert!(allocations(|| assert!(sessions.take(&[9; 32]).is_some())) > 0, "the count counts");
}
