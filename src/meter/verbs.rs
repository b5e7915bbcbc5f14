//! What else a meter can be asked and told: each one atomic step, or one read.

use super::status::{Status, Taken};
use super::{IsDue, Meter};
use crate::algorithms::{Algorithm, Due};
use crate::clock::Clock;
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::nanos::Nanos;
use std::time::Instant;

/// What [`Meter::check_up_to`] let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    cells: u32,
    next: Option<NonConformance>,
}

impl Admitted {
    /// Returns how many cells were admitted, of those asked for; perhaps none.
    #[must_use]
    pub const fn cells(&self) -> u32 {
        self.cells
    }

    /// Returns, if fewer were admitted than asked for, from when on the next cell conforms.
    #[must_use]
    pub const fn next(&self) -> Option<NonConformance> {
        self.next
    }
}

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
        self.look_now(1)
    }

    /// Answers what [`check_at`](Self::check_at) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek`](Self::peek).
    pub fn peek_at(&self, at: Instant) -> Result<(), NonConformance> {
        self.look_at(1, at)
    }

    /// Answers what [`check_n`](Self::check_n) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`] if not all conform.
    pub fn peek_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.batch(n, || self.look_now(n))
    }

    /// Answers what [`check_n_at`](Self::check_n_at) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`peek_n`](Self::peek_n).
    pub fn peek_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.batch(n, || self.look_at(n, at))
    }

    fn look_at(&self, n: u32, at: Instant) -> Result<(), NonConformance> {
        let now = self.volume(self.time_line.position(at));
        let due = self.algorithm.due(self.cell.load(), n);
        if due.0 <= now { Ok(()) } else { Err(self.denial(due)) }
    }

    fn look_now(&self, n: u32) -> Result<(), NonConformance> {
        let look = |at| {
            let due = self.algorithm.due(self.cell.load(), n);
            if due.0 <= self.volume(at) { Ok(()) } else { Err(due) }
        };
        self.now_or_exactly(look).map_err(|due| self.denial(due))
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
        if !self.is_decided(n) {
            return self.take_as_at(n, self.clock.position(&self.time_line));
        }
        let taken = self.now_or_exactly(|at| self.try_take(n, at));
        taken.unwrap_or_else(|Refused { taken, .. }| taken)
    }

    /// Decides a batch of `n` cells at `at`, and tells the meter's status; see [`take`](Self::take).
    pub fn take_at(&self, n: u32, at: Instant) -> Taken {
        self.take_as_at(n, self.time_line.position(at))
    }

    fn take_as_at(&self, n: u32, at: Nanos) -> Taken {
        if !self.is_decided(n) {
            let decision = self.batch(n, || Ok(()));
            return Taken::new(decision, self.status_of(self.cell.load(), at));
        }
        self.try_take(n, at).unwrap_or_else(|Refused { taken, .. }| taken)
    }

    /// Whether the answer to `n` cells depends on more than n.
    fn is_decided(&self, n: u32) -> bool {
        (1..=self.algorithm.max_batch()).contains(&n)
    }

    fn try_take(&self, n: u32, at: Nanos) -> Result<Taken, Refused> {
        let denied = |due| Err(NegativeMultiDecision::BatchNonConforming(n, self.denial(due)));
        let step = self.step(at, |word, now| match self.decision(word, now, n) {
            Ok((new, refused)) => Ok((new, (new, refused))),
            Err(due) => Err((word, due)),
        });
        match step {
            Ok((word, refused)) => Ok(Taken::new(refused.map_or(Ok(()), denied), self.status_of(word, at))),
            Err((word, due)) => Err(Refused {
                due,
                taken: Taken::new(denied(due), self.status_of(word, at)),
            }),
        }
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
        // Not by a clock that may be behind: what is short of `n` by that would be told to wait for an instant that is past.
        self.check_up_to_at(n, self.clock.now_exactly())
    }

    /// Admits as many of `n` cells as conform at `at`; see [`check_up_to`](Self::check_up_to).
    pub fn check_up_to_at(&self, n: u32, at: Instant) -> Admitted {
        self.admitted(n, || {
            self.step(self.time_line.position(at), |word, now| self.part(word, now, n))
        })
    }

    /// The step that admits a part of `n`: the word, how many, and when the next one is due.
    fn part(&self, word: u64, now: u64, n: u32) -> Result<(u64, (u32, Option<Due>)), Due> {
        let cells = self.algorithm.room(word, now).min(n);
        let admitted = match cells {
            0 => word,
            _ => self.algorithm.decide(word, now, cells)?,
        };
        if cells == n {
            return Ok((admitted, (cells, None)));
        }
        let refused = self.algorithm.refuse(admitted, now, n - cells);
        if cells == 0 && refused.is_none() {
            return Err(self.algorithm.due(word, 1));
        }
        let word = refused.unwrap_or(admitted);
        Ok((word, (cells, Some(self.algorithm.due(word, 1)))))
    }

    fn admitted(&self, n: u32, step: impl FnOnce() -> Result<(u32, Option<Due>), Due>) -> Admitted {
        let (cells, due) = match n {
            0 => (0, None),
            _ => step().unwrap_or_else(|due| (0, Some(due))),
        };
        Admitted {
            cells,
            next: due.map(|due| self.denial(due)),
        }
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
        self.charge_as_at(n, self.clock.position(&self.time_line))
    }

    /// Counts `n` cells at `at`, whether they conform or not; see [`charge`](Self::charge).
    pub fn charge_at(&self, n: u64, at: Instant) -> u64 {
        self.charge_as_at(n, self.time_line.position(at))
    }

    fn charge_as_at(&self, n: u64, at: Nanos) -> u64 {
        let step = self.step(at, |word, now| match self.algorithm.charge(word, now, n) {
            // Nothing to record, or no room for it.
            (_, unrecorded) if unrecorded == n => Err(n),
            charged => Ok(charged),
        });
        step.unwrap_or_else(|unrecorded| unrecorded)
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
        self.refund_as_at(n, self.clock.position(&self.time_line));
    }

    /// Gives back `n` cells at `at`; see [`refund`](Self::refund).
    pub fn refund_at(&self, n: u64, at: Instant) {
        self.refund_as_at(n, self.time_line.position(at));
    }

    fn refund_as_at(&self, n: u64, at: Nanos) {
        self.lower(at, |word, now| self.algorithm.refund(word, now, n));
    }

    /// Takes the step to a lower word, unless there is none.
    pub(super) fn lower(&self, at: Nanos, lowered: impl Fn(u64, u64) -> u64) {
        let step = self.step(at, |word, now| match lowered(word, now) {
            same if same == word => Err(()),
            lower => Ok((lower, ())),
        });
        // An `Err` left the word as it was, which is all there was to do.
        let _: Result<(), ()> = step;
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
        self.lower(Nanos::END, |_, _| 0);
    }

    /// Draws half of the cells that conform now, at most `block` and at least `missing`.
    pub(crate) fn draw(&self, missing: u32, block: u32) -> Result<u32, NonConformance> {
        let step = self.step_now(|word, now| {
            // Told apart first: a dry meter is not asked how much there is.
            self.algorithm.decide(word, now, missing)?;
            let drawn = (self.algorithm.room(word, now) / 2).min(block).max(missing);
            self.algorithm.decide(word, now, drawn).map(|word| (word, drawn))
        });
        step.map_err(|due| self.denial(due))
    }

    pub(crate) fn max_batch(&self) -> u32 {
        self.algorithm.max_batch()
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
        self.status_of(self.cell.load(), self.clock.position(&self.time_line))
    }

    /// Tells how the meter stands at `at`, from one read of the word.
    #[must_use]
    pub fn status_at(&self, at: Instant) -> Status {
        self.status_of(self.cell.load(), self.time_line.position(at))
    }

    fn status_of(&self, word: u64, at: Nanos) -> Status {
        Status::of(&self.algorithm, self.quota, word, at)
    }
}

/// A denial, with all that is told of it.
struct Refused {
    due: Due,
    taken: Taken,
}

impl IsDue for Refused {
    fn due(&self) -> Due {
        self.due
    }
}
