//! The stash of retired entries: its owner adds, others take. Nothing is lost, nothing is freed twice.

use loom::sync::Arc;
use loom::thread;
use resumption::model::ModelStash;

const COLLECTS: bool = false;

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
