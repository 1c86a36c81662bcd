//! Records what several threads really did, and decides whether one order of single steps explains it.
//!
//! A [`Recorder`] gives every invocation and every response a stamp from one counter. A [`History`] keeps the
//! operations apart by key, because a history is linearizable exactly when its part for each key is (Herlihy and Wing,
//! *Linearizability: a correctness condition for concurrent objects*, 1990, theorem 1). [`History::check`] searches
//! for the order; [`SessionSpec`] says what one key of a session cache may answer.

mod linearizable;
mod session_spec;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

pub use linearizable::{NotLinearizable, Spec, linearize};
pub use session_spec::{Call, Outcome, SessionSpec};

/// The source of stamps of one history; the threads share it.
#[derive(Debug, Default)]
pub struct Recorder {
    stamps: AtomicU64,
}

/// The operations of one thread, in the order in which it called them.
#[derive(Debug)]
pub struct Log<'r, K, I, O> {
    recorder: &'r Recorder,
    thread: usize,
    operations: Vec<(K, Operation<I, O>)>,
}

/// One call and its answer, with the instants between which it took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<I, O> {
    /// The thread that called.
    pub thread: usize,
    /// What was called with which arguments.
    pub input: I,
    /// What the call returned.
    pub output: O,
    /// The stamp taken before the call.
    pub invoked: u64,
    /// The stamp taken after the call; greater than `invoked`.
    pub returned: u64,
}

/// The operations of all threads, by key.
#[derive(Debug, Clone)]
pub struct History<K, I, O> {
    keys: BTreeMap<K, Vec<Operation<I, O>>>,
}

impl Recorder {
    /// A recorder that begins at stamp 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The log of one thread. The number appears in failure messages only.
    pub fn log<K, I, O>(&self, thread: usize) -> Log<'_, K, I, O> {
        Log { recorder: self, thread, operations: Vec::new() }
    }

    fn stamp(&self) -> u64 {
        // SeqCst: pairs with itself. The order of the stamps must agree with real time between all threads, or
        // the checker would believe that calls overlapped which did not, and miss a violation.
        self.stamps.fetch_add(1, Ordering::SeqCst)
    }
}

impl<K, I, O: Clone> Log<'_, K, I, O> {
    /// Makes the call `operation` and records that it was `input` on `key`.
    pub fn call(&mut self, key: K, input: I, operation: impl FnOnce() -> O) -> O {
        let invoked = self.recorder.stamp();
        let output = operation();
        let returned = self.recorder.stamp();
        let recorded = Operation { thread: self.thread, input, output: output.clone(), invoked, returned };
        self.operations.push((key, recorded));
        output
    }
}

impl<K: Ord, I, O> History<K, I, O> {
    /// Puts the logs of one recorder together.
    pub fn new<'r>(logs: impl IntoIterator<Item = Log<'r, K, I, O>>) -> Self
    where
        K: 'r,
        I: 'r,
        O: 'r,
    {
        let mut keys = BTreeMap::<K, Vec<_>>::new();
        for (key, operation) in logs.into_iter().flat_map(|log| log.operations) {
            keys.entry(key).or_default().push(operation);
        }
        Self { keys }
    }

    /// The number of operations on all keys.
    pub fn len(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks the operations of every key against `spec`.
    ///
    /// # Errors
    ///
    /// The first key (in key order) for which there is no explanation, with its operations.
    pub fn check<S>(&self, spec: &S) -> Result<(), Violation<K>>
    where
        K: Clone,
        S: Spec<Input = I, Output = O>,
        I: Debug,
        O: Debug,
    {
        for (key, operations) in &self.keys {
            linearize(spec, operations).map_err(|cause| Violation { key: key.clone(), cause })?;
        }
        Ok(())
    }
}

/// A key whose operations no order explains.
#[derive(Debug, Clone)]
pub struct Violation<K> {
    /// The key.
    pub key: K,
    /// How far an explanation goes.
    pub cause: NotLinearizable,
}

impl<K: Debug> std::fmt::Display for Violation<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "key {:?}: {}", self.key, self.cause)
    }
}

#[cfg(test)]
mod tests;
