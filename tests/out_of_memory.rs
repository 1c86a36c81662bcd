//! A context whose table cannot be allocated is an error that says how much was asked for, not an abort.

use resumption::{BuildError, SessionContext};
use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::ptr;

/// The largest block that this program gets.
const MOST: usize = 8 << 20;

struct Poor;

// SAFETY: passes what it does not refuse on to the system's allocator; null means refused.
unsafe impl GlobalAlloc for Poor {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same.
        if layout.size() > MOST { ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Poor = Poor;

#[test]
fn a_table_that_does_not_fit_is_an_error() {
    let refused = SessionContext::<u32>::builder().capacity(1_000_000).build().expect_err("22 MB and more");
    let BuildError::OutOfMemory { bytes } = refused else { panic!("{refused:?}") };
    assert!(bytes > MOST && bytes < 100 << 20, "{bytes}");
    assert_eq!(refused.to_string(), format!("no memory for a table of {bytes} bytes"));
    assert!(refused.source().is_none());
    assert!(SessionContext::<u32>::builder().capacity(10_000).build().is_ok());
}
