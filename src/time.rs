//! The instants that decisions take.
//!
//! With the feature `std`, an [`Instant`] is `std::time::Instant`. Without `std` it is a number of nanoseconds since an epoch that the caller chooses:
//! the start of the program, or another time that does not move. [`at`] and [`since_epoch`] convert between nanoseconds and instants in either build,
//! so code that uses them compiles with and without `std`.
//!
//! A meter's time line is 36.5 years long, and begins at the epoch or a day before the meter was made. So nanoseconds since 1970 are past its end, where a
//! meter denies for good. Subtract a first reading from such times, or give the meter a clock that reads them: the time line of
//! [`with_clock`](crate::Meter::with_clock) begins a day before the clock's time.
//!
//! In a browser (`wasm32-unknown-unknown`), `std::time::Instant::now` panics. With the feature `web-time`, an [`Instant`] there comes from the crate
//! `web_time`, which has the same methods; on other targets the feature changes nothing.
//!
//! ```
//! use ratelimit_meter::{LocalMeter, Quota, nonzero, time};
//!
//! // A clock of the board: milliseconds since it started.
//! let uptime_ms = 5;
//! let meter = <LocalMeter>::from_quota(Quota::per_second(nonzero!(50u32)).allow_burst(nonzero!(1u32)))?;
//! let now = time::at(uptime_ms * 1_000_000);
//! assert!(meter.check_at(now).is_ok());
//! let denied = meter.check_at(now).unwrap_err();
//! assert_eq!(time::since_epoch(denied.earliest_possible()), 25_000_000);
//! # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
//! ```

#[cfg(not(feature = "std"))]
pub use bare::Instant;
#[cfg(feature = "std")]
pub use system::Instant;
#[cfg(feature = "std")]
pub(crate) use system::{SystemTime, UNIX_EPOCH};

// The times of the standard library; or in a browser, where those panic, times that its scripts provide.
#[cfg(all(
    feature = "std",
    not(all(feature = "web-time", target_family = "wasm", target_os = "unknown"))
))]
use std::time as system;
#[cfg(all(feature = "web-time", target_family = "wasm", target_os = "unknown"))]
use web_time as system;

use core::time::Duration;

pub(crate) const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Returns the time of a caller that has no clock of its own.
pub(crate) fn now() -> Instant {
    #[cfg(feature = "std")]
    return Instant::now();
    #[cfg(not(feature = "std"))]
    Instant::EPOCH
}

/// Returns the caller's epoch.
#[cfg(not(feature = "std"))]
pub(crate) const fn epoch() -> Instant {
    Instant::EPOCH
}

/// Returns the epoch of the process: an instant a day before the first call.
#[cfg(feature = "std")]
pub(crate) fn epoch() -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *EPOCH.get_or_init(|| before(Instant::now(), 86_400 * NANOS_PER_SEC))
}

/// Returns the instant `ns` nanoseconds after the epoch, or the platform's last. An instant 36.5 years after the epoch is past the end of most meters'
/// time lines; see the [module](self).
///
/// With `std`, the epoch is a day before the first use of the epoch in this process.
#[must_use]
pub fn at(ns: u64) -> Instant {
    after(epoch(), ns)
}

/// Returns the nanoseconds from the epoch to `at`, at most 2^64 - 1; 0 if `at` is earlier.
#[must_use]
pub fn since_epoch(at: Instant) -> u64 {
    nanos(at.saturating_duration_since(epoch()))
}

/// A time that a caller gives, to one meter or to several: each finds its position on its own time line.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Moment {
    /// An instant.
    At(Instant),
    /// The nanoseconds since the epoch by a clock of this process: such a time needs no subtraction of instants, which is expensive.
    SinceEpoch(u64),
}

impl Moment {
    /// Returns the time as an instant.
    #[must_use]
    pub fn instant(self) -> Instant {
        match self {
            Self::At(at) => at,
            Self::SinceEpoch(ns) => self::at(ns),
        }
    }
}

impl From<Instant> for Moment {
    #[inline]
    fn from(at: Instant) -> Self {
        Self::At(at)
    }
}

/// Returns the instant `ns` after `from`, or the platform's last.
pub(crate) fn after(from: Instant, ns: u64) -> Instant {
    as_far_as_possible(from, ns, Instant::checked_add)
}

/// Returns the instant `ns` before `from`, or the platform's first.
pub(crate) fn before(from: Instant, ns: u64) -> Instant {
    as_far_as_possible(from, ns, Instant::checked_sub)
}

/// Goes `ns` from `from`. If the platform's `Instant` ends before that, goes to its last value.
fn as_far_as_possible(from: Instant, ns: u64, step: impl Fn(&Instant, Duration) -> Option<Instant>) -> Instant {
    if let Some(there) = step(&from, Duration::from_nanos(ns)) {
        return there;
    }
    // Binary descent over the distance: at each bit it takes the longest step that is still possible.
    (0..u64::BITS).rev().fold(from, |reached, bit| {
        step(&reached, Duration::from_nanos(1 << bit)).unwrap_or(reached)
    })
}

/// Returns `duration` in whole nanoseconds, at most the largest number of 64 bits (584 years).
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    if duration.as_secs() < u64::MAX / NANOS_PER_SEC {
        duration.as_secs() * NANOS_PER_SEC + u64::from(duration.subsec_nanos())
    } else {
        whole_nanos(duration).unwrap_or(u64::MAX)
    }
}

/// Returns `duration` in whole nanoseconds, unless that exceeds 64 bits (584 years).
pub(crate) const fn whole_nanos(duration: Duration) -> Option<u64> {
    match duration.as_secs().checked_mul(NANOS_PER_SEC) {
        Some(ns) => ns.checked_add(duration.subsec_nanos() as u64),
        None => None,
    }
}

#[cfg(not(feature = "std"))]
mod bare {
    use core::ops::{Add, Sub};
    use core::time::Duration;

    /// A number of nanoseconds since the caller's epoch, with the methods of `std::time::Instant`.
    ///
    /// The last instant is 584 years after the epoch. A sum past the last instant is the last; a difference before the epoch is the epoch.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Instant(u64);

    impl Instant {
        /// The epoch.
        pub const EPOCH: Self = Self(0);

        /// Returns the instant `by` later; `None` past the last instant.
        #[must_use]
        pub fn checked_add(&self, by: Duration) -> Option<Self> {
            let by = u64::try_from(by.as_nanos()).ok()?;
            self.0.checked_add(by).map(Self)
        }

        /// Returns the instant `by` earlier; `None` before the epoch.
        #[must_use]
        pub fn checked_sub(&self, by: Duration) -> Option<Self> {
            let by = u64::try_from(by.as_nanos()).ok()?;
            self.0.checked_sub(by).map(Self)
        }

        /// Returns the time from `earlier` to this instant; `None` if `earlier` is later.
        #[must_use]
        pub fn checked_duration_since(&self, earlier: Self) -> Option<Duration> {
            self.0.checked_sub(earlier.0).map(Duration::from_nanos)
        }

        /// Returns the time from `earlier` to this instant; zero if `earlier` is later.
        #[must_use]
        pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
            self.checked_duration_since(earlier).unwrap_or_default()
        }

        /// Returns the time from `earlier` to this instant; zero if `earlier` is later.
        #[must_use]
        pub fn duration_since(&self, earlier: Self) -> Duration {
            self.saturating_duration_since(earlier)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Self;

        fn add(self, by: Duration) -> Self {
            self.checked_add(by).unwrap_or(Self(u64::MAX))
        }
    }

    impl Sub<Duration> for Instant {
        type Output = Self;

        fn sub(self, by: Duration) -> Self {
            self.checked_sub(by).unwrap_or(Self::EPOCH)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns the earliest (or latest) `Instant` of this platform.
    pub(crate) fn edge(step: impl Fn(&Instant, Duration) -> Option<Instant>) -> Instant {
        let coarse = (0..64).rev().fold(Instant::now(), |reached, bit| {
            step(&reached, Duration::from_secs(1 << bit)).unwrap_or(reached)
        });
        as_far_as_possible(coarse, u64::MAX, step)
    }

    #[test]
    fn instant_past_the_platforms_last_is_clamped() {
        let latest = edge(Instant::checked_add);
        assert_eq!(latest.checked_add(Duration::from_nanos(1)), None);
        assert_eq!(after(latest, u64::MAX), latest);
    }
}
