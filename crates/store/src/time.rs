//! The time of a store: whole microseconds since 1970.

use core::fmt;
use core::ops::Sub;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A time of a store's clock in whole microseconds since 1970 (UTC), at most [`Micros::LAST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(u64);

impl Micros {
    /// The last time: 2^52 microseconds, in the year 2112, so that every sum of a decision is exact in a double.
    pub const LAST: Self = Self(1 << 52);

    /// Returns the time `us` microseconds after 1970, or `None` after [`LAST`](Self::LAST).
    #[must_use]
    pub const fn new(us: u64) -> Option<Self> {
        if us <= Self::LAST.0 { Some(Self(us)) } else { None }
    }

    /// Returns `time` rounded down to a microsecond, or `None` before 1970 and after [`LAST`](Self::LAST).
    #[must_use]
    pub fn from_system_time(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        Self::new(u64::try_from(since.as_micros()).ok()?)
    }

    /// Returns the microseconds since 1970.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the latest tick of `interval_us` at this time or before, counted from 1970; the time itself if there are no ticks.
    pub(crate) const fn tick(self, interval_us: u64) -> u64 {
        match interval_us {
            0 => self.0,
            interval => self.0 - self.0 % interval,
        }
    }
}

/// Returns the time that passed, zero if `earlier` is later.
impl Sub for Micros {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns the instant `wait` after `from`, or one in a hundred years if the platform has none.
pub(crate) fn later(from: Instant, wait: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(3_155_760_000);
    from.checked_add(wait).unwrap_or_else(|| from + CENTURY)
}
