//! The generic cell rate algorithm, as virtual scheduling: the meter, then the pure functions.

use crate::algorithm::{Algorithm, Decide, Kind, Numbers};
use crate::clock::{Clock, DefaultClock};
use crate::error::InconsistentCapacity;
use crate::limit::UnitLimit;
use crate::meter::Meter;
use crate::quota::Quota;
use crate::schedule::Schedule;
use crate::store::Store;
use crate::time::{Instant, whole_nanos};
use crate::units::{Nanos, Volume};
use core::num::NonZeroU32;
use core::time::Duration;

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
type StandardParameters = (Duration, Duration, Option<Instant>);

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
        let limit = UnitLimit::of_interval(t_ns, tau_ns)?;
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
/// A meter made from these values is never faster than this meter, and has the same debt. (Ticks are not among the parameters. If there are ticks, the
/// theoretical arrival time is the tick by which all has drained. So a meter made again without ticks is not faster either.)
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
impl<C: Clock> From<&GCRA<C>> for StandardParameters {
    fn from(meter: &GCRA<C>) -> Self {
        meter.store().read(Nanos::BEGINNING, |schedule, word| {
            let (t_ns, tau_ns) = schedule.algorithm.limit.parameters();
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
impl From<StandardParameters> for GCRA {
    fn from((t, tau, tat): StandardParameters) -> Self {
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

/// The virtual scheduling algorithm, by which ITU-T I.371 defines the GCRA.
///
/// The word is the theoretical arrival time (TAT) of the next cell, in units of volume. A batch of cost c conforms when
/// TAT <= now + tau, where tau = D - c and D is the burst; then TAT becomes max(TAT, now) + c.
#[derive(Debug, Clone, Copy)]
pub struct VirtualScheduling {
    limit: UnitLimit,
}

impl VirtualScheduling {
    pub(crate) const fn new(limit: UnitLimit) -> Self {
        Self { limit }
    }
}

impl Algorithm for VirtualScheduling {}

impl Decide for VirtualScheduling {
    const NAME: &'static str = "GCRA";

    type Limit = UnitLimit;

    #[inline]
    fn limit(&self) -> &UnitLimit {
        &self.limit
    }

    fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity> {
        UnitLimit::of_quota(quota).map(Self::new)
    }

    fn kind(&self) -> Kind {
        Kind::Gcra
    }

    fn below(&self, quota: Option<Quota>, end: u64) -> Option<Self> {
        self.limit.below(quota, end).map(|limit| Self { limit })
    }

    #[inline]
    fn decide(&self, tat: u64, Volume(drained): Volume, n: u32) -> Result<u64, Volume> {
        let cost = self.limit.cell * u64::from(n);
        let tau = self.limit.tolerance - cost;
        if tat > drained + tau {
            return Err(Volume(tat - tau));
        }
        Ok(tat.max(drained) + cost)
    }

    #[inline]
    fn due(&self, tat: u64, n: u32) -> Volume {
        let tau = self.limit.tolerance - self.limit.cell * u64::from(n);
        Volume(tat.saturating_sub(tau))
    }

    fn idle(&self, tat: u64) -> Volume {
        Volume(tat)
    }

    #[inline]
    fn room(&self, tat: u64, Volume(drained): Volume) -> u32 {
        let room = (drained + self.limit.tolerance).saturating_sub(tat.max(drained));
        self.limit.cells_in(room)
    }

    fn charge(&self, tat: u64, Volume(drained): Volume, n: u64) -> (u64, u64) {
        let tat = tat.max(drained);
        let recorded = n.min(self.limit.cells_until_last_word(tat));
        (tat + self.limit.cost_of_any(recorded), n - recorded)
    }

    fn refund(&self, tat: u64, Volume(drained): Volume, n: u64) -> u64 {
        tat.saturating_sub(self.limit.cost_of_any(n)).max(drained).min(tat)
    }

    fn has_cells_ahead(&self, tat: u64, Volume(drained): Volume) -> bool {
        tat.saturating_sub(drained) > self.limit.tolerance
    }

    fn cancel(&self, tat: u64, drained: Volume, n: u32, at: Volume) -> u64 {
        let undrained = self.limit.undrained(n, drained, at);
        tat.saturating_sub(undrained).max(drained.0).min(tat)
    }

    fn carry(&self, tat: u64, Volume(drained): Volume, part: u64, next: &Self, next_drained: Volume) -> (u64, u64) {
        self.limit
            .carry(tat.saturating_sub(drained), part, &next.limit, next_drained)
    }

    fn owing(&self, tat: u64, Volume(drained): Volume, next: &Self, next_drained: Volume) -> u64 {
        self.limit.owing(tat.saturating_sub(drained), &next.limit, next_drained)
    }

    fn leaving(&self, n: u32, Volume(drained): Volume) -> u64 {
        drained + self.limit.level_leaving(n)
    }
}
