//! A stack that anyone adds to, and that is taken as a whole: so no node can leave and come back under a hand that adds.

use crate::sync::{AtomicPtr, Ordering};
use std::ptr::{self, NonNull};

/// What a stack is made of.
pub(super) struct Node<T> {
    pub(super) value: T,
    // The address of the one below, with exposed provenance: it may be another node by the time that this one is added, one
    // that has since been put where a taken one was.
    below: usize,
}

impl<T> Node<T> {
    pub(super) fn new(value: T) -> Box<Self> {
        Box::new(Self { value, below: 0 })
    }
}

pub(super) struct Stack<T>(AtomicPtr<Node<T>>);

impl<T> Stack<T> {
    #[cfg(not(resumption_loom))]
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[cfg(resumption_loom)]
    pub(super) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    pub(super) fn put(&self, node: Box<Node<T>>) {
        let node = Box::into_raw(node);
        node.expose_provenance();
        let mut top = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: just made from a box, and seen by nobody else until the exchange succeeds.
            unsafe { (*node).below = top.addr() };
            // Release: publishes the node (partner: the Acquire in `take`). Those below are published by the same word's
            // earlier exchanges.
            match self.0.compare_exchange(top, node, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => top = other,
            }
        }
    }

    #[cfg(not(resumption_loom))]
    pub(super) fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Takes all there is, the newest first.
    pub(super) fn take(&self) -> Taken<'_, T> {
        if self.0.load(Ordering::Relaxed).is_null() {
            return Taken { from: self, top: ptr::null_mut() };
        }
        // Acquire: pairs with the Release in `put`.
        Taken { from: self, top: self.0.swap(ptr::null_mut(), Ordering::Acquire) }
    }
}

/// What was taken. Whoever does not go to the end, by choice or by a panic, puts the rest back, for the price of one node
/// unless some were added meanwhile.
pub(super) struct Taken<'a, T> {
    from: &'a Stack<T>,
    top: *mut Node<T>,
}

impl<T> Taken<'_, T> {
    #[cfg(not(resumption_loom))]
    pub(super) fn is_empty(&self) -> bool {
        self.top.is_null()
    }

    /// Puts one back, which comes next.
    pub(super) fn put_back(&mut self, mut node: Box<Node<T>>) {
        node.below = self.top.addr();
        self.top = Box::into_raw(node);
        self.top.expose_provenance();
    }
}

impl<T> Iterator for Taken<'_, T> {
    type Item = Box<Node<T>>;

    fn next(&mut self) -> Option<Box<Node<T>>> {
        let top = NonNull::new(self.top)?;
        // SAFETY: `put` made it from a box, and the swap gave all that hangs on it to us alone.
        let node = unsafe { Box::from_raw(top.as_ptr()) };
        self.top = ptr::with_exposed_provenance_mut(node.below);
        Some(node)
    }
}

impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        while !self.top.is_null() {
            // Release: publishes the links that are changed below (partner: the Acquire in `take`).
            let back =
                self.from.0.compare_exchange(ptr::null_mut(), self.top, Ordering::Release, Ordering::Relaxed);
            if back.is_ok() {
                return;
            }
            for node in self.from.take() {
                self.put_back(node);
            }
        }
    }
}

/// A stack as the models drive it.
#[cfg(resumption_loom)]
pub struct ModelStack(Stack<usize>);

#[cfg(resumption_loom)]
impl ModelStack {
    /// An empty stack.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Stack::new())
    }

    /// Adds a number.
    pub fn put(&self, number: usize) {
        self.0.put(Node::new(number));
    }

    /// Takes all, but puts back what is more than `most`.
    pub fn take(&self, most: usize) -> Vec<usize> {
        self.0.take().take(most).map(|node| node.value).collect()
    }
}

#[cfg(resumption_loom)]
impl Drop for ModelStack {
    fn drop(&mut self) {
        self.0.take().for_each(drop);
    }
}
