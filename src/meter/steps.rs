//! The steps behind the verbs. Each step is one exchange of the word, or one read, at a time.

use super::Meter;
use crate::algorithm::Algorithm;
use crate::clock::{Clock, When};
use crate::outcome::{Admitted, NegativeMultiDecision, NonConformance, Status, Taken, Until};
use crate::quota::Quota;
use crate::schedule::{NotAtOnce, NotStored, Schedule};
use crate::store::{Store, pause};
use crate::time::Instant;
use crate::units::{Nanos, Volume};
use core::cell::Cell;

impl<A: Algorithm, C: Clock, S: Store<A>> Meter<A, C, S> {
    /// Runs `act` at a time, as [`When::act`].
    #[inline(always)]
    fn act<T>(&self, when: When, act: impl Fn(Nanos) -> Result<T, NotStored>) -> Result<T, NotStored> {
        let counts_denials = self.store.counts_denials();
        when.act(&self.clock, self.time_line(), counts_denials, act, |denied, by| {
            let is_over = denied.until().is_some_and(|until| until.is_over_at(by));
            if is_over {
                self.store.decided_again(denied);
            }
            is_over
        })
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

    /// Evaluates a decision on `n` cells, at least 1.
    #[inline(always)]
    fn looked(&self, n: u32, when: When) -> Result<(), NotStored> {
        self.act(when, |at| {
            self.store
                .look(at, |schedule, word, drained| schedule.look(word, drained, n))
        })
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
    pub(crate) fn otherwise<T>(not_at_once: NotAtOnce, act: impl FnOnce() -> T) -> T {
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

    pub(super) fn peek_when(&self, when: When) -> Result<(), NonConformance> {
        self.looked(1, when).or_else(|not_stored| self.single(not_stored))
    }

    #[inline]
    pub(super) fn peek_n_when(&self, n: u32, when: When) -> Result<(), NegativeMultiDecision> {
        if n == 0 || self.store.conforms_at_once(|| self.position(when), n) {
            return Ok(());
        }
        let look = || self.looked(n, when).or_else(|not_stored| self.batch(n, not_stored));
        if S::LOOKS_AT_ONCE { out_of_line(look) } else { look() }
    }

    #[inline]
    pub(super) fn take_when(&self, n: u32, when: When) -> Taken {
        match self.take_read_when(n, when, |status| *status) {
            Ok(status) => Taken::new(Ok(()), status),
            Err(taken) => taken,
        }
    }

    /// Takes `n` cells. If they are admitted, returns the result of `read` on the status; otherwise, or if `n` is 0, returns the decision and the status.
    #[inline]
    pub(super) fn take_read_when<T: Copy>(&self, n: u32, when: When, read: impl Fn(&Status) -> T) -> Result<T, Taken> {
        if !S::TAKES_AT_ONCE || n == 0 {
            return self.take_step_by_step(n, when, read);
        }
        match self.store.take_at_once(|| self.position(when), n, &read) {
            Ok(Ok(read)) => Ok(read),
            Ok(Err((until, status))) => {
                let denial = NegativeMultiDecision::BatchNonConforming(n, self.denial(until));
                Err(Taken::new(Err(denial), status))
            }
            Err(not_at_once) => Self::otherwise(not_at_once, || self.take_step_by_step(n, when, read)),
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

    pub(super) fn check_up_to_when(&self, n: u32, when: When) -> Admitted {
        if n == 0 {
            return Admitted::new(0, None);
        }
        // Set by each decision, of which the last one holds.
        let made = Cell::new((0, None));
        // Uses the exact time: a clock that is behind would report a wait until an instant that is past.
        let at = when.exact_position(&self.clock, self.time_line());
        let step = self.store.update(at, |schedule, word, drained| {
            let (word, admitted) = schedule.decide_up_to(word, drained, n)?;
            made.set(admitted);
            Ok((word, ()))
        });
        match step {
            Ok(()) | Err(NotStored::Forgotten) => {
                let (cells, next) = made.get();
                Admitted::new(cells, next.map(|until| self.denial(until)))
            }
            Err(not_stored) => Admitted::new(0, self.single(not_stored).err()),
        }
    }

    pub(super) fn charge_when(&self, n: u64, when: When) -> u64 {
        let charged = self.store.update(self.position(when), |schedule, word, drained| {
            match schedule.algorithm.charge(word, drained, n) {
                (_, unrecorded) if unrecorded == n => Err(NotStored::Unchanged),
                charged => Ok(charged),
            }
        });
        charged.unwrap_or(n)
    }

    pub(super) fn refund_when(&self, n: u64, when: When) {
        self.lower(self.position(when), |schedule, word, drained| {
            schedule.algorithm.refund(word, drained, n)
        });
    }

    /// Stores a lower word, unless it is the same.
    pub(super) fn lower(&self, at: Nanos, lowered: impl Fn(&Schedule<A>, u64, Volume) -> u64) {
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

    pub(super) fn status_when(&self, when: When) -> Status {
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
