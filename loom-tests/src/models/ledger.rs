//! What was retired on its way: the stash, where its owner adds and others take; and the stack, where anyone adds and takes.
//! Nothing is lost, nothing is freed twice.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use resumption::model::{ModelStack, ModelStash};

const COLLECTS: bool = false;

/// A stack of the numbers of notes, each written before its number is added.
struct Notes {
    stack: ModelStack,
    notes: [AtomicUsize; 3],
}

impl Notes {
    fn new() -> Arc<Self> {
        Arc::new(Self { stack: ModelStack::new(), notes: [0; 3].map(AtomicUsize::new) })
    }

    fn put(&self, number: usize) {
        self.notes[number].store(number + 1, Ordering::Relaxed);
        self.stack.put(number);
    }

    /// Takes up to `most`, and has a look at the notes of these.
    fn take(&self, most: usize) -> Vec<usize> {
        let taken = self.stack.take(most);
        for &number in &taken {
            assert_eq!(self.notes[number].load(Ordering::Relaxed), number + 1, "as it was added");
        }
        taken
    }

    fn expect(&self, mut taken: Vec<usize>, all: &[usize]) {
        taken.extend(self.take(usize::MAX));
        taken.sort_unstable();
        assert_eq!(taken, all, "each once");
    }
}

models! {
    /// The owner fills the one cell twice while another thread takes.
    fn stash_add_meets_take() {
        let stash = Arc::new(ModelStash::new());
        let other = Arc::clone(&stash);
        let taker = thread::spawn(move || other.take());
        let mut taken = Vec::new();
        for number in [16, 32] {
            while !stash.add(number) {
                taken.extend(stash.take());
            }
        }
        taken.extend(taker.join().unwrap());
        taken.extend(stash.take());
        taken.sort_unstable();
        assert_eq!(taken, [16, 32], "each once");
    }

    /// Two threads add while one takes.
    fn stack_put_meets_put_and_take() {
        let notes = Notes::new();
        let [one, other] = [0, 1].map(|_| Arc::clone(&notes));
        let putter = thread::spawn(move || one.put(0));
        let taker = thread::spawn(move || other.take(usize::MAX));
        notes.put(1);
        putter.join().unwrap();
        notes.expect(taker.join().unwrap(), &[0, 1]);
    }

    /// Two threads take, one of them not to the end, while it is added to.
    fn stack_take_meets_take_and_put() {
        let notes = Notes::new();
        let [one, other] = [0, 1].map(|_| Arc::clone(&notes));
        let taker = thread::spawn(move || one.take(usize::MAX));
        let stopper = thread::spawn(move || other.take(1));
        notes.put(0);
        notes.put(1);
        let mut taken = taker.join().unwrap();
        taken.extend(stopper.join().unwrap());
        notes.expect(taken, &[0, 1]);
    }

    /// Two takers of one entry.
    fn stash_take_meets_take() {
        let stash = Arc::new(ModelStash::new());
        assert!(stash.add(16));
        let other = Arc::clone(&stash);
        let taker = thread::spawn(move || other.take().len());
        let ours = stash.take().len();
        assert_eq!(ours + taker.join().unwrap(), 1, "taken once");
    }
}

twins! {
    stash_that_overwrites: StashWaits breaks stash_add_meets_take;
}
