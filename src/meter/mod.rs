//! The meter: an algorithm, a word and a clock.

mod builder;
mod exponential;
mod gcra;
mod leaky_bucket;
mod reservation;
mod status;
mod verbs;

pub use builder::Builder;
pub use exponential::Exponential;
pub use gcra::GCRA;
pub use leaky_bucket::LeakyBucket;
pub use reservation::Reservation;
pub use status::{Status, Taken};
pub use verbs::Admitted;

use crate::algorithms::{Algorithm, Due};
use crate::cell::Cell;
use crate::clock::{Clock, DefaultClock};
use crate::decider::{Decider, MultiDecider};
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::error::InconsistentCapacity;
use crate::nanos::{Nanos, TimeLine};
use crate::quota::Quota;
use core::fmt;
use std::time::Instant;

/// A meter with algorithm `A` that reads the time from `C`; use it as [`GCRA`], [`LeakyBucket`] or [`Exponential`].
///
/// A meter is a handle: clones share one state, and a clone in every thread is the way to use it. The state is one atomic word.
/// [`Decider`] and [`MultiDecider`] state the laws of its decisions, which are here as inherent methods too, so that no trait has
/// to be imported.
///
/// ```
/// use ratelimit_meter::{LeakyBucket, Quota, nonzero};
///
/// let meter = LeakyBucket::from_quota(Quota::per_second(nonzero!(100u32)))?;
/// let thread = std::thread::spawn({
///     let meter = meter.clone();
///     move || meter.check_n(60)
/// });
/// assert!(thread.join().unwrap().is_ok());
/// assert!(meter.check_n(60).is_err(), "they share the hundred");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Meter<A, C = DefaultClock> {
    algorithm: A,
    time_line: TimeLine,
    cell: Cell,
    clock: C,
    /// What it was made of, if of a quota.
    quota: Option<Quota>,
}

impl<A: Algorithm> Meter<A> {
    /// Returns a meter at rest for `quota`.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if the weight of a cell exceeds the burst, or a full burst takes more than 200 years to drain.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota, nonzero};
    ///
    /// let meter = GCRA::from_quota(Quota::per_minute(nonzero!(600u32)).allow_burst(nonzero!(20u32)))?;
    /// assert!(meter.check_n(20).is_ok());
    /// assert!(meter.check().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity> {
        A::from_quota(quota).map(|algorithm| Self::at_rest(algorithm, DefaultClock, Some(quota)))
    }
}

impl<A: Algorithm, C: Clock> Meter<A, C> {
    /// A meter at rest, made now by its clock.
    fn at_rest(algorithm: A, clock: C, quota: Option<Quota>) -> Self {
        Self {
            algorithm,
            time_line: TimeLine::of_meter_made(clock.now()),
            cell: Cell::new(0),
            clock,
            quota,
        }
    }

    /// Returns a new meter at rest that holds the same limit and reads its time from `clock`.
    ///
    /// It shares nothing with this meter: its time line begins a day before `clock.now()`, be that now or not.
    ///
    /// ```
    /// use ratelimit_meter::{LeakyBucket, clock::ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let meter: LeakyBucket<ManualClock> = LeakyBucket::per_second(5)?.with_clock(clock);
    /// assert!(meter.check().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_clock<D: Clock>(self, clock: D) -> Meter<A, D> {
        Meter::at_rest(self.algorithm, clock, self.quota)
    }

    /// Decides one cell at `at`, and counts it if it conforms; [`Decider`] states the laws. Takes constant time.
    ///
    /// # Errors
    ///
    /// [`NonConformance`], and nothing has changed, if the cell does not conform; it tells from when on it would.
    ///
    /// ```
    /// use ratelimit_meter::GCRA;
    /// use std::time::{Duration, Instant};
    ///
    /// let meter = GCRA::for_capacity(1)?.per(Duration::from_secs(60)).try_build()?;
    /// let now = Instant::now();
    /// assert!(meter.check_at(now).is_ok());
    /// let denial = meter.check_at(now).unwrap_err();
    /// assert!(meter.check_at(denial.earliest_possible()).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
        self.decide_at(1, at)
    }

    /// Decides one cell now, by the meter's clock, and counts it if it conforms; [`Decider`] states the laws.
    ///
    /// # Errors
    ///
    /// As [`check_at`](Self::check_at).
    #[inline]
    pub fn check(&self) -> Result<(), NonConformance> {
        self.decide_now(1)
    }

    /// Decides a batch of `n` cells at `at`, and counts all of them if all conform; [`MultiDecider`] states the laws. Takes
    /// constant time.
    ///
    /// # Errors
    ///
    /// In either case nothing has changed:
    ///
    /// - [`NegativeMultiDecision::BatchNonConforming`] if the batch does not conform yet; it tells from when on it would.
    /// - [`NegativeMultiDecision::InsufficientCapacity`] if it never will, since it exceeds the burst.
    ///
    /// ```
    /// use ratelimit_meter::{LeakyBucket, NegativeMultiDecision};
    /// use std::time::Instant;
    ///
    /// let meter = LeakyBucket::per_second(10)?;
    /// let now = Instant::now();
    /// assert!(meter.check_n_at(7, now).is_ok());
    /// assert!(matches!(meter.check_n_at(4, now), Err(NegativeMultiDecision::BatchNonConforming(4, _))));
    /// assert!(meter.check_n_at(3, now).is_ok());
    /// assert_eq!(meter.check_n_at(11, now), Err(NegativeMultiDecision::InsufficientCapacity(11)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.batch(n, || self.decide_at(n, at))
    }

    /// Decides a batch of `n` cells now, by the meter's clock, and counts all of them if all conform; [`MultiDecider`] states the
    /// laws.
    ///
    /// # Errors
    ///
    /// As [`check_n_at`](Self::check_n_at).
    #[inline]
    pub fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.batch(n, || self.decide_now(n))
    }

    #[inline]
    fn batch(&self, n: u32, decide: impl FnOnce() -> Result<(), NonConformance>) -> Result<(), NegativeMultiDecision> {
        if n == 0 {
            return Ok(());
        }
        if n > self.algorithm.max_batch() {
            return Err(NegativeMultiDecision::InsufficientCapacity(n));
        }
        decide().map_err(|denial| NegativeMultiDecision::BatchNonConforming(n, denial))
    }

    #[inline]
    fn decide_at(&self, n: u32, at: Instant) -> Result<(), NonConformance> {
        let refused = self.step(self.time_line.position(at), |word, now| self.decision(word, now, n));
        self.verdict(refused)
    }

    #[inline]
    fn decide_now(&self, n: u32) -> Result<(), NonConformance> {
        let refused = self.step_now(|word, now| self.decision(word, now, n));
        self.verdict(refused)
    }

    /// The step of a decision: the new word, and when the cells are due if they were refused and count all the same.
    #[inline]
    fn decision(&self, word: u64, now: u64, n: u32) -> Result<(u64, Option<Due>), Due> {
        match self.algorithm.decide(word, now, n) {
            Ok(word) => Ok((word, None)),
            Err(due) => match self.algorithm.refuse(word, now, n) {
                Some(word) => Ok((word, Some(self.algorithm.due(word, n)))),
                None => Err(due),
            },
        }
    }

    #[inline]
    fn verdict(&self, refused: Result<Option<Due>, Due>) -> Result<(), NonConformance> {
        match refused {
            Ok(None) => Ok(()),
            Ok(Some(due)) | Err(due) => Err(self.denial(due)),
        }
    }

    #[inline]
    fn denial(&self, due: Due) -> NonConformance {
        NonConformance::new(self.time_line.beginning(), self.algorithm.scale(), due)
    }

    #[inline]
    fn volume(&self, at: Nanos) -> u64 {
        self.algorithm.scale().volume_at(at)
    }

    /// Takes one atomic step at a time, of which `step` is told the volume.
    #[inline]
    fn step<T, D>(&self, at: Nanos, step: impl Fn(u64, u64) -> Result<(u64, T), D>) -> Result<T, D> {
        let now = self.volume(at);
        self.cell.update(|word| step(word, now))
    }

    /// Takes one atomic step now, by the meter's clock.
    #[inline]
    fn step_now<T, D: IsDue>(&self, step: impl Fn(u64, u64) -> Result<(u64, T), D>) -> Result<T, D> {
        self.now_or_exactly(|at| self.step(at, &step))
    }

    /// Does what is to be done now, and once more if it was denied for the clock's being behind: who waited until the instant of a
    /// denial must not be denied for that.
    #[inline]
    fn now_or_exactly<T, D: IsDue>(&self, act: impl Fn(Nanos) -> Result<T, D>) -> Result<T, D> {
        let exactly = || self.time_line.position(self.clock.now_exactly());
        if self.algorithm.counts_refusals() {
            // There is no once more.
            return act(exactly());
        }
        let now = self.clock.position(&self.time_line);
        act(now).or_else(|denied| {
            if denied.due().0 <= self.volume(now.later(C::LAG_NS)) {
                act(exactly())
            } else {
                Err(denied)
            }
        })
    }

    /// The instant by which all that was admitted has drained, rounded up; `None` if nothing ever was. Reads the word once.
    fn rested_from(&self) -> Option<Instant> {
        match self.cell.load() {
            0 => None,
            word => Some(self.denial(self.algorithm.rested(word)).earliest_possible()),
        }
    }
}

/// A denial's reason, alone or with more.
trait IsDue {
    fn due(&self) -> Due;
}

impl IsDue for Due {
    #[inline]
    fn due(&self) -> Due {
        *self
    }
}

impl<A: Algorithm, C: Clock> Decider for Meter<A, C> {
    #[inline]
    fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
        self.check_at(at)
    }

    #[inline]
    fn check(&self) -> Result<(), NonConformance> {
        self.check()
    }
}

impl<A: Algorithm, C: Clock> MultiDecider for Meter<A, C> {
    #[inline]
    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, at)
    }

    #[inline]
    fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.check_n(n)
    }
}

impl<A: Algorithm> TryFrom<Quota> for Meter<A> {
    type Error = InconsistentCapacity;

    fn try_from(quota: Quota) -> Result<Self, Self::Error> {
        Self::from_quota(quota)
    }
}

/// Reads the word once; never locks.
impl<A: Algorithm, C: Clock> fmt::Debug for Meter<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct(A::NAME);
        self.algorithm.describe(&mut fields);
        fields.field("rested_from", &self.rested_from()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests;
