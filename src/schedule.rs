//! An algorithm on a time line: converts times to drained volumes, and decides on words. Everything here is pure.

use crate::algorithm::{Algorithm, Numbers};
use crate::clock::LAG_NS;
use crate::error::InconsistentCapacity;
use crate::outcome::{NonConformance, Status, Until};
use crate::quota::Quota;
use crate::time::{self, Instant};
use crate::units::{Nanos, TimeLine, UnitScale, Volume};
use core::fmt;
use core::num::NonZeroU64;

/// An algorithm on a time line, which gives a word its meaning.
#[derive(Debug, Clone, Copy)]
pub struct Schedule<A> {
    pub(crate) algorithm: A,
    pub(crate) time_line: TimeLine,
    /// The rate at which the algorithm's limit drains.
    pub(crate) scale: UnitScale,
    /// The quota of the algorithm; `None` if it was made of T and tau.
    pub(crate) quota: Option<Quota>,
    /// The time between two ticks in which volume drains; `None` if it drains steadily.
    interval: Option<NonZeroU64>,
    /// The end of the times at which a decision may be made at once, by a clock's anchor. If volume drains in ticks or denials count, no decision is.
    pub(crate) at_once_until: Nanos,
    /// The largest lead of a word over the volume drained at a clock's anchor with which a cell may conform while the anchor holds.
    pub(crate) denied_lead: u64,
    /// The largest volume that drains while such a clock lags, plus the three units by which its volume may be short.
    lag: u64,
}

/// A step of a word: the new word, and a result.
pub(crate) type WordStep<T> = (u64, T);

/// The reason why a step was not stored.
#[derive(Debug, Clone, Copy)]
pub enum NotStored {
    /// The cells do not conform until this time.
    Denied(Until),
    /// The cells can never conform.
    Never,
    /// The word stays as it is.
    Unchanged,
    /// The key has no slot until this time, so it is denied.
    NoSlot(Until),
    /// The key has no slot, so its cells are admitted but not recorded.
    Forgotten,
}

/// The reason why a decision was not made at once.
#[derive(Debug, Clone, Copy)]
pub enum NotAtOnce {
    /// The clock has no anchor, or the decision depends on the exact time.
    Uncertain,
    /// Another thread has exchanged the word.
    LostRace,
    /// A new quota has closed the word.
    Closed,
}

impl NotStored {
    /// Returns the time until which cells are denied, if they would conform later.
    #[inline]
    pub(crate) const fn until(&self) -> Option<Until> {
        match *self {
            Self::Denied(until) | Self::NoSlot(until) => Some(until),
            Self::Never | Self::Unchanged | Self::Forgotten => None,
        }
    }
}

impl<A: Algorithm> Schedule<A> {
    /// Makes a schedule whose time line begins a day before `made`.
    pub(crate) fn made_at(made: Instant, algorithm: A, quota: Option<Quota>) -> Self {
        Self::on(TimeLine::of_meter_made(made), algorithm, quota)
    }

    fn on(time_line: TimeLine, algorithm: A, quota: Option<Quota>) -> Self {
        let interval = quota.and_then(|quota| quota.refill_ns());
        let scale = algorithm.limit().scale();
        let lag = scale.most_in(LAG_NS) + 3;
        // One cell is due equally far behind every word, and more cells are due later.
        let last = algorithm.limit().last_word();
        let Volume(due) = algorithm.due(last, 1);
        Self {
            algorithm,
            time_line,
            scale,
            quota,
            interval,
            at_once_until: if interval.is_none() && !algorithm.counts_denials() {
                Nanos::END.earlier(LAG_NS)
            } else {
                Nanos::BEGINNING
            },
            // Until an anchor is given up, at most two windows drain.
            denied_lead: last - due + 2 * lag,
            lag,
        }
    }

    /// Makes the same kind of schedule for another quota, on the same time line.
    pub(crate) fn with_quota(&self, quota: Quota) -> Result<Self, InconsistentCapacity> {
        Ok(Self::on(self.time_line, self.algorithm.with_quota(quota)?, Some(quota)))
    }

    /// Makes the same schedule in words that all stay below `end`; `None` if they cannot.
    #[cfg_attr(not(feature = "keyed"), expect(dead_code, reason = "only a table has shorter words"))]
    pub(crate) fn below(&self, end: u64) -> Option<Self> {
        let algorithm = self.algorithm.below(self.quota, end)?;
        Some(Self::on(self.time_line, algorithm, self.quota))
    }

    /// Returns the schedule of a meter of its own with this limit, whose words are longer than those of a table.
    #[cfg(feature = "std")]
    pub(crate) fn of_meter(&self) -> Self {
        let algorithm = match self.quota {
            Some(quota) => self.algorithm.with_quota(quota).ok(),
            None => self.algorithm.below(None, u64::MAX),
        };
        // The limit is valid in shorter words, so it is valid in longer ones.
        Self::on(self.time_line, algorithm.unwrap_or(self.algorithm), self.quota)
    }

    /// Returns the volume drained by `at`: by the latest tick, if there are ticks.
    #[inline]
    pub(crate) fn drained(&self, at: Nanos) -> Volume {
        match self.interval {
            None => self.scale.volume_at(at),
            Some(interval) => self.drained_by_tick(at, interval),
        }
    }

    #[cold]
    fn drained_by_tick(&self, at: Nanos, interval: NonZeroU64) -> Volume {
        let tick = self.time_line.tick_by(at, interval);
        self.scale.volume_at(tick)
    }

    /// Returns the part of a unit, in 2^-60 units, that was credited too much between two times because the volume at each is rounded down.
    pub(crate) fn credited_too_much(&self, from: Nanos, to: Nanos) -> u64 {
        let [from, to] = [from, to].map(|at| {
            let at = self
                .interval
                .map_or(at, |interval| self.time_line.tick_by(at, interval));
            self.scale.fraction_at(at)
        });
        from.saturating_sub(to)
    }

    /// Returns a due volume as the volume drained at the first time that reaches it: more than `due` only if there are ticks.
    #[inline]
    fn at_tick(&self, due: Volume) -> Volume {
        match self.interval {
            None => due,
            Some(interval) => self.at_next_tick(due, interval),
        }
    }

    #[cold]
    fn at_next_tick(&self, due: Volume, interval: NonZeroU64) -> Volume {
        let scale = self.scale;
        let tick = self.time_line.tick_from(scale.nanos_at(due), interval);
        scale.volume_of(tick.into()).unwrap_or(Volume(u64::MAX))
    }

    /// Returns the time at which `due` has drained.
    #[inline]
    pub(crate) fn until(&self, due: Volume) -> Until {
        match self.interval {
            None => Until { scale: self.scale, due },
            Some(interval) => self.until_tick(due, interval),
        }
    }

    /// Returns the first tick by which `due` has drained, as a time: the words of a table may drain less than a unit in a nanosecond.
    #[cold]
    fn until_tick(&self, due: Volume, interval: NonZeroU64) -> Until {
        let tick = self.time_line.tick_from(self.scale.nanos_at(due), interval);
        Until {
            scale: UnitScale::UNIT_PER_NANO,
            due: Volume(tick),
        }
    }

    /// Returns the volume drained by a time that may lie between two nanoseconds: by the latest tick, if there are ticks.
    #[cfg(feature = "dual")]
    pub(crate) fn drained_by(&self, until: Until) -> Volume {
        match self.interval {
            None => self.scale.volume_while(until.scale, until.due),
            Some(interval) => {
                let Volume(ns) = UnitScale::UNIT_PER_NANO.volume_while(until.scale, until.due);
                self.drained_by_tick(Nanos::clamped(ns), interval)
            }
        }
    }

    pub(crate) fn denial(&self, due: Volume) -> NonConformance {
        NonConformance::new(self.time_line.beginning(), self.until(due))
    }

    /// Returns whether a denial by a clock that lags is certain: whether the cells are due more than the lag from now.
    #[inline]
    pub(crate) const fn is_certain(&self, due: Volume, drained: Volume) -> bool {
        due.0 - drained.0 > self.lag
    }

    /// Decides `n` cells. A denial that counts, of a strict algorithm, is returned with the word that counts it.
    #[inline]
    pub(crate) fn decide(&self, word: u64, drained: Volume, n: u32) -> Result<WordStep<Option<Until>>, NotStored> {
        // One cell always fits.
        if n > 1 && n > self.algorithm.max_batch() {
            return Err(NotStored::Never);
        }
        match self.algorithm.decide(word, drained, n) {
            Ok(word) => Ok((word, None)),
            Err(due) => match self.algorithm.count_denied(word, drained, n) {
                Some(word) => Ok((word, Some(self.until(self.algorithm.due(word, n))))),
                None => Err(NotStored::Denied(self.until(due))),
            },
        }
    }

    /// Evaluates a decision on `n` cells without a step.
    #[inline]
    pub(crate) fn look(&self, word: u64, drained: Volume, n: u32) -> Result<(), NotStored> {
        if n > self.algorithm.max_batch() {
            return Err(NotStored::Never);
        }
        let due = self.algorithm.due(word, n);
        if due <= drained {
            Ok(())
        } else {
            Err(NotStored::Denied(self.until(due)))
        }
    }

    /// Admits as many of `n` cells as conform, with `n` at least 1. Returns their number and, if they are fewer than `n`, the time of the next cell.
    pub(crate) fn decide_up_to(
        &self,
        word: u64,
        drained: Volume,
        n: u32,
    ) -> Result<WordStep<(u32, Option<Until>)>, NotStored> {
        let cells = self.algorithm.room(word, drained).min(n);
        let admitted = match cells {
            0 => word,
            _ => self
                .algorithm
                .decide(word, drained, cells)
                .map_err(|due| NotStored::Denied(self.until(due)))?,
        };
        if cells == n {
            return Ok((admitted, (cells, None)));
        }
        let counted = self.algorithm.count_denied(admitted, drained, n - cells);
        let word = counted.unwrap_or(admitted);
        let next = self.until(self.algorithm.due(word, 1));
        if cells == 0 && counted.is_none() {
            return Err(NotStored::Denied(next));
        }
        Ok((word, (cells, Some(next))))
    }

    /// Takes `n` cells, at least 1, at the first time from `from` on at which they conform, if that is at `by` or before. Returns that time
    /// as the volume drained by then.
    pub(crate) fn take_within(
        &self,
        word: u64,
        from: Volume,
        by: Volume,
        n: u32,
    ) -> Result<WordStep<Volume>, NotStored> {
        if n > self.algorithm.max_batch() {
            return Err(NotStored::Never);
        }
        let due = self.at_tick(self.algorithm.due(word, n));
        if due > by {
            return Err(NotStored::Denied(self.until(due)));
        }
        // The cells count from the time at which they conform.
        let at = due.max(from);
        match self.algorithm.decide(word, at, n) {
            Ok(word) => Ok((word, at)),
            Err(due) => Err(NotStored::Denied(self.until(due))),
        }
    }

    /// Returns the instant at which the meter was made, if its decisions depend on that: it has ticks, or it began with some cells missing and has
    /// admitted none yet.
    pub(crate) fn began(&self, word: u64) -> Option<Instant> {
        let made = self.time_line.made();
        let drained = self.drained(made);
        let is_as_made = word > 0 && word == self.algorithm.leaving(self.algorithm.room(word, drained), drained);
        let began = time::after(self.time_line.beginning(), made.get());
        (self.interval.is_some() || is_as_made).then_some(began)
    }

    /// Converts `word` to another schedule on this time line, keeping the number of cells owed at a time.
    #[cfg_attr(not(feature = "keyed"), expect(dead_code, reason = "only a table has tiers"))]
    pub(crate) fn owing(&self, word: u64, at: Nanos, next: &Self) -> u64 {
        self.algorithm
            .owing(word, self.drained(at), &next.algorithm, next.drained(at))
    }

    #[inline]
    pub(crate) fn status(&self, word: u64, at: Nanos) -> Status {
        // Both have one scale.
        let [next, idle] = [self.algorithm.due(word, 1), self.algorithm.idle(word)].map(|due| self.until(due));
        Status {
            at,
            scale: next.scale,
            remaining: self.algorithm.room(word, self.drained(at)),
            next: next.due,
            idle: idle.due,
            quota: self.quota,
        }
    }

    /// Returns the status of a key that has no slot until `until`.
    #[cfg_attr(not(feature = "keyed"), expect(dead_code, reason = "only a table has slots"))]
    pub(crate) const fn status_without_slot(&self, until: Until, at: Nanos) -> Status {
        Status {
            at,
            scale: until.scale,
            remaining: 0,
            next: until.due,
            idle: until.due,
            quota: self.quota,
        }
    }

    /// Returns how far a word lies ahead of the drained volume, negative if it lies behind. This part of the word does not depend on the time line.
    pub(crate) fn offset(&self, word: u64, Volume(drained): Volume) -> i128 {
        i128::from(word) - i128::from(drained)
    }

    /// Returns the word that lies this far ahead of the drained volume, at least 0; `None` past the last word.
    pub(crate) fn word_at(&self, offset: i128, Volume(drained): Volume) -> Option<u64> {
        let word = u64::try_from(offset.saturating_add(drained.into()).max(0)).ok()?;
        (word <= self.algorithm.limit().last_word()).then_some(word)
    }

    /// Writes the limit of a meter, and its state at a time.
    pub(crate) fn debug(&self, word: u64, at: Nanos, fields: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        self.algorithm.limit().describe(fields);
        let status = self.status(word, at);
        fields
            .field("idle_from", &self.idle_from(word))
            .field("remaining", &status.remaining())
            .field("idle", &status.until_rest().is_zero())
            .finish_non_exhaustive()
    }

    /// Returns the instant by which all admitted cells have drained, rounded up; `None` if no cell was ever admitted.
    pub(crate) fn idle_from(&self, word: u64) -> Option<Instant> {
        (word > 0).then(|| self.denial(self.algorithm.idle(word)).earliest_possible())
    }
}
