//! The verbs of a pair.

use super::Dual;
use super::outcome::{DualNonConformance, DualStatus, DualTaken, NegativeDualDecision};
use super::pair::{Cells, PairDenial};
use super::words::Words;
use crate::check_all::{Checkable, Checked};
use crate::clock::{Clock, When};
use crate::meter::MeterKind;
use crate::outcome::Taken;
use crate::store::Word;
use crate::time::Instant;
use crate::units::Nanos;
#[cfg(feature = "std")]
use crate::{
    snapshot::{RestoreError, Snapshot},
    time::SystemTime,
};
use core::cell::Cell;
use core::convert::Infallible;

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
        self.decide([1, 1], When::At(at.into()))
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
        self.check_when([first, second], When::At(at.into()))
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
    /// A `by` before `from` counts as `from`.
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
        let [from, by] = [from, by].map(|at| self.pair.time_line().position(at));
        let within = [from, by.max(from)].map(|at| self.pair.volumes(at));
        let taken = self.words.update(|words| self.pair.take_within(words, within, n));
        self.decided(taken)
            .map_err(|denial| NegativeDualDecision::BatchNonConforming(n, denial))
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
        self.peek_when([first, second], When::At(at.into()))
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
        self.take_when([first, second], When::At(at.into()))
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
        self.charge_when([first, second], When::At(at.into()))
    }

    /// Gives back `first` cells of the first limit and `second` of the second now, but no more than makes each limit idle.
    ///
    /// Cells that have already drained are not given back twice. Law 1 then holds for cells admitted less cells given back.
    pub fn refund_each(&self, first: u64, second: u64) {
        self.refund_when([first, second], When::Now);
    }

    /// Gives back `first` cells of the first limit and `second` of the second at `at`; see [`refund_each`](Self::refund_each).
    pub fn refund_each_at(&self, first: u64, second: u64, at: Instant) {
        self.refund_when([first, second], When::At(at.into()));
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
        self.status_when(When::At(at.into()))
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
        let now = self.clock.now_exactly();
        self.snapshot_at((now, SystemTime::now()))
    }

    /// Returns the owed cells of both limits at an instant, given together with the wall-clock time at that instant; see
    /// [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn snapshot_at(&self, (at, wall): (Instant, SystemTime)) -> [Snapshot; 2] {
        let at = self.pair.time_line().position(at);
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
        self.restore_at(snapshots, (self.clock.now_exactly(), wall))
    }

    /// Restores the owed cells of two snapshots at an instant, given together with the wall-clock time at that instant; see
    /// [`restore`](Self::restore).
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn restore_at(&self, snapshots: &[Snapshot; 2], (at, wall): (Instant, SystemTime)) -> Result<(), RestoreError> {
        let at = self.pair.time_line().position(at);
        let words = self.pair.restored(snapshots, at, wall)?;
        self.replace(|_| words);
        Ok(())
    }
}

/// The steps behind the verbs.
impl<A: MeterKind, B: MeterKind, C: Clock> Dual<A, B, C> {
    /// Runs `act` at a time, as [`When::act`].
    #[inline(always)]
    fn act<T>(&self, when: When, act: impl Fn(Nanos) -> Result<T, PairDenial>) -> Result<T, PairDenial> {
        let (line, counts_denials) = (self.pair.time_line(), self.pair.counts_denials());
        when.act(&self.clock, line, counts_denials, act, |denied, by| {
            denied.is_over(self.pair.volumes(by))
        })
    }

    pub(super) fn position(&self, when: When) -> Nanos {
        when.position(&self.clock, self.pair.time_line())
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
        self.decided(decided)
    }

    /// Returns the decision of a step. A denial that counts was stored.
    #[inline(always)]
    fn decided(&self, step: Result<Option<PairDenial>, PairDenial>) -> Result<(), DualNonConformance> {
        match step {
            Ok(None) => Ok(()),
            Ok(Some(denied)) | Err(denied) => Err(self.pair.denial(denied)),
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
        looked.map_err(|denied| NegativeDualDecision::BatchNonConforming(n, self.pair.denial(denied)))
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
        let decision = self
            .decided(taken)
            .map_err(|denial| NegativeDualDecision::BatchNonConforming(n, denial));
        DualTaken::new(decision, status.get().unwrap_or_else(|| self.status_when(when)))
    }

    fn charge_when(&self, n: Cells<u64>, when: When) -> Cells<u64> {
        let drained = self.pair.volumes(self.position(when));
        let Ok(unrecorded): Result<_, Infallible> = self.words.update(|words| Ok(self.pair.charge(words, drained, n)));
        unrecorded
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
            looked.map_err(|denied| NegativeDualDecision::BatchNonConforming([n, n], self.pair.denial(denied)))
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
        if n > 0 {
            let [taken, now] = [taken, now].map(|at| self.pair.volumes(self.pair.time_line().position(at)));
            self.replace(|words| self.pair.cancel(words, now, n, taken));
        }
    }
}
