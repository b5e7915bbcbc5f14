//! What else a pair can be asked and told: each one atomic step of both words, or one read of both.

use super::cell::Words;
use super::decision::{DualNonConformance, NegativeDualDecision};
use super::pair::{Cells, Refused};
use super::status::{DualStatus, DualTaken};
use super::{Dual, Half};
use crate::clock::Clock;
use crate::nanos::Nanos;
use core::borrow::Borrow;
use std::time::Instant;

impl<A: Half, B: Half, C: Clock> Dual<A, B, C> {
    /// Answers what [`check`](Self::check) would, and changes nothing. (Of a strict half, whose denials count, the instant that a check
    /// tells is later.)
    ///
    /// # Errors
    ///
    /// [`DualNonConformance`] if a cell of each limit does not conform; it tells which limit refuses, and from when on they would.
    pub fn peek(&self) -> Result<(), DualNonConformance> {
        self.look_now([1, 1])
    }

    /// Answers what [`check_at`](Self::check_at) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn peek_at(&self, at: Instant) -> Result<(), DualNonConformance> {
        self.look_at([1, 1], at)
    }

    /// Answers what [`check_n`](Self::check_n) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`NegativeDualDecision`] if not all conform.
    pub fn peek_n(&self, n: u32) -> Result<(), NegativeDualDecision> {
        self.peek_each(n, n)
    }

    /// Answers what [`check_n_at`](Self::check_n_at) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek_n`](Self::peek_n).
    pub fn peek_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeDualDecision> {
        self.peek_each_at(n, n, at)
    }

    /// Answers what [`check_each`](Self::check_each) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek_n`](Self::peek_n).
    pub fn peek_each(&self, first: u32, second: u32) -> Result<(), NegativeDualDecision> {
        self.batch([first, second], |n| self.look_now(n))
    }

    /// Answers what [`check_each_at`](Self::check_each_at) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek_n`](Self::peek_n).
    pub fn peek_each_at(&self, first: u32, second: u32, at: Instant) -> Result<(), NegativeDualDecision> {
        self.batch([first, second], |n| self.look_at(n, at))
    }

    fn look_at(&self, n: Cells, at: Instant) -> Result<(), DualNonConformance> {
        self.look(n, self.pair.time_line().position(at))
            .map_err(|refused| self.denial(refused))
    }

    fn look_now(&self, n: Cells) -> Result<(), DualNonConformance> {
        self.now_or_exactly(|at| self.look(n, at))
            .map_err(|refused| self.denial(refused))
    }

    fn look(&self, n: Cells, at: Nanos) -> Result<(), Refused> {
        self.pair.look(self.cell.load(), self.pair.volumes(at), n)
    }

    /// Decides `n` cells of each limit now, as [`check_n`](Self::check_n), and tells how both limits stand after an admission or at a
    /// denial, all from the same words.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, GCRA};
    ///
    /// let limits = Dual::<GCRA>::from_quota("10/min & 25/h".parse()?)?;
    /// let taken = limits.take(4);
    /// assert!(taken.decision().is_ok());
    /// assert_eq!(taken.status().first().remaining(), 6);
    /// assert_eq!(taken.status().second().remaining(), 21);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take(&self, n: u32) -> DualTaken {
        self.take_each(n, n)
    }

    /// Decides `n` cells of each limit at `at`, and tells how both stand; see [`take`](Self::take).
    pub fn take_at(&self, n: u32, at: Instant) -> DualTaken {
        self.take_each_at(n, n, at)
    }

    /// Decides `first` cells of the first limit and `second` of the second now, and tells how both stand; see [`take`](Self::take).
    pub fn take_each(&self, first: u32, second: u32) -> DualTaken {
        let n = [first, second];
        match self.foregone(n) {
            Some(decision) => DualTaken::new(decision, self.status()),
            None => self.told(n, self.now_or_exactly(|at| self.try_take(n, at))),
        }
    }

    /// Decides `first` cells of the first limit and `second` of the second at `at`, and tells how both stand; see
    /// [`take`](Self::take).
    pub fn take_each_at(&self, first: u32, second: u32, at: Instant) -> DualTaken {
        let n = [first, second];
        match self.foregone(n) {
            Some(decision) => DualTaken::new(decision, self.status_at(at)),
            None => self.told(n, self.try_take(n, self.pair.time_line().position(at))),
        }
    }

    fn try_take(&self, n: Cells, at: Nanos) -> Result<Taken, RefusedTake> {
        let now = self.pair.volumes(at);
        self.cell.update(|words| match self.pair.decide(words, now, n) {
            Ok((words, refused)) => Ok((words, Taken { refused, words, at })),
            Err(refused) => Err(RefusedTake { refused, words, at }),
        })
    }

    fn told(&self, n: Cells, step: Result<Taken, RefusedTake>) -> DualTaken {
        let Taken { refused, words, at } = step.unwrap_or_else(Taken::from);
        let denied = |refused| Err(NegativeDualDecision::BatchNonConforming(n, self.denial(refused)));
        DualTaken::new(refused.map_or(Ok(()), denied), self.pair.status(words, at))
    }

    /// Charges `n` cells of each limit now, whether they conform or not: into debt if need be, which later cells have to wait for.
    ///
    /// Returns how many cells of each limit could not be recorded: none, but for a debt that would reach past the end of the time line.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, GCRA, RefusedBy};
    ///
    /// // Requests, and the tokens that they turn out to cost.
    /// let limits = Dual::<GCRA>::from_quota("10/s & 1000000/h".parse()?)?;
    /// assert!(limits.check_each(1, 0).is_ok());
    /// assert_eq!(limits.charge_each(0, 1_500_000), [0, 0]);
    /// assert_eq!(limits.peek().unwrap_err().refused_by(), RefusedBy::Second);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn charge(&self, n: u64) -> [u64; 2] {
        self.charge_each(n, n)
    }

    /// Charges `n` cells of each limit at `at`; see [`charge`](Self::charge).
    pub fn charge_at(&self, n: u64, at: Instant) -> [u64; 2] {
        self.charge_each_at(n, n, at)
    }

    /// Charges `first` cells of the first limit and `second` of the second now; see [`charge`](Self::charge).
    pub fn charge_each(&self, first: u64, second: u64) -> [u64; 2] {
        self.charge_as_at([first, second], self.clock.position(self.pair.time_line()))
    }

    /// Charges `first` cells of the first limit and `second` of the second at `at`; see [`charge`](Self::charge).
    pub fn charge_each_at(&self, first: u64, second: u64, at: Instant) -> [u64; 2] {
        self.charge_as_at([first, second], self.pair.time_line().position(at))
    }

    fn charge_as_at(&self, n: Cells<u64>, at: Nanos) -> Cells<u64> {
        let now = self.pair.volumes(at);
        let step = self.cell.update(|words| match self.pair.charge(words, now, n) {
            (same, unrecorded) if same == words => Err(unrecorded),
            charged => Ok(charged),
        });
        step.unwrap_or_else(|unrecorded| unrecorded)
    }

    /// Gives back `n` cells of each limit now, but no more than brings it to rest: what has drained since is not given back twice. Law 1
    /// then holds for what was admitted less what was given back.
    pub fn refund(&self, n: u64) {
        self.refund_each(n, n);
    }

    /// Gives back `n` cells of each limit at `at`; see [`refund`](Self::refund).
    pub fn refund_at(&self, n: u64, at: Instant) {
        self.refund_each_at(n, n, at);
    }

    /// Gives back `first` cells of the first limit and `second` of the second now; see [`refund`](Self::refund).
    pub fn refund_each(&self, first: u64, second: u64) {
        self.refund_as_at([first, second], self.clock.position(self.pair.time_line()));
    }

    /// Gives back `first` cells of the first limit and `second` of the second at `at`; see [`refund`](Self::refund).
    pub fn refund_each_at(&self, first: u64, second: u64, at: Instant) {
        self.refund_as_at([first, second], self.pair.time_line().position(at));
    }

    fn refund_as_at(&self, n: Cells<u64>, at: Nanos) {
        let now = self.pair.volumes(at);
        self.replace(|words| self.pair.refund(words, now, n));
    }

    /// Brings both limits to rest, whatever they owe. Law 1 counts from here.
    pub fn reset(&self) {
        self.replace(|_| [0, 0]);
    }

    /// Takes the step to the words that `other` makes of these, unless they are the same.
    pub(super) fn replace(&self, other: impl Fn(Words) -> Words) {
        let step = self.cell.update(|words| match other(words) {
            same if same == words => Err(()),
            other => Ok((other, ())),
        });
        // An `Err` left the words as they were, which is all there was to do.
        let _: Result<(), ()> = step;
    }

    /// Tells how both limits stand now, from one read of both words.
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
        self.pair
            .status(self.cell.load(), self.clock.position(self.pair.time_line()))
    }

    /// Tells how both limits stand at `at`, from one read of both words.
    #[must_use]
    pub fn status_at(&self, at: Instant) -> DualStatus {
        self.pair.status(self.cell.load(), self.pair.time_line().position(at))
    }
}

/// A decision that may have moved the words, and what they then were.
struct Taken {
    refused: Option<Refused>,
    words: Words,
    at: Nanos,
}

/// A denial that left the words as they were.
struct RefusedTake {
    refused: Refused,
    words: Words,
    at: Nanos,
}

impl Borrow<Refused> for RefusedTake {
    fn borrow(&self) -> &Refused {
        &self.refused
    }
}

impl From<RefusedTake> for Taken {
    fn from(RefusedTake { refused, words, at }: RefusedTake) -> Self {
        Self {
            refused: Some(refused),
            words,
            at,
        }
    }
}
