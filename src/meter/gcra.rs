use super::{Builder, Meter};
use crate::algorithms::VirtualScheduling;
use crate::cell::Cell;
use crate::clock::{Clock, DefaultClock};
use crate::error::InconsistentCapacity;
use crate::limit::Limit;
use crate::nanos::{Nanos, whole_nanos};
use crate::rule::Rule;
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
        let rule = Rule::made_at(clock.now(), VirtualScheduling::new(limit), None);
        let word = match tat.into() {
            None => 0,
            Some(tat) => Some(rule.time_line.nanos_until(tat))
                .filter(|&ns| ns <= Nanos::END.get() + t_ns + tau_ns)
                .and_then(|ns| limit.scale().volume_of(ns.into()))
                .ok_or(InconsistentCapacity::TatTooLate)?,
        };
        Ok(Self {
            rule,
            cell: Cell::new(word),
            clock,
        })
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
        let limit = meter.rule.algorithm.limit();
        (
            Duration::from_nanos(limit.emission_interval_ns()),
            Duration::from_nanos(limit.tau_ns()),
            meter.rule.rested_from(meter.cell.load()),
        )
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
