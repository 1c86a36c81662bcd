//! When a session dies: a hierarchical timer wheel whose slots are sets of places in the table.
//!
//! Six levels of 64 slots. A slot of level L covers 64^L seconds and holds, in place of timers, one bit for each
//! partition of the hashes (eight partitions above level 0): *something that hashes to this partition dies in this slot's
//! time, look there*. Filing an entry sets a bit, which is mostly set already. An entry that leaves the table leaves
//! nothing behind that has to be found, freed or counted. Opening a slot takes its bits and has each partition visited:
//! the visitor removes what is dead and files again what is not, on a finer level as its death comes nearer.
//!
//! So memory is constant, 12 bytes a partition, whatever is filed and however often; a bit too many costs a visit, and a
//! bit too few must never be. The wheel knows no table, and hands out intervals of hashes.
//!
//! # Who does what
//!
//! ```text
//!  schedule                              advance: the driver, one at a time
//!                                        T  move the tick           (dial)
//!  p  put the entry in the table         1  fence                   TickFence
//!  a  arm the slot's gate                   for each slot that opened:
//!  o  fence, if the gate is open         A    look at the gate; not armed: next slot
//!  x  set the bit, if it is not set      O    open the gate: count + 1, not armed
//!  f  fence                              2    fence                 GateFence
//!  g  gate still armed, same count?      W    for each word: load it; swap it to 0 if it is not 0
//!  t  tick still before the opening?     3    fence                 TakeFence
//!     no: again from a                   V    visit the partitions
//!                                        C  close the gate
//! ```
//!
//! All accesses are relaxed but for three: C releases, a acquires, and the dial hands the driver's state on. The fences
//! do the rest: of two sequentially consistent fences one comes first, and what was done before it is seen by what is
//! done after the other. ("`f` < 2" below: `f` comes first.) It follows that when an access before fence X misses, or
//! reads around, a write that comes after... in short: *if what follows X misses what precedes Y, then X < Y.*
//!
//! # Why nothing is lost
//!
//! Let a scheduler return from p, a, x, f, g, t. The slot opens for this entry at `o`, and t read a tick before
//! `o` ([`Slot::opens_for`](level::Slot::opens_for)), so a driver will move the tick over `o`; let T be the first such move
//! after the one that t read. We show that by the end of T's work some driver has taken the bit after x and that its
//! visit sees the entry.
//!
//! **T's work looks at the gate and sees it armed by a, or the slot has been opened since.** t missed T, so
//! `f` < 1, so A sees what a left or something later. If the gate is no longer armed then, an O has come after a.
//!
//! **An O that comes after a takes the bit.** If its W missed x, then 2 < `f`, so g saw this O and another count than a,
//! and the scheduler did not return. If W sees the bit gone, somebody has taken it after x.
//!
//! **A visit whose W took the bit after x sees the entry.** Let it miss p.
//! * Gate closed at a. 3 < `f`, so g saw the O before this W. The counts agree, so a saw it too, and as the gate was closed,
//!   also the C after W; C releases and a acquires, so W came before x: a contradiction.
//! * Gate open at a. 3 < `f` no longer tells, since O may be the one that a saw. But W changed what x read or wrote, so
//!   `o` < 3, and p is seen after all.
//!
//! An entry that the visit finds alive the driver files again. It needs no fence: it sees the entry, it or a driver after it
//! is the one who takes the bit next, and no tick moves and no gate opens before it returns.
//!
//! A second division of the hashes ([`Wheel::grow`]) is one more word for W to look at: whoever files in it has seen it
//! before `f`, and the driver looks for it after 2.
//!
//! # Why nothing is late
//!
//! A slot's opening for an entry is at its death or before, and the argument above holds for each filing. When `advance(now)` says
//! `Done`, a tick of at least `now` was read from the dial in one word with the statement that nothing is left to do; a move
//! over `o` withdraws that statement, and only the driver who has emptied every slot makes it again.
//!
//! # Why the clock may be set back
//!
//! A slot opens at *every* tick with its index on its level. So while the tick is before `o`, wherever it was in the
//! meantime, the slot's next opening is at `o` or before; a visit before its time files the entry again. An `advance`
//! into the past therefore has nothing to do. A scheduler whose entry dies between its own time and the tick sets the
//! tick back to just before the death, and goes on as if it had always been there: the next T goes over `o` again.
#![forbid(unsafe_code)]

mod advance;
mod backlog;
mod bits;
mod dial;
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
pub(crate) use wheel::{OutOfMemory, Scheduled, Wheel, death};

/// A full fence, which the models leave out to see that its rule is needed.
#[inline]
fn fence_for(rule: Rule) {
    if !is_broken(rule) {
        // SeqCst: pairs with the others like it, as the proof above says.
        fence(Ordering::SeqCst);
    }
}
