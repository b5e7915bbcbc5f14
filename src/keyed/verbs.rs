//! What each key's meter can be asked and told.

use super::KeyedMeter;
use super::entry::Entry;
use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::meter::MeterKind;
use crate::metered::{self, When};
use crate::status::{Admitted, Status, Taken};
use core::borrow::Borrow;
use core::hash::{BuildHasher, Hash};
use std::time::Instant;

/// All that is not plain; out of line.
#[inline(never)]
fn check_further<A: Algorithm, C: Clock>(entry: &Entry<'_, A, C>) -> Result<(), NonConformance> {
    metered::check(entry, When::Now)
}

/// Each as the method of the same name of [`Meter`](crate::Meter), for one key.
impl<K: ?Sized, M: MeterKind, S: BuildHasher> KeyedMeter<K, M, S> {
    /// Decides one cell of `key` now, and counts it if it conforms. Touches one cache line as a rule.
    ///
    /// # Errors
    ///
    /// [`NonConformance`], and nothing has changed, if the cell does not conform; it tells from when on it would.
    #[inline]
    pub fn check<Q: Hash + ?Sized>(&self, key: &Q) -> Result<(), NonConformance>
    where
        K: Borrow<Q>,
    {
        // The clock first: the hash is computed while it is read.
        let at = self.clock.position(&self.limits.rule(0).time_line);
        let entry = self.of(key);
        let plainly = if self.tier.unwrap_or(0) == 0 {
            entry.check_plainly(at)
        } else {
            None
        };
        plainly.unwrap_or_else(|| check_further(&entry))
    }

    /// Decides one cell of `key` at `at`, and counts it if it conforms.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    #[inline]
    pub fn check_at<Q: Hash + ?Sized>(&self, key: &Q, at: Instant) -> Result<(), NonConformance>
    where
        K: Borrow<Q>,
    {
        metered::check(&self.of(key), When::At(at))
    }

    /// Decides a batch of `n` cells of `key` now, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if not all conform, or never would.
    #[inline]
    pub fn check_n<Q: Hash + ?Sized>(&self, key: &Q, n: u32) -> Result<(), NegativeMultiDecision>
    where
        K: Borrow<Q>,
    {
        metered::check_n(&self.of(key), n, When::Now)
    }

    /// Decides a batch of `n` cells of `key` at `at`, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// As [`check_n`](Self::check_n).
    #[inline]
    pub fn check_n_at<Q: Hash + ?Sized>(&self, key: &Q, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>
    where
        K: Borrow<Q>,
    {
        metered::check_n(&self.of(key), n, When::At(at))
    }

    /// Answers what [`check`](Self::check) would, and changes nothing; it takes no slot.
    ///
    /// # Errors
    ///
    /// [`NonConformance`] if a cell does not conform.
    pub fn peek<Q: Hash + ?Sized>(&self, key: &Q) -> Result<(), NonConformance>
    where
        K: Borrow<Q>,
    {
        metered::peek(&self.of(key), When::Now)
    }

    /// Answers what [`check_at`](Self::check_at) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn peek_at<Q: Hash + ?Sized>(&self, key: &Q, at: Instant) -> Result<(), NonConformance>
    where
        K: Borrow<Q>,
    {
        metered::peek(&self.of(key), When::At(at))
    }

    /// Answers what [`check_n`](Self::check_n) would, and changes nothing; it takes no slot.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`] if not all conform.
    pub fn peek_n<Q: Hash + ?Sized>(&self, key: &Q, n: u32) -> Result<(), NegativeMultiDecision>
    where
        K: Borrow<Q>,
    {
        metered::peek_n(&self.of(key), n, When::Now)
    }

    /// Answers what [`check_n_at`](Self::check_n_at) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek_n`](Self::peek_n).
    pub fn peek_n_at<Q: Hash + ?Sized>(&self, key: &Q, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>
    where
        K: Borrow<Q>,
    {
        metered::peek_n(&self.of(key), n, When::At(at))
    }

    /// Decides as [`check_n`](Self::check_n), and tells the key's status after an admission or at a denial.
    ///
    /// ```
    /// use ratelimit_meter::{KeyedMeter, Quota};
    ///
    /// // What a response tells a client: X-RateLimit-Remaining and Retry-After.
    /// let clients = KeyedMeter::<str>::with_capacity("100/min".parse::<Quota>()?, 10_000)?;
    /// let taken = clients.take("alice", 30);
    /// assert!(taken.decision().is_ok());
    /// assert_eq!(taken.status().remaining(), 70);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take<Q: Hash + ?Sized>(&self, key: &Q, n: u32) -> Taken
    where
        K: Borrow<Q>,
    {
        metered::take(&self.of(key), n, When::Now)
    }

    /// Decides as [`check_n_at`](Self::check_n_at), and tells the key's status.
    pub fn take_at<Q: Hash + ?Sized>(&self, key: &Q, n: u32, at: Instant) -> Taken
    where
        K: Borrow<Q>,
    {
        metered::take(&self.of(key), n, When::At(at))
    }

    /// Admits as many of `n` cells of `key` as conform now.
    pub fn check_up_to<Q: Hash + ?Sized>(&self, key: &Q, n: u32) -> Admitted
    where
        K: Borrow<Q>,
    {
        metered::check_up_to(&self.of(key), n, When::Now)
    }

    /// Admits as many of `n` cells of `key` as conform at `at`.
    pub fn check_up_to_at<Q: Hash + ?Sized>(&self, key: &Q, n: u32, at: Instant) -> Admitted
    where
        K: Borrow<Q>,
    {
        metered::check_up_to(&self.of(key), n, When::At(at))
    }

    /// Counts `n` cells of `key` now, whether they conform or not, and returns how many could not be recorded: all of them if
    /// there is no slot for the key and the policy is not to forgive.
    ///
    /// ```
    /// use ratelimit_meter::{KeyedMeter, Quota};
    ///
    /// // Five failed log-ins an hour for each name; those that succeed are free.
    /// let failures = KeyedMeter::<str>::with_capacity("5/h".parse::<Quota>()?, 10_000)?;
    /// for _ in 0..5 {
    ///     assert!(failures.peek("alice").is_ok());
    ///     failures.charge("alice", 1);
    /// }
    /// assert!(failures.peek("alice").is_err());
    /// assert!(failures.peek("bob").is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn charge<Q: Hash + ?Sized>(&self, key: &Q, n: u64) -> u64
    where
        K: Borrow<Q>,
    {
        metered::charge(&self.of(key), n, When::Now)
    }

    /// Counts `n` cells of `key` at `at`; see [`charge`](Self::charge).
    pub fn charge_at<Q: Hash + ?Sized>(&self, key: &Q, n: u64, at: Instant) -> u64
    where
        K: Borrow<Q>,
    {
        metered::charge(&self.of(key), n, When::At(at))
    }

    /// Gives back `n` cells of `key` now, but no more than brings its meter to rest.
    pub fn refund<Q: Hash + ?Sized>(&self, key: &Q, n: u64)
    where
        K: Borrow<Q>,
    {
        metered::refund(&self.of(key), n, When::Now);
    }

    /// Gives back `n` cells of `key` at `at`; see [`refund`](Self::refund).
    pub fn refund_at<Q: Hash + ?Sized>(&self, key: &Q, n: u64, at: Instant)
    where
        K: Borrow<Q>,
    {
        metered::refund(&self.of(key), n, When::At(at));
    }

    /// Tells how the meter of `key` stands now. One that has no slot is at rest; or nothing remains until there is a slot, if all that it
    /// might take are live others' and the policy is to deny.
    #[must_use]
    pub fn status<Q: Hash + ?Sized>(&self, key: &Q) -> Status
    where
        K: Borrow<Q>,
    {
        metered::status(&self.of(key), When::Now)
    }

    /// Tells how the meter of `key` stands at `at`.
    #[must_use]
    pub fn status_at<Q: Hash + ?Sized>(&self, key: &Q, at: Instant) -> Status
    where
        K: Borrow<Q>,
    {
        metered::status(&self.of(key), When::At(at))
    }

    /// Brings the meter of `key` to rest, whatever it owes.
    pub fn reset<Q: Hash + ?Sized>(&self, key: &Q)
    where
        K: Borrow<Q>,
    {
        metered::reset(&self.of(key));
    }

    /// Returns whether `key` is live now: has a meter that is not at rest.
    #[must_use]
    pub fn contains<Q: Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.of(key).is_live(When::Now)
    }

    /// Returns whether `key` is live at `at`.
    #[must_use]
    pub fn contains_at<Q: Hash + ?Sized>(&self, key: &Q, at: Instant) -> bool
    where
        K: Borrow<Q>,
    {
        self.of(key).is_live(When::At(at))
    }
}
