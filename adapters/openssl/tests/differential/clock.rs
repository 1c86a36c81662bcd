//! A clock for libssl that stands still until it is told to go on.
//!
//! OpenSSL asks the C library for the time. The functions here have the same names, and the linker prefers a program's own.
//! On threads that have set no clock they answer with the system's time.

use libc::{c_int, c_void, time_t, timeval};
use std::cell::Cell;
use std::ptr;

thread_local! {
    static NOW: Cell<Option<i64>> = const { Cell::new(None) };
}

/// Sets the clock of this thread, in seconds since 1970.
pub(crate) fn set(now: i64) {
    NOW.set(Some(now));
}

/// Lets seconds pass on this thread.
pub(crate) fn pass(seconds: u32) {
    NOW.set(NOW.get().map(|now| now + i64::from(seconds)));
}

/// The present on this thread, in seconds since 1970.
pub(crate) fn now() -> i64 {
    present().tv_sec
}

fn present() -> timeval {
    if let Some(now) = NOW.get() {
        return timeval { tv_sec: now, tv_usec: 0 };
    }
    let mut system = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the argument points to one such value.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut system) };
    timeval { tv_sec: system.tv_sec, tv_usec: system.tv_nsec / 1000 }
}

// SAFETY: the signature and the meaning are those of the C library; nothing is relied upon but the arguments.
#[unsafe(no_mangle)]
unsafe extern "C" fn time(out: *mut time_t) -> time_t {
    let seconds = now();
    if !out.is_null() {
        // SAFETY: the caller passes nothing or a place for one value.
        unsafe { ptr::write(out, seconds) };
    }
    seconds
}

// SAFETY: as above.
#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(out: *mut timeval, _: *mut c_void) -> c_int {
    if !out.is_null() {
        // SAFETY: the caller passes nothing or a place for one value.
        unsafe { ptr::write(out, present()) };
    }
    0
}
