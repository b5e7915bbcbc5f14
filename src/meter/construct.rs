//! How the meters of the three algorithms are made, with the constructors of `ratelimit_meter` 1.x.

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
/// Decides exactly as [`LeakyBucket`](crate::LeakyBucket) does for the same quota: the standard defines one test in two ways.
/// Choose this one to speak the standard's parameters, T and tau ([`GCRA::with_parameters`]), the other to ask for a level.
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

/// The standard's parameters and state: T, tau and the theoretical arrival time, `None` for a meter at rest.
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

    /// Returns the standard's GCRA(T, tau) whose next cell is expected at `tat`, or which is at rest.
    ///
    /// It admits 1 + floor(tau/T) cells at once and one every T from then on. (What 1.x called tau was T + tau.)
    ///
    /// # Panics
    ///
    /// With the error's text where [`try_with_parameters`](Self::try_with_parameters) returns one: this is 1.x's infallible shape.
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

    /// Returns the standard's GCRA(T, tau) whose next cell is expected at `tat`, or which is at rest. Nothing of it is rounded.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if `t` is zero, `t + tau` is above 200 years, or `tat` is later than any meter with these
    /// parameters could have come to expect: `t + tau` after the end of its time line, 36 years ahead.
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
/// As that does: this is 1.x's infallible shape.
impl From<Builder> for GCRA {
    fn from(builder: Builder) -> Self {
        builder.build()
    }
}

/// Same as [`Builder::build`].
///
/// # Panics
///
/// As that does: this is 1.x's infallible shape.
impl From<&mut Builder> for GCRA {
    fn from(builder: &mut Builder) -> Self {
        builder.build()
    }
}

/// The standard's parameters and state, T and the theoretical arrival time rounded up and tau down to whole nanoseconds: a meter
/// made of them again is never faster than this one, and owes what it owes. (Ticks are not among them: the theoretical arrival time is the
/// tick by which all has drained, so that a meter made again without ticks is not faster either.)
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
/// As that does: this is 1.x's infallible shape.
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

    /// Sets the period in which the capacity drains, one second by default: 1 ns to 200 years, checked when the meter is built.
    pub fn per(&mut self, period: Duration) -> &mut Self {
        self.period = period;
        self
    }

    /// Sets how many units of the capacity one cell takes, one by default.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::ZeroWeight`] or [`InconsistentCapacity::WeightAboveBurst`], and the builder is as before, if
    /// `weight` is zero or above the capacity.
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

    /// Returns the meter, at rest.
    ///
    /// # Panics
    ///
    /// With the error's text where [`try_build`](Self::try_build) returns one: this is 1.x's infallible shape.
    #[must_use]
    pub fn build(&self) -> GCRA {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the meter, at rest.
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

/// A limit on the exponentially weighted average rate, after Tony Finch: it measures a rate and compares it with the limit.
///
/// From rest exactly L cells pass at once, and a client that always asks gets L in a period, as with [`GCRA`](crate::GCRA). They
/// differ in how a burst comes back: half a period after a full one GCRA has 50 % of it again and this 39 %, after one period 100 %
/// and 63 %, after two 100 % and 86 %, after three 100 % and 95 %. It suits what is better described by "how much lately" than by
/// "how much at once", and it tells the number ([`rate_at`](Self::rate_at)).
///
/// # Laws
///
/// [`Decider`](crate::Decider)'s, but in place of law 1: in every window of length v at most k^-1 + L * v / p cells are admitted,
/// where k^-1 = 1 / (1 - e^(-1/L)) is half a cell above L. Law 3 for single cells.
///
/// A decision is exact up to one unit of its word, to the strict side, of which a nanosecond has 12 to 16 where periods are below
/// weeks (and fewer beyond: a period has 2^57 at most); as in law 1, two units may be added to a window in all. From rest exactly L
/// single cells pass, and n single cells are one batch, while L * L is below the units of a period (where periods are below weeks, for
/// L * L / p below 1e10 a second); from between, the last of n single cells may have to wait a unit for each, n / 12 ns, where one batch
/// of n conforms. A client that always asks gets 0.999 of the rate up to L / p = 1e7 a second.
///
/// # Batches
///
/// n cells are n impulses at one instant. A client that always asks for n gets n / -ln(1 - n k) cells in a period: of 100, with
/// batches of 10 it is 95.4, of 25 87.4, of 50 72.7 and of 100 18.9. Large batches relative to the limit are GCRA's.
///
/// # Work that costs nothing
///
/// Cells are impulses: work of zero cells leaves no trace and passes free. Charge at least one cell for each request, beside what it
/// costs.
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
    /// Returns a meter at rest for `limit` cells in each averaging `period`.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if either is zero, the rate is above 2^32 cells a second, or the period above 200 years.
    pub fn new(limit: u32, period: Duration) -> Result<Self, InconsistentCapacity> {
        let limit = NonZeroU32::new(limit).ok_or(InconsistentCapacity::ZeroCapacity)?;
        Self::from_quota(Quota::new(limit, period)?)
    }

    /// Returns a meter at rest whose rate halves in `half_life`: for `limit` cells in each period of h / ln 2.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), of that period.
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
    /// Returns a new meter at rest with the same limit and clock that counts refused cells too, so that a client has to slow down to
    /// be served at all.
    ///
    /// It is exempt from law 5: a denial writes, and moves the instant it tells. So a client that keeps asking is never served, and a
    /// denial costs what an admission does. Batches that can never conform are not counted.
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
