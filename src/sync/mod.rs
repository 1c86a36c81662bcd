//! The one door to atomics: the standard library's, or loom's under `--cfg resumption_loom`.
//!
//! Nothing else in the crate names `std::sync::atomic` or `loom`, so every interleaving the models explore is one of
//! the code that ships. Under `--cfg fuzzing` a fuzzer chooses the interleaving.
//!
//! Each rule the protocol rests on can be broken under loom, and only there, so that a model can show that it fails
//! without the rule.
#![deny(unsafe_code)]

mod barrier;
#[cfg(all(any(resumption_planted, fuzzing), not(resumption_loom)))]
mod broken;
#[allow(unsafe_code)]
mod prefetch;
#[cfg(any(resumption_loom, fuzzing))]
mod watched;
#[cfg(any(resumption_loom, fuzzing))]
use watched::watched;

#[cfg(resumption_loom)]
#[path = "loom.rs"]
pub(crate) mod imp;
#[cfg(all(fuzzing, not(resumption_loom)))]
#[path = "stepped.rs"]
pub(crate) mod imp;
#[cfg(not(any(resumption_loom, fuzzing)))]
#[path = "std.rs"]
pub(crate) mod imp;

#[cfg(not(resumption_loom))]
pub(crate) use barrier::has_heavy_barrier;
pub(crate) use barrier::{heavy_barrier, light_barrier};
pub(crate) use imp::*;
pub(crate) use prefetch::{prefetch, prefetch_all};

/// A rule of the table's or the wheel's protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(resumption_loom), allow(unreachable_pub, dead_code))]
pub enum Rule {
    /// R1: an entry is withdrawn from the control word before it is retired.
    Withdraw,
    /// Each insert gives the control word a new version.
    Version,
    /// Each removal gives the empty slot a new sequence number.
    Sequence,
    /// A removal is a compare-and-swap, not a store.
    OneWinner,
    /// A bucket's slots are frozen before they are copied.
    Freeze,
    /// An insert settles what is over the capacity.
    Settle,
    /// A fence lies between counting or lowering the limit and looking at the other.
    SettleFence,
    /// Who puts room into a pocket looks afterwards whether the pocket is known to be open.
    PocketOpens,
    /// A retired entry waits until its cell of the stash is empty.
    StashWaits,
    /// A bucket's entries are copied before its control word says that it has moved.
    CopyFirst,
    /// Whoever meets an announcement puts the entry before clearing it.
    HelpPuts,
    /// Filter: whoever sets bits raises the version.
    FilterVersion,
    /// Filter: who clears bits of a bucket keeps those of its neighbour.
    FilterNeighbour,
    /// Filter: who helps an insert sets the entry's bits before it puts the entry.
    HelpRaises,
    /// Filter: a bucket that moves leaves a cell behind that says nothing.
    FilterLeaves,
    /// Filter: who copies an entry sets its bits in the next array first.
    CopyRaises,
    /// A barrier lies between the beginning of a guard and the look whether the standing pin is claimed.
    StandingFence,
    /// What a guard reads after the collector has passed the standing pin is read after the epoch was.
    PassFence,
    /// Who has claimed a standing pin looks whether its owner has guards.
    StandingLooks,
    /// An entry is freed after its grace period, not at once.
    RetireEntry,
    /// An entry is freed after its grace period.
    FreeEntry,
    /// A counter's block is written by its owner only.
    OwnBlock,
    /// A connection's replaced session is retired, not freed.
    RetireCurrent,
    /// Wheel: a scheduler fences between its bit and its last look at gate and tick.
    MarkFence,
    /// Wheel: a scheduler that meets an open gate fences before it looks at the bit.
    OpenFence,
    /// Wheel: a scheduler looks again whether the slot has been opened.
    ConfirmGate,
    /// Wheel: a scheduler looks again whether the tick has passed the slot.
    ConfirmTick,
    /// Wheel: a tick is set back by a compare-and-swap, not a store.
    SetBackSwaps,
    /// Wheel: one driver at a time.
    OneDriver,
    /// Wheel: nothing is done before every slot that opened is empty.
    Settled,
    /// Wheel: a driver hands its backlog to the next.
    StopReleases,
    /// Wheel: a driver fences between the tick and the gates.
    TickFence,
    /// Wheel: a gate is opened before the words are looked at.
    OpenFirst,
    /// Wheel: a driver fences between the gate and the words.
    GateFence,
    /// Wheel: a word is taken by a swap, not a load and a store.
    TakeSwaps,
    /// Wheel: a driver fences between a word and the visit.
    TakeFence,
    /// Wheel: who finds a gate closed again sees the slot as its driver left it.
    CloseReleases,
}

/// Of something that is not atomic. Models check that each is ordered with every other.
#[cfg(not(resumption_loom))]
pub(crate) struct Accesses;

#[cfg(not(resumption_loom))]
impl Accesses {
    pub(crate) const fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) const fn note(&self) {}
}

/// A fence where sequentially consistent accesses before and after it do without one: loom takes these for accesses that
/// acquire and release, and would find interleavings that cannot be.
#[inline(always)]
pub(crate) fn fence_in_models() {
    #[cfg(resumption_loom)]
    fence(Ordering::SeqCst); // pairs with itself, and with whatever fence the accesses around it are ordered with
}

/// Keeps what is loaded after it from being loaded before what was loaded ahead of it, in the single order of fences.
#[inline]
pub(crate) fn fence_between_loads() {
    // SeqCst: pairs with the fence behind which the collector reads the epoch for what was retired.
    #[cfg(any(not(target_arch = "x86_64"), resumption_loom))]
    fence(Ordering::SeqCst);
    // This processor does no load before an earlier one; the compiler might.
    #[cfg(all(target_arch = "x86_64", not(resumption_loom)))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst); // pairs as above
}
