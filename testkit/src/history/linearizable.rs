//! The search for an order: Wing and Gong's algorithm (*Testing and verifying concurrent objects*, 1993) with Lowe's
//! memory of configurations (*Testing for linearizability*, 2016).
//!
//! The events are a doubly linked list in the order of their stamps. Linearizing an operation takes its call and its
//! return out of the list; only calls that stand before the first return may go next. When the first return is reached, the last
//! choice is taken back. A configuration (which operations are done, and the state) that was seen before is not tried again,
//! which keeps the search short for histories in which many orders lead to the same state. What remains is
//! exponential in the number of calls that overlap at one instant, which is the number of threads.

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::hash::Hash;

use super::Operation;

/// What a single thread would observe: the object as a function from state and call to answer and next state.
pub trait Spec {
    /// The state of the object.
    type State: Clone + Eq + Hash + Debug;
    /// A call with its arguments.
    type Input;
    /// What a call returns.
    type Output;

    /// The state before the first call.
    fn initial(&self) -> Self::State;

    /// The state after `input` answered `output` in `state`, or `None` when it cannot answer that there.
    fn apply(&self, state: &Self::State, input: &Self::Input, output: &Self::Output) -> Option<Self::State>;
}

/// A history without an explanation.
#[derive(Debug, Clone)]
pub struct NotLinearizable {
    /// How many of the operations the longest attempt explained.
    pub explained: usize,
    /// All operations as text, in the order of their calls. Those that the longest attempt left over are marked.
    pub operations: Vec<String>,
}

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "no order explains more than {} of {} operations:",
            self.explained,
            self.operations.len()
        )?;
        self.operations.iter().try_for_each(|operation| writeln!(f, "  {operation}"))
    }
}

/// Looks for an order of `operations`, all on one object, that `spec` allows and that respects real time.
///
/// Returns the positions of the operations in such an order.
///
/// # Errors
///
/// [`NotLinearizable`] when there is none.
pub fn linearize<S: Spec>(
    spec: &S,
    operations: &[Operation<S::Input, S::Output>],
) -> Result<Vec<usize>, NotLinearizable>
where
    S::Input: Debug,
    S::Output: Debug,
{
    let mut events = Events::new(operations);
    let mut done = Done::new(operations.len());
    let mut seen = HashSet::new();
    let mut choices: Vec<(usize, S::State)> = Vec::new();
    let mut longest = Vec::new();
    let mut state = spec.initial();
    let mut event = events.first();
    while event != HEAD {
        if let Some(operation) = events.call(event) {
            let Operation { input, output, .. } = &operations[operation];
            let next = spec.apply(&state, input, output);
            if let Some(next) = next.filter(|next| seen.insert((done.with(operation), next.clone()))) {
                choices.push((event, std::mem::replace(&mut state, next)));
                done.set(operation, true);
                events.lift(event);
                event = events.first();
            } else {
                event = events.next[event];
            }
            continue;
        }
        if choices.len() > longest.len() {
            longest = choices.iter().filter_map(|(event, _)| events.call(*event)).collect();
        }
        let Some((last, before)) = choices.pop() else { return Err(unexplained(operations, &longest)) };
        state = before;
        done.set(events.operation[last], false);
        events.unlift(last);
        event = events.next[last];
    }
    Ok(choices.into_iter().map(|(event, _)| events.operation[event]).collect())
}

fn unexplained<I: Debug, O: Debug>(operations: &[Operation<I, O>], longest: &[usize]) -> NotLinearizable {
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_by_key(|&operation| operations[operation].invoked);
    let describe = |operation: usize| {
        let left_over = if longest.contains(&operation) { ' ' } else { '!' };
        let Operation { thread, input, output, invoked, returned } = &operations[operation];
        format!("{left_over} [{invoked:4} {returned:4}] thread {thread}: {input:?} -> {output:?}")
    };
    NotLinearizable { explained: longest.len(), operations: order.into_iter().map(describe).collect() }
}

/// The head of the list; the events are 1 and up.
const HEAD: usize = 0;

/// Calls and returns in the order of their stamps, as a doubly linked list in arrays.
struct Events {
    next: Vec<usize>,
    previous: Vec<usize>,
    /// The operation of each event.
    operation: Vec<usize>,
    /// For a call the event of its return, for a return `HEAD`.
    returns: Vec<usize>,
}

impl Events {
    fn new<I, O>(operations: &[Operation<I, O>]) -> Self {
        let mut stamps = Vec::with_capacity(2 * operations.len());
        for (index, operation) in operations.iter().enumerate() {
            stamps.push((operation.invoked, index));
            stamps.push((operation.returned, index));
        }
        stamps.sort_unstable();
        let count = stamps.len() + 1;
        let mut returns = vec![HEAD; count];
        let mut calls = vec![HEAD; operations.len()];
        for (event, &(_, operation)) in (1..).zip(&stamps) {
            match calls[operation] {
                HEAD => calls[operation] = event,
                call => returns[call] = event,
            }
        }
        Self {
            next: (1..count).chain([HEAD]).collect(),
            previous: [count - 1].into_iter().chain(0..count - 1).collect(),
            operation: [HEAD].into_iter().chain(stamps.into_iter().map(|(_, operation)| operation)).collect(),
            returns,
        }
    }

    fn first(&self) -> usize {
        self.next[HEAD]
    }

    /// The operation that `event` calls, unless it is a return.
    fn call(&self, event: usize) -> Option<usize> {
        (self.returns[event] != HEAD).then(|| self.operation[event])
    }

    fn lift(&mut self, call: usize) {
        self.unlink(call);
        self.unlink(self.returns[call]);
    }

    /// Undoes the latest [`lift`](Self::lift), in the opposite order.
    fn unlift(&mut self, call: usize) {
        self.link(self.returns[call]);
        self.link(call);
    }

    fn unlink(&mut self, event: usize) {
        self.next[self.previous[event]] = self.next[event];
        self.previous[self.next[event]] = self.previous[event];
    }

    fn link(&mut self, event: usize) {
        self.next[self.previous[event]] = event;
        self.previous[self.next[event]] = event;
    }
}

/// The set of operations that have been linearized.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Done(Box<[u64]>);

impl Done {
    fn new(operations: usize) -> Self {
        Self(vec![0; operations.div_ceil(64)].into())
    }

    fn set(&mut self, operation: usize, done: bool) {
        let (word, bit) = (&mut self.0[operation / 64], 1 << (operation % 64));
        if done { *word |= bit } else { *word &= !bit }
    }

    fn with(&self, operation: usize) -> Self {
        let mut with = self.clone();
        with.set(operation, true);
        with
    }
}
