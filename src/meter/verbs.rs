//! What else a meter can be asked and told: each one atomic step, or one read.

use super::Meter;
use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::metered::{self, When};
use crate::status::{Admitted, Status, Taken};
use std::time::Instant;

impl<A: Algorithm, C: Clock> Meter<A, C> {
    /// Answers what [`check`](Self::check) would, and changes nothing.
    ///
    /// Two threads that both peek and then check may both be told yes and only one be admitted: what must not be overdrawn is to be
    /// checked. (Of a strict [`Exponential`](crate::Exponential), whose denials count, the instant that a check tells is later.)
    ///
    /// # Errors
    ///
    /// [`NonConformance`] if a cell does not conform; it tells from when on it would.
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
        metered::peek(self, When::Now)
    }

    /// Answers what [`check_at`](Self::check_at) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn peek_at(&self, at: Instant) -> Result<(), NonConformance> {
        metered::peek(self, When::At(at))
    }

    /// Answers what [`check_n`](Self::check_n) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`] if not all conform.
    pub fn peek_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        metered::peek_n(self, n, When::Now)
    }

    /// Answers what [`check_n_at`](Self::check_n_at) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek_n`](Self::peek_n).
    pub fn peek_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        metered::peek_n(self, n, When::At(at))
    }

    /// Decides a batch of `n` cells now, as [`check_n`](Self::check_n), and tells the meter's status after an admission or at a
    /// denial, all from the same word.
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
    pub fn take(&self, n: u32) -> Taken {
        metered::take(self, n, When::Now)
    }

    /// Decides a batch of `n` cells at `at`, and tells the meter's status; see [`take`](Self::take).
    pub fn take_at(&self, n: u32, at: Instant) -> Taken {
        metered::take(self, n, When::At(at))
    }

    /// Admits as many of `n` cells as conform now, and tells how many those were and, if fewer than `n`, from when on the next one
    /// conforms.
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
        metered::check_up_to(self, n, When::Now)
    }

    /// Admits as many of `n` cells as conform at `at`; see [`check_up_to`](Self::check_up_to).
    pub fn check_up_to_at(&self, n: u32, at: Instant) -> Admitted {
        metered::check_up_to(self, n, When::At(at))
    }

    /// Counts `n` cells now, whether they conform or not: into debt if need be, which later cells have to wait for. For what is known
    /// to cost only when it is done.
    ///
    /// Returns how many of the cells could not be recorded: 0, but for a debt so large that it would reach past the end of the meter's
    /// time line.
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
        metered::charge(self, n, When::Now)
    }

    /// Counts `n` cells at `at`, whether they conform or not; see [`charge`](Self::charge).
    pub fn charge_at(&self, n: u64, at: Instant) -> u64 {
        metered::charge(self, n, When::At(at))
    }

    /// Gives back `n` cells now, but no more than brings the meter to rest: what has drained since is not given back twice.
    ///
    /// Law 1 then holds for the cells admitted less those given back in the window, as long as timestamps do not go back across the
    /// refund: cells given back as of an earlier time are room for a later window too.
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
        metered::refund(self, n, When::Now);
    }

    /// Gives back `n` cells at `at`; see [`refund`](Self::refund).
    pub fn refund_at(&self, n: u64, at: Instant) {
        metered::refund(self, n, When::At(at));
    }

    /// Brings the meter to rest, whatever it owes. Law 1 counts from here.
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
        metered::reset(self);
    }

    /// Tells how the meter stands now, from one read of the word.
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
        metered::status(self, When::Now)
    }

    /// Tells how the meter stands at `at`, from one read of the word.
    #[must_use]
    pub fn status_at(&self, at: Instant) -> Status {
        metered::status(self, When::At(at))
    }
}
