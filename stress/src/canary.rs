//! A payload that knows what it must contain.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use resumption::Payload;

/// Canaries that exist.
pub static LIVE: AtomicI64 = AtomicI64::new(0);

static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Plain memory, so that a sanitizer sees who reads and writes it when.
pub struct Canary {
    serial: u64,
    song: Box<[u64; 4]>,
    is_taken: AtomicBool,
    #[cfg(resumption_planted)]
    reads: std::cell::UnsafeCell<u64>,
}

/// Whether whoever reads also writes, without telling the others: a sanitizer must find that out.
#[cfg(resumption_planted)]
pub static RACES: AtomicBool = AtomicBool::new(false);

// SAFETY: none, if the race is planted; otherwise nobody touches `reads`.
#[cfg(resumption_planted)]
unsafe impl Sync for Canary {}

fn song(serial: u64) -> [u64; 4] {
    std::array::from_fn(|line| serial.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(13 * line as u32))
}

impl Canary {
    pub fn new() -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Self {
            serial,
            song: Box::new(song(serial)),
            is_taken: AtomicBool::new(false),
            #[cfg(resumption_planted)]
            reads: std::cell::UnsafeCell::new(0),
        }
    }

    /// Reads all of it.
    ///
    /// # Panics
    ///
    /// When it is not what it was.
    pub fn check(&self) {
        assert_eq!(*self.song, song(self.serial), "session {} is damaged", self.serial);
        #[cfg(resumption_planted)]
        if RACES.load(Ordering::Relaxed) {
            // SAFETY: none, as above.
            unsafe { *self.reads.get() += 1 };
        }
    }

    /// Notes that it was taken.
    ///
    /// # Panics
    ///
    /// When it was taken before.
    pub fn take(&self) {
        self.check();
        assert!(!self.is_taken.swap(true, Ordering::Relaxed), "session {} was taken twice", self.serial);
    }
}

impl Payload for Canary {
    fn weight(&self) -> usize {
        self.serial as usize % 300
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // A panic in a destructor would be the engine's, so a damaged song is told and the program ended.
        if *self.song != song(self.serial) {
            eprintln!("session {} was damaged when it was freed", self.serial);
            std::process::abort();
        }
        *self.song = [0xdead; 4];
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}
