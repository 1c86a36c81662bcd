//! Upkeep: what happens by itself, a little with every insert, and what a clock can be asked to do.

use super::events::FirstPanic;
use super::{SessionCacheMode, SessionContext};
use crate::cache::Departures;
use crate::clock::Timestamp;
use crate::epoch::Guard;
use crate::session::Payload;
use crate::sync::{AtomicBool, Ordering};
use crate::wheel::Progress;
use std::io;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Sessions that an insert looks at on its way, if any are due.
const INSERT_BUDGET: usize = 8;

/// Sessions that a tick looks at.
const TICK_BUDGET: usize = 1024;

/// Sessions that an insert frees, about, and a tick, when it is its turn to see to all threads.
const FREED_PER_INSERT: usize = 1 << 12;
const FREED_PER_TICK: usize = 1 << 16;

/// How far a [`tick`](SessionContext::tick) got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "there may be more to do"]
pub enum Tick {
    /// Everything that has expired is gone.
    Done,
    /// There is more: call again, now or a little later.
    More,
    /// Another thread is at it.
    Busy,
}

impl<T: Payload> SessionContext<T> {
    /// Removes some of what has expired (about a thousand sessions are looked at), and sees to it that what threads have
    /// removed and not yet freed is freed, even if those threads sleep.
    ///
    /// Inserts do the same in smaller pieces, so a busy context needs no tick. Call it about once a second where the
    /// traffic may stop, or start a [`Driver`]. With NO_AUTO_CLEAR, or in mode OFF, it removes nothing.
    pub fn tick(&self) -> Tick {
        let (progress, departures) = {
            let guard = self.pin();
            let mut departures = self.departures();
            let progress = self.reap(self.now(), TICK_BUDGET, &mut departures, &guard);
            self.cache.grow_wheel(&guard);
            guard.flush();
            guard.flush_all_threads(FREED_PER_TICK);
            (progress, departures)
        };
        self.announce(departures);
        match progress {
            Progress::Done => Tick::Done,
            Progress::More => Tick::More,
            Progress::Busy => Tick::Busy,
        }
    }

    /// The share of the upkeep that an insert pays.
    #[inline]
    pub(super) fn upkeep(&self, now: Timestamp, departures: &mut Departures<T>, guard: &Guard) {
        let _ = self.reap(now, INSERT_BUDGET, departures, guard);
        if self.last_upkeep.load(Ordering::Relaxed) != now.ticks() {
            self.last_upkeep.store(now.ticks(), Ordering::Relaxed);
            self.cache.grow_wheel(guard);
            guard.flush_all_threads(FREED_PER_INSERT);
        }
    }

    #[inline]
    fn reap(&self, now: Timestamp, budget: usize, departures: &mut Departures<T>, guard: &Guard) -> Progress {
        let mode = self.mode();
        if mode.is_off() || mode.contains(SessionCacheMode::NO_AUTO_CLEAR) {
            return Progress::Done;
        }
        self.cache.reap(now, budget, departures, guard).0
    }

    /// Removes what has expired at the clock's `now`, by the wheel. Returns how much that was, and whether it was all: not
    /// if the wheel cannot tell, or if another thread is at it.
    pub(super) fn reap_all(&self, now: Timestamp, panics: &mut FirstPanic) -> (usize, bool) {
        let mut total = 0;
        if !self.cache.wheel_knows_all() {
            return (total, false);
        }
        loop {
            let mut departures = self.departures();
            let guard = self.pin();
            let (progress, removed) = self.cache.reap(now, TICK_BUDGET, &mut departures, &guard);
            drop(guard);
            panics.run(|| self.announce(departures));
            total += removed;
            match progress {
                Progress::Done => return (total, true),
                Progress::More => {}
                Progress::Busy => return (total, false),
            }
        }
    }

    /// The second in which upkeep next has something to do, as far as is known; `None` while nothing will expire. Not
    /// later than the truth; a little earlier at times.
    pub fn next_upkeep(&self) -> Option<Timestamp> {
        self.cache.next_upkeep(self.now()).map(Timestamp::from_ticks)
    }

    /// Starts a thread that calls [`tick`](Self::tick) every second until the driver or the context is dropped. It holds
    /// no count of the context between ticks.
    ///
    /// # Errors
    ///
    /// When the system will not start a thread.
    pub fn start_driver(self: &Arc<Self>) -> io::Result<Driver> {
        let context = Arc::downgrade(self);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("resumption-upkeep".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) && drive(&context) {
                thread::park_timeout(Duration::from_secs(1));
            }
        })?;
        Ok(Driver { thread: Some(thread), stop })
    }
}

/// One second's work; `false` when the context is gone.
fn drive<T: Payload>(context: &Weak<SessionContext<T>>) -> bool {
    let Some(context) = context.upgrade() else { return false };
    while context.tick() == Tick::More {}
    true
}

/// The thread that [`SessionContext::start_driver`] started. Dropping it ends the thread and waits for the tick it may be
/// in; only a callback can make that long. A driver that is dropped on its own thread, by a callback, does not wait.
#[derive(Debug)]
#[must_use = "dropping the driver stops it"]
pub struct Driver {
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.thread().id() != thread::current().id() {
                // A callback that panicked has told so already.
                let _ = thread.join();
            }
        }
    }
}
