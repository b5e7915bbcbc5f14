//! The verbs of a meter. Each verb is one atomic step, or one read.
//!
//! To add a verb, add its function here (and its `_at` form), with its docs, tests and oracle. Its step is in [`steps`](super::steps).

use super::Meter;
use crate::algorithm::Algorithm;
use crate::clock::{Clock, When};
use crate::outcome::{Admitted, NegativeMultiDecision, NonConformance, Status, Taken};
use crate::store::Store;
use crate::time::{Instant, Moment};
use crate::units::Nanos;

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
            Err(not_at_once) => Self::otherwise(not_at_once, || self.check_when(When::Now)),
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
            Err(not_at_once) => Self::otherwise(not_at_once, || self.check_n_when(n, When::Now)),
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
    /// Law 1 of [`Decider`](crate::Decider) then counts net cells: those admitted in the window, less those given back. It needs timestamps that do
    /// not go back across the refund. Cells that are given back at an earlier time make room for a later window too.
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
