//! The exponentially weighted moving average, in one word: the meter, then the pure functions.

use crate::algorithm::{Algorithm, Decide, Kind, Numbers};
use crate::clock::{Clock, DefaultClock, When};
use crate::error::InconsistentCapacity;
use crate::meter::Meter;
use crate::quota::Quota;
use crate::store::Store;
use crate::time::{Instant, whole_nanos};
use crate::units::{Nanos, UnitScale, Volume};
use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

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
/// The laws of [`Decider`](crate::Decider), with these differences:
///
/// - Instead of law 1, every window of length v admits at most k^-1 + L * v / p cells. Here k^-1 = 1 / (1 - e^(-1/L)), half a cell above L.
/// - Law 3 holds for single cells.
///
/// A decision is exact up to one unit of its word, to the strict side. For periods below weeks, a nanosecond has 12 to 16 units; for longer periods it
/// has fewer, because a period has at most 2^57 units. As in law 1, two units may be added to a window in all.
///
/// An idle meter admits exactly L single cells, and n single cells are one batch, while L * L is below the units of a period. (For periods below
/// weeks, that holds for L * L / p below 1e10 a second.) On a meter that is not idle, each of n single cells may wait one unit longer than in one
/// batch of n: n / 12 ns for the last cell. A client that always asks gets at least 0.999 of the rate, for rates up to L / p = 1e7 a second.
///
/// # Batches
///
/// n cells are n impulses at one instant. A client that always asks for n gets n / -ln(1 - n k) cells in a period. Of a limit of 100, batches of 10,
/// 25, 50 and 100 get 95.4, 87.4, 72.7 and 18.9. For batches that are large relative to the limit, use GCRA.
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
    /// Returns a new idle meter with the same limit and clock that also counts denied cells. So a client has to slow down to be admitted at all.
    ///
    /// Law 5 does not hold for it: a denial writes, and the next denial holds a later instant. So a client that keeps asking is never admitted, and
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
        let (schedule, _, clock) = self.into_parts();
        Self::idle(schedule.algorithm.strict(), clock, schedule.quota)
    }
}

impl<C: Clock, S: Store<ExponentialAverage>> Meter<ExponentialAverage, C, S> {
    /// Returns the rate at `at`, in units of the limit per period. At saturation that is the limit itself. Changes nothing; reads the word once.
    #[must_use]
    pub fn rate_at(&self, at: Instant) -> f64 {
        self.read(When::At(at.into()), ExponentialAverage::rate)
    }

    /// Returns the rate now, by the meter's clock; see [`rate_at`](Self::rate_at).
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.read(When::Now, ExponentialAverage::rate)
    }
}

/// The number of periods before the beginning of the time line at which words begin: a rate that old is 10^-14 of the limit.
const PAST: u64 = 32;

/// The number of periods after the end of the time line at which words end: time enough for 2^64 cells at once to decay to the limit.
const DEBT: u64 = 46;

/// The relative lengthening of a step. Errors of the floating point are a fraction of 2^-48 of a step, and steps are lengthened by 2^-48, to the
/// strict side.
const SLACK: f64 = 3.6e-15;

/// Without this unit, a cell that arrives exactly on its instant, after a drained volume that was rounded down, would be denied.
const TOLERANCE: u64 = 1;

/// The smallest share of the threshold that a batch may leave: it takes less than [`PAST`] periods to decay to.
const LEAST: f64 = 2e-14;

/// The exponentially weighted moving average, after Tony Finch (as in Exim's `ratelimit`), in one word.
///
/// Each cell is an impulse on a rate that decays by e in a period p. A cell is admitted if the rate including it is at most the limit. A decaying
/// rate is one curve, and the instant w at which it passes any fixed level determines the curve. Here that level is the threshold k^-1 = 1 / (1 -
/// e^(-1/L)), a little above the limit L. At the threshold a client that always asks gets exactly L cells a period. So
///
/// - one cell conforms when t >= w + p/L, n cells when t >= w - p ln(1 - n k);
/// - n cells move w to t + p ln(e^((w - t)/p) + n k), always forward.
///
/// It is a GCRA with a soft maximum. The word is w in units of volume. An interval p/L is a whole number of units, as large as a word allows. A step
/// is rounded up to a whole unit, to the strict side, but never past the point where the rate is at the threshold. So a client at exactly the limit
/// is not denied because of the sum of its roundings.
#[derive(Debug, Clone, Copy)]
pub struct ExponentialAverage {
    scale: UnitScale,
    /// The units of one period.
    period: u64,
    /// The units of p/L, exact.
    interval: u64,
    /// k, the amount that one cell adds to a rate whose threshold is 1.
    share: f64,
    /// L, in the unit of the quota.
    limit: u32,
    max_batch: u32,
    is_strict: bool,
}

impl ExponentialAverage {
    /// Makes the average of a quota whose words all stay below `end`.
    fn of_quota_below(quota: Quota, end: u64) -> Result<Self, InconsistentCapacity> {
        quota.validate()?;
        let (limit, burst, weight) = (quota.cells().get(), quota.burst().get(), quota.weight().get());
        if burst != limit {
            return Err(InconsistentCapacity::BurstNotCells { cells: limit, burst });
        }
        if let Some(interval) = quota.refill_interval() {
            return Err(InconsistentCapacity::IntervalOnAverage { interval });
        }
        let period_ns = u128::from(quota.period_ns());
        // As many units as fit while the last word fits too: V(END) is period * 2^60 / period_ns.
        let line = (1 << Nanos::BITS) + u128::from(PAST + DEBT + 1) * period_ns;
        let period = (u128::from(end) - 1) * period_ns / line;
        // An interval is a whole number of units.
        let interval = period / u128::from(limit);
        let period = interval * u128::from(limit);
        let too_fast = InconsistentCapacity::TooFast {
            cells: limit,
            period: quota.period(),
        };
        let scale = UnitScale::draining(period, quota.period_ns()).ok_or(too_fast)?;
        let period = u64::try_from(period).map_err(|_| too_fast)?;
        let share = -(-(f64::from(weight) / f64::from(limit))).exp_m1();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 1 and less than 2^32 + 1"
        )]
        let whole = (1.0 / share) as u32;
        let max_batch = if f64::from(whole) * share < 1.0 - LEAST {
            whole
        } else {
            whole - 1
        };
        Ok(Self {
            scale,
            period,
            interval: u64::try_from(interval * u128::from(weight)).map_err(|_| too_fast)?,
            share,
            limit,
            max_batch,
            is_strict: false,
        })
    }

    /// Returns the same average, but with denied cells counted.
    pub(crate) const fn strict(self) -> Self {
        Self {
            is_strict: true,
            ..self
        }
    }

    /// Returns the rate in the unit of the quota per period; the limit at saturation.
    pub(crate) fn rate(&self, word: u64, drained: Volume) -> f64 {
        // At a time long before the cells came, the rate that would decay to them exceeds any number.
        (f64::from(self.limit) * self.level(word, drained)).min(f64::MAX)
    }

    /// Returns the rate as a share of the threshold.
    fn level(&self, word: u64, drained: Volume) -> f64 {
        (-self.age(word, drained)).exp()
    }

    /// Returns the time since the rate was at the threshold, in periods; negative if that is in the future.
    fn age(&self, word: u64, drained: Volume) -> f64 {
        let at = self.as_word(drained);
        if at >= word {
            to_f64(at - word) / to_f64(self.period)
        } else {
            -(to_f64(word - at) / to_f64(self.period))
        }
    }

    /// Converts a volume to the count of words.
    const fn as_word(&self, Volume(volume): Volume) -> u64 {
        volume + PAST * self.period
    }

    /// Returns the word after `cells` more: at least one unit larger, at most the last word.
    fn raised(&self, word: u64, drained: Volume, cells: f64) -> u64 {
        let (age, added, period) = (self.age(word, drained), cells * self.share, to_f64(self.period));
        let raised = if age < 20.0 {
            let step = period * (added * age.exp()).ln_1p();
            word.saturating_add(rounded_up(step).max(1))
        } else {
            // The rest of the old rate is less than the error of the sum.
            let step = period * (added + (-age).exp()).ln();
            offset_up(self.as_word(drained), step)
        };
        raised.min(self.last_word())
    }

    /// Returns the word with `cells` fewer counted, or the word of an idle meter.
    fn lowered(&self, word: u64, drained: Volume, cells: f64) -> u64 {
        let left = self.level(word, drained) - cells * self.share;
        if left > 0.0 {
            offset_up(self.as_word(drained), to_f64(self.period) * left.ln()).min(word)
        } else {
            0
        }
    }

    /// Returns Q = w/k, the amount available to an idle meter in the unit of the quota: half a cell above L.
    fn capacity(&self) -> f64 {
        let weight = f64::from(self.limit) * (to_f64(self.interval) / to_f64(self.period));
        weight / self.share
    }

    /// Returns -ln(1 - n k) in units, rounded up.
    fn distance(&self, n: u32) -> u64 {
        if n == 1 {
            self.interval
        } else {
            rounded_up(to_f64(self.period) * -(-f64::from(n) * self.share).ln_1p())
        }
    }
}

impl Algorithm for ExponentialAverage {}

impl Numbers for ExponentialAverage {
    fn scale(&self) -> UnitScale {
        self.scale
    }

    fn last_word(&self) -> u64 {
        self.as_word(self.scale.volume_at(Nanos::END)) + DEBT * self.period
    }

    fn cell(&self) -> u64 {
        self.interval
    }

    fn max_batch(&self) -> u32 {
        self.max_batch
    }

    /// Returns the parameters of a rate at its limit.
    fn parameters(&self) -> (u64, u64) {
        (self.scale.nanos_at(Volume(self.interval)), 0)
    }

    fn describe(&self, fields: &mut fmt::DebugStruct<'_, '_>) {
        fields.field("limit", &self.limit).field("strict", &self.is_strict);
    }
}

impl Decide for ExponentialAverage {
    const NAME: &'static str = "Exponential";

    type Limit = Self;

    fn limit(&self) -> &Self {
        self
    }

    fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity> {
        Self::of_quota_below(quota, u64::MAX)
    }

    fn below(&self, quota: Option<Quota>, end: u64) -> Option<Self> {
        let is_strict = self.is_strict;
        let average = Self::of_quota_below(quota?, end).ok()?;
        Some(Self { is_strict, ..average })
    }

    fn kind(&self) -> Kind {
        if self.is_strict {
            Kind::StrictExponential
        } else {
            Kind::Exponential
        }
    }

    fn with_quota(&self, quota: Quota) -> Result<Self, InconsistentCapacity> {
        let is_strict = self.is_strict;
        Self::from_quota(quota).map(|average| Self { is_strict, ..average })
    }

    fn decide(&self, word: u64, drained: Volume, n: u32) -> Result<u64, Volume> {
        let due = self.due(word, n);
        if drained < due {
            return Err(due);
        }
        // The rate is now at the threshold at most, or would be if the cells had not come a unit early.
        let early = (word + self.distance(n)).saturating_sub(self.as_word(drained));
        Ok(self
            .raised(word, drained, f64::from(n))
            .min(self.as_word(drained) + early))
    }

    fn count_denied(&self, word: u64, drained: Volume, n: u32) -> Option<u64> {
        self.is_strict.then(|| self.raised(word, drained, f64::from(n)))
    }

    fn counts_denials(&self) -> bool {
        self.is_strict
    }

    fn due(&self, word: u64, n: u32) -> Volume {
        let due = word.saturating_add(self.distance(n));
        Volume(due.saturating_sub(PAST * self.period + TOLERANCE))
    }

    /// Returns the volume from which a full batch conforms.
    fn idle(&self, word: u64) -> Volume {
        self.due(word, self.max_batch)
    }

    fn room(&self, word: u64, drained: Volume) -> u32 {
        let estimate = (1.0 - self.level(word, drained)) / self.share;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is not relied on"
        )]
        let estimate = (estimate as u32).min(self.max_batch);
        let conform = |n: &u32| self.due(word, *n) <= drained;
        let least = (1..=estimate).rev().find(conform).unwrap_or(0);
        let more = (least..self.max_batch).map(|n| n + 1).take_while(conform).last();
        more.unwrap_or(least)
    }

    fn charge(&self, word: u64, drained: Volume, n: u64) -> (u64, u64) {
        let raised = self.raised(word, drained, to_f64(n));
        if raised < self.last_word() {
            return (raised, 0);
        }
        let most = (-self.age(self.last_word(), drained)).exp();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates at none and at all"
        )]
        let recorded = (((most - self.level(word, drained)) / self.share) as u64).min(n);
        (raised, n - recorded)
    }

    fn has_cells_ahead(&self, _word: u64, _drained: Volume) -> bool {
        // The rates of cells add up. So `cancel` can subtract the rate of its cells, in any order of counting.
        false
    }

    fn cancel(&self, word: u64, drained: Volume, n: u32, at: Volume) -> u64 {
        // Before `at`, none of the cells have decayed. They are lowered at the later of the two times, because their rate long before `at` exceeds
        // any number.
        let then = drained.max(at);
        let undecayed = (-to_f64(then.0 - at.0) / to_f64(self.period)).exp();
        self.lowered(word, then, f64::from(n) * undecayed)
    }

    fn leaving(&self, n: u32, drained: Volume) -> u64 {
        let distance = to_f64(self.distance(n));
        // The steps of n single cells are rounded up: by a unit each, and by the slack of their sum. At a level of 1 - n k, a unit of the word is
        // worth this part of a unit once the n cells are counted.
        let rounding = (f64::from(n) + distance * SLACK) / (1.0 - f64::from(n) * self.share);
        self.as_word(drained).saturating_sub(rounded_up(distance + rounding))
    }

    fn refund(&self, word: u64, drained: Volume, n: u64) -> u64 {
        if n == 0 {
            word
        } else {
            self.lowered(word, drained, to_f64(n))
        }
    }

    fn carry(&self, word: u64, drained: Volume, part: u64, next: &Self, next_drained: Volume) -> (u64, u64) {
        let word = word.saturating_add(u64::from(part > 0));
        // (1 - e^-age) Q is available. A level of 1 - (1 - e^-age) Q / Q' leaves the same amount of Q'.
        let (age, ratio) = (self.age(word, drained), self.capacity() / next.capacity());
        let above = (-age).exp_m1() * ratio;
        if above <= -1.0 {
            return (0, 0);
        }
        let log = if above.is_finite() {
            (above + above.abs() * SLACK).ln_1p()
        } else {
            // The 1 is negligible beside such a debt.
            ratio.ln() - age
        };
        let word = offset_up(next.as_word(next_drained), to_f64(next.period) * log);
        let last = next.last_word();
        if word <= last {
            return (word, 0);
        }
        let unrecorded = (above + 1.0 - next.level(last, next_drained)) * next.capacity();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates at none and at all"
        )]
        let unrecorded = if unrecorded.is_nan() {
            // Both terms exceed any number.
            u64::MAX
        } else {
            unrecorded.ceil() as u64
        };
        (last, unrecorded)
    }

    fn owing(&self, word: u64, drained: Volume, next: &Self, next_drained: Volume) -> u64 {
        next.raised(0, next_drained, self.level(word, drained) / self.share)
    }
}

/// Converts a number, exactly below 2^53 and otherwise within the slack of the steps.
#[expect(clippy::cast_precision_loss, reason = "the slack of the steps is 32 times as much")]
fn to_f64(n: u64) -> f64 {
    n as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and saturates"
)]
fn rounded_up(units: f64) -> u64 {
    (units * (1.0 + SLACK)).ceil() as u64
}

/// Returns the word `units` after `volume`, or before it if `units` is negative, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and saturates"
)]
fn offset_up(volume: u64, units: f64) -> u64 {
    if units < 0.0 {
        volume.saturating_sub((-units * (1.0 - SLACK)).floor() as u64)
    } else {
        volume.saturating_add(rounded_up(units))
    }
}

#[cfg(test)]
mod tests {
    use super::ExponentialAverage;
    use crate::algorithm::Decide as _;
    use crate::units::Volume;

    /// So long before the cells count, a level that decays to them exceeds any number.
    #[test]
    fn cancel_long_before_its_cells_is_exact() {
        let average = ExponentialAverage::from_quota("1000/ms".parse().unwrap()).unwrap();
        let (now, then) = (Volume(0), Volume(2000 * average.period));
        let before = average.raised(0, then, 1000.0);
        let word = average.raised(before, then, 400.0);
        let left = average.cancel(word, now, 400, then);
        assert!(
            left.abs_diff(before) < average.interval / 1000,
            "{left} instead of {before}"
        );
    }
}
