//! A quota: a number of cells per period, validated once.

mod text;

pub use text::ParseQuotaError;
#[cfg(feature = "serde")]
pub(crate) use text::deserialize;

use crate::error::InconsistentCapacity;
use crate::time::{NANOS_PER_SEC, whole_nanos};
use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

/// The maximum number of cells a second that a meter can hold.
const FASTEST: u128 = 1 << 32;

/// The longest time in which a full burst may drain: 200 years of 365.25 days.
pub(crate) const LONGEST_REST: u64 = 200 * 31_557_600 * NANOS_PER_SEC;

/// A limit as people state it: cells per period, a burst, the weight of a cell, and whether cells come one by one or in ticks.
///
/// The burst is the number of cells that may come at once to an idle meter. Unless set otherwise, it is the number of cells of one period. So a meter
/// of 100 a minute may admit 200 in its first minute: 100 at once, and 100 more as they drain. If that is too much, set a smaller burst. A cell of
/// weight w takes w of the cells and of the burst.
///
/// A quota has a text for configuration and logs: `50/s`, `100/min burst 20`, `400000/min weight 2`, `1/6s`, `3/s burst 10 every 1s`. The units are
/// `ns`, `us`, `ms`, `s`, `min`, `h` and `d`. `Display` writes one canonical form. Parsing also reads `30/second`, `30 per second`, `30 / s`, `10/m`
/// (minutes), `1.5/s` (exactly `3/2s`) and `1k/s`. Parsing a text that `Display` wrote returns the same quota, or the reason why no meter can hold it.
/// The feature `serde` (de)serialises the text.
///
/// ```
/// use ratelimit_meter::{Quota, nonzero};
/// use std::time::Duration;
///
/// const API: Quota = Quota::per_minute(nonzero!(100u32)).allow_burst(nonzero!(20u32));
/// assert_eq!(API.to_string(), "100/min burst 20");
/// assert_eq!("100/min burst 20".parse(), Ok(API));
/// const MAIL: Quota = match Quota::new(nonzero!(5u32), Duration::from_secs(600)) {
///     Ok(quota) => quota,
///     Err(_) => panic!("5 mails in 10 minutes"), // when compiled
/// };
/// assert_eq!(MAIL.to_string(), "5/10min");
/// assert_eq!(Quota::new(nonzero!(1u32), Duration::from_secs(6))?.to_string(), "1/6s");
/// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    cells: NonZeroU32,
    period_ns: u64,
    burst: NonZeroU32,
    weight: NonZeroU32,
    refill_ns: Option<NonZeroU64>,
}

impl Quota {
    /// Returns a quota of `cells` a second.
    #[must_use]
    pub const fn per_second(cells: NonZeroU32) -> Self {
        Self::per(cells, NANOS_PER_SEC)
    }

    /// Returns a quota of `cells` a minute.
    #[must_use]
    pub const fn per_minute(cells: NonZeroU32) -> Self {
        Self::per(cells, 60 * NANOS_PER_SEC)
    }

    /// Returns a quota of `cells` an hour.
    #[must_use]
    pub const fn per_hour(cells: NonZeroU32) -> Self {
        Self::per(cells, 3600 * NANOS_PER_SEC)
    }

    /// Returns a quota of `cells` in each `period`, 1 ns to 200 years.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::ZeroPeriod`]; [`InconsistentCapacity::TooFast`] above 2^32 cells a second;
    /// [`InconsistentCapacity::RestTooLong`] above 200 years.
    pub const fn new(cells: NonZeroU32, period: Duration) -> Result<Self, InconsistentCapacity> {
        let Some(period_ns) = whole_nanos(period) else {
            return Err(InconsistentCapacity::rest_too_long(period.as_nanos()));
        };
        let quota = Self::per(cells, period_ns);
        match quota.validate() {
            Ok(()) => Ok(quota),
            Err(invalid) => Err(invalid),
        }
    }

    /// Returns a quota under which every window of length `period` admits at most `n` cells.
    ///
    /// The usual quota of `n` cells per period may admit up to `2n` cells in one window of that length: a burst of `n`, and `n` more as they drain.
    /// This quota has half of `n`, rounded up, as its burst, and the other half per period: burst + rate * period = n. Every other split into a burst
    /// b obeys the same bound: `Quota::new(n - b, period)?.allow_burst(b)`.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::AtMostOne`] if `n` is 1; otherwise as [`new`](Self::new).
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota, nonzero};
    /// use std::time::{Duration, Instant};
    ///
    /// let minute = Duration::from_secs(60);
    /// let quota = Quota::at_most(nonzero!(100u32), minute)?;
    /// assert_eq!(quota.to_string(), "50/min"); // with a burst of 50
    /// let (meter, start) = (GCRA::from_quota(quota)?, Instant::now());
    /// let asked = (0..=60_000).map(|ms| start + Duration::from_millis(ms));
    /// assert_eq!(asked.filter(|at| meter.check_at(*at).is_ok()).count(), 100);
    /// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
    /// ```
    pub const fn at_most(n: NonZeroU32, period: Duration) -> Result<Self, InconsistentCapacity> {
        let Some(rate) = NonZeroU32::new(n.get() / 2) else {
            return Err(InconsistentCapacity::AtMostOne);
        };
        match (Self::new(rate, period), NonZeroU32::new(n.get() - rate.get())) {
            (Ok(quota), Some(burst)) => Ok(quota.allow_burst(burst)),
            // The burst is at least the rate, so never zero.
            (quota, _) => quota,
        }
    }

    const fn per(cells: NonZeroU32, period_ns: u64) -> Self {
        Self {
            cells,
            period_ns,
            burst: cells,
            weight: NonZeroU32::MIN,
            refill_ns: None,
        }
    }

    /// Sets the number of cells that may come at once to an idle meter, in the unit of the cells. A meter's constructor checks that a full burst drains within
    /// 200 years.
    #[must_use]
    pub const fn allow_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// Sets the number of units of the cells and of the burst that one checked cell takes. A meter's constructor checks that the burst holds at least one cell.
    #[must_use]
    pub const fn cell_weight(self, weight: NonZeroU32) -> Self {
        Self { weight, ..self }
    }

    /// Makes cells come back in ticks instead of one by one. A tick is at each whole `interval` after the meter was made. At a tick, all cells
    /// come that have drained since the tick before. The interval is 1 ns to 200 years.
    ///
    /// The rate stays the same. If the cells of a tick are not a whole number, the fraction is kept. However often the meter is asked, no cell is
    /// lost and none comes twice. If the burst is smaller than the cells of a tick, only the burst is available.
    ///
    /// A meter decides at the time of the latest tick. So instead of law 1 of [`Decider`](crate::Decider), a window of length v admits up to B + R *
    /// (v + interval) cells: the cells of a whole tick come at its end. All remaining laws hold unchanged. The ticks of a `KeyedMeter` are the same
    /// for all keys. An [`Exponential`](crate::Exponential) has no ticks.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::ZeroInterval`]; [`InconsistentCapacity::IntervalTooLong`] above 200 years.
    ///
    /// ```
    /// use ratelimit_meter::clock::{Clock, ManualClock};
    /// use ratelimit_meter::{GCRA, Quota, nonzero};
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// let quota = Quota::per_second(nonzero!(3u32)).allow_burst(nonzero!(10u32)).refill_every(second)?;
    /// assert_eq!(quota.to_string(), "3/s burst 10 every 1s");
    /// let clock = ManualClock::new();
    /// let meter = GCRA::from_quota(quota)?.with_clock(clock.clone());
    /// assert_eq!((0..100).filter(|_| meter.check().is_ok()).count(), 10);
    /// let denied = meter.check().unwrap_err();
    /// assert_eq!(denied.wait_time_from(clock.now()), second); // not a third of it
    /// clock.set(denied.earliest_possible());
    /// assert_eq!((0..100).filter(|_| meter.check().is_ok()).count(), 3);
    /// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
    /// ```
    pub const fn refill_every(self, interval: Duration) -> Result<Self, InconsistentCapacity> {
        match whole_nanos(interval) {
            Some(0) => Err(InconsistentCapacity::ZeroInterval),
            Some(ns) if ns <= LONGEST_REST => Ok(Self {
                refill_ns: NonZeroU64::new(ns),
                ..self
            }),
            _ => Err(InconsistentCapacity::IntervalTooLong { interval }),
        }
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

    /// Returns the burst: the number of cells that may come at once to an idle meter.
    #[must_use]
    pub const fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// Returns the weight: the number of units that one checked cell takes.
    #[must_use]
    pub const fn weight(&self) -> NonZeroU32 {
        self.weight
    }

    /// Returns the interval of the ticks in which cells come back; `None` if they come back one by one.
    #[must_use]
    pub const fn refill_interval(&self) -> Option<Duration> {
        match self.refill_ns {
            Some(ns) => Some(Duration::from_nanos(ns.get())),
            None => None,
        }
    }

    #[inline]
    pub(crate) const fn refill_ns(&self) -> Option<NonZeroU64> {
        self.refill_ns
    }

    pub(crate) const fn period_ns(&self) -> u64 {
        self.period_ns
    }

    /// Checks whether a meter can hold the quota. Every constructor of a meter does so too.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if the period is zero or the rate above 2^32 cells a second. Also if the weight is above the burst, or a full burst
    /// takes more than 200 years to drain.
    pub const fn validate(&self) -> Result<(), InconsistentCapacity> {
        let (cells, burst, weight) = (self.cells.get(), self.burst.get(), self.weight.get());
        let period_ns = self.period_ns as u128;
        if period_ns == 0 {
            return Err(InconsistentCapacity::ZeroPeriod);
        }
        if cells as u128 * NANOS_PER_SEC as u128 > FASTEST * period_ns {
            return Err(InconsistentCapacity::TooFast {
                cells,
                period: self.period(),
            });
        }
        if weight > burst {
            return Err(InconsistentCapacity::WeightAboveBurst { weight, burst });
        }
        let rest_ns = (burst as u128 * period_ns).div_ceil(cells as u128);
        if rest_ns > LONGEST_REST as u128 {
            return Err(InconsistentCapacity::rest_too_long(rest_ns));
        }
        Ok(())
    }
}

/// Two quotas for one subject, as the `Dual` of the feature `dual` holds them.
///
/// The text of a pair is both texts with an `&` between them: `10/s & 1000/h`, `1000/s burst 10 & 1000000/s`. Parsing a text that `Display` wrote
/// returns the same pair. The feature `serde` (de)serialises that text.
///
/// ```
/// use ratelimit_meter::{DualQuota, Quota, nonzero};
///
/// let pair: DualQuota = "10/s & 1000/h".parse()?;
/// assert_eq!(pair.first(), Quota::per_second(nonzero!(10u32)));
/// assert_eq!(pair.second(), Quota::per_hour(nonzero!(1000u32)));
/// assert_eq!(pair.to_string(), "10/s & 1000/h");
/// # Ok::<(), ratelimit_meter::ParseQuotaError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DualQuota {
    first: Quota,
    second: Quota,
}

impl DualQuota {
    /// Returns the pair of two quotas.
    #[must_use]
    pub const fn new(first: Quota, second: Quota) -> Self {
        Self { first, second }
    }

    /// Returns the first quota.
    #[must_use]
    pub const fn first(&self) -> Quota {
        self.first
    }

    /// Returns the second quota.
    #[must_use]
    pub const fn second(&self) -> Quota {
        self.second
    }
}

pub(crate) const fn greatest_common_divisor(mut one: u128, mut other: u128) -> u128 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}
