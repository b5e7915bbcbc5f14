//! The leaky bucket, as the continuous-state algorithm: the meter, then the pure functions.

use crate::algorithm::{Algorithm, Decide, Kind};
use crate::clock::{Clock, DefaultClock, When};
use crate::error::InconsistentCapacity;
use crate::limit::UnitLimit;
use crate::meter::Meter;
use crate::quota::Quota;
use crate::store::Store;
use crate::time::Instant;
use crate::units::Volume;
use core::num::NonZeroU32;
use core::time::Duration;

/// The leaky bucket as a meter: cells fill it, time drains it, and a cell that would make it overflow does not conform.
///
/// It is the continuous-state form of the test that [`GCRA`](crate::GCRA) states as virtual scheduling (ITU-T I.371). Both decide exactly alike for
/// the same quota. Choose `LeakyBucket` to read its level.
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
    /// Returns an empty bucket for `capacity` cells that drains `capacity` cells in `period`, 1 ns to 200 years.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if `capacity` or `period` is zero, the rate is above 2^32 cells a second, or the period is above 200 years.
    pub fn new(capacity: u32, period: Duration) -> Result<Self, InconsistentCapacity> {
        let capacity = NonZeroU32::new(capacity).ok_or(InconsistentCapacity::ZeroCapacity)?;
        Self::from_quota(Quota::new(capacity, period)?)
    }

    /// Returns an empty bucket for `capacity` cells that drains `capacity` cells a second.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::ZeroCapacity`] if `capacity` is zero.
    pub fn per_second(capacity: u32) -> Result<Self, InconsistentCapacity> {
        Self::new(capacity, Duration::from_secs(1))
    }
}

impl<C: Clock, S: Store<ContinuousState>> Meter<ContinuousState, C, S> {
    /// Returns how much of the capacity is taken at `at`, in units of the capacity, rounded up. Changes nothing; reads the word once.
    ///
    /// If `at` is before the last admission, counts the cells that have yet to drain from `at` on, which may be more than the capacity.
    #[must_use]
    pub fn level_at(&self, at: Instant) -> u64 {
        self.read(When::At(at.into()), ContinuousState::level)
    }

    /// Returns how much of the capacity is taken now, by the meter's clock; see [`level_at`](Self::level_at).
    #[must_use]
    pub fn level(&self) -> u64 {
        self.read(When::Now, ContinuousState::level)
    }
}

/// The continuous-state leaky bucket algorithm, by which ITU-T I.371 defines the GCRA a second time.
///
/// The word is the mark up to which the bucket was filled, in units of volume since the beginning of the time line. The level is the mark less the volume
/// drained by now, and at least zero. A batch of cost c conforms when level + c <= capacity; then the mark is set to the drained volume plus the new
/// level.
#[derive(Debug, Clone, Copy)]
pub struct ContinuousState {
    limit: UnitLimit,
}

impl ContinuousState {
    /// Returns the level of the bucket in the quota's cells, rounded up.
    pub(crate) fn level(&self, mark: u64, Volume(drained): Volume) -> u64 {
        self.limit.count(mark.saturating_sub(drained))
    }
}

impl Algorithm for ContinuousState {}

impl Decide for ContinuousState {
    const NAME: &'static str = "LeakyBucket";

    type Limit = UnitLimit;

    #[inline]
    fn limit(&self) -> &UnitLimit {
        &self.limit
    }

    fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity> {
        let limit = UnitLimit::of_quota(quota)?;
        Ok(Self { limit })
    }

    fn kind(&self) -> Kind {
        Kind::LeakyBucket
    }

    fn below(&self, quota: Option<Quota>, end: u64) -> Option<Self> {
        self.limit.below(quota, end).map(|limit| Self { limit })
    }

    #[inline]
    fn decide(&self, mark: u64, Volume(drained): Volume, n: u32) -> Result<u64, Volume> {
        let cost = self.limit.cell * u64::from(n);
        let level = mark.saturating_sub(drained);
        // Not `level + cost <= capacity`: at a time long past the level may be near the largest word, and the sum would overflow.
        let most = self.limit.tolerance - cost;
        if level > most {
            return Err(Volume(mark - most));
        }
        Ok(drained + level + cost)
    }

    #[inline]
    fn due(&self, mark: u64, n: u32) -> Volume {
        let most = self.limit.tolerance - self.limit.cell * u64::from(n);
        Volume(mark.saturating_sub(most))
    }

    fn idle(&self, mark: u64) -> Volume {
        Volume(mark)
    }

    #[inline]
    fn room(&self, mark: u64, Volume(drained): Volume) -> u32 {
        let level = mark.saturating_sub(drained);
        self.limit.cells_in(self.limit.tolerance.saturating_sub(level))
    }

    fn charge(&self, mark: u64, Volume(drained): Volume, n: u64) -> (u64, u64) {
        let level = mark.saturating_sub(drained);
        let recorded = n.min(self.limit.cells_until_last_word(drained + level));
        (drained + level + self.limit.cost_of_any(recorded), n - recorded)
    }

    fn refund(&self, mark: u64, Volume(drained): Volume, n: u64) -> u64 {
        let level = mark.saturating_sub(drained);
        // An empty bucket stays as it is.
        mark - level.min(self.limit.cost_of_any(n))
    }

    fn has_cells_ahead(&self, mark: u64, Volume(drained): Volume) -> bool {
        mark.saturating_sub(drained) > self.limit.tolerance
    }

    fn cancel(&self, mark: u64, drained: Volume, n: u32, at: Volume) -> u64 {
        let level = mark.saturating_sub(drained.0);
        mark - level.min(self.limit.undrained(n, drained, at))
    }

    fn carry(&self, mark: u64, Volume(drained): Volume, part: u64, next: &Self, next_drained: Volume) -> (u64, u64) {
        self.limit
            .carry(mark.saturating_sub(drained), part, &next.limit, next_drained)
    }

    fn owing(&self, mark: u64, Volume(drained): Volume, next: &Self, next_drained: Volume) -> u64 {
        self.limit
            .owing(mark.saturating_sub(drained), &next.limit, next_drained)
    }

    fn leaving(&self, n: u32, Volume(drained): Volume) -> u64 {
        drained + self.limit.level_leaving(n)
    }
}
