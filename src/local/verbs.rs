use super::LocalMeter;
use crate::algorithms::{Algorithm, ContinuousState, ExponentialAverage};
use crate::clock::Clock;
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::meter::Meter;
use crate::metered::{self, Metered, When};
use crate::status::{Admitted, Status, Taken};
use std::time::Instant;

/// The verbs of a [`Meter`].
impl<A: Algorithm, C: Clock> LocalMeter<Meter<A, C>> {
    /// Decides one cell now, by the meter's clock, and counts it if it conforms.
    ///
    /// # Errors
    ///
    /// [`NonConformance`], and nothing has changed, if the cell does not conform; it tells from when on it would.
    #[inline]
    pub fn check(&self) -> Result<(), NonConformance> {
        metered::check(self, When::Now)
    }

    /// Decides one cell at `at`, and counts it if it conforms. Takes constant time.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    #[inline]
    pub fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
        metered::check(self, When::At(at))
    }

    /// Decides a batch of `n` cells now, by the meter's clock, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if not all conform, or never will.
    #[inline]
    pub fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        metered::check_n(self, n, When::Now)
    }

    /// Decides a batch of `n` cells at `at`, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// As [`check_n`](Self::check_n).
    #[inline]
    pub fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        metered::check_n(self, n, When::At(at))
    }

    /// Answers what [`check`](Self::check) would, and changes nothing; see [`Meter::peek`].
    ///
    /// # Errors
    ///
    /// [`NonConformance`] if a cell does not conform.
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

    /// Decides a batch of `n` cells now, and tells the meter's status after it; see [`Meter::take`].
    pub fn take(&self, n: u32) -> Taken {
        metered::take(self, n, When::Now)
    }

    /// Decides a batch of `n` cells at `at`, and tells the meter's status; see [`take`](Self::take).
    pub fn take_at(&self, n: u32, at: Instant) -> Taken {
        metered::take(self, n, When::At(at))
    }

    /// Admits as many of `n` cells as conform now; see [`Meter::check_up_to`].
    pub fn check_up_to(&self, n: u32) -> Admitted {
        metered::check_up_to(self, n, When::Now)
    }

    /// Admits as many of `n` cells as conform at `at`.
    pub fn check_up_to_at(&self, n: u32, at: Instant) -> Admitted {
        metered::check_up_to(self, n, When::At(at))
    }

    /// Counts `n` cells now, whether they conform or not, and returns how many could not be recorded; see [`Meter::charge`].
    pub fn charge(&self, n: u64) -> u64 {
        metered::charge(self, n, When::Now)
    }

    /// Counts `n` cells at `at`, whether they conform or not; see [`charge`](Self::charge).
    pub fn charge_at(&self, n: u64, at: Instant) -> u64 {
        metered::charge(self, n, When::At(at))
    }

    /// Gives back `n` cells now, but no more than brings the meter to rest; see [`Meter::refund`].
    pub fn refund(&self, n: u64) {
        metered::refund(self, n, When::Now);
    }

    /// Gives back `n` cells at `at`; see [`refund`](Self::refund).
    pub fn refund_at(&self, n: u64, at: Instant) {
        metered::refund(self, n, When::At(at));
    }

    /// Brings the meter to rest, whatever it owes.
    pub fn reset(&self) {
        metered::reset(self);
    }

    /// Tells how the meter stands now.
    #[must_use]
    pub fn status(&self) -> Status {
        metered::status(self, When::Now)
    }

    /// Tells how the meter stands at `at`.
    #[must_use]
    pub fn status_at(&self, at: Instant) -> Status {
        metered::status(self, When::At(at))
    }
}

impl<C: Clock> LocalMeter<Meter<ContinuousState, C>> {
    /// Returns how much of the capacity is taken now, by the meter's clock; see [`level_at`](Self::level_at).
    #[must_use]
    pub fn level(&self) -> u64 {
        self.level_when(When::Now)
    }

    /// Returns how much of the capacity is taken at `at`, in units of the capacity, rounded up. Changes nothing.
    #[must_use]
    pub fn level_at(&self, at: Instant) -> u64 {
        self.level_when(When::At(at))
    }

    fn level_when(&self, when: When) -> u64 {
        let at = when.position(self);
        self.read(at, |rule, word| rule.algorithm.level(word, rule.volume(at)))
    }
}

impl<C: Clock> LocalMeter<Meter<ExponentialAverage, C>> {
    /// Returns the rate now, by the meter's clock; see [`rate_at`](Self::rate_at).
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate_when(When::Now)
    }

    /// Returns the rate at `at`, in units of the limit per period; the limit itself at saturation. Changes nothing.
    #[must_use]
    pub fn rate_at(&self, at: Instant) -> f64 {
        self.rate_when(When::At(at))
    }

    fn rate_when(&self, when: When) -> f64 {
        let at = when.position(self);
        self.read(at, |rule, word| rule.algorithm.rate(word, rule.volume(at)))
    }
}
