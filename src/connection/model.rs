//! A connection's slot as the models in `loom-tests` drive it. Compiled under `--cfg resumption_loom` only.

use crate::epoch::{self, ArcSlot};
use crate::sync::{AtomicU32, Ordering};
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// What stands for a session: written before it is put into the slot, read through the slot.
struct Value {
    number: AtomicU32,
}

/// A slot and the values that go into it. The model keeps a count of each, so that a slot that gives up its own too
/// early is seen by the count and not by what happens to the memory.
pub struct ModelSlot {
    slot: ManuallyDrop<ArcSlot<Value>>,
    kept: Vec<Arc<Value>>,
}

/// What a reader saw through its borrow.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// The value's number.
    pub number: u32,
    /// Whether the value was still owned by somebody else than the model, after the number was read.
    pub is_alive: bool,
}

impl ModelSlot {
    /// An empty slot, with `count` values that can be put into it.
    pub fn new(count: usize) -> Self {
        let value = |_| Arc::new(Value { number: AtomicU32::new(0) });
        Self { slot: ManuallyDrop::new(ArcSlot::empty()), kept: (0..count).map(value).collect() }
    }

    /// Numbers the value at `index` and puts it into the slot; 0 is no number.
    pub fn put(&self, index: usize, number: u32) {
        let guard = epoch::pin();
        // After the guard, whose fence would publish it.
        self.kept[index].number.store(number, Ordering::Relaxed);
        self.slot.replace(Some(Arc::clone(&self.kept[index])), &guard);
        drop(guard);
        epoch::idle();
    }

    /// Reads the slot under a guard of its own.
    pub fn read(&self) -> Option<Seen> {
        let guard = epoch::pin();
        let value = self.slot.load(&guard)?;
        let number = value.number.load(Ordering::Relaxed);
        let kept = self.kept.iter().find(|kept| std::ptr::eq(&***kept, value))?;
        Some(Seen { number, is_alive: Arc::strong_count(kept) > 1 })
    }

    /// Reads the slot with a count.
    pub fn read_counted(&self) -> Option<u32> {
        let value = self.slot.to_arc(&epoch::pin())?;
        Some(value.number.load(Ordering::Relaxed))
    }
}

impl Drop for ModelSlot {
    fn drop(&mut self) {
        // A model that failed leaves everything as it is.
        if !std::thread::panicking() {
            self.slot.replace(None, &epoch::pin());
        }
    }
}
