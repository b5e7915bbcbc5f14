//! Cells that are taken before the time at which they conform.

use super::Meter;
use crate::algorithm::Algorithm;
use crate::clock::{Clock, DefaultClock};
use crate::outcome::NegativeMultiDecision;
use crate::schedule::NotStored;
use crate::store::{Atomic, OwnedStore, Store};
use crate::time::{self, Instant};
use crate::units::Volume;
use core::fmt;
use core::time::Duration;

/// Cells that were taken in advance, to be used when their time to act has come. It has the verbs of a reservation in Go's `x/time/rate`.
///
/// Dropping a reservation does not cancel it: the cells stay taken.
///
/// # Law
///
/// The time to act is a whole nanosecond, rounded up, while cells are counted exactly. Let B be the burst and R the rate. In every window of length
/// v, at most B + R (v + 1 ns) cells have their time to act. At 2^32 cells a second, that is up to five cells in one nanosecond.
///
/// If the quota of an [`Adjustable`](crate::Adjustable) is set, earlier reservations keep their times, as in Go, and their cells drain at the new rate.
/// So a window after the change may also have the cells of the reservations that were made before the change and act in the window.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota};
/// use std::time::{Duration, Instant};
///
/// let meter = GCRA::from_quota("10/s burst 1".parse::<Quota>()?)?;
/// let now = Instant::now();
/// let second = Duration::from_secs(1);
/// let waits = [(); 3].map(|()| meter.reserve_at(1, second, now).unwrap().delay_from(now).as_millis());
/// assert_eq!(waits, [0, 100, 200]); // pacing without a queue
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the cells are taken; use them from `time_to_act` on, or cancel"]
pub struct Reservation<A, C = DefaultClock, S = Atomic<A>> {
    /// A handle made before the cells were counted, and not before the last change of the quota.
    meter: Meter<A, C, S>,
    cells: u32,
    /// The volume drained by the time to act, and the time to act.
    at: Volume,
    acts: Instant,
    /// The words before the cells were counted, and with them.
    before: u64,
    word: u64,
}

/// Reservations, by a meter with clones.
impl<A: Algorithm, C: Clock, S: OwnedStore<A> + Clone> Meter<A, C, S> {
    /// Takes `n` cells that conform now or within `longest_wait`, all or nothing, and returns a reservation that holds their time to act.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if the cells conform only later, or never.
    pub fn reserve(&self, n: u32, longest_wait: Duration) -> Result<Reservation<A, C, S>, NegativeMultiDecision> {
        self.reserve_at(n, longest_wait, self.clock.now_exactly())
    }

    /// Takes `n` cells that conform at `at` or within `longest_wait` of it; see [`reserve`](Self::reserve).
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub fn reserve_at(
        &self,
        n: u32,
        longest_wait: Duration,
        at: Instant,
    ) -> Result<Reservation<A, C, S>, NegativeMultiDecision> {
        let at = self.time_line().position(at);
        let by = at.later(time::nanos(longest_wait));
        loop {
            let mut reservation = Reservation {
                meter: self.clone(),
                cells: n,
                at: Volume(0),
                acts: time::after(self.time_line().beginning(), at.get()),
                before: 0,
                word: 0,
            };
            if n == 0 {
                return Ok(reservation);
            }
            let taken = reservation.meter.store.update_unchanged(at, |schedule, before, from| {
                let (word, at) = schedule.take_within(before, from, schedule.drained(by), n)?;
                Ok((word, ([before, word], at, (at > from).then(|| schedule.denial(at)))))
            });
            match taken {
                Some(Ok((words, at, later))) => {
                    ([reservation.before, reservation.word], reservation.at) = (words, at);
                    reservation.acts = later.map_or(reservation.acts, |later| later.earliest_possible());
                    return Ok(reservation);
                }
                // (Only a table takes cells without counting them, and no reservation is of a table.)
                Some(Err(not_stored)) => return self.batch(n, not_stored).map(|()| reservation),
                // The quota was changed just now: makes a handle of the new quota.
                None => {}
            }
        }
    }
}

impl<A: Algorithm, C: Clock, S: Store<A>> Meter<A, C, S> {
    /// Takes `n` cells that conform at some time from `from` until `by`, all or nothing, and counts them at the first such time. It is for a waiter
    /// that has waited since `from`, so that it does not lose the cells that have come meanwhile. A `by` before `from` counts as `from`.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if the cells conform only later, or never.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::{Duration, Instant};
    ///
    /// let meter = GCRA::from_quota("10/s burst 1".parse::<Quota>()?)?;
    /// let then = Instant::now();
    /// let now = then + Duration::from_millis(250);
    /// assert!((0..3).all(|_| meter.check_n_within(1, then, now).is_ok())); // the cells of 0, 100 and 200 ms
    /// assert!(meter.check_n_within(1, then, now).is_err()); // the next cell comes at 300 ms
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_n_within(&self, n: u32, from: Instant, by: Instant) -> Result<(), NegativeMultiDecision> {
        if n == 0 {
            return Ok(());
        }
        let position = |at| self.time_line().position(at);
        let by = position(by);
        let taken = self.store.update(position(from), |schedule, word, from| {
            // A key that is denied is decided again at the time of its bucket, which may be later than `by`.
            schedule.take_within(word, from, schedule.drained(by).max(from), n)
        });
        taken.map(drop).or_else(|not_stored| self.batch(n, not_stored))
    }
}

impl<A: Algorithm, C: Clock, S: Store<A>> Reservation<A, C, S> {
    /// Returns how many cells are reserved.
    #[must_use]
    pub const fn cells(&self) -> u32 {
        self.cells
    }

    /// Returns the instant from which the cells conform.
    #[must_use]
    pub const fn time_to_act(&self) -> Instant {
        self.acts
    }

    /// Returns the time from `from` until the cells may be used, zero once they may.
    #[must_use]
    pub fn delay_from(&self, from: Instant) -> Duration {
        self.acts.saturating_duration_since(from)
    }

    /// Returns the time from `Instant::now()` until the cells may be used, zero once they may.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay_from(Instant::now())
    }

    /// Gives back the part of the cells that certainly has not drained by now, but no more than makes the meter idle.
    ///
    /// - If a reservation still waits for its time to act, only the reservation that was counted last gives back, all of its cells. Reservations
    ///   behind another one keep their times, so the place of the other one stays empty. So cancel several from the last to the first.
    /// - Otherwise the cells count as the first to drain from the time to act on. So n cells give back n less the cells that drain in between,
    ///   whereas `x/time/rate` gives back nothing after the time to act. So cancel only cells that were not used. The part that has
    ///   drained is rounded up to a unit of the word. So a later cell may conform a nanosecond after its exact time.
    /// - If the quota was set since the cells were reserved, they stay counted: available cells that the reservation had pushed out of a smaller
    ///   burst must not come back.
    ///
    /// The cells of each reservation of an [`Exponential`](crate::Exponential) decay separately, so a reservation gives back its remainder.
    ///
    /// *Invariant*: in any order of cancels, a later caller finds no more room than if the cells had never been reserved. The law above holds for the
    /// remaining reservations. (A refund or a reset gives back other cells, so the law then counts net cells.) *Proof*: Compare with a meter that
    /// never counted the cells. When they are counted, its word is lower by their cost. The difference shrinks only while the other meter is idle,
    /// and by no more than the drained volume.
    ///
    /// The other meter is not idle before the time to act: its word was at least the volume drained by then, because no batch costs more than the
    /// tolerance. Until then only cells that were reserved later are given back, which does not lower that word below its earlier value. So the
    /// part of the cost that is left is at most the difference. After the cancel the word is at least that of the other meter, and the next cancel
    /// compares with that meter. ∎
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::{Duration, Instant};
    ///
    /// let meter = GCRA::from_quota("10/h".parse::<Quota>()?)?;
    /// let reservation = meter.reserve(10, Duration::ZERO).unwrap();
    /// assert!(meter.check().is_err());
    /// reservation.cancel();
    /// assert!(meter.check().is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(self) {
        let now = self.meter.clock().now_exactly();
        self.cancel_at(now);
    }

    /// Gives back the part of the cells that certainly has not drained by `at`; see [`cancel`](Self::cancel).
    pub fn cancel_at(self, at: Instant) {
        if self.cells == 0 {
            return;
        }
        let at = self.meter.time_line().position(at);
        // If nothing is stored, there was nothing to give back, or the quota has been changed.
        let _ = self.meter.store.update_unchanged(at, |schedule, word, drained| {
            let is_last = word == self.word;
            if is_last && drained <= self.at {
                // Exact also where a subtraction is not, for averages and ticks, so the reservation before this one is the last again.
                return Ok((self.before, ()));
            }
            if !is_last && schedule.algorithm.has_cells_ahead(word, drained) {
                return Err(NotStored::Unchanged);
            }
            match schedule.algorithm.cancel(word, drained, self.cells, self.at) {
                same if same == word => Err(NotStored::Unchanged),
                lower => Ok((lower, ())),
            }
        });
    }
}

impl<A: Algorithm, C: Clock, S: Store<A>> fmt::Debug for Reservation<A, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("meter", &self.meter)
            .field("cells", &self.cells)
            .field("time_to_act", &self.acts)
            .finish_non_exhaustive()
    }
}
