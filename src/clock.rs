//! Time: whole seconds, from a clock the user may inject.
#![forbid(unsafe_code)]

use crate::sync::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An instant in whole seconds since 1970, up to the year 2106.
///
/// One second is the tick of expiry: a session whose lifetime ends at second `t` is served during `t` and is expired
/// from `t + 1` on (equality is not expired). Nothing wraps: what lies beyond the range saturates to
/// [`Timestamp::NEVER`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(u32);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// An instant that does not come: a session that expires then does not expire.
    pub const NEVER: Self = Self(u32::MAX);

    /// `seconds` after 1970, saturating at [`NEVER`](Self::NEVER).
    pub const fn from_unix(seconds: u64) -> Self {
        if seconds >= u32::MAX as u64 { Self::NEVER } else { Self(seconds as u32) }
    }

    /// Seconds since 1970; `u64::MAX` for [`NEVER`](Self::NEVER).
    pub const fn as_unix(self) -> u64 {
        if self.0 == u32::MAX { u64::MAX } else { self.0 as u64 }
    }

    /// This instant and the whole seconds of `span`, saturating at [`NEVER`](Self::NEVER).
    pub const fn saturating_add(self, span: Duration) -> Self {
        Self::from_unix((self.0 as u64).saturating_add(span.as_secs()))
    }

    #[inline]
    pub(crate) const fn ticks(self) -> u32 {
        self.0
    }

    #[inline]
    pub(crate) const fn from_ticks(ticks: u32) -> Self {
        Self(ticks)
    }
}

/// Where a context reads the time.
///
/// `now` is called about once per operation, never from inside an update, so it should cost a few nanoseconds and
/// must not block. It should not run backwards by itself; if it does, sessions live longer, never shorter, and
/// nothing that was removed comes back.
pub trait Clock: Send + Sync + 'static {
    /// The present second.
    fn now(&self) -> Timestamp;
}

/// The default clock: the wall clock when it was made, and from then on the system's coarse monotonic clock.
///
/// Steps of the wall clock (NTP, an operator) neither expire nor revive a session. Resolution is the kernel's tick,
/// 1 to 10 ms; a reading costs about 4 ns on Linux.
#[derive(Clone, Debug)]
pub struct CoarseClock {
    // What to add to the monotonic clock to get time since 1970.
    offset: Duration,
}

impl CoarseClock {
    /// A clock that agrees with the wall clock now.
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { offset: wall.saturating_sub(monotonic()) }
    }
}

const NANOS_PER_SEC: u32 = 1_000_000_000;

impl Default for CoarseClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for CoarseClock {
    #[inline]
    fn now(&self) -> Timestamp {
        let monotonic = monotonic();
        // As adding the two durations, without bringing the sum into shape.
        let carry = monotonic.subsec_nanos() + self.offset.subsec_nanos() >= NANOS_PER_SEC;
        Timestamp::from_unix(monotonic.as_secs().saturating_add(self.offset.as_secs()) + u64::from(carry))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline]
fn monotonic() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    Duration::new(t.tv_sec.unsigned_abs(), t.tv_nsec.unsigned_abs().min(999_999_999) as u32)
}

/// Seconds on the system's monotonic clock, for what concerns the process and no context.
pub(crate) fn uptime() -> u32 {
    u32::try_from(monotonic().as_secs()).unwrap_or(u32::MAX)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[inline]
fn monotonic() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// A clock that moves only when told to, for tests and simulations. Clones share the time.
///
/// ```
/// use resumption::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
/// let clock = ManualClock::new(Timestamp::from_unix(1_000));
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now(), Timestamp::from_unix(1_005));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU32>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU32::new(now.ticks())))
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.ticks(), Ordering::Relaxed);
    }

    /// Moves the clock forwards by the whole seconds of `span`.
    pub fn advance(&self, span: Duration) {
        self.set(self.now().saturating_add(span));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ticks(self.0.load(Ordering::Relaxed))
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturates_instead_of_wrapping() {
        let t = Timestamp::from_unix(u64::from(u32::MAX) - 2);
        assert_eq!(t.saturating_add(Duration::from_secs(1)).as_unix(), u64::from(u32::MAX) - 1);
        assert_eq!(t.saturating_add(Duration::from_secs(2)), Timestamp::NEVER);
        assert_eq!(t.saturating_add(Duration::MAX), Timestamp::NEVER);
        assert_eq!(Timestamp::from_unix(u64::MAX), Timestamp::NEVER);
        assert_eq!(Timestamp::NEVER.as_unix(), u64::MAX);
    }

    #[test]
    fn coarse_clock_agrees_with_the_wall() {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(CoarseClock::new().now().as_unix().abs_diff(wall) <= 2);
    }
}
