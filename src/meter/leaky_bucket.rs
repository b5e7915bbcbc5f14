use super::Meter;
use crate::algorithms::ContinuousState;
use crate::clock::{Clock, DefaultClock};
use crate::error::InconsistentCapacity;
use crate::quota::Quota;
use core::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The leaky bucket as a meter: cells fill it, time drains it, and what would overflow does not conform.
///
/// It is the continuous-state form of the test that [`GCRA`](crate::GCRA) states as virtual scheduling (ITU-T I.371), and decides
/// exactly alike for the same quota. Choose this one to ask for its level.
///
/// ```
/// use ratelimit_meter::LeakyBucket;
/// use std::time::{Duration, Instant};
///
/// let bucket = LeakyBucket::per_second(5)?;
/// let now = Instant::now();
/// bucket.check_n_at(5, now).unwrap();
/// assert_eq!(bucket.level_at(now), 5);
/// assert!(bucket.check_at(now).is_err());
/// assert!(bucket.check_at(now + Duration::from_millis(200)).is_ok());
/// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
/// ```
pub type LeakyBucket<C = DefaultClock> = Meter<ContinuousState, C>;

impl LeakyBucket {
    /// Returns an empty bucket for `capacity` cells which drains that many in `period`, 1 ns to 200 years.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if either is zero, the rate is above 2^32 cells a second, or the period above 200 years.
    pub fn new(capacity: u32, period: Duration) -> Result<Self, InconsistentCapacity> {
        let capacity = NonZeroU32::new(capacity).ok_or(InconsistentCapacity::ZeroCapacity)?;
        Self::from_quota(Quota::new(capacity, period)?)
    }

    /// Returns an empty bucket for `capacity` cells which drains that many a second.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::ZeroCapacity`] if `capacity` is zero.
    pub fn per_second(capacity: u32) -> Result<Self, InconsistentCapacity> {
        Self::new(capacity, Duration::from_secs(1))
    }
}

impl<C: Clock> LeakyBucket<C> {
    /// Returns how much of the capacity is taken at `at`, in units of the capacity, rounded up. Changes nothing; reads the word once.
    ///
    /// A time before the last admission reads what has yet to drain from there, which may be more than the capacity.
    #[must_use]
    pub fn level_at(&self, at: Instant) -> u64 {
        let now = self.rule.volume(self.rule.time_line.position(at));
        self.rule.algorithm.level(self.cell.load(), now)
    }

    /// Returns how much of the capacity is taken now, by the meter's clock; see [`level_at`](Self::level_at).
    #[must_use]
    pub fn level(&self) -> u64 {
        self.level_at(self.clock.now())
    }
}
