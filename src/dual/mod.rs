//! Two limits on one subject, decided together.

mod outcome;
mod pair;
pub(crate) mod words;

pub use outcome::{DualNonConformance, DualStatus, DualTaken, NegativeDualDecision, RefusedBy};

use crate::algorithm::{Algorithm, Decide};
use crate::algorithms::GCRA;
use crate::check_all::{Checkable, Checked};
use crate::clock::{Clock, DefaultClock, When, act_now};
use crate::decider::{Decider, MultiDecider};
use crate::error::InconsistentCapacity;
use crate::meter::MeterKind;
use crate::outcome::{NegativeMultiDecision, NonConformance, Taken};
use crate::quota::DualQuota;
use crate::schedule::Schedule;
use crate::store::Word;
use crate::time::Instant;
use crate::units::Nanos;
#[cfg(feature = "std")]
use crate::{
    snapshot::{RestoreError, Snapshot},
    time::SystemTime,
};
use core::cell::Cell;
use core::fmt;
use pair::{Cells, Pair, Refused, WithQuota};
use words::{SharedWords, Words};

/// Two limits on one subject, decided together: both admit and both count, or neither counts.
///
/// Use it for 10 a second and 1000 an hour, for a peak and a sustained rate, or for packets and bytes ([`check_each`](Self::check_each)). Two meters
/// that are checked one after the other would spend cells of the first on requests that the second denies. Two threads might also each take the cells
/// that the other needs.
///
/// The halves are named by meter types: both are [`GCRA`] unless specified otherwise, and `Dual<Exponential>` has two of that kind. A `Dual` is a
/// handle like [`Meter`](crate::Meter): clones share one state.
///
/// ```
/// use ratelimit_meter::{Dual, GCRA, RefusedBy};
/// use std::time::{Duration, Instant};
///
/// let limits = Dual::<GCRA>::from_quota("10/s & 1000/h".parse()?)?;
/// let now = Instant::now();
/// assert!((0..10).all(|_| limits.check_at(now).is_ok()));
/// let denied = limits.check_at(now).unwrap_err();
/// assert_eq!(denied.refused_by(), RefusedBy::First);
/// assert_eq!(denied.wait_time_from(now), Duration::from_millis(100));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Laws
///
/// Those of [`Decider`](crate::Decider) and [`MultiDecider`](crate::MultiDecider). Each half keeps laws 1, 2 and 8 (or those that
/// [`Exponential`](crate::Exponential) has instead). The differences are:
///
/// - Instead of law 3, cells are admitted exactly when each limit alone would admit them after the same history.
/// - Law 4 holds for the later of the two instants: at that instant the pair conforms, and a nanosecond before it does not.
/// - Instead of law 10, both words are one atomic of 128 bits, and there is no other mutable state.
///
/// If a request asks for no cells of a limit, that limit is neither evaluated nor changed.
///
/// A strict half ([`Exponential::strict`](crate::Exponential::strict)) counts the cells that are asked of it, whichever limit denies them, as a
/// strict meter alone would. So such a denial writes, and the next denial holds a later instant. A half that is not strict stays unchanged. Cells that can
/// never conform are not counted.
///
/// # Progress and ordering
///
/// Lock-free if [`is_lock_free`](Dual::is_lock_free) returns true, which is detected at run time: on x86-64 (except the first processors), on aarch64,
/// and on a few more targets. Elsewhere each decision takes a lock of the process for a moment.
///
/// A denial stores nothing. It reads both words at once, on x86-64 with AVX by a plain load. Without AVX (before 2011) the load is an exchange of the
/// words with themselves, so that denials contend as admissions do. A conforming decision orders nothing but the pair itself.
pub struct Dual<A: MeterKind = GCRA, B: MeterKind = A, C = DefaultClock> {
    pair: Pair<A::Algorithm, B::Algorithm>,
    words: SharedWords,
    clock: C,
}

impl Dual {
    /// Returns whether decisions of all pairs, with any halves, are lock-free on this machine.
    ///
    /// ```
    /// use ratelimit_meter::Dual;
    ///
    /// # #[cfg(all(target_arch = "x86_64", not(miri)))]
    /// assert!(Dual::is_lock_free());
    /// ```
    #[must_use]
    pub fn is_lock_free() -> bool {
        words::is_lock_free()
    }
}

impl<A: MeterKind, B: MeterKind> Dual<A, B> {
    /// Returns an idle pair of the limits of two meters. It shares nothing with the meters, whether or not they are idle.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, Exponential, LeakyBucket};
    /// use std::time::Duration;
    ///
    /// let average = Exponential::new(1000, Duration::from_secs(3600))?;
    /// let limits: Dual<LeakyBucket, Exponential> = Dual::new(LeakyBucket::per_second(10)?, average);
    /// assert!(limits.check_n(10).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(first: A, second: B) -> Self {
        Self::idle(first.into_limit(), second.into_limit(), DefaultClock)
    }

    /// Returns an idle pair for two quotas.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if a quota is invalid for the meter of its half.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, DualQuota, GCRA, Quota, nonzero};
    ///
    /// const PACKETS: Quota = Quota::per_second(nonzero!(1000u32));
    /// const BYTES: Quota = Quota::per_second(nonzero!(1_000_000u32));
    /// let limits = Dual::<GCRA>::from_quota(DualQuota::new(PACKETS, BYTES))?;
    /// assert!(limits.check_each(1, 1500).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_quota(quota: DualQuota) -> Result<Self, InconsistentCapacity> {
        let (first, second) = (quota.first(), quota.second());
        let limits = (
            (A::Algorithm::from_quota(first)?, Some(first)),
            (B::Algorithm::from_quota(second)?, Some(second)),
        );
        Ok(Self::idle(limits.0, limits.1, DefaultClock))
    }
}

impl<A: MeterKind, B: MeterKind, C: Clock> Dual<A, B, C> {
    /// Makes an idle pair at the time of its clock.
    fn idle(first: WithQuota<A::Algorithm>, second: WithQuota<B::Algorithm>, clock: C) -> Self {
        Self {
            pair: Pair::made_at(clock.now(), first, second),
            words: SharedWords::new(Word::holding([0, 0])),
            clock,
        }
    }

    /// Returns a new idle pair that holds the same limits and reads its time from `clock`. It shares nothing with this one.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, GCRA, clock::ManualClock};
    /// use std::time::Duration;
    ///
    /// let clock = ManualClock::new();
    /// let limits = Dual::<GCRA>::from_quota("1/s & 2/min".parse()?)?.with_clock(clock.clone());
    /// assert!(limits.check().is_ok() && limits.check().is_err());
    /// clock.advance(Duration::from_secs(1))?;
    /// assert!(limits.check().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_clock<D: Clock>(self, clock: D) -> Dual<A, B, D> {
        let Pair { first, second } = self.pair;
        Dual::idle((first.algorithm, first.quota), (second.algorithm, second.quota), clock)
    }
}

impl<A: MeterKind, B: MeterKind, C> Dual<A, B, C> {
    /// Returns a pair with the limits, the time line and the present state of this one that reads its time from `clock`. It shares nothing with this
    /// one; see [`Meter::fork`](crate::Meter::fork).
    #[must_use]
    pub fn fork<D: Clock>(&self, clock: D) -> Dual<A, B, D> {
        Dual {
            pair: self.pair,
            words: SharedWords::new(Word::holding(self.words.load())),
            clock,
        }
    }
}

impl<A: MeterKind, B: MeterKind, C> Dual<A, B, C> {
    /// Returns the instant at which the pair was made, if its decisions depend on that, for companions that wait on another clock.
    #[doc(hidden)]
    #[must_use]
    pub fn began(&self) -> Option<Instant> {
        let words = self.words.load();
        self.pair
            .first
            .began(words[0])
            .or_else(|| self.pair.second.began(words[1]))
    }

    /// Returns whether a denial changes the pair, for companions that must not ask twice.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    pub fn counts_denials(&self) -> bool {
        self.pair.counts_denials()
    }
}

impl<A: MeterKind, B: MeterKind, C: Clone> Clone for Dual<A, B, C> {
    fn clone(&self) -> Self {
        Self {
            pair: self.pair,
            words: self.words.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl<A: MeterKind, B: MeterKind> TryFrom<DualQuota> for Dual<A, B> {
    type Error = InconsistentCapacity;

    fn try_from(quota: DualQuota) -> Result<Self, Self::Error> {
        Self::from_quota(quota)
    }
}

/// Reads the words once.
impl<A: MeterKind, B: MeterKind, C: Clock> fmt::Debug for Dual<A, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (words, now) = (self.words.load(), self.position(When::Now));
        f.debug_struct("Dual")
            .field("first", &HalfDebug(&self.pair.first, words[0], now))
            .field("second", &HalfDebug(&self.pair.second, words[1], now))
            .finish_non_exhaustive()
    }
}

/// A half in the debug output of a pair: its limit, its word, and the time.
struct HalfDebug<'a, A>(&'a Schedule<A>, u64, Nanos);

impl<A: Algorithm> fmt::Debug for HalfDebug<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(schedule, word, now) = self;
        schedule.debug(*word, *now, &mut f.debug_struct(A::NAME))
    }
}

/// The verbs of a pair. Each verb is one atomic step of both words, or one read of both.
impl<A: MeterKind, B: MeterKind, C: Clock> Dual<A, B, C> {
    /// Decides one cell of each limit at `at`, and counts both if both conform. Takes constant time.
    ///
    /// # Errors
    ///
    /// [`DualNonConformance`] if one of the cells does not conform. It holds the limit that denied, and the instant from which both would conform.
    /// Nothing has changed.
    #[inline]
    pub fn check_at(&self, at: Instant) -> Result<(), DualNonConformance> {
        self.decide([1, 1], When::At(at))
    }

    /// Decides one cell of each limit now, by the pair's clock, and counts both if both conform.
    ///
    /// # Errors
    ///
    /// As [`check_at`](Self::check_at).
    #[inline]
    pub fn check(&self) -> Result<(), DualNonConformance> {
        self.decide([1, 1], When::Now)
    }

    /// Decides `n` cells of each limit at `at`, and counts all of them if all conform. Takes constant time.
    ///
    /// # Errors
    ///
    /// As [`check_each_at`](Self::check_each_at).
    #[inline]
    pub fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeDualDecision> {
        self.check_each_at(n, n, at)
    }

    /// Decides `n` cells of each limit now, by the pair's clock, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// As [`check_each_at`](Self::check_each_at).
    #[inline]
    pub fn check_n(&self, n: u32) -> Result<(), NegativeDualDecision> {
        self.check_each(n, n)
    }

    /// Decides `first` cells of the first limit and `second` of the second at `at`, and counts all of them if all conform. Takes
    /// constant time.
    ///
    /// # Errors
    ///
    /// In either case nothing has changed:
    ///
    /// - [`NegativeDualDecision::BatchNonConforming`] if the cells do not all conform yet. It holds the limit that denied, and the instant from which
    ///   they would conform.
    /// - [`NegativeDualDecision::InsufficientCapacity`] if the cells exceed a burst, so that they can never conform. It holds the limit, or
    ///   both limits, whose burst they exceed.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, GCRA, RefusedBy};
    /// use std::time::Instant;
    ///
    /// let packets_and_bytes = Dual::<GCRA>::from_quota("1000/s & 64000/s burst 9000".parse()?)?;
    /// let now = Instant::now();
    /// assert!((0..6).all(|_| packets_and_bytes.check_each_at(1, 1500, now).is_ok()));
    /// let denied = packets_and_bytes.check_each_at(1, 40, now).unwrap_err();
    /// assert_eq!(denied.refused_by(), RefusedBy::Second);
    /// assert!(packets_and_bytes.check_each_at(994, 0, now).is_ok(), "it counted no packet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn check_each_at(&self, first: u32, second: u32, at: Instant) -> Result<(), NegativeDualDecision> {
        self.check_when([first, second], When::At(at))
    }

    /// Decides `first` cells of the first limit and `second` of the second now, by the pair's clock, and counts all of them if all
    /// conform.
    ///
    /// # Errors
    ///
    /// As [`check_each_at`](Self::check_each_at).
    #[inline]
    pub fn check_each(&self, first: u32, second: u32) -> Result<(), NegativeDualDecision> {
        self.check_when([first, second], When::Now)
    }

    /// Takes `n` cells of each limit that conform at some time from `from` until `by`, all or nothing. Counts them at the first such time, which may
    /// lie between two nanoseconds. It is for a waiter that has waited since `from`; see [`Meter::check_n_within`](crate::Meter::check_n_within).
    ///
    /// # Errors
    ///
    /// [`NegativeDualDecision`], and nothing has changed, if the cells conform only later, or never.
    ///
    /// ```
    /// use ratelimit_meter::Dual;
    /// use std::time::{Duration, Instant};
    ///
    /// let limits = Dual::<ratelimit_meter::GCRA>::from_quota("10/s burst 1 & 3/h".parse()?)?;
    /// let then = Instant::now();
    /// let now = then + Duration::from_millis(250);
    /// assert!((0..3).all(|_| limits.check_n_within(1, then, now).is_ok())); // the cells of 0, 100 and 200 ms
    /// assert!(limits.check_n_within(1, then, now).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_n_within(&self, n: u32, from: Instant, by: Instant) -> Result<(), NegativeDualDecision> {
        let n = [n, n];
        if let Some(decision) = self.foregone(n) {
            return decision;
        }
        let within = [from, by].map(|at| self.pair.volumes(self.pair.time_line().position(at)));
        let taken = self.words.update(|words| self.pair.take_within(words, within, n));
        match taken {
            Ok(None) => Ok(()),
            Ok(Some(refused)) | Err(refused) => {
                Err(NegativeDualDecision::BatchNonConforming(n, self.pair.denial(refused)))
            }
        }
    }

    /// Returns the decision that [`check_each`](Self::check_each) would return, and changes nothing. (A strict half counts denials, so its instant is
    /// later in a check.)
    ///
    /// # Errors
    ///
    /// [`NegativeDualDecision`] if not all conform.
    pub fn peek_each(&self, first: u32, second: u32) -> Result<(), NegativeDualDecision> {
        self.peek_when([first, second], When::Now)
    }

    /// Returns the decision that [`check_each_at`](Self::check_each_at) would return, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek_each`](Self::peek_each).
    pub fn peek_each_at(&self, first: u32, second: u32, at: Instant) -> Result<(), NegativeDualDecision> {
        self.peek_when([first, second], When::At(at))
    }

    /// Decides `first` cells of the first limit and `second` of the second now, as [`check_each`](Self::check_each) does. Also returns the status of
    /// both limits after an admission or at a denial, all from the same words.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, GCRA};
    ///
    /// let limits = Dual::<GCRA>::from_quota("10/min & 25/h".parse()?)?;
    /// let taken = limits.take_each(4, 4);
    /// assert!(taken.decision().is_ok());
    /// assert_eq!(taken.status().first().remaining(), 6);
    /// assert_eq!(taken.status().second().remaining(), 21);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_each(&self, first: u32, second: u32) -> DualTaken {
        self.take_when([first, second], When::Now)
    }

    /// Decides `first` cells of the first limit and `second` of the second at `at`, and also returns the status of both; see
    /// [`take_each`](Self::take_each).
    pub fn take_each_at(&self, first: u32, second: u32, at: Instant) -> DualTaken {
        self.take_when([first, second], When::At(at))
    }

    /// Counts `first` cells of the first limit and `second` of the second now, whether they conform or not. Later cells have to wait for the
    /// debt.
    ///
    /// Returns how many cells of each limit could not be recorded: none, except for a debt that would reach past the end of the time line.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, GCRA, RefusedBy};
    ///
    /// // Requests, and the tokens that they turn out to cost.
    /// let limits = Dual::<GCRA>::from_quota("10/s & 1000000/h".parse()?)?;
    /// assert!(limits.check_each(1, 0).is_ok());
    /// assert_eq!(limits.charge_each(0, 1_500_000), [0, 0]);
    /// assert_eq!(limits.peek_each(1, 1).unwrap_err().refused_by(), RefusedBy::Second);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn charge_each(&self, first: u64, second: u64) -> [u64; 2] {
        self.charge_when([first, second], When::Now)
    }

    /// Counts `first` cells of the first limit and `second` of the second at `at`; see [`charge_each`](Self::charge_each).
    pub fn charge_each_at(&self, first: u64, second: u64, at: Instant) -> [u64; 2] {
        self.charge_when([first, second], When::At(at))
    }

    /// Gives back `first` cells of the first limit and `second` of the second now, but no more than makes each limit idle.
    ///
    /// Cells that have already drained are not given back twice. Law 1 then holds for cells admitted less cells given back.
    pub fn refund_each(&self, first: u64, second: u64) {
        self.refund_when([first, second], When::Now);
    }

    /// Gives back `first` cells of the first limit and `second` of the second at `at`; see [`refund_each`](Self::refund_each).
    pub fn refund_each_at(&self, first: u64, second: u64, at: Instant) {
        self.refund_when([first, second], When::At(at));
    }

    /// Makes both limits idle, and cancels any debt. Law 1 counts from here.
    pub fn reset(&self) {
        self.replace(|_| [0, 0]);
    }

    /// Returns the status of both limits now, from one read of both words.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, GCRA, clock::ManualClock};
    /// use std::time::Duration;
    ///
    /// let limits = Dual::<GCRA>::from_quota("10/s & 15/h".parse()?)?.with_clock(ManualClock::new());
    /// limits.check_n(10)?;
    /// let status = limits.status();
    /// assert_eq!((status.first().remaining(), status.second().remaining()), (0, 5));
    /// assert_eq!(status.until_next(), Duration::from_millis(100));
    /// assert_eq!(status.until_rest(), Duration::from_secs(2400));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn status(&self) -> DualStatus {
        self.status_when(When::Now)
    }

    /// Returns the status of both limits at `at`, from one read of both words.
    #[must_use]
    pub fn status_at(&self, at: Instant) -> DualStatus {
        self.status_when(When::At(at))
    }
}

/// Debts that outlive the process.
#[cfg(feature = "std")]
impl<A: MeterKind, B: MeterKind, C: Clock> Dual<A, B, C> {
    /// Returns the owed cells of both limits now, each as the snapshot of a single meter, tied to the wall clock. Changes nothing; reads both words
    /// at once.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, GCRA, RefusedBy};
    ///
    /// let before = Dual::<GCRA>::from_quota("10/s & 10/d".parse()?)?;
    /// before.check_n(10)?;
    /// let snapshots = before.snapshot(); // to be stored
    ///
    /// // After the restart:
    /// let limits = Dual::<GCRA>::from_quota("10/s & 10/d".parse()?)?;
    /// limits.restore(&snapshots)?;
    /// assert_ne!(limits.check().unwrap_err().refused_by(), RefusedBy::First);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> [Snapshot; 2] {
        // Reads the wall clock last: the time that passes in between has not drained then.
        let at = self.exact_position(When::Now);
        self.snapshot_as_at(at, SystemTime::now())
    }

    /// Returns the owed cells of both limits at an instant, given together with the wall-clock time at that instant; see
    /// [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn snapshot_at(&self, (at, wall): (Instant, SystemTime)) -> [Snapshot; 2] {
        self.snapshot_as_at(self.pair.time_line().position(at), wall)
    }

    fn snapshot_as_at(&self, at: Nanos, wall: SystemTime) -> [Snapshot; 2] {
        self.pair.snapshot(self.words.load(), at, wall)
    }

    /// Restores the owed cells of two snapshots, less those that have drained since by the wall clock, in this pair and all its clones. Works as
    /// [`Meter::restore`](crate::Meter::restore), on both limits in one atomic step.
    ///
    /// # Errors
    ///
    /// [`RestoreError`], and nothing has changed, if either snapshot does not fit its half.
    pub fn restore(&self, snapshots: &[Snapshot; 2]) -> Result<(), RestoreError> {
        // Reads the wall clock first: the time that passes in between has not drained yet.
        let wall = SystemTime::now();
        self.restore_as_at(snapshots, self.exact_position(When::Now), wall)
    }

    /// Restores the owed cells of two snapshots at an instant, given together with the wall-clock time at that instant; see
    /// [`restore`](Self::restore).
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn restore_at(&self, snapshots: &[Snapshot; 2], (at, wall): (Instant, SystemTime)) -> Result<(), RestoreError> {
        self.restore_as_at(snapshots, self.pair.time_line().position(at), wall)
    }

    fn restore_as_at(&self, snapshots: &[Snapshot; 2], at: Nanos, wall: SystemTime) -> Result<(), RestoreError> {
        let words = self.pair.restored(snapshots, at, wall)?;
        self.replace(|_| words);
        Ok(())
    }
}

/// The steps behind the verbs.
impl<A: MeterKind, B: MeterKind, C: Clock> Dual<A, B, C> {
    /// Runs `act` at a time. If the time is now, runs it by the rule of [`act_now`].
    // Always inlined: the caller knows whether the time is now.
    #[inline(always)]
    fn act<T>(&self, when: When, act: impl Fn(Nanos) -> Result<T, Refused>) -> Result<T, Refused> {
        match when {
            When::At(at) => act(self.pair.time_line().position(at)),
            When::Of(moment) => act(self.pair.time_line().position_of(moment)),
            // A denial that counts must not be tried twice.
            When::Now if self.pair.counts_denials() => act(self.exact_position(When::Now)),
            When::Now => {
                let now = self.clock.position(self.pair.time_line());
                let is_over_soon = |denied: &Refused| denied.is_over(self.pair.volumes(now.later(C::LAG_NS)));
                act_now(now, || self.exact_position(When::Now), act, is_over_soon)
            }
        }
    }

    fn position(&self, when: When) -> Nanos {
        when.position(&self.clock, self.pair.time_line())
    }

    fn exact_position(&self, when: When) -> Nanos {
        when.exact_position(&self.clock, self.pair.time_line())
    }

    /// Returns the decision, if it depends on the numbers of cells alone.
    #[inline]
    fn foregone(&self, n: Cells) -> Option<Result<(), NegativeDualDecision>> {
        if n == [0, 0] {
            return Some(Ok(()));
        }
        let by = self.pair.lacks_capacity(n)?;
        Some(Err(NegativeDualDecision::InsufficientCapacity(n, by)))
    }

    #[inline(always)]
    fn decide(&self, n: Cells, when: When) -> Result<(), DualNonConformance> {
        let decided = self.act(when, |at| {
            let drained = self.pair.volumes(at);
            self.words.update(|words| self.pair.decide(words, drained, n))
        });
        match decided {
            Ok(None) => Ok(()),
            Ok(Some(refused)) | Err(refused) => Err(self.pair.denial(refused)),
        }
    }

    #[inline(always)]
    fn check_when(&self, n: Cells, when: When) -> Result<(), NegativeDualDecision> {
        match self.foregone(n) {
            Some(decision) => decision,
            None => self
                .decide(n, when)
                .map_err(|denial| NegativeDualDecision::BatchNonConforming(n, denial)),
        }
    }

    fn peek_when(&self, n: Cells, when: When) -> Result<(), NegativeDualDecision> {
        if let Some(decision) = self.foregone(n) {
            return decision;
        }
        let looked = self.act(when, |at| self.pair.look(self.words.load(), self.pair.volumes(at), n));
        looked.map_err(|refused| NegativeDualDecision::BatchNonConforming(n, self.pair.denial(refused)))
    }

    fn take_when(&self, n: Cells, when: When) -> DualTaken {
        if let Some(decision) = self.foregone(n) {
            return DualTaken::new(decision, self.status_when(when));
        }
        // The status is of the words on which the last decision was made.
        let status = Cell::new(None);
        let taken = self.act(when, |at| {
            let drained = self.pair.volumes(at);
            self.words.update(|words| {
                let decided = self.pair.decide(words, drained, n);
                let after = decided.map_or(words, |(words, _)| words);
                status.set(Some(self.pair.status(after, at)));
                decided
            })
        });
        let denied = |refused| Err(NegativeDualDecision::BatchNonConforming(n, self.pair.denial(refused)));
        let decision = match taken {
            Ok(None) => Ok(()),
            Ok(Some(refused)) | Err(refused) => denied(refused),
        };
        DualTaken::new(decision, status.get().unwrap_or_else(|| self.status_when(when)))
    }

    fn charge_when(&self, n: Cells<u64>, when: When) -> Cells<u64> {
        let drained = self.pair.volumes(self.position(when));
        let step = self.words.update(|words| match self.pair.charge(words, drained, n) {
            (same, unrecorded) if same == words => Err(unrecorded),
            charged => Ok(charged),
        });
        step.unwrap_or_else(|unrecorded| unrecorded)
    }

    fn refund_when(&self, n: Cells<u64>, when: When) {
        let drained = self.pair.volumes(self.position(when));
        self.replace(|words| self.pair.refund(words, drained, n));
    }

    /// Stores the words that `other` computes from the present words, unless they are the same.
    fn replace(&self, other: impl Fn(Words) -> Words) {
        let step = self.words.update(|words| match other(words) {
            same if same == words => Err(()),
            other => Ok((other, ())),
        });
        // If nothing was stored, there was nothing to replace.
        step.unwrap_or(());
    }

    fn status_when(&self, when: When) -> DualStatus {
        self.pair.status(self.words.load(), self.position(when))
    }
}

impl<A: MeterKind, B: MeterKind, C: Clock> Decider for Dual<A, B, C> {
    #[inline]
    fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
        Ok(self.check_at(at)?)
    }

    #[inline]
    fn check(&self) -> Result<(), NonConformance> {
        Ok(self.check()?)
    }
}

impl<A: MeterKind, B: MeterKind, C: Clock> MultiDecider for Dual<A, B, C> {
    #[inline]
    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, at).map_err(|denied| denied.of_both(n))
    }

    #[inline]
    fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.check_n(n).map_err(|denied| denied.of_both(n))
    }
}

impl<A: MeterKind, B: MeterKind, C: Clock> Checkable for Dual<A, B, C> {}

impl<A: MeterKind, B: MeterKind, C: Clock> Checked for Dual<A, B, C> {
    fn now(&self) -> (Instant, u64) {
        (self.clock.now(), C::LAG_NS)
    }

    fn now_exactly(&self) -> Instant {
        self.clock.now_exactly()
    }

    fn counts_denials(&self) -> bool {
        self.counts_denials()
    }

    fn look(&self, n: u32, at: Instant) -> Taken {
        let (position, words) = (self.pair.time_line().position(at), self.words.load());
        let decision = self.foregone([n, n]).unwrap_or_else(|| {
            let looked = self.pair.look(words, self.pair.volumes(position), [n, n]);
            looked.map_err(|refused| NegativeDualDecision::BatchNonConforming([n, n], self.pair.denial(refused)))
        });
        let status = self.pair.status(words, position).later();
        Taken::new(decision.map_err(|denied| denied.of_both(n)), status)
    }

    fn take(&self, n: u32, at: Instant) -> Taken {
        let taken = self.take_each_at(n, n, at);
        Taken::new(
            taken.decision().map_err(|denied| denied.of_both(n)),
            taken.status().later(),
        )
    }

    fn give_back(&self, n: u32, taken: Instant, now: Instant) {
        let [taken, now] = [taken, now].map(|at| self.pair.volumes(self.pair.time_line().position(at)));
        self.replace(|words| self.pair.cancel(words, now, [n, n], taken));
    }
}
