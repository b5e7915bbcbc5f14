//! The meter: an algorithm, a clock and a store.

#[cfg(feature = "alloc")]
mod reservation;
#[cfg(feature = "std")]
mod snapshot;
mod steps;
mod verbs;

#[cfg(feature = "alloc")]
pub use reservation::Reservation;

use crate::algorithm::Algorithm;
use crate::clock::{Clock, DefaultClock};
use crate::decider::{Decider, MultiDecider};
use crate::error::InconsistentCapacity;
use crate::outcome::{NegativeMultiDecision, NonConformance};
use crate::quota::Quota;
use crate::schedule::Schedule;
use crate::store::{Atomic, OwnedStore, Store};
use crate::time::Instant;
use crate::units::{Nanos, TimeLine};
use core::fmt;
use core::marker::PhantomData;

/// A meter: algorithm `A` on the time of clock `C`, with its state in store `S`.
///
/// Its usual names are [`GCRA`](crate::GCRA), [`LeakyBucket`](crate::LeakyBucket), [`Exponential`](crate::Exponential),
/// [`Adjustable`](crate::Adjustable) and [`LocalMeter`](crate::LocalMeter). The meter of a key in a
/// `KeyedMeter` is of this type too, so all of them have the same methods.
///
/// A `GCRA`, `LeakyBucket`, `Exponential` or `Adjustable` is a handle, and clones share one state. Give every thread a clone. [`Decider`] and
/// [`MultiDecider`] state the laws of the decisions. The decisions are inherent methods too, so no trait has to be imported.
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
pub struct Meter<A, C = DefaultClock, S = Atomic<A>> {
    store: S,
    clock: C,
    algorithm: PhantomData<A>,
}

/// A type of meter, used to name the parts of another type: `Adjustable<GCRA>`, `KeyedMeter<str, LeakyBucket>`.
///
/// Sealed: its only implementation is [`Meter`], of any algorithm and with any clock.
pub trait MeterKind: sealed::Sealed {
    /// The algorithm by which the meter decides.
    type Algorithm: Algorithm;
    /// The clock from which the meter reads the time.
    type Clock: Clock;

    /// Returns the limit: the algorithm, and the quota if the algorithm was made of one.
    #[doc(hidden)]
    fn into_limit(self) -> (Self::Algorithm, Option<Quota>);
}

impl<A: Algorithm, C: Clock> MeterKind for Meter<A, C> {
    type Algorithm = A;
    type Clock = C;

    fn into_limit(self) -> (A, Option<Quota>) {
        let (schedule, _) = self.store.into_parts();
        (schedule.algorithm, schedule.quota)
    }
}

mod sealed {
    pub trait Sealed {}

    impl<A, C> Sealed for crate::Meter<A, C> {}
}

impl<A: Algorithm, S: OwnedStore<A>> Meter<A, DefaultClock, S> {
    /// Returns an idle meter for `quota`.
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
        A::from_quota(quota).map(|algorithm| Self::idle(algorithm, DefaultClock, Some(quota)))
    }
}

impl<A: Algorithm, C: Clock, S: OwnedStore<A>> Meter<A, C, S> {
    /// Makes an idle meter whose time line begins a day before the clock's time.
    pub(crate) fn idle(algorithm: A, clock: C, quota: Option<Quota>) -> Self {
        Self::holding(Schedule::made_at(clock.now(), algorithm, quota), 0, clock)
    }

    pub(crate) fn into_parts(self) -> (Schedule<A>, u64, C) {
        let (schedule, word) = self.store.into_parts();
        (schedule, word, self.clock)
    }

    pub(crate) fn holding(schedule: Schedule<A>, word: u64, clock: C) -> Self {
        Self::on(S::new(schedule, word), clock)
    }

    /// Returns a new idle meter with the same limit that reads its time from `clock`.
    ///
    /// It shares nothing with this meter. Its time line begins a day before `clock.now()`.
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
    pub fn with_clock<D: Clock>(self, clock: D) -> Meter<A, D, S> {
        let (schedule, _) = self.store.into_parts();
        Meter::idle(schedule.algorithm, clock, schedule.quota)
    }

    /// Returns a new meter with the same limit and clock that starts with exactly `cells` available.
    ///
    /// It shares nothing with this meter. `cells` conform at once, and the next one conforms when a whole cell has drained.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity::AvailableAboveBurst`] if `cells` exceeds the burst.
    ///
    /// ```
    /// use ratelimit_meter::clock::{Clock, ManualClock};
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::Duration;
    ///
    /// // After a restart, when the history is not known: nothing at once.
    /// let clock = ManualClock::new();
    /// let meter = GCRA::from_quota("10/s".parse::<Quota>()?)?.with_clock(clock.clone()).with_available(0)?;
    /// assert_eq!(meter.check().unwrap_err().wait_time_from(clock.now()), Duration::from_millis(100));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_available(self, cells: u32) -> Result<Self, InconsistentCapacity> {
        let Self { store, clock, .. } = self;
        let (Schedule { algorithm, quota, .. }, _) = store.into_parts();
        let burst = algorithm.max_batch();
        if cells > burst {
            return Err(InconsistentCapacity::AvailableAboveBurst { cells, burst });
        }
        let schedule = Schedule::made_at(clock.now(), algorithm, quota);
        let word = algorithm.leaving(cells, schedule.drained(schedule.time_line.made()));
        Ok(Self::holding(schedule, word, clock))
    }
}

impl<A: Algorithm, C: Clock, S: Store<A>> Meter<A, C, S> {
    /// Returns a meter with the limit, the time line and the present state of this one that reads its time from `clock`.
    ///
    /// It shares nothing with this meter. So taking cells from it shows how this meter will decide, and changes nothing here.
    ///
    /// ```
    /// use ratelimit_meter::clock::DefaultClock;
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::{Duration, Instant};
    ///
    /// // When would three batches of two be through, one after another?
    /// let meter = GCRA::from_quota("10/s burst 2".parse::<Quota>()?)?;
    /// let (ahead, now) = (meter.fork(DefaultClock), Instant::now());
    /// let waits = [(); 3].map(|()| ahead.reserve_at(2, Duration::MAX, now).unwrap().delay_from(now).as_millis());
    /// assert_eq!(waits, [0, 200, 400]);
    /// assert_eq!(meter.status_at(now).remaining(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn fork<D: Clock>(&self, clock: D) -> Meter<A, D> {
        let (schedule, word) = self.store.read(Nanos::BEGINNING, |schedule, word| (*schedule, word));
        Meter::holding(schedule, word, clock)
    }

    /// Returns the instant at which the meter was made, if its decisions depend on that, for companions that wait on another clock.
    #[doc(hidden)]
    #[must_use]
    pub fn began(&self) -> Option<Instant> {
        self.store.read(Nanos::BEGINNING, |schedule, word| schedule.began(word))
    }

    /// Returns whether a denial changes the meter, for companions that must not ask twice.
    #[doc(hidden)]
    #[inline]
    #[must_use]
    pub fn counts_denials(&self) -> bool {
        self.store.counts_denials()
    }

    /// Makes a meter on an existing store.
    #[inline]
    pub(crate) const fn on(store: S, clock: C) -> Self {
        Self {
            store,
            clock,
            algorithm: PhantomData,
        }
    }

    /// Returns the maximum number of cells that conform at once.
    pub(crate) fn max_batch(&self) -> u32 {
        self.store
            .read(Nanos::BEGINNING, |schedule, _| schedule.algorithm.max_batch())
    }

    pub(crate) const fn store(&self) -> &S {
        &self.store
    }

    pub(crate) fn clock(&self) -> &C {
        &self.clock
    }

    pub(crate) fn time_line(&self) -> &TimeLine {
        self.store.time_line()
    }
}

impl<A: Algorithm> TryFrom<Quota> for Meter<A> {
    type Error = InconsistentCapacity;

    fn try_from(quota: Quota) -> Result<Self, Self::Error> {
        Self::from_quota(quota)
    }
}

impl<A: Algorithm, C: Clock, S: Store<A> + Send + Sync> Decider for Meter<A, C, S> {
    #[inline]
    fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
        self.check_at(at)
    }

    #[inline]
    fn check(&self) -> Result<(), NonConformance> {
        self.check()
    }
}

impl<A: Algorithm, C: Clock, S: Store<A> + Send + Sync> MultiDecider for Meter<A, C, S> {
    #[inline]
    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, at)
    }

    #[inline]
    fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.check_n(n)
    }
}

/// Reads the word once; never locks.
impl<A: Algorithm, C: Clock, S: Store<A>> fmt::Debug for Meter<A, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct(S::NAME.unwrap_or(A::NAME));
        let now = self.clock.position(self.time_line());
        self.store
            .read(now, |schedule, word| schedule.debug(word, now, &mut fields))
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    //! Decisions by a clock that may be behind.

    use crate::clock::{Clock, ManualClock};
    use crate::time::Instant;
    use crate::units::{Anchored, Nanos, TimeLine, UnitScale, Volume};
    use crate::{Adjustable, GCRA, LeakyBucket, Meter, NegativeMultiDecision, Quota, nonzero};
    use core::time::Duration;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A clock that is up to 5 us behind, and may have an anchor that is as old as its lag.
    #[derive(Clone)]
    struct Behind<const ANCHORED: bool> {
        time: ManualClock,
        by: Duration,
        /// The number of readings of the clock, and of exact readings.
        read: Arc<[AtomicU32; 2]>,
    }

    impl<const ANCHORED: bool> Behind<ANCHORED> {
        fn new(time: &ManualClock, by: Duration) -> Self {
            Self {
                time: time.clone(),
                by,
                read: Arc::default(),
            }
        }

        /// Returns how often the clock was read since the last call.
        fn read(&self) -> [u32; 2] {
            [0, 1].map(|which| self.read[which].swap(0, Ordering::Relaxed))
        }
    }

    impl<const ANCHORED: bool> Clock for Behind<ANCHORED> {
        const LAG_NS: u64 = 5_000;

        const HAS_ANCHORS: bool = ANCHORED;

        fn now(&self) -> Instant {
            self.read[0].fetch_add(1, Ordering::Relaxed);
            self.time.now() - self.by
        }

        fn anchored(&self, line: &TimeLine, end: Nanos, scale: UnitScale) -> Option<Anchored> {
            let at = line.position(self.time.now() - self.by);
            (ANCHORED && at < end).then(|| Anchored {
                at,
                volume: scale.volume_at(at),
                per_count: 0,
            })
        }

        fn anchor_holds(&self) -> bool {
            true
        }

        fn drained(&self, anchored: Anchored) -> Option<Volume> {
            Some(anchored.volume)
        }

        fn now_exactly(&self) -> Instant {
            self.read[1].fetch_add(1, Ordering::Relaxed);
            self.time.now()
        }
    }

    fn decides_near_denials_exactly<const ANCHORED: bool>() {
        for by in [0, 1, 4_999, 5_000].map(Duration::from_nanos) {
            let time = ManualClock::new();
            let clock = Behind::<ANCHORED>::new(&time, by);
            let gcra = GCRA::for_capacity(10).unwrap().build().with_clock(clock.clone());
            let bucket = LeakyBucket::per_second(10).unwrap().with_clock(clock.clone());
            let local = GCRA::for_capacity(10).unwrap().build().with_clock(clock).into_local();
            let checks: [&dyn Fn(u32) -> Result<(), NegativeMultiDecision>; 3] =
                [&|n| gcra.check_n(n), &|n| bucket.check_n(n), &|n| local.check_n(n)];
            for check in checks {
                assert_eq!(check(10), Ok(()));
            }
            let denied = [gcra.check(), bucket.check(), local.check()];
            for (check, denied) in checks.into_iter().zip(denied) {
                let earliest = denied.unwrap_err().earliest_possible();
                time.set(earliest - Duration::from_nanos(1));
                assert!(
                    matches!(check(1), Err(NegativeMultiDecision::BatchNonConforming(1, _))),
                    "{by:?}"
                );
                time.set(earliest);
                assert_eq!(check(1), Ok(()), "behind by {by:?}");
            }
        }
    }

    #[test]
    fn a_denial_within_the_lag_is_decided_exactly() {
        decides_near_denials_exactly::<false>();
    }

    #[test]
    fn denial_within_anchor_lag_is_decided_exactly() {
        decides_near_denials_exactly::<true>();
    }

    /// By a handle of the present quota, and by one from before it was set.
    #[test]
    fn adjustable_denial_within_anchor_lag_is_decided_exactly() {
        type Verb = fn(&Adjustable<GCRA<Behind<true>>>, u32) -> Result<(), NegativeMultiDecision>;
        let verbs: [Verb; 2] = [Meter::check_n, |meter, n| meter.take(n).decision()];
        for by in [0, 1, 4_999, 5_000].map(Duration::from_nanos) {
            let time = ManualClock::new();
            let meter = GCRA::for_capacity(20).unwrap().build();
            let old = meter.with_clock(Behind::new(&time, by)).into_adjustable();
            old.set_quota(Quota::per_second(nonzero!(10u32))).unwrap();
            let current = old.clone();
            for (meter, verb) in [(&current, 0), (&current, 1), (&old, 0), (&old, 1)] {
                let verb = verbs[verb];
                meter.reset();
                assert_eq!(verb(meter, 10), Ok(()));
                let Err(NegativeMultiDecision::BatchNonConforming(1, denied)) = verb(meter, 1) else {
                    panic!("ten are all there are");
                };
                time.set(denied.earliest_possible() - Duration::from_nanos(1));
                assert!(verb(meter, 1).is_err(), "behind by {by:?}");
                time.set(denied.earliest_possible());
                assert_eq!(verb(meter, 1), Ok(()), "behind by {by:?}");
            }
        }
    }

    #[test]
    fn a_certain_decision_reads_no_exact_time() {
        let (time, by) = (ManualClock::new(), Duration::from_micros(3));
        let clock = Behind::<true>::new(&time, by);
        let quota = Quota::per_second(nonzero!(10u32));
        let gcra = GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
        clock.read();
        assert!(gcra.check_n(9).is_ok() && gcra.check().is_ok());
        let read = clock.read();
        assert!(
            read == [0, 0] || cfg!(ratelimit_meter_spurious),
            "after a failed exchange, the decision is not made at once"
        );
        assert!(matches!(
            gcra.check_n(11),
            Err(NegativeMultiDecision::InsufficientCapacity(11))
        ));
        let denial = gcra.check().unwrap_err();
        assert_eq!(
            gcra.check_n(1),
            Err(NegativeMultiDecision::BatchNonConforming(1, denial))
        );
        assert_eq!(clock.read(), [1, 0], "only for the batch that never conforms");
        // Within the lag, the decision needs the exact time.
        time.set(denial.earliest_possible() - Duration::from_micros(2));
        assert_eq!(gcra.check(), Err(denial));
        assert_eq!(clock.read(), [1, 1]);
        // At the end of the time line, no decision is made at once.
        time.advance(Duration::from_secs(40 * 365 * 86_400)).unwrap();
        assert!(gcra.check().is_ok());
        assert_eq!(clock.read(), [1, 0]);
        // No decision is made at once where volume drains in ticks either.
        let quota = quota.refill_every(Duration::from_secs(1)).unwrap();
        let ticking = GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
        clock.read();
        assert!(ticking.check().is_ok());
        assert_eq!(clock.read(), [1, 0]);
    }
}
