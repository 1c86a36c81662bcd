//! Two to four threads on one table or one context, each stopped before any of its accesses to an atomic; what they saw
//! is judged by the testkit's checker of linearizability.

mod baton;
mod crew;
mod subject;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arbitrary::Arbitrary;
use baton::Baton;
use resumption_testkit::history::{Call, History, Log, Outcome, Recorder, SessionSpec};
use subject::{Memory, Subject};

/// Programs for the threads, and who runs when.
#[derive(Debug, Arbitrary)]
pub struct Program {
    subject: Kind,
    threads: [Vec<Step>; 4],
    schedule: Vec<u8>,
}

/// What the threads work on.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Kind {
    /// A table of one bucket. It may grow.
    Table,
    /// A context with room for everything.
    Context,
    /// A context with room for one or two sessions.
    Full(bool),
}

/// A call on one of a few keys.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Step {
    Add(u8),
    /// Adds the session that this thread added last under the key, or found there.
    AddAgain(u8),
    Remove(u8),
    Lookup(u8),
    LookupCounted(u8),
    Take(u8),
    TakeBorrowed(u8),
    /// The table doubles; a context's clock goes on, past the expiry of short sessions.
    Grow,
    /// Short sessions, for a context.
    AddShort(u8),
    Tick,
    /// Gives back what this thread has retired, as far as others allow.
    Idle,
}

impl Program {
    /// A short program on few keys, for who has no fuzzer at hand; `below` chooses a number below its argument.
    pub fn random(mut below: impl FnMut(u64) -> u64) -> Self {
        let subject = [Kind::Table, Kind::Table, Kind::Context, Kind::Full(false)][below(4) as usize];
        let keys = 1 + below(2);
        let step = |below: &mut dyn FnMut(u64) -> u64| {
            let key = below(keys) as u8;
            match below(9) {
                0..3 => Step::Add(key),
                3 => Step::AddAgain(key),
                4 => Step::Remove(key),
                5 => Step::Lookup(key),
                6..8 => Step::Take(key),
                _ => Step::Grow,
            }
        };
        let threads = std::array::from_fn(|thread| {
            let steps = if thread < 3 { 1 + below(4) } else { 0 };
            (0..steps).map(|_| step(&mut below)).collect()
        });
        let turns = 2 + below(20);
        let schedule = (0..turns).map(|_| (below(3) | below(24) << 2) as u8).collect();
        Self { subject, threads, schedule }
    }
}

const KEYS: u8 = 3;
const MOST_STEPS: usize = 12;

/// Payloads that were made and not freed yet.
pub(crate) static LIVE: AtomicI64 = AtomicI64::new(0);

static RECORDER: std::sync::LazyLock<Recorder> = std::sync::LazyLock::new(Recorder::new);

/// Runs the program.
///
/// # Panics
///
/// When no order of the calls explains what they returned, when a borrow changes, or when something is never freed.
pub fn run(program: &Program) {
    // Whoever first uses the crate initialises statics, under locks that must not be held while another thread runs.
    drop(resumption::pin());
    let programs: Vec<&[Step]> =
        program.threads.iter().map(|steps| &steps[..steps.len().min(MOST_STEPS)]).collect();
    let used = programs.iter().rposition(|steps| !steps.is_empty()).map_or(0, |last| last + 1).max(2);
    // Who takes a session marks it, and a marked one is not found when it is added again.
    let takes = |step: &Step| matches!(step, Step::Take(_) | Step::TakeBorrowed(_));
    let reuses = matches!(program.subject, Kind::Table) || !programs.iter().copied().flatten().any(takes);
    let subject = Arc::new(Subject::new(program.subject));
    let baton = Baton::new(used, program.schedule.clone());
    let start = |index: usize| {
        let (subject, baton, steps) = (Arc::clone(&subject), Arc::clone(&baton), programs[index].to_vec());
        crew::start(index, move || {
            baton.run(index, || work(&subject, Memory::new(index, reuses), &steps, RECORDER.log(index)))
        })
    };
    let threads: Vec<_> = (0..used).map(start).collect();
    let logs: Vec<KeyLog<'_>> = threads.into_iter().map(crew::end).collect();
    let expires = programs.iter().any(|steps| steps.iter().any(|step| matches!(step, Step::AddShort(_))));
    let spec = SessionSpec { evicts: expires || subject.evicts(), expires };
    if let Err(violation) = History::new(logs).check(&spec) {
        panic!("{violation}");
    }
    subject.check_at_rest();
    drop(subject);
    for _ in 0..100 {
        if LIVE.load(Ordering::Relaxed) == 0 {
            return;
        }
        resumption::idle();
    }
    panic!("{} sessions were never freed", LIVE.load(Ordering::Relaxed));
}

type KeyLog<'r> = Log<'r, u8, Call, Outcome>;

fn work<'r>(subject: &Subject, mut memory: Memory, steps: &[Step], mut log: KeyLog<'r>) -> KeyLog<'r> {
    let guard = resumption::pin();
    let mut borrows = Vec::new();
    for step in steps {
        match *step {
            Step::Add(key) => add(subject, &mut log, key % KEYS, memory.make(key % KEYS, false)),
            Step::AddShort(key) => add(subject, &mut log, key % KEYS, memory.make(key % KEYS, true)),
            Step::AddAgain(key) => {
                if let Some(session) = memory.known(key % KEYS) {
                    add(subject, &mut log, key % KEYS, session);
                }
            }
            Step::Remove(key) => {
                if let Some(call) = subject.remover(key % KEYS) {
                    log.call(key % KEYS, Call::Remove, || Outcome::Removed(call()));
                }
            }
            Step::Lookup(key) => {
                let key = key % KEYS;
                let mut found = None;
                log.call(key, Call::Lookup, || {
                    found = subject.lookup(key, &guard);
                    Outcome::Found(found.map(|payload| payload.serial()))
                });
                borrows.extend(found.map(|payload| (payload.serial(), payload)));
            }
            Step::LookupCounted(key) => {
                let key = key % KEYS;
                let mut found = None;
                log.call(key, Call::Lookup, || {
                    found = subject.lookup_counted(key, &guard);
                    Outcome::Found(found.as_ref().map(|session| session.payload().serial()))
                });
                memory.learn(key, found);
            }
            Step::Take(key) => {
                log.call(key % KEYS, Call::Take, || Outcome::Found(subject.take(key % KEYS, &guard)));
            }
            Step::TakeBorrowed(key) => {
                let mut taken = None;
                log.call(key % KEYS, Call::Take, || {
                    taken = subject.take_borrowed(key % KEYS, &guard);
                    Outcome::Found(taken.map(|payload| payload.serial()))
                });
                borrows.extend(taken.map(|payload| (payload.serial(), payload)));
            }
            Step::Grow => subject.grow(&guard),
            Step::Tick => subject.tick(),
            Step::Idle => guard.flush(),
        }
        for &(serial, payload) in &borrows {
            assert_eq!(payload.serial(), serial, "a borrow changed");
        }
    }
    drop(borrows);
    drop(guard);
    resumption::idle();
    log
}

fn add(subject: &Subject, log: &mut KeyLog<'_>, key: u8, session: subject::Shared) {
    let serial = session.payload().serial();
    log.call(key, Call::Add(serial), || subject.add(session));
}
