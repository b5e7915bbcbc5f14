//! The decisions of a pair.

use super::decision::{DualNonConformance, NegativeDualDecision};
use super::pair::{Cells, Refused};
use super::{Dual, Half};
use crate::check_all::{Checkable, Checked};
use crate::clock::Clock;
use crate::decider::{Decider, MultiDecider};
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::metered::State;
use crate::nanos::Nanos;
use core::borrow::Borrow;
use std::time::Instant;

impl<A: Half, B: Half, C: Clock> Dual<A, B, C> {
    /// Decides one cell of each limit at `at`, and counts both if both conform. Takes constant time.
    ///
    /// # Errors
    ///
    /// [`DualNonConformance`], and nothing has changed, if one does not conform; it tells which, and from when on both would.
    #[inline]
    pub fn check_at(&self, at: Instant) -> Result<(), DualNonConformance> {
        self.decide_at([1, 1], at)
    }

    /// Decides one cell of each limit now, by the pair's clock, and counts both if both conform.
    ///
    /// # Errors
    ///
    /// As [`check_at`](Self::check_at).
    #[inline]
    pub fn check(&self) -> Result<(), DualNonConformance> {
        self.decide_now([1, 1])
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
    /// - [`NegativeDualDecision::BatchNonConforming`] if they do not all conform yet; it tells by which limit, and from when on they
    ///   would.
    /// - [`NegativeDualDecision::InsufficientCapacity`] if they never will, since they exceed the burst of the limit it tells.
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
        self.batch([first, second], |n| self.decide_at(n, at))
    }

    /// Decides `first` cells of the first limit and `second` of the second now, by the pair's clock, and counts all of them if all
    /// conform.
    ///
    /// # Errors
    ///
    /// As [`check_each_at`](Self::check_each_at).
    #[inline]
    pub fn check_each(&self, first: u32, second: u32) -> Result<(), NegativeDualDecision> {
        self.batch([first, second], |n| self.decide_now(n))
    }

    #[inline]
    pub(super) fn batch(
        &self,
        n: Cells,
        decide: impl FnOnce(Cells) -> Result<(), DualNonConformance>,
    ) -> Result<(), NegativeDualDecision> {
        match self.foregone(n) {
            Some(decision) => decision,
            None => decide(n).map_err(|denial| NegativeDualDecision::BatchNonConforming(n, denial)),
        }
    }

    /// The answer, where it depends on the numbers of cells alone.
    #[inline]
    pub(super) fn foregone(&self, n: Cells) -> Option<Result<(), NegativeDualDecision>> {
        if n == [0, 0] {
            return Some(Ok(()));
        }
        let by = self.pair.lacks_capacity(n)?;
        Some(Err(NegativeDualDecision::InsufficientCapacity(n, by)))
    }

    #[inline]
    fn decide_at(&self, n: Cells, at: Instant) -> Result<(), DualNonConformance> {
        self.verdict(self.try_decide(n, self.pair.time_line().position(at)))
    }

    #[inline]
    fn decide_now(&self, n: Cells) -> Result<(), DualNonConformance> {
        self.verdict(self.now_or_exactly(|at| self.try_decide(n, at)))
    }

    #[inline]
    fn try_decide(&self, n: Cells, at: Nanos) -> Result<Option<Refused>, Refused> {
        let now = self.pair.volumes(at);
        self.cell.update(|words| self.pair.decide(words, now, n))
    }

    #[inline]
    fn verdict(&self, refused: Result<Option<Refused>, Refused>) -> Result<(), DualNonConformance> {
        match refused {
            Ok(None) => Ok(()),
            Ok(Some(refused)) | Err(refused) => Err(self.denial(refused)),
        }
    }

    pub(super) fn denial(&self, refused: Refused) -> DualNonConformance {
        self.pair.denial(refused)
    }

    pub(super) fn exactly_now(&self) -> Nanos {
        self.pair.time_line().position(self.clock.now_exactly())
    }

    /// Does what is to be done now, and once more if it was denied for the clock's being behind: who waited until the instant of a
    /// denial must not be denied for that.
    #[inline]
    pub(super) fn now_or_exactly<T, D: Borrow<Refused>>(&self, act: impl Fn(Nanos) -> Result<T, D>) -> Result<T, D> {
        if self.pair.counts_refusals() {
            // There is no once more.
            return act(self.exactly_now());
        }
        let now = self.clock.position(self.pair.time_line());
        act(now).or_else(|denied| {
            if denied.borrow().is_over(self.pair.volumes(now.later(C::LAG_NS))) {
                act(self.exactly_now())
            } else {
                Err(denied)
            }
        })
    }
}

impl<A: Half, B: Half, C: Clock> Decider for Dual<A, B, C> {
    #[inline]
    fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
        Ok(self.check_at(at)?)
    }

    #[inline]
    fn check(&self) -> Result<(), NonConformance> {
        Ok(self.check()?)
    }
}

impl<A: Half, B: Half, C: Clock> MultiDecider for Dual<A, B, C> {
    #[inline]
    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, at).map_err(|denied| denied.of_both(n))
    }

    #[inline]
    fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.check_n(n).map_err(|denied| denied.of_both(n))
    }
}

impl<A: Half, B: Half, C: Clock> Checkable for Dual<A, B, C> {}

impl<A: Half, B: Half, C: Clock> Checked for Dual<A, B, C> {
    fn now(&self) -> (Instant, u64) {
        (self.clock.now(), C::LAG_NS)
    }

    fn now_exactly(&self) -> Instant {
        self.clock.now_exactly()
    }

    fn state(&self) -> State {
        (self.cell.address(), 0)
    }

    fn peek(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.peek_n_at(n, at).map_err(|denied| denied.of_both(n))
    }

    fn take(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, at).map_err(|denied| denied.of_both(n))
    }
}
