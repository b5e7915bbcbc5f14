//! The meter: an algorithm, a word and a clock.

mod builder;
mod gcra;
mod leaky_bucket;

pub use builder::Builder;
pub use gcra::GCRA;
pub use leaky_bucket::LeakyBucket;

use crate::algorithms::{Algorithm, Denial};
use crate::cell::Cell;
use crate::clock::{Clock, DefaultClock};
use crate::decider::{Decider, MultiDecider};
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::error::InconsistentCapacity;
use crate::nanos::{self, Nanos, TimeLine};
use crate::quota::Quota;
use core::fmt;
use std::time::{Duration, Instant};

/// A meter with algorithm `A` that reads the time from `C`; use it as [`GCRA`] or [`LeakyBucket`].
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
        A::from_quota(quota).map(|algorithm| Self::at_rest(algorithm, DefaultClock))
    }
}

impl<A: Algorithm, C: Clock> Meter<A, C> {
    /// A meter at rest, made now by its clock.
    fn at_rest(algorithm: A, clock: C) -> Self {
        Self {
            algorithm,
            time_line: TimeLine::of_meter_made(clock.now()),
            cell: Cell::new(0),
            clock,
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
        Meter::at_rest(self.algorithm, clock)
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
        self.step_at(at, |algorithm, word, now| conforming(algorithm.decide(word, now, 1)))
    }

    /// Decides one cell now, by the meter's clock, and counts it if it conforms; [`Decider`] states the laws.
    ///
    /// # Errors
    ///
    /// As [`check_at`](Self::check_at).
    #[inline]
    pub fn check(&self) -> Result<(), NonConformance> {
        self.step_now(|algorithm, word, now| conforming(algorithm.decide(word, now, 1)))
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
        self.check_batch(n, |meter| {
            meter.step_at(at, |algorithm, word, now| conforming(algorithm.decide(word, now, n)))
        })
    }

    /// Decides a batch of `n` cells now, by the meter's clock, and counts all of them if all conform; [`MultiDecider`] states the
    /// laws.
    ///
    /// # Errors
    ///
    /// As [`check_n_at`](Self::check_n_at).
    #[inline]
    pub fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.check_batch(n, |meter| {
            meter.step_now(|algorithm, word, now| conforming(algorithm.decide(word, now, n)))
        })
    }

    #[inline]
    fn check_batch(
        &self,
        n: u32,
        decide: impl FnOnce(&Self) -> Result<(), NonConformance>,
    ) -> Result<(), NegativeMultiDecision> {
        if n == 0 {
            return Ok(());
        }
        if n > self.max_batch() {
            return Err(NegativeMultiDecision::InsufficientCapacity(n));
        }
        decide(self).map_err(|denial| NegativeMultiDecision::BatchNonConforming(n, denial))
    }

    /// Takes one atomic step at `at`.
    #[inline]
    fn step_at<T>(
        &self,
        at: Instant,
        step: impl Fn(&A, u64, Nanos) -> Result<(u64, T), Denial>,
    ) -> Result<T, NonConformance> {
        self.step(self.time_line.position(at), step)
    }

    /// Takes one atomic step now, by the meter's clock.
    #[inline]
    pub(crate) fn step_now<T>(
        &self,
        step: impl Fn(&A, u64, Nanos) -> Result<(u64, T), Denial>,
    ) -> Result<T, NonConformance> {
        let now = self.clock.position(&self.time_line);
        self.step(now, &step).or_else(|denial| {
            // The clock may be behind by this much. Who waited until the instant of a denial must not be denied for that.
            if denial.is_over_by(now.later(C::LAG_NS)) {
                self.step_at(self.clock.now_exactly(), &step)
            } else {
                Err(denial)
            }
        })
    }

    #[inline]
    fn step<T>(
        &self,
        now: Nanos,
        step: impl Fn(&A, u64, Nanos) -> Result<(u64, T), Denial>,
    ) -> Result<T, NonConformance> {
        self.cell
            .update(|word| step(&self.algorithm, word, now))
            .map_err(|denial| NonConformance::new(self.time_line.beginning(), denial))
    }

    /// Gives back `n` cells now, but never more than it takes to be at rest.
    pub(crate) fn give_back(&self, n: u32) {
        let now = self.clock.position(&self.time_line);
        // Nothing to give back to a meter at rest.
        let _ = self.cell.update(|word| {
            let new = self.algorithm.give_back(word, now, n);
            if new == word { Err(()) } else { Ok((new, ())) }
        });
    }

    pub(crate) fn max_batch(&self) -> u32 {
        self.algorithm.limit().max_batch()
    }

    /// The instant by which all that was admitted has drained, rounded up; `None` if nothing ever was. Reads the word once.
    fn rested_from(&self) -> Option<Instant> {
        match self.cell.load() {
            0 => None,
            word => Some(nanos::after(
                self.time_line.beginning(),
                self.algorithm.limit().scale().nanos_at(word),
            )),
        }
    }
}

/// The step of a decision that has nothing more to tell.
#[inline]
fn conforming(decision: Result<u64, Denial>) -> Result<(u64, ()), Denial> {
    decision.map(|word| (word, ()))
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
        let limit = self.algorithm.limit();
        f.debug_struct(A::NAME)
            .field("emission_interval", &Duration::from_nanos(limit.emission_interval_ns()))
            .field("burst", &limit.max_batch())
            .field("rested_from", &self.rested_from())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests;
