use super::Meter;
use crate::algorithms::ExponentialAverage;
use crate::clock::{Clock, DefaultClock};
use crate::error::InconsistentCapacity;
use crate::metered::When;
use crate::nanos::whole_nanos;
use crate::quota::Quota;
use core::num::NonZeroU32;
use std::time::{Duration, Instant};

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
        Self::at_rest(self.rule.algorithm.strict(), self.clock, self.rule.quota)
    }

    /// Returns the rate at `at`, in units of the limit per period; the limit itself at saturation. Changes nothing.
    #[must_use]
    pub fn rate_at(&self, at: Instant) -> f64 {
        self.rate_when(When::At(at))
    }

    /// Returns the rate now, by the meter's clock; see [`rate_at`](Self::rate_at).
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate_when(When::Now)
    }

    fn rate_when(&self, when: When) -> f64 {
        let now = self.rule.volume(when.position(self));
        self.rule.algorithm.rate(self.cell.load(), now)
    }
}
