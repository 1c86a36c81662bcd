//! When a session dies: a hierarchical timer wheel whose slots are sets of places in the table.
//!
//! Six levels of 64 slots. A slot of level L covers 64^L seconds and holds, in place of timers, one bit for each
//! partition of the hashes (eight partitions above level 0): *something that hashes to this partition dies in this
//! slot's time, look there*. Filing an entry sets a bit, which is mostly set already. An entry that leaves the table
//! leaves nothing behind that has to be found, freed or counted. Opening a slot takes its bits and has each partition
//! visited: the visitor removes what is dead and files again what is not, on a finer level as its death comes nearer.
//!
//! So memory is constant, 12 bytes a partition, whatever is filed and however often; a bit too many costs a visit, and
//! a bit too few must never be. The wheel knows no table, and hands out intervals of hashes.
//!
//! # The protocol
//!
//! ```text
//!  schedule                                advance: one driver at a time
//!
//!  put     the entry is in the table       move   the tick goes on
//!  arm     the slot's gate                 fence  M
//!  fence   E, if the gate was open         for each slot that opened on the way:
//!  mark    set the bit, if it is not set     look   at the gate; not armed: next slot
//!  (fence  S)                                open   the gate: count + 1, not armed
//!  same?   the gate's count                  fence  O
//!  ahead?  the opening of the tick           for each word:
//!          unless both: again from `arm`       take   load it; unless it is 0, swap it to 0
//!                                              fence  T
//!                                              visit  the partitions whose bits were taken
//!                                            close  the gate
//! ```
//!
//! A driver's accesses are relaxed, except that `close` releases, that the dial, which has the tick, hands the driver's
//! state from one to the next, and that a new division of the hashes is published. The rest is done by the fences, all
//! sequentially consistent, so that of two one comes first: **if what follows fence Y does not see what precedes fence X,
//! then Y < X.**
//!
//! Fence S is not spelled out: `put`, `arm`, `mark`, `same?` and `ahead?` are sequentially consistent accesses, in that
//! order, and have places in the same single order. Read S < Y below as: `same?` (or `ahead?`) comes before Y, and so do
//! `put`, `arm` and `mark`, so what follows Y sees them or what came after; and Y < S as: Y comes before `mark`, and so
//! before `same?`, which sees what precedes Y. An insert whose entry somebody else has put sees that by a compare-and-swap
//! that fails, and has the same place. (C++20, [atomics.order], 4. Models have the fence: loom does not know that order.)
//!
//! What follows Y may miss `put` because it misses the way there, and then Y < S as well. An overflow line hangs on a swap,
//! which comes after Y if Y's reader does not see it, and before the load by which the inserter came to the line: both are
//! sequentially consistent. So are the swap that says that a bucket has moved and the loads by which an inserter sees that;
//! and who comes by a new root comes after it, since every bucket had moved before (4.1 there: strongly happens before).
//!
//! # Why nothing is lost
//!
//! Let `schedule` return. The slot's opening for the entry ([`opens_for`](level::Slot::opens_for)) is later than the
//! tick that `ahead?` read, so the tick has yet to go over it. Take the first `move` after that tick that does. When
//! its work is done, somebody has taken the bit after `mark` and visited the entry:
//!
//! 1. *Its `look` finds the gate armed, or an `open` has come after `arm`.* `ahead?` did not see `move`, so S < M, so
//!    `look` sees what `arm` left or something later; and only `open` disarms.
//! 2. *A driver whose `open` comes after `arm` takes the bit, or finds it taken since `mark`.* If a `take` of its did
//!    not see `mark`, then O < S, and `same?` would have seen that `open` and another count than `arm`.
//! 3. *Who takes the bit after `mark` sees the entry.* Say the visit does not see `put`. Then T < S, so `same?` saw the
//!    `open` before this `take`, and as the counts agree, so did `arm`. If the gate was still open at `arm`, there was
//!    fence E; `mark` did not see `take`, so E < T, and the visit sees `put` after all. If the gate was closed again,
//!    `arm` acquired what `close` released, so `take` came before `mark`, and not after.
//!
//! A visitor files what it finds alive without fence or second look: it has seen the entry, the bit is next taken by
//! this driver or one after it, and no tick moves and no gate opens before it returns. A finer division of the hashes
//! ([`Wheel::grow`]) is more words to take: who marks in it has seen it before S, and the driver looks for it after O.
//!
//! # Why nothing is late
//!
//! A slot opens for an entry at its death or earlier; if earlier, the visit files it again, and the above holds anew.
//! [`Done`](Progress::Done) means that the dial, in one word, had a tick of at least `now` and the statement that no
//! work is left. Every `move` withdraws that statement, and only a driver that has worked off everything makes it.
//!
//! # Why the clock may be set back
//!
//! A slot opens at *every* tick that has its index on its level. As long as the tick is before an entry's opening,
//! wherever it has been meanwhile, the slot opens next at that instant or earlier. So an `advance` into the past has
//! nothing to do, and a scheduler whose entry dies after its own time but not after the tick sets the tick back to just
//! before the death and files as ever: the tick has yet to go over the opening, again.
#![forbid(unsafe_code)]

mod advance;
mod backlog;
mod bits;
mod dial;
#[cfg(all(fuzzing, not(resumption_loom)))]
pub(crate) mod fuzzing;
mod gate;
mod level;
#[cfg(resumption_loom)]
pub(crate) mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[allow(clippy::module_inception)]
mod wheel;

use crate::sync::{Ordering, Rule, fence, is_broken};

pub(crate) use advance::{Opening, Progress};
pub(crate) use wheel::{Scheduled, Wheel, death};

/// A full fence, which the models leave out to see that its rule is needed.
#[inline]
fn fence_for(rule: Rule) {
    if !is_broken(rule) {
        // SeqCst: pairs with the other fences, as the proof above says.
        fence(Ordering::SeqCst);
    }
}
