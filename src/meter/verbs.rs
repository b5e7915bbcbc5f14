//! The verbs of a meter. Each verb is one atomic step, or one read.
//!
//! To add a verb, add its function here (and its `_at` form), with its docs, tests and oracle.

use super::Meter;
use crate::algorithm::Algorithm;
use crate::clock::{Clock, When, act_now};
use crate::outcome::{Admitted, NegativeMultiDecision, NonConformance, Status, Taken, Until};
use crate::quota::Quota;
use crate::schedule::{NotAtOnce, NotStored, Schedule};
#[cfg(feature = "std")]
use crate::snapshot::{RestoreError, Snapshot};
use crate::store::{Store, pause};
#[cfg(feature = "std")]
use crate::time::SystemTime;
use crate::time::{Instant, Moment};
use crate::units::{Nanos, Volume};
use core::cell::Cell;

impl<A: Algorithm, C: Clock, S: Store<A>> Meter<A, C, S> {
    /// Decides one cell at `at`, and counts it if it conforms. [`Decider`](crate::Decider) states the laws. Takes constant time.
    ///
    /// # Errors
    ///
    /// [`NonConformance`] if the cell does not conform. It holds the instant from which the cell would conform. Nothing has changed.
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
        self.check_when(When::At(at.into()))
    }

    /// Decides one cell now, by the meter's clock, and counts it if it conforms. [`Decider`](crate::Decider) states the laws.
    ///
    /// # Errors
    ///
    /// As [`check_at`](Self::check_at).
    #[inline]
    pub fn check(&self) -> Result<(), NonConformance> {
        match self.store.decide_at_once(1, &self.clock) {
            Ok(decided) => decided.map_err(|until| self.denial(until)),
            Err(not_at_once) => Self::after(not_at_once, || self.check_when(When::Now)),
        }
    }

    /// Decides a batch of `n` cells at `at`, and counts all of them if all conform. [`MultiDecider`](crate::MultiDecider) states the laws. Takes
    /// constant time.
    ///
    /// # Errors
    ///
    /// In either case nothing has changed:
    ///
    /// - [`NegativeMultiDecision::BatchNonConforming`] if the batch does not conform yet. It holds the instant from which the batch would conform.
    /// - [`NegativeMultiDecision::InsufficientCapacity`] if the batch exceeds the burst, so that it can never conform.
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
        self.check_n_when(n, When::At(at.into()))
    }

    /// Decides a batch of `n` cells now, by the meter's clock, and counts all of them if all conform. [`MultiDecider`](crate::MultiDecider) states
    /// the laws.
    ///
    /// # Errors
    ///
    /// As [`check_n_at`](Self::check_n_at).
    #[inline]
    pub fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        if n == 0 {
            return Ok(());
        }
        match self.store.decide_at_once(n, &self.clock) {
            Ok(decided) => decided.map_err(|until| NegativeMultiDecision::BatchNonConforming(n, self.denial(until))),
            Err(not_at_once) => Self::after(not_at_once, || self.check_n_when(n, When::Now)),
        }
    }

    /// Returns the decision that [`check`](Self::check) would return, and changes nothing.
    ///
    /// If two threads both peek and then check, both peeks may return `Ok` while only one check is admitted. Where a limit must not be exceeded,
    /// check. (A strict [`Exponential`](crate::Exponential) counts denials, so a check reports a later instant than a peek.)
    ///
    /// # Errors
    ///
    /// [`NonConformance`] if a cell does not conform. It holds the instant from which the cell would conform.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    ///
    /// # fn is_right(password: &str) -> bool { password == "xyzzy" }
    /// // Five failed log-ins an hour; those that succeed are free.
    /// let failures = GCRA::from_quota("5/h".parse::<Quota>()?)?;
    /// let log_in = |password| match failures.peek() {
    ///     Err(denied) => Err(denied.to_string()),
    ///     Ok(()) if is_right(password) => Ok("welcome"),
    ///     Ok(()) => {
    ///         failures.charge(1);
    ///         Err("wrong password".to_owned())
    ///     }
    /// };
    /// for _ in 0..5 {
    ///     assert_eq!(log_in("guess"), Err("wrong password".to_owned()));
    /// }
    /// assert!(log_in("xyzzy").unwrap_err().starts_with("denied: next cell conforms in"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peek(&self) -> Result<(), NonConformance> {
        self.peek_when(When::Now)
    }

    /// Returns the decision that [`check_at`](Self::check_at) would return, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn peek_at(&self, at: Instant) -> Result<(), NonConformance> {
        self.peek_when(When::At(at.into()))
    }

    /// Returns the decision that [`check_n`](Self::check_n) would return, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`] if not all conform.
    pub fn peek_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.peek_n_when(n, When::Now)
    }

    /// Returns the decision that [`check_n_at`](Self::check_n_at) would return, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek_n`](Self::peek_n).
    #[inline]
    pub fn peek_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.peek_n_when(n, When::At(at.into()))
    }

    /// Decides a batch of `n` cells now, as [`check_n`](Self::check_n) does, and also returns the meter's status: after an admission, or at a denial.
    /// Decision and status come from the same word.
    ///
    /// ```
    /// use ratelimit_meter::{LeakyBucket, Quota};
    ///
    /// let meter = LeakyBucket::from_quota("10/min".parse::<Quota>()?)?;
    /// let taken = meter.take(4);
    /// assert!(taken.decision().is_ok());
    /// assert_eq!(taken.status().remaining(), 6);
    /// let taken = meter.take(7);
    /// assert!(taken.decision().is_err());
    /// assert_eq!(taken.status().remaining(), 6);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn take(&self, n: u32) -> Taken {
        self.take_when(n, When::Now)
    }

    /// Decides a batch of `n` cells at `at`, and also returns the meter's status; see [`take`](Self::take).
    #[inline]
    pub fn take_at(&self, n: u32, at: Instant) -> Taken {
        self.take_when(n, When::At(at.into()))
    }

    /// Decides as [`take`](Self::take), and returns the result of `read` on the status if the cells were admitted. It is faster, because the status is
    /// not copied.
    ///
    /// # Errors
    ///
    /// The decision and the status if the cells were not admitted, or if `n` is 0.
    #[doc(hidden)]
    #[inline]
    pub fn take_read<T: Copy>(&self, n: u32, read: impl Fn(&Status) -> T) -> Result<T, Taken> {
        self.take_read_when(n, When::Now, read)
    }

    /// Decides at `at`; see [`take_read`](Self::take_read).
    ///
    /// # Errors
    ///
    /// As [`take_read`](Self::take_read).
    #[doc(hidden)]
    #[inline]
    pub fn take_read_at<T: Copy>(&self, n: u32, at: Moment, read: impl Fn(&Status) -> T) -> Result<T, Taken> {
        self.take_read_when(n, When::At(at), read)
    }

    /// Returns the decision that [`take_read_at`](Self::take_read_at) would return, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek_n`](Self::peek_n).
    #[doc(hidden)]
    #[inline]
    pub fn look_at(&self, n: u32, at: Moment) -> Result<(), NegativeMultiDecision> {
        self.peek_n_when(n, When::At(at))
    }

    /// Admits as many of `n` cells as conform now, and returns their number. If that is fewer than `n`, also returns the instant from which the next
    /// cell conforms.
    ///
    /// ```
    /// use ratelimit_meter::{LeakyBucket, Quota};
    ///
    /// // Pay as you go: send what the limit lets through, and come back for the rest.
    /// let bytes_a_second = LeakyBucket::from_quota("1000/s".parse::<Quota>()?)?;
    /// let buffer = [0_u8; 1500];
    /// let sent = bytes_a_second.check_up_to(1500);
    /// assert_eq!(buffer[..sent.cells() as usize].len(), 1000);
    /// assert!(sent.next().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_up_to(&self, n: u32) -> Admitted {
        self.check_up_to_when(n, When::Now)
    }

    /// Admits as many of `n` cells as conform at `at`; see [`check_up_to`](Self::check_up_to).
    pub fn check_up_to_at(&self, n: u32, at: Instant) -> Admitted {
        self.check_up_to_when(n, When::At(at.into()))
    }

    /// Counts `n` cells now, whether they conform or not. Cells that do not conform become a debt, and later cells have to wait until it has drained.
    /// Use it for work whose cost is known only when it is done.
    ///
    /// Returns the number of cells that could not be recorded. The number is 0, except for a debt that would reach past the end of the meter's time
    /// line.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    ///
    /// // A million tokens an hour, known only after the answer.
    /// let tokens = GCRA::from_quota("1000000/h".parse::<Quota>()?)?;
    /// assert!(tokens.peek().is_ok());
    /// let used = 1_500_000; // the answer was long
    /// assert_eq!(tokens.charge(used), 0);
    /// assert!(tokens.peek().unwrap_err().wait_time().as_secs() > 1700, "half an hour of debt");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn charge(&self, n: u64) -> u64 {
        self.charge_when(n, When::Now)
    }

    /// Counts `n` cells at `at`, whether they conform or not; see [`charge`](Self::charge).
    pub fn charge_at(&self, n: u64, at: Instant) -> u64 {
        self.charge_when(n, When::At(at.into()))
    }

    /// Gives back `n` cells now, but no more than makes the meter idle: cells that have already drained are not given back twice.
    ///
    /// Law 1 of [`Decider`](crate::Decider) then holds for the cells admitted less those given back in the window, if timestamps do not go back
    /// across the refund. Cells that are given back at an earlier time make room for a later window too.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    ///
    /// // Try the cheap path first, and give back what it did not need.
    /// let units = GCRA::from_quota("100/min".parse::<Quota>()?)?;
    /// units.check_n(100)?;
    /// let used = 10; // found in the cache
    /// units.refund(100 - used);
    /// assert!(units.check_n(90).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn refund(&self, n: u64) {
        self.refund_when(n, When::Now);
    }

    /// Gives back `n` cells at `at`; see [`refund`](Self::refund).
    pub fn refund_at(&self, n: u64, at: Instant) {
        self.refund_when(n, When::At(at.into()));
    }

    /// Makes the meter idle, and cancels any debt. Law 1 of [`Decider`](crate::Decider) then holds for the cells admitted after the reset.
    ///
    /// ```
    /// use ratelimit_meter::{LeakyBucket, Quota};
    ///
    /// let failures = LeakyBucket::from_quota("5/h".parse::<Quota>()?)?;
    /// failures.charge(5);
    /// failures.reset(); // the password was reset by mail
    /// assert_eq!(failures.status().remaining(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset(&self) {
        // The result is the same at any time.
        self.lower(Nanos::BEGINNING, |_, _, _| 0);
    }

    /// Returns the meter's status now, from one read of the word.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota, clock::ManualClock};
    /// use std::time::Duration;
    ///
    /// let meter = GCRA::from_quota("10/s".parse::<Quota>()?)?.with_clock(ManualClock::new());
    /// meter.check_n(10)?;
    /// let status = meter.status();
    /// assert_eq!(status.remaining(), 0);
    /// assert_eq!(status.until_next(), Duration::from_millis(100));
    /// assert_eq!(status.until_rest(), Duration::from_secs(1));
    /// assert_eq!(status.quota().map(|quota| quota.to_string()).as_deref(), Some("10/s"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn status(&self) -> Status {
        self.status_when(When::Now)
    }

    /// Returns the meter's status at `at`, from one read of the word.
    #[must_use]
    pub fn status_at(&self, at: Instant) -> Status {
        self.status_when(When::At(at.into()))
    }
}

/// Snapshots, by the wall clock.
#[cfg(feature = "std")]
impl<A: Algorithm, C: Clock, S: Store<A>> Meter<A, C, S> {
    /// Returns the meter's owed cells now, tied to the wall clock. Changes nothing; reads the word once.
    ///
    /// Cells that are admitted afterwards are not in the snapshot.
    ///
    /// ```
    /// use ratelimit_meter::{LeakyBucket, Quota};
    ///
    /// let quota: Quota = "10/d".parse()?;
    /// let before = LeakyBucket::from_quota(quota)?;
    /// before.charge(50);
    /// let snapshot = before.snapshot(); // to be stored
    ///
    /// // After the restart:
    /// let meter = LeakyBucket::from_quota(quota)?;
    /// meter.restore(&snapshot)?;
    /// assert_eq!(meter.level(), 50);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        // Reads the wall clock last: the time that passes in between has not drained then.
        let at = self.exact_position(When::Now);
        self.snapshot_when(at, SystemTime::now())
    }

    /// Returns the meter's owed cells at an instant, given together with the wall-clock time at that instant; see [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn snapshot_at(&self, (at, wall): (Instant, SystemTime)) -> Snapshot {
        self.snapshot_when(self.time_line().position(at), wall)
    }

    /// Restores the owed cells of a snapshot, less those that have drained since by the wall clock, in this meter and all its clones.
    ///
    /// The meter forgets the cells that it has admitted itself, so restore before the first cell. The meter then has the debt that the meter of the
    /// snapshot would have now, or one unit more. (A unit is the fraction of a cell that the meter counts in, and drains in less than a nanosecond.)
    /// So law 1 of [`Decider`](crate::Decider) may add one more unit to a window that holds a restart. If cells come in ticks, which count from the
    /// creation of this meter, law 1 may add one more interval.
    ///
    /// If the wall clock went back, no time has passed. If the wall clock was set forward, the difference counts as time, as for every reader of that
    /// clock. One atomic step; takes constant time.
    ///
    /// # Errors
    ///
    /// [`RestoreError`], and nothing has changed, if the snapshot is of another version, algorithm or limit, or owes more than a
    /// meter can record.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::{Duration, Instant, SystemTime};
    ///
    /// let quota: Quota = "10/h".parse()?;
    /// let (before, after) = (GCRA::from_quota(quota)?, GCRA::from_quota(quota)?);
    /// let (now, wall) = (Instant::now(), SystemTime::now());
    /// before.check_n_at(10, now)?;
    /// let snapshot = before.snapshot_at((now, wall));
    ///
    /// // Twelve minutes later, in another process:
    /// after.restore_at(&snapshot, (now, wall + Duration::from_secs(720)))?;
    /// assert_eq!(after.status_at(now).remaining(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore(&self, snapshot: &Snapshot) -> Result<(), RestoreError> {
        // Reads the wall clock first: the time that passes in between has not drained yet.
        let wall = SystemTime::now();
        self.restore_when(snapshot, self.exact_position(When::Now), wall)
    }

    /// Restores the owed cells of a snapshot at an instant, given together with the wall-clock time at that instant; see [`restore`](Self::restore).
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn restore_at(&self, snapshot: &Snapshot, (at, wall): (Instant, SystemTime)) -> Result<(), RestoreError> {
        self.restore_when(snapshot, self.time_line().position(at), wall)
    }

    fn snapshot_when(&self, at: Nanos, wall: SystemTime) -> Snapshot {
        self.store
            .read(at, |schedule, word| Snapshot::of(schedule, word, at, wall))
    }

    fn restore_when(&self, snapshot: &Snapshot, at: Nanos, wall: SystemTime) -> Result<(), RestoreError> {
        let error = Cell::new(None);
        let restored = self.store.update(at, |schedule, _, drained| {
            let word = snapshot.word(schedule, drained, wall);
            error.set(word.err());
            word.map_or(Err(NotStored::Unchanged), |word| Ok((word, ())))
        });
        match (restored, error.get()) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(error)) => Err(error),
            (Err(_), None) => Err(RestoreError::NoSlot),
        }
    }
}

/// The steps behind the verbs.
impl<A: Algorithm, C: Clock, S: Store<A>> Meter<A, C, S> {
    /// Runs `act` at a time. If the time is now, runs it by the rule of [`act_now`].
    // Always inlined: the caller knows whether the time is now.
    #[inline(always)]
    pub(super) fn act<T>(&self, when: When, act: impl Fn(Nanos) -> Result<T, NotStored>) -> Result<T, NotStored> {
        match when {
            When::At(at) => act(self.store.time_line().position_of(at)),
            // A denial that counts must not be tried twice.
            When::Now if self.store.counts_denials() => act(self.exact_position(When::Now)),
            When::Now => {
                let now = self.clock.position(self.store.time_line());
                let is_over_soon = |denied: &NotStored| {
                    let is_over = denied
                        .until()
                        .is_some_and(|until| until.is_over_at(now.later(C::LAG_NS)));
                    if is_over {
                        self.store.decided_again(denied);
                    }
                    is_over
                };
                act_now(now, || self.exact_position(When::Now), act, is_over_soon)
            }
        }
    }

    /// Returns the result of `read` on the algorithm, the word and the volume drained by a time, from one read of the word.
    pub(crate) fn read<T>(&self, when: When, read: impl FnOnce(&A, u64, Volume) -> T) -> T {
        let at = self.position(when);
        self.store.read(at, |schedule, word| {
            read(&schedule.algorithm, word, schedule.drained(at))
        })
    }

    #[inline]
    fn position(&self, when: When) -> Nanos {
        when.position(&self.clock, self.store.time_line())
    }

    pub(super) fn exact_position(&self, when: When) -> Nanos {
        when.exact_position(&self.clock, self.store.time_line())
    }

    #[inline(always)]
    pub(crate) fn check_when(&self, when: When) -> Result<(), NonConformance> {
        let decided = self.act(when, |at| {
            self.store
                .update(at, |schedule, word, drained| schedule.decide(word, drained, 1))
        });
        match decided {
            Ok(None) => Ok(()),
            Ok(Some(until)) | Err(NotStored::Denied(until)) => Err(self.denial(until)),
            Err(not_stored) => self.single(not_stored),
        }
    }

    #[inline(always)]
    pub(crate) fn check_n_when(&self, n: u32, when: When) -> Result<(), NegativeMultiDecision> {
        if n == 0 {
            return Ok(());
        }
        let decided = self.act(when, |at| {
            self.store
                .update(at, |schedule, word, drained| schedule.decide(word, drained, n))
        });
        match decided {
            Ok(None) => Ok(()),
            Ok(Some(until)) | Err(NotStored::Denied(until)) => {
                Err(NegativeMultiDecision::BatchNonConforming(n, self.denial(until)))
            }
            Err(not_stored) => self.batch(n, not_stored),
        }
    }

    /// Decides by `act` after a decision was not made at once.
    #[inline(always)]
    pub(crate) fn after<T>(not_at_once: NotAtOnce, act: impl FnOnce() -> T) -> T {
        if C::HAS_ANCHORS {
            out_of_line(|| {
                if matches!(not_at_once, NotAtOnce::LostRace) {
                    pause();
                }
                act()
            })
        } else {
            act()
        }
    }

    fn peek_when(&self, when: When) -> Result<(), NonConformance> {
        let looked = self.act(when, |at| {
            self.store
                .look(at, |schedule, word, drained| schedule.look(word, drained, 1))
        });
        looked.or_else(|not_stored| self.single(not_stored))
    }

    #[inline]
    fn peek_n_when(&self, n: u32, when: When) -> Result<(), NegativeMultiDecision> {
        if n == 0 || self.store.conforms_at_once(|| self.position(when), n) {
            return Ok(());
        }
        let look = || {
            self.act(when, |at| {
                self.store
                    .look(at, |schedule, word, drained| schedule.look(word, drained, n))
            })
            .or_else(|not_stored| self.batch(n, not_stored))
        };
        if S::TAKES_AT_ONCE { out_of_line(look) } else { look() }
    }

    #[inline]
    fn take_when(&self, n: u32, when: When) -> Taken {
        match self.take_read_when(n, when, |status| *status) {
            Ok(status) => Taken::new(Ok(()), status),
            Err(taken) => taken,
        }
    }

    /// Takes `n` cells. If they are admitted, returns the result of `read` on the status; otherwise, or if `n` is 0, returns the decision and the status.
    #[inline]
    fn take_read_when<T: Copy>(&self, n: u32, when: When, read: impl Fn(&Status) -> T) -> Result<T, Taken> {
        if !S::TAKES_AT_ONCE || n == 0 {
            return self.take_step_by_step(n, when, read);
        }
        match self.store.take_at_once(|| self.position(when), n, &read) {
            Ok(Ok(read)) => Ok(read),
            Ok(Err((until, status))) => {
                let denial = NegativeMultiDecision::BatchNonConforming(n, self.denial(until));
                Err(Taken::new(Err(denial), status))
            }
            Err(not_at_once) => Self::after(not_at_once, || self.take_step_by_step(n, when, read)),
        }
    }

    #[inline]
    fn take_step_by_step<T: Copy>(&self, n: u32, when: When, read: impl Fn(&Status) -> T) -> Result<T, Taken> {
        // The status is of the word on which the last decision was made.
        let seen = Cell::new(None);
        let taken = self.act(when, |at| {
            self.store.update(at, |schedule, word, drained| {
                let decided = match n {
                    0 => Err(NotStored::Unchanged),
                    _ => schedule.decide(word, drained, n),
                };
                let after = decided.map_or(word, |(word, _)| word);
                let status = self.store.status_of(schedule, after, at);
                let is_admitted = matches!(decided, Ok((_, None)));
                seen.set(Some(if is_admitted { Ok(read(&status)) } else { Err(status) }));
                decided
            })
        });
        match (taken, seen.get()) {
            (Ok(None) | Err(NotStored::Forgotten), Some(Ok(read))) => Ok(read),
            (decided, seen) => Err(self.taken(n, when, decided, seen.and_then(Result::err))),
        }
    }

    /// Evaluates a decision on `n` cells at `at` and the status with it, from one read of the word.
    pub(crate) fn evaluate(&self, n: u32, at: Instant) -> Taken {
        let when = When::At(at.into());
        if n == 0 {
            return Taken::new(Ok(()), self.status_when(when));
        }
        let status = Cell::new(None);
        let looked = self.act(when, |at| {
            self.store.look(at, |schedule, word, drained| {
                status.set(Some(self.store.status_of(schedule, word, at)));
                schedule.look(word, drained, n)
            })
        });
        self.taken(n, when, looked.map(|()| None), status.get())
    }

    /// Joins a decision on `n` cells and the status that was seen with it.
    #[inline]
    fn taken(&self, n: u32, when: When, decided: Result<Option<Until>, NotStored>, seen: Option<Status>) -> Taken {
        let status = match (decided, seen) {
            // A key without a slot has no word, so its status is that of the table.
            (Err(NotStored::NoSlot(_)), _) | (_, None) => self.status_when(when),
            (_, Some(status)) => status,
        };
        let decision = match decided {
            Ok(None) => Ok(()),
            Ok(Some(until)) => Err(NegativeMultiDecision::BatchNonConforming(n, self.denial(until))),
            Err(not_stored) => self.batch(n, not_stored),
        };
        Taken::new(decision, status)
    }

    fn check_up_to_when(&self, n: u32, when: When) -> Admitted {
        if n == 0 {
            return Admitted::new(0, None);
        }
        let made = Cell::new((0, None));
        // Uses the exact time: a clock that is behind would report a wait until an instant that is past.
        let admitted = self.store.update(self.exact_position(when), |schedule, word, drained| {
            let (word, admitted) = schedule.decide_up_to(word, drained, n)?;
            made.set(admitted);
            Ok((word, admitted))
        });
        match admitted {
            Ok((cells, next)) => Admitted::new(cells, next.map(|until| self.denial(until))),
            Err(NotStored::Forgotten) => {
                let (cells, next) = made.get();
                Admitted::new(cells, next.map(|until| self.denial(until)))
            }
            Err(not_stored) => Admitted::new(0, self.single(not_stored).err()),
        }
    }

    fn charge_when(&self, n: u64, when: When) -> u64 {
        let charged = self.store.update(self.position(when), |schedule, word, drained| {
            match schedule.algorithm.charge(word, drained, n) {
                (_, unrecorded) if unrecorded == n => Err(NotStored::Unchanged),
                charged => Ok(charged),
            }
        });
        charged.unwrap_or(n)
    }

    fn refund_when(&self, n: u64, when: When) {
        self.lower(self.position(when), |schedule, word, drained| {
            schedule.algorithm.refund(word, drained, n)
        });
    }

    /// Stores a lower word, unless it is the same.
    fn lower(&self, at: Nanos, lowered: impl Fn(&Schedule<A>, u64, Volume) -> u64) {
        let step = self
            .store
            .update(at, |schedule, word, drained| match lowered(schedule, word, drained) {
                same if same == word => Err(NotStored::Unchanged),
                lower => Ok((lower, ())),
            });
        // If nothing was stored, there was nothing to lower.
        step.unwrap_or(());
    }

    /// Gives back `n` cells that were counted at `taken`, less the cells that may have drained by `now`.
    pub(crate) fn give_back(&self, n: u32, taken: Instant, now: Instant) {
        self.give_back_if(|_| true, n, taken, now);
    }

    /// Gives back `n` cells that were counted at `taken` by `quota`, less the cells that may have drained by `now`. If another quota holds by now,
    /// they stay counted: it may have another weight, and the cells have drained at another rate.
    pub(crate) fn give_back_by(&self, quota: Option<Quota>, n: u32, taken: Instant, now: Instant) {
        self.give_back_if(|holds| holds == quota, n, taken, now);
    }

    fn give_back_if(&self, is_theirs: impl Fn(Option<Quota>) -> bool, n: u32, taken: Instant, now: Instant) {
        if n > 0 {
            let [taken, now] = [taken, now].map(|at| self.time_line().position(at));
            self.lower(now, |schedule, word, drained| {
                if is_theirs(schedule.quota) {
                    schedule.algorithm.cancel(word, drained, n, schedule.drained(taken))
                } else {
                    word
                }
            });
        }
    }

    /// Draws half of the cells that conform now, at most `block` and at least `missing`.
    pub(crate) fn draw(&self, missing: u32, block: u32) -> Result<u32, NonConformance> {
        let drawn = self.act(When::Now, |at| {
            self.store.update(at, |schedule, word, drained| {
                // Decides first, so that the number of cells is not computed for a meter that has none.
                schedule.decide(word, drained, missing)?;
                let drawn = (schedule.algorithm.room(word, drained) / 2).min(block).max(missing);
                schedule.decide(word, drained, drawn).map(|(word, _)| (word, drawn))
            })
        });
        drawn.or_else(|not_stored| self.single(not_stored).map(|()| missing))
    }

    fn status_when(&self, when: When) -> Status {
        self.store.status(self.position(when))
    }

    #[inline]
    pub(super) fn denial(&self, until: Until) -> NonConformance {
        NonConformance::new(self.store.time_line().beginning(), until)
    }

    /// Returns the decision on one cell whose step was not stored.
    #[cold]
    #[inline(never)]
    fn single(&self, not_stored: NotStored) -> Result<(), NonConformance> {
        match not_stored {
            NotStored::Denied(until) => Err(self.denial(until)),
            NotStored::NoSlot(until) => Err(NonConformance::table_full(self.store.time_line().beginning(), until)),
            NotStored::Unchanged | NotStored::Forgotten => Ok(()),
            // Cannot happen for one cell, which fits every burst.
            NotStored::Never => Err(self.denial(Until::NEVER)),
        }
    }

    /// Returns the decision on `n` cells whose step was not stored.
    pub(super) fn batch(&self, n: u32, not_stored: NotStored) -> Result<(), NegativeMultiDecision> {
        match not_stored {
            NotStored::Never => Err(NegativeMultiDecision::InsufficientCapacity(n)),
            _ => self
                .single(not_stored)
                .map_err(|denial| NegativeMultiDecision::BatchNonConforming(n, denial)),
        }
    }
}

// Out of line, so that the common case inlines.
#[cold]
#[inline(never)]
fn out_of_line<T>(act: impl FnOnce() -> T) -> T {
    act()
}
