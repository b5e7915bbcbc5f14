//! Two limits on one subject, decided together.

mod outcome;
mod pair;
mod verbs;
pub(crate) mod words;

pub use outcome::{DualNonConformance, DualStatus, DualTaken, NegativeDualDecision, RefusedBy};

use crate::algorithm::{Algorithm, Decide};
use crate::algorithms::GCRA;
use crate::clock::{Clock, DefaultClock, When};
use crate::decider::{Decider, MultiDecider};
use crate::error::InconsistentCapacity;
use crate::meter::MeterKind;
use crate::outcome::{NegativeMultiDecision, NonConformance};
use crate::quota::DualQuota;
use crate::schedule::Schedule;
use crate::store::Word;
use crate::time::Instant;
use crate::units::Nanos;
use core::fmt;
use pair::{Pair, WithQuota};
use words::SharedWords;

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
    /// Returns an idle pair of the limits of two meters. It shares nothing with the meters, whether or not they are idle. It reads the default clock,
    /// whichever clocks the meters have; [`with_clock`](Self::with_clock) sets another.
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
