//! Makes a program that shows a difference as small as it gets.

use crate::program::{Call, Program, When};

/// How often a smaller program is tried: who is evicted may differ from run to run.
const ATTEMPTS: usize = 4;

/// The smallest program that still fails, as far as leaving out calls and sessions goes.
pub(crate) fn shrink(program: &Program, fails: impl Fn(&Program) -> bool) -> Program {
    let fails = |program: &Program| (0..ATTEMPTS).any(|_| fails(program));
    let mut smallest = program.clone();
    loop {
        let size = (smallest.calls.len(), smallest.sessions.len());
        let mut width = smallest.calls.len() / 2;
        while width > 0 {
            let mut from = 0;
            while from < smallest.calls.len() {
                let mut candidate = smallest.clone();
                candidate.calls.drain(from..(from + width).min(smallest.calls.len()));
                if fails(&candidate) {
                    smallest = candidate;
                } else {
                    from += width;
                }
            }
            width /= 2;
        }
        for session in (0..smallest.sessions.len()).rev() {
            let candidate = without(&smallest, session);
            if let Some(candidate) = candidate.filter(|candidate| fails(candidate)) {
                smallest = candidate;
            }
        }
        if (smallest.calls.len(), smallest.sessions.len()) == size {
            return smallest;
        }
    }
}

/// The program without a session that no call needs.
fn without(program: &Program, session: usize) -> Option<Program> {
    let mut candidate = program.clone();
    candidate.sessions.remove(session);
    candidate.calls.iter_mut().all(|call| renumber(call, session)).then_some(candidate)
}

/// Follows the removal of a session; `false` if the call needs it.
fn renumber(call: &mut Call, removed: usize) -> bool {
    let number = match call {
        Call::Add(number)
        | Call::Remove(_, number)
        | Call::SetSessionTime(number, _)
        | Call::SetSessionTimeout(number, _)
        | Call::SetId(number, _)
        | Call::Flush(_, When::AroundEndOf(number, _)) => number,
        Call::React(inner) => return renumber(inner, removed),
        _ => return true,
    };
    if *number == removed {
        return false;
    }
    *number -= usize::from(*number > removed);
    true
}
