//! Threads that outlive the programs: to start some for each program would take longer than most programs.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

static CREW: Mutex<Vec<Sender<Job>>> = Mutex::new(Vec::new());

/// Has thread `index` of the crew do `work`.
pub fn start<R: Send + 'static>(index: usize, work: impl FnOnce() -> R + Send + 'static) -> Receiver<R> {
    let (result, end) = mpsc::channel();
    let mut crew = CREW.lock().unwrap_or_else(PoisonError::into_inner);
    while crew.len() <= index {
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::spawn(move || inbox.into_iter().for_each(|job| job()));
        crew.push(jobs);
    }
    crew[index].send(Box::new(move || drop(result.send(work())))).expect("the crew never ends");
    end
}

/// Waits for what [`start`] began.
///
/// # Panics
///
/// When the work panicked.
pub fn end<R>(end: Receiver<R>) -> R {
    end.recv().expect("no call panics")
}
