//! The clocks from which `check()` reads the time.
//!
//! Every decision has an `_at` form that takes its `Instant` from the caller and reads no clock. The forms without `_at` read the meter's clock:
//! [`DefaultClock`], unless [`Meter::with_clock`](crate::Meter::with_clock) set another. [`ManualClock`] is for tests.

mod anchor;
#[cfg(feature = "std")]
mod default;
#[cfg(feature = "std")]
mod manual;

#[cfg(feature = "std")]
pub(crate) use default::counter;
#[cfg(feature = "std")]
pub use default::{ClockSource, DefaultClock, source};
#[cfg(feature = "metrics")]
pub(crate) use default::{anchors, counter_given_up};
#[cfg(feature = "std")]
pub use manual::{ManualClock, OutOfRange};

pub(crate) use anchor::WINDOW_NS as LAG_NS;

use crate::time::{Instant, Moment};
use crate::units::{Anchored, Nanos, TimeLine, UnitScale, Volume};

/// A source of `Instant`s.
///
/// A clock need not be monotonic: a meter takes times in any order, and if time goes back, cells are only denied more. If callers of a meter also use
/// the `_at` forms, the clock's `Instant`s must be comparable with theirs.
///
/// ```
/// use ratelimit_meter::{GCRA, clock::Clock};
/// use std::time::{Duration, Instant};
///
/// /// Reads the time once a frame.
/// #[derive(Clone)]
/// struct FrameClock(Instant);
///
/// impl Clock for FrameClock {
///     fn now(&self) -> Instant {
///         self.0
///     }
/// }
///
/// let meter = GCRA::for_capacity(10)?.try_build()?.with_clock(FrameClock(Instant::now()));
/// assert!(meter.check().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// If the time of a clock is not an `Instant`, convert it with [`time::at`](crate::time::at). The text of a denial, and the denial's `wait_time()`,
/// count from `Instant::now()`. So on such a clock, read the wait from [`Taken::wait`](crate::Taken::wait), or from `wait_time_from(clock.now())`.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota, clock::Clock, time};
/// use std::time::{Duration, Instant, SystemTime};
///
/// /// The time of a simulation, which begins in 1970.
/// #[derive(Clone)]
/// struct Simulated(SystemTime);
///
/// impl Clock for Simulated {
///     fn now(&self) -> Instant {
///         let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
///         time::at(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
///     }
/// }
///
/// let meter = GCRA::from_quota("2/s".parse::<Quota>()?)?.with_clock(Simulated(SystemTime::UNIX_EPOCH));
/// assert!(meter.check_n(2).is_ok());
/// assert_eq!(meter.take(1).wait(), Some(Duration::from_millis(500)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Clock: Clone + Send + Sync {
    /// Returns the time now.
    fn now(&self) -> Instant;

    /// The most that a reading may be behind `now_exactly`.
    #[doc(hidden)]
    const LAG_NS: u64 = 0;

    /// Returns the position of the present time on `line`.
    #[doc(hidden)]
    #[inline]
    fn position(&self, line: &TimeLine) -> Nanos {
        line.position(self.now())
    }

    /// Returns the present time, for several meters.
    #[doc(hidden)]
    #[inline]
    fn moment(&self) -> Moment {
        self.now().into()
    }

    /// True if the clock has anchors, by which a decision may be made at once.
    #[doc(hidden)]
    const HAS_ANCHORS: bool = false;

    /// Returns the volumes of a limit of this scale at the last anchor, if there is an anchor and it is before `end`.
    #[doc(hidden)]
    #[inline]
    fn anchored(&self, _line: &TimeLine, _end: Nanos, _scale: UnitScale) -> Option<Anchored> {
        None
    }

    /// Returns whether the last anchor still holds: whether it is at most `LAG_NS` old.
    #[doc(hidden)]
    #[inline]
    fn anchor_holds(&self) -> bool {
        false
    }

    /// Returns the volume drained now; `None` if the anchor no longer holds.
    #[doc(hidden)]
    #[inline]
    fn drained(&self, _anchored: Anchored) -> Option<Volume> {
        None
    }

    /// Returns the exact time now, however expensive.
    #[doc(hidden)]
    #[inline]
    fn now_exactly(&self) -> Instant {
        self.now()
    }
}

impl<C: Clock> Clock for &C {
    const LAG_NS: u64 = C::LAG_NS;

    #[inline]
    fn now(&self) -> Instant {
        C::now(self)
    }

    #[inline]
    fn position(&self, line: &TimeLine) -> Nanos {
        C::position(self, line)
    }

    #[inline]
    fn now_exactly(&self) -> Instant {
        C::now_exactly(self)
    }

    #[inline]
    fn moment(&self) -> Moment {
        C::moment(self)
    }

    const HAS_ANCHORS: bool = C::HAS_ANCHORS;

    #[inline]
    fn anchored(&self, line: &TimeLine, end: Nanos, scale: UnitScale) -> Option<Anchored> {
        C::anchored(self, line, end, scale)
    }

    #[inline]
    fn anchor_holds(&self) -> bool {
        C::anchor_holds(self)
    }

    #[inline]
    fn drained(&self, anchored: Anchored) -> Option<Volume> {
        C::drained(self, anchored)
    }
}

/// The default clock in a build without `std`: it stands still at the epoch.
///
/// Use the forms of the verbs that end in `_at`, or give the meter a clock of the board with [`Meter::with_clock`](crate::Meter::with_clock).
/// On this clock a meter admits its burst and nothing after it.
#[cfg(not(feature = "std"))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DefaultClock;

#[cfg(not(feature = "std"))]
impl Clock for DefaultClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant::EPOCH
    }
}

/// The system's monotonic clock, [`Instant::now`].
#[cfg(feature = "std")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SystemClock;

#[cfg(feature = "std")]
impl Clock for SystemClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// The time of a verb.
#[derive(Clone, Copy)]
pub(crate) enum When {
    /// Now, by the meter's clock.
    Now,
    /// A time that the caller gives.
    At(Moment),
}

impl When {
    /// Returns the position on a time line. For `Now` it may be behind by the clock's lag.
    #[inline]
    pub(crate) fn position(self, clock: &impl Clock, line: &TimeLine) -> Nanos {
        match self {
            Self::Now => clock.position(line),
            Self::At(at) => line.position_of(at),
        }
    }

    /// Returns the exact position on a time line.
    pub(crate) fn exact_position(self, clock: &impl Clock, line: &TimeLine) -> Nanos {
        match self {
            Self::Now => line.position(clock.now_exactly()),
            Self::At(at) => line.position_of(at),
        }
    }

    /// Runs `act` at this time. If the time is now, runs it by the rule of [`act_now`], where `is_over_by` returns whether a denial is over by a time.
    // Always inlined: the caller knows whether the time is now.
    #[inline(always)]
    pub(crate) fn act<C: Clock, T, D>(
        self,
        clock: &C,
        line: &TimeLine,
        counts_denials: bool,
        act: impl Fn(Nanos) -> Result<T, D>,
        is_over_by: impl FnOnce(&D, Nanos) -> bool,
    ) -> Result<T, D> {
        let exactly_now = || line.position(clock.now_exactly());
        match self {
            Self::At(at) => act(line.position_of(at)),
            // A denial that counts must not be tried twice.
            Self::Now if counts_denials => act(exactly_now()),
            Self::Now => {
                let now = clock.position(line);
                act_now(now, exactly_now, act, |denied| is_over_by(denied, now.later(C::LAG_NS)))
            }
        }
    }
}

/// Runs `act` at the clock's time. If it is denied by less than the clock's lag, runs it once more at the exact time.
///
/// A caller that waited until the instant of a denial must be admitted then, even if the clock is a little behind. `is_over_soon` returns
/// whether a denial at the clock's time is over within its lag. It returns false for denials that count, which must not be tried twice.
// Always inlined: whether the first try is denied is known where it is called.
#[inline(always)]
pub(crate) fn act_now<P, T, D>(
    now: P,
    exactly_now: impl FnOnce() -> P,
    mut act: impl FnMut(P) -> Result<T, D>,
    is_over_soon: impl FnOnce(&D) -> bool,
) -> Result<T, D> {
    match act(now) {
        Err(denied) if is_over_soon(&denied) => act_again(exactly_now, act),
        done => done,
    }
}

// Out of line, so that the common case inlines.
#[cold]
#[inline(never)]
fn act_again<P, T, D>(exactly_now: impl FnOnce() -> P, act: impl FnOnce(P) -> Result<T, D>) -> Result<T, D> {
    act(exactly_now())
}
