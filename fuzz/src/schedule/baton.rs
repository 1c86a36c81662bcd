//! One thread runs at a time, and before each access to an atomic the schedule may hand the turn to another.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};

/// The turn, and who comes next.
pub struct Baton {
    turn: AtomicUsize,
    threads: Vec<OnceLock<Thread>>,
    plan: Mutex<Plan>,
}

/// Touched only by who has the turn.
struct Plan {
    schedule: Vec<u8>,
    read: usize,
    /// Accesses until the turn may change.
    left: u32,
    alive: Vec<bool>,
}

const NOBODY: usize = usize::MAX;

thread_local! {
    static MINE: RefCell<Option<(Arc<Baton>, usize)>> = const { RefCell::new(None) };
}

impl Baton {
    /// A baton for so many threads. Each byte of the schedule says who goes on (low two bits) and for how many accesses;
    /// when it has been read, each thread runs to its end.
    pub fn new(threads: usize, schedule: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            turn: AtomicUsize::new(NOBODY),
            threads: (0..threads).map(|_| OnceLock::new()).collect(),
            plan: Mutex::new(Plan { schedule, read: 0, left: 0, alive: vec![true; threads] }),
        })
    }

    /// Runs `work` as thread `index`, whenever it has the turn.
    pub fn run<R>(self: &Arc<Self>, index: usize, work: impl FnOnce() -> R) -> R {
        _ = self.threads[index].set(thread::current());
        // The last one to come begins.
        if self.threads.iter().all(|thread| thread.get().is_some())
            && self.turn.compare_exchange(NOBODY, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        {
            self.wake(0);
        }
        self.wait(index);
        MINE.set(Some((Arc::clone(self), index)));
        let _end = End(self, index);
        resumption::fuzzing::on_step(Some(step));
        work()
    }

    fn wait(&self, index: usize) {
        while self.turn.load(Ordering::Acquire) != index {
            thread::park();
        }
    }

    fn wake(&self, index: usize) {
        if let Some(thread) = self.threads[index].get() {
            thread.unpark();
        }
    }

    fn pass(&self, from: usize, to: usize) {
        if from != to {
            self.turn.store(to, Ordering::Release);
            self.wake(to);
        }
    }

    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    /// Who makes the next access, `me` having come to one.
    fn next(&mut self, me: usize) -> usize {
        if self.left > 0 {
            self.left -= 1;
            return me;
        }
        let Some(byte) = self.schedule.get(self.read) else { return me };
        self.read += 1;
        self.left = u32::from(byte >> 2);
        self.some_alive(usize::from(byte & 3)).unwrap_or(me)
    }

    /// The first thread that has not ended, from `wanted` on.
    fn some_alive(&self, wanted: usize) -> Option<usize> {
        let count = self.alive.len();
        (0..count).map(|further| (wanted + further) % count).find(|index| self.alive[*index])
    }
}

/// Before each access of the engine.
fn step() {
    // A borrow that fails is an access of this function's own caller, which there is none of.
    let Some((baton, me)) = MINE.with_borrow(Clone::clone) else { return };
    let next = baton.plan().next(me);
    baton.pass(me, next);
    baton.wait(me);
}

/// The thread has ended, or panicked: somebody else goes on.
struct End<'b>(&'b Arc<Baton>, usize);

impl Drop for End<'_> {
    fn drop(&mut self) {
        resumption::fuzzing::on_step(None);
        MINE.set(None);
        let Self(baton, me) = *self;
        let next = {
            let mut plan = baton.plan();
            plan.alive[me] = false;
            let byte = plan.schedule.get(plan.read).copied().unwrap_or(0);
            plan.some_alive(usize::from(byte & 3))
        };
        if let Some(next) = next {
            baton.pass(me, next);
        }
    }
}
