//! The meter: an algorithm, a word and a clock.

mod builder;
mod exponential;
mod gcra;
mod kind;
mod leaky_bucket;
mod reservation;
mod snapshot;
mod verbs;

pub use builder::Builder;
pub use exponential::Exponential;
pub use gcra::GCRA;
pub use kind::MeterKind;
pub use leaky_bucket::LeakyBucket;
pub use reservation::Reservation;

use crate::algorithms::Algorithm;
use crate::cell::Cell;
use crate::clock::{Clock, DefaultClock};
use crate::decider::{Decider, MultiDecider};
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::error::InconsistentCapacity;
use crate::metered::{self, Metered, Refusal, State, When};
use crate::nanos::{Nanos, TimeLine};
use crate::quota::Quota;
use crate::rule::{Rule, Stepped};
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
/// let meter = LeakyBucket::from_quota(Quota::per_hour(nonzero!(100u32)))?;
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
    pub(crate) rule: Rule<A>,
    cell: Cell,
    pub(crate) clock: C,
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
    /// let meter = GCRA::from_quota(Quota::per_hour(nonzero!(600u32)).allow_burst(nonzero!(20u32)))?;
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
            rule: Rule::made_at(clock.now(), algorithm, quota),
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
        Meter::at_rest(self.rule.algorithm, clock, self.rule.quota)
    }

    /// Returns a new meter with the same limit and clock of which just `cells` are available when it is made, the rest to come as it drains.
    ///
    /// It shares nothing with this meter. What is available is exact: `cells` conform at once, and the next one a whole cell later.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::AvailableAboveBurst`] if `cells` are more than may come at once.
    ///
    /// ```
    /// use ratelimit_meter::clock::{Clock, ManualClock};
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::Duration;
    ///
    /// // After a restart, when what came before is not known: nothing at once.
    /// let clock = ManualClock::new();
    /// let meter = GCRA::from_quota("10/s".parse::<Quota>()?)?.with_clock(clock.clone()).with_available(0)?;
    /// assert_eq!(meter.check().unwrap_err().wait_time_from(clock.now()), Duration::from_millis(100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_available(self, cells: u32) -> Result<Self, InconsistentCapacity> {
        let burst = self.max_batch();
        if cells > burst {
            return Err(InconsistentCapacity::AvailableAboveBurst { cells, burst });
        }
        let Self { rule, clock, .. } = self;
        let rule = Rule::made_at(clock.now(), rule.algorithm, rule.quota);
        let word = rule.algorithm.leaving(cells, rule.volume(rule.time_line.made()));
        Ok(Self {
            rule,
            cell: Cell::new(word),
            clock,
        })
    }

    /// Makes a meter that holds `word`.
    pub(crate) fn holding(rule: Rule<A>, word: u64, clock: C) -> Self {
        let cell = Cell::new(word);
        Self { rule, cell, clock }
    }

    /// What it holds to, for a meter of more than one limit.
    #[cfg(feature = "dual")]
    pub(crate) fn into_limit(self) -> (A, Option<Quota>) {
        (self.rule.algorithm, self.rule.quota)
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
        metered::check(self, When::At(at))
    }

    /// Decides one cell now, by the meter's clock, and counts it if it conforms; [`Decider`] states the laws.
    ///
    /// # Errors
    ///
    /// As [`check_at`](Self::check_at).
    #[inline]
    pub fn check(&self) -> Result<(), NonConformance> {
        metered::check(self, When::Now)
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
        metered::check_n(self, n, When::At(at))
    }

    /// Decides a batch of `n` cells now, by the meter's clock, and counts all of them if all conform; [`MultiDecider`] states the
    /// laws.
    ///
    /// # Errors
    ///
    /// As [`check_n_at`](Self::check_n_at).
    #[inline]
    pub fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        metered::check_n(self, n, When::Now)
    }

    /// Draws half of the cells that conform now, at most `block` and at least `missing`.
    pub(crate) fn draw(&self, missing: u32, block: u32) -> Result<u32, NonConformance> {
        metered::step_now(self, |rule, word, now| {
            // Told apart first: a dry meter is not asked how much there is.
            rule.decide(word, now, missing)?;
            let drawn = (rule.algorithm.room(word, now) / 2).min(block).max(missing);
            rule.decide(word, now, drawn).map(|(word, _)| (word, drawn))
        })
        .map_err(|until| metered::denial(self, until))
    }

    /// What it goes by, and where it stands.
    pub(crate) fn into_parts(self) -> (Rule<A>, u64, C) {
        (self.rule, self.cell.load(), self.clock)
    }

    pub(crate) fn max_batch(&self) -> u32 {
        self.rule.algorithm.max_batch()
    }
}

impl<A: Algorithm, C: Clock> Metered for Meter<A, C> {
    type Algorithm = A;
    type Clock = C;

    #[inline]
    fn clock(&self) -> &C {
        &self.clock
    }

    #[inline]
    fn time_line(&self) -> &TimeLine {
        &self.rule.time_line
    }

    fn state(&self) -> State {
        (self.cell.address(), 0)
    }

    #[inline]
    fn counts_refusals(&self) -> bool {
        self.rule.algorithm.counts_refusals()
    }

    #[inline]
    fn read<T>(&self, _at: Nanos, read: impl FnOnce(&Rule<A>, u64) -> T) -> T {
        read(&self.rule, self.cell.load())
    }

    #[inline]
    fn step<T, R: Refusal>(
        &self,
        at: Nanos,
        step: impl Fn(&Rule<A>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Result<T, R> {
        let now = self.rule.volume(at);
        self.cell.update(|word| step(&self.rule, word, now))
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
        self.rule.debug(self.cell.load(), &mut f.debug_struct(A::NAME))
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests;
