//! The constructors of the meters of the three algorithms, with those of `ratelimit_meter` 1.x.

use super::Meter;
use crate::algorithms::{ContinuousState, Decide, ExponentialAverage, VirtualScheduling};
use crate::clock::{Clock, DefaultClock};
use crate::error::InconsistentCapacity;
use crate::limit::Limit;
use crate::quota::Quota;
use crate::schedule::Schedule;
use crate::store::{OwnedStore, Store};
use crate::units::{Nanos, whole_nanos};
use core::num::NonZeroU32;
use std::time::{Duration, Instant};

/// The generic cell rate algorithm, as virtual scheduling (ITU-T I.371): one instant of state, the theoretical arrival time.
///
/// Decides exactly as [`LeakyBucket`](crate::LeakyBucket) does for the same quota: the standard defines one test in two ways. Choose `GCRA` to use
/// the standard's parameters, T and tau ([`GCRA::with_parameters`]). Choose `LeakyBucket` to read a level.
///
/// ```
/// use ratelimit_meter::GCRA;
/// use std::time::{Duration, Instant};
///
/// let meter = GCRA::for_capacity(20)?.try_build()?; // 20 a second
/// let now = Instant::now();
/// assert!((0..20).all(|_| meter.check_at(now).is_ok()));
/// let denial = meter.check_at(now).unwrap_err();
/// assert_eq!(denial.wait_time_from(now), Duration::from_millis(50));
/// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
/// ```
pub type GCRA<C = DefaultClock> = Meter<VirtualScheduling, C>;

/// The standard's parameters and state: T, tau and the theoretical arrival time, `None` for an idle meter.
type Parameters = (Duration, Duration, Option<Instant>);

impl GCRA {
    /// Returns a builder for a meter of `capacity` units a second, all of which may come at once.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::ZeroCapacity`] if `capacity` is zero.
    pub fn for_capacity(capacity: u32) -> Result<Builder, InconsistentCapacity> {
        Builder::new(capacity)
    }

    /// Returns the standard's GCRA(T, tau), whose next cell is expected at `tat`; if `tat` is `None`, the meter is idle.
    ///
    /// It admits 1 + floor(tau/T) cells at once and one every T from then on. (The tau of 1.x was T + tau.)
    ///
    /// # Panics
    ///
    /// Panics with the error's text where [`try_with_parameters`](Self::try_with_parameters) returns an error: this is 1.x's infallible form.
    ///
    /// ```
    /// use ratelimit_meter::GCRA;
    /// use std::time::{Duration, Instant};
    ///
    /// let ms = Duration::from_millis(1);
    /// let meter = GCRA::with_parameters(10 * ms, 15 * ms, None);
    /// let start = Instant::now();
    /// let conform = [0, 12, 18, 20, 25].map(|at| meter.check_at(start + at * ms).is_ok());
    /// assert_eq!(conform, [true, true, true, true, false]);
    /// ```
    #[must_use]
    pub fn with_parameters(t: Duration, tau: Duration, tat: impl Into<Option<Instant>>) -> Self {
        Self::try_with_parameters(t, tau, tat).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the standard's GCRA(T, tau), whose next cell is expected at `tat`; if `tat` is `None`, the meter is idle. Rounds nothing.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if `t` is zero, or `t + tau` is above 200 years. Also if `tat` is later than any meter with these parameters could
    /// expect it: `t + tau` after the end of its time line, 36 years ahead.
    pub fn try_with_parameters(
        t: Duration,
        tau: Duration,
        tat: impl Into<Option<Instant>>,
    ) -> Result<Self, InconsistentCapacity> {
        let (Some(t_ns), Some(tau_ns)) = (whole_nanos(t), whole_nanos(tau)) else {
            return Err(InconsistentCapacity::rest_too_long(t.as_nanos() + tau.as_nanos()));
        };
        let limit = Limit::of_interval(t_ns, tau_ns)?;
        let clock = DefaultClock;
        let schedule = Schedule::made_at(clock.now(), VirtualScheduling::new(limit), None);
        let word = match tat.into() {
            None => 0,
            Some(tat) => {
                Some(schedule.time_line.nanos_until(tat))
                    .filter(|&ns| ns <= Nanos::END.get() + t_ns + tau_ns)
                    .and_then(|ns| limit.scale.volume_of(ns.into()))
                    .ok_or(InconsistentCapacity::TatTooLate)?
                    .0
            }
        };
        Ok(Self::holding(schedule, word, clock))
    }
}

/// Same as [`Builder::build`].
///
/// # Panics
///
/// Panics where [`Builder::build`] does: this is 1.x's infallible form.
impl From<Builder> for GCRA {
    fn from(builder: Builder) -> Self {
        builder.build()
    }
}

/// Same as [`Builder::build`].
///
/// # Panics
///
/// Panics where [`Builder::build`] does: this is 1.x's infallible form.
impl From<&mut Builder> for GCRA {
    fn from(builder: &mut Builder) -> Self {
        builder.build()
    }
}

/// Returns the standard's parameters and state. T and the theoretical arrival time are rounded up to whole nanoseconds, and tau is rounded down.
///
/// A meter made of them again is never faster than this one, and has the same debt. (Ticks are not among the parameters. If there are ticks, the
/// theoretical arrival time is the tick by which all has drained, so a meter made again without ticks is not faster either.)
///
/// ```
/// use ratelimit_meter::GCRA;
/// use std::time::{Duration, Instant};
///
/// let meter = GCRA::for_capacity(4)?.try_build()?;
/// let now = Instant::now();
/// meter.check_n_at(3, now).unwrap();
/// let (t, tau, tat) = (&meter).into();
/// assert_eq!((t, tau), (Duration::from_millis(250), Duration::from_millis(750)));
/// let again = GCRA::try_with_parameters(t, tau, tat)?;
/// assert!(again.check_at(now).is_ok());
/// assert!(again.check_at(now).is_err());
/// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
/// ```
impl<C: Clock> From<&GCRA<C>> for Parameters {
    fn from(meter: &GCRA<C>) -> Self {
        meter.store.read(Nanos::BEGINNING, |schedule, word| {
            let (t_ns, tau_ns) = schedule.algorithm.parameters();
            let [t, tau] = [t_ns, tau_ns].map(Duration::from_nanos);
            (t, tau, schedule.idle_from(word))
        })
    }
}

/// Same as [`GCRA::with_parameters`].
///
/// # Panics
///
/// Panics where [`GCRA::with_parameters`] does: this is 1.x's infallible form.
impl From<Parameters> for GCRA {
    fn from((t, tau, tat): Parameters) -> Self {
        Self::with_parameters(t, tau, tat)
    }
}

/// Builds a [`GCRA`] step by step, as in `ratelimit_meter` 1.x; new code may prefer a [`Quota`].
///
/// ```
/// use ratelimit_meter::GCRA;
/// use std::time::Duration;
///
/// let meter = GCRA::for_capacity(50)?
///     .per(Duration::from_secs(60))
///     .cell_weight(10)?
///     .try_build()?;
/// assert!(meter.check_n(5).is_ok());
/// assert!(meter.check().is_err());
/// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    capacity: NonZeroU32,
    period: Duration,
    weight: NonZeroU32,
}

impl Builder {
    fn new(capacity: u32) -> Result<Self, InconsistentCapacity> {
        Ok(Self {
            capacity: NonZeroU32::new(capacity).ok_or(InconsistentCapacity::ZeroCapacity)?,
            period: Duration::from_secs(1),
            weight: NonZeroU32::MIN,
        })
    }

    /// Sets the period in which the capacity drains: 1 ns to 200 years, checked when the meter is built. The default is one second.
    pub fn per(&mut self, period: Duration) -> &mut Self {
        self.period = period;
        self
    }

    /// Sets how many units of the capacity one cell takes. The default is one.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::ZeroWeight`] or [`InconsistentCapacity::WeightAboveBurst`] if `weight` is zero or above the capacity. The builder is
    /// then unchanged.
    pub fn cell_weight(&mut self, weight: u32) -> Result<&mut Self, InconsistentCapacity> {
        let weight = NonZeroU32::new(weight).ok_or(InconsistentCapacity::ZeroWeight)?;
        if weight > self.capacity {
            return Err(InconsistentCapacity::WeightAboveBurst {
                weight: weight.get(),
                burst: self.capacity.get(),
            });
        }
        self.weight = weight;
        Ok(self)
    }

    /// Returns the idle meter.
    ///
    /// # Panics
    ///
    /// Panics with the error's text where [`try_build`](Self::try_build) returns an error: this is 1.x's infallible form.
    #[must_use]
    pub fn build(&self) -> GCRA {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the idle meter.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if the period is zero or above 200 years, or the rate is above 2^32 units a second.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, algorithms::InconsistentCapacity};
    /// use std::time::Duration;
    ///
    /// let error = GCRA::for_capacity(5)?.per(Duration::ZERO).try_build().unwrap_err();
    /// assert_eq!(error, InconsistentCapacity::ZeroPeriod);
    /// # Ok::<(), InconsistentCapacity>(())
    /// ```
    pub fn try_build(&self) -> Result<GCRA, InconsistentCapacity> {
        let quota = Quota::new(self.capacity, self.period)?.cell_weight(self.weight);
        GCRA::from_quota(quota)
    }
}

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

/// A limit on the exponentially weighted average rate, after Tony Finch: it measures a rate and compares it with the limit.
///
/// An idle meter admits exactly L cells at once, and a client that always asks gets L in a period, as with [`GCRA`](crate::GCRA). The two meters
/// differ in how a burst comes back after a full one:
///
/// | after | `GCRA` | `Exponential` |
/// |---|---|---|
/// | half a period | 50 % | 39 % |
/// | one period | 100 % | 63 % |
/// | two periods | 100 % | 86 % |
/// | three periods | 100 % | 95 % |
///
/// It suits limits of the form "how much lately" better than limits of the form "how much at once", and it reports the rate
/// ([`rate_at`](Self::rate_at)).
///
/// # Laws
///
/// Those of [`Decider`](crate::Decider), with these differences:
///
/// - Instead of law 1, in every window of length v at most k^-1 + L * v / p cells are admitted, where k^-1 = 1 / (1 - e^(-1/L)) is half a cell above
///   L.
/// - Law 3 holds for single cells.
///
/// A decision is exact up to one unit of its word, to the strict side. Where periods are below weeks, a nanosecond has 12 to 16 units; for longer
/// periods it has fewer, because a period has 2^57 at most. As in law 1, two units may be added to a window in all.
///
/// An idle meter admits exactly L single cells, and n single cells are one batch, while L * L is below the units of a period. (Where periods are
/// below weeks, that holds for L * L / p below 1e10 a second.) If the meter is not idle, the last of n single cells may have to wait a unit for each,
/// n / 12 ns, where one batch of n conforms. A client that always asks gets 0.999 of the rate up to L / p = 1e7 a second.
///
/// # Batches
///
/// n cells are n impulses at one instant. A client that always asks for n gets n / -ln(1 - n k) cells in a period. Of a limit of 100, it gets 95.4
/// with batches of 10, 87.4 with batches of 25, 72.7 with batches of 50, and 18.9 with batches of 100. For batches that are large relative to the
/// limit, use GCRA.
///
/// # Work that costs nothing
///
/// Cells are impulses: work of zero cells leaves no trace and is always admitted. Charge at least one cell for each request, in addition to its cost.
///
/// ```
/// use ratelimit_meter::Exponential;
/// use std::time::{Duration, Instant};
///
/// let meter = Exponential::new(100, Duration::from_secs(60))?;
/// let now = Instant::now();
/// assert!((0..100).all(|_| meter.check_at(now).is_ok()));
/// assert!(meter.check_at(now).is_err());
/// let later = now + Duration::from_secs(30);
/// assert_eq!((0..100).filter(|_| meter.check_at(later).is_ok()).count(), 39);
/// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
/// ```
pub type Exponential<C = DefaultClock> = Meter<ExponentialAverage, C>;

impl Exponential {
    /// Returns an idle meter for `limit` cells in each averaging `period`.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if `limit` or `period` is zero, the rate is above 2^32 cells a second, or the period is above 200 years.
    pub fn new(limit: u32, period: Duration) -> Result<Self, InconsistentCapacity> {
        let limit = NonZeroU32::new(limit).ok_or(InconsistentCapacity::ZeroCapacity)?;
        Self::from_quota(Quota::new(limit, period)?)
    }

    /// Returns an idle meter whose rate halves in `half_life`: for `limit` cells in each period of h / ln 2.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), for that period.
    ///
    /// ```
    /// use ratelimit_meter::Exponential;
    /// use std::time::{Duration, Instant};
    ///
    /// let meter = Exponential::with_half_life(1000, Duration::from_secs(10))?;
    /// let now = Instant::now();
    /// meter.check_n_at(500, now).unwrap();
    /// let (before, after) = (meter.rate_at(now), meter.rate_at(now + Duration::from_secs(10)));
    /// assert!((before / after - 2.0).abs() < 1e-6);
    /// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
    /// ```
    pub fn with_half_life(limit: u32, half_life: Duration) -> Result<Self, InconsistentCapacity> {
        let too_long = || InconsistentCapacity::rest_too_long(half_life.as_nanos());
        let half_life_ns = u128::from(whole_nanos(half_life).ok_or_else(too_long)?);
        // 1 / ln 2, times 2^62.
        let period_ns = (half_life_ns * 6_653_256_548_922_161_246) >> 62;
        let period_ns = u64::try_from(period_ns).map_err(|_| too_long())?;
        Self::new(limit, Duration::from_nanos(period_ns))
    }
}

impl<C: Clock> Exponential<C> {
    /// Returns a new idle meter with the same limit and clock that also counts denied cells, so that a client has to slow down to be admitted at all.
    ///
    /// Law 5 does not hold for it: a denial writes, and moves the instant that the denial holds. So a client that keeps asking is never admitted, and
    /// a denial costs as much as an admission. Batches that can never conform are not counted.
    ///
    /// ```
    /// use ratelimit_meter::Exponential;
    /// use std::time::{Duration, Instant};
    ///
    /// let meter = Exponential::new(10, Duration::from_secs(1))?.strict();
    /// let now = Instant::now();
    /// assert_eq!((0..20).filter(|_| meter.check_at(now).is_ok()).count(), 10);
    /// assert!(meter.rate_at(now) > 19.0);
    /// # Ok::<(), ratelimit_meter::algorithms::InconsistentCapacity>(())
    /// ```
    #[must_use]
    pub fn strict(self) -> Self {
        let (schedule, _) = self.store.into_parts();
        Self::idle(schedule.algorithm.strict(), self.clock, schedule.quota)
    }
}
