//! A barrier of which one side costs nothing, since the other has the kernel put it into every thread of the process.
#![forbid(unsafe_code)]

/// The light side: what is stored before it is seen by whoever passes the [heavy](heavy_barrier) side afterwards, or what is
/// loaded after it sees what was stored ahead of that.
#[inline(always)]
pub(crate) fn light_barrier() {
    #[cfg(resumption_loom)]
    if !super::is_broken(super::Rule::StandingFence) {
        super::fence(super::Ordering::SeqCst); // pairs with `heavy_barrier`
    }
    // The kernel interrupts the thread and runs a full barrier there, so that only the compiler has to keep the order.
    #[cfg(not(resumption_loom))]
    std::sync::atomic::compiler_fence(super::Ordering::SeqCst); // pairs with `heavy_barrier`
}

/// The heavy side, some microseconds long; `false` if there is none, and then nothing may rely on it.
pub(crate) fn heavy_barrier() -> bool {
    #[cfg(resumption_loom)]
    super::fence(super::Ordering::SeqCst); // pairs with `light_barrier`
    #[cfg(resumption_loom)]
    return true;
    #[cfg(all(target_os = "linux", not(any(resumption_loom, miri))))]
    return kernel::barrier();
    #[cfg(not(any(all(target_os = "linux", not(miri)), resumption_loom)))]
    false
}

/// Whether there is a heavy barrier. Asks the kernel the first time.
#[cfg(not(resumption_loom))]
pub(crate) fn has_heavy_barrier() -> bool {
    #[cfg(all(target_os = "linux", not(miri)))]
    return kernel::is_permitted();
    #[cfg(not(all(target_os = "linux", not(miri))))]
    false
}

#[cfg(all(target_os = "linux", not(any(resumption_loom, miri))))]
mod kernel {
    use rustix::thread::{MembarrierCommand, membarrier};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    // membarrier(2): a process has to register before it may ask for the barrier, which is there since Linux 4.14. A filter of
    // system calls may forbid it, also later.
    static PERMITTED: LazyLock<AtomicBool> =
        LazyLock::new(|| AtomicBool::new(membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()));

    pub(super) fn is_permitted() -> bool {
        PERMITTED.load(Ordering::Relaxed)
    }

    pub(super) fn barrier() -> bool {
        let passed = membarrier(MembarrierCommand::PrivateExpedited).is_ok();
        if !passed {
            PERMITTED.store(false, Ordering::Relaxed);
        }
        passed
    }
}
