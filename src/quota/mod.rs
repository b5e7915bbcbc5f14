//! How many cells per what period, validated once.

mod dual;
#[cfg(feature = "serde")]
mod serde;
mod text;

pub use dual::DualQuota;
pub use text::ParseQuotaError;

use crate::error::InconsistentCapacity;
use crate::nanos::whole_nanos;
use core::num::NonZeroU32;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// The most cells a second that a meter can hold.
const FASTEST: u128 = 1 << 32;

/// The longest time from a full burst to rest: 200 years of 365.25 days.
pub(crate) const LONGEST_REST: u64 = 200 * 31_557_600 * SECOND;

/// A limit as people state it: cells per period, a burst, and the weight of a cell.
///
/// The burst is what may come at once after a rest, and is the cells of one period unless set otherwise. So a meter of 100 a minute
/// may admit 200 in its first minute: 100 at once, 100 more as they drain. A quota for which that is too much asks for a smaller
/// burst. A cell of weight w takes w of the cells and of the burst.
///
/// Its text is canonical, for configuration and logs: `50/s`, `100/min burst 20`, `400000/min weight 2`, `1/6s`, `10/h`, with the
/// units `ns`, `us`, `ms`, `s`, `min`, `h` and `d`. Parsing what `Display` wrote gives the same quota. The feature `serde`
/// (de)serialises that text.
///
/// ```
/// use ratelimit_meter::{Quota, nonzero};
/// use std::time::Duration;
///
/// const API: Quota = Quota::per_minute(nonzero!(100u32)).allow_burst(nonzero!(20u32));
/// assert_eq!(API.to_string(), "100/min burst 20");
/// assert_eq!("100/min burst 20".parse(), Ok(API));
/// assert_eq!(Quota::new(nonzero!(1u32), Duration::from_secs(6))?.to_string(), "1/6s");
/// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    cells: NonZeroU32,
    period_ns: u64,
    burst: NonZeroU32,
    weight: NonZeroU32,
}

impl Quota {
    /// Returns a quota of `cells` a second.
    #[must_use]
    pub const fn per_second(cells: NonZeroU32) -> Self {
        Self::per(cells, SECOND)
    }

    /// Returns a quota of `cells` a minute.
    #[must_use]
    pub const fn per_minute(cells: NonZeroU32) -> Self {
        Self::per(cells, 60 * SECOND)
    }

    /// Returns a quota of `cells` an hour.
    #[must_use]
    pub const fn per_hour(cells: NonZeroU32) -> Self {
        Self::per(cells, 3600 * SECOND)
    }

    /// Returns a quota of `cells` in each `period`, 1 ns to 200 years.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::ZeroPeriod`]; [`InconsistentCapacity::TooFast`] above 2^32 cells a second;
    /// [`InconsistentCapacity::RestTooLong`] above 200 years.
    pub fn new(cells: NonZeroU32, period: Duration) -> Result<Self, InconsistentCapacity> {
        let period_ns = whole_nanos(period).ok_or_else(|| InconsistentCapacity::rest_too_long(period.as_nanos()))?;
        let quota = Self::per(cells, period_ns);
        quota.validate()?;
        Ok(quota)
    }

    const fn per(cells: NonZeroU32, period_ns: u64) -> Self {
        Self {
            cells,
            period_ns,
            burst: cells,
            weight: NonZeroU32::MIN,
        }
    }

    /// Sets what may come at once after a rest, in the unit of the cells. That a full burst drains within 200 years is checked when
    /// a meter is made.
    #[must_use]
    pub const fn allow_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// Sets how many of the cells and of the burst one checked cell takes. That the burst holds one is checked when a meter is made.
    #[must_use]
    pub const fn cell_weight(self, weight: NonZeroU32) -> Self {
        Self { weight, ..self }
    }

    /// Returns the cells of one period.
    #[must_use]
    pub const fn cells(&self) -> NonZeroU32 {
        self.cells
    }

    /// Returns the period.
    #[must_use]
    pub const fn period(&self) -> Duration {
        Duration::from_nanos(self.period_ns)
    }

    /// Returns what may come at once after a rest.
    #[must_use]
    pub const fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// Returns what one checked cell takes.
    #[must_use]
    pub const fn weight(&self) -> NonZeroU32 {
        self.weight
    }

    pub(crate) const fn period_ns(&self) -> u64 {
        self.period_ns
    }

    /// Whether a meter can hold it.
    pub(crate) fn validate(&self) -> Result<(), InconsistentCapacity> {
        let (cells, burst, weight) = (self.cells.get(), self.burst.get(), self.weight.get());
        let period_ns = u128::from(self.period_ns);
        if period_ns == 0 {
            return Err(InconsistentCapacity::ZeroPeriod);
        }
        if u128::from(cells) * u128::from(SECOND) > FASTEST * period_ns {
            return Err(InconsistentCapacity::TooFast {
                cells,
                period: self.period(),
            });
        }
        if weight > burst {
            return Err(InconsistentCapacity::WeightAboveBurst { weight, burst });
        }
        let rest_ns = (u128::from(burst) * period_ns).div_ceil(u128::from(cells));
        if rest_ns > u128::from(LONGEST_REST) {
            return Err(InconsistentCapacity::rest_too_long(rest_ns));
        }
        Ok(())
    }
}
