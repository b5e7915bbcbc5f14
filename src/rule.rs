//! What a word means: a limit on a time line. All here is pure: a word and the volume drained by now in, what becomes of it out.

use crate::algorithms::{Algorithm, Due};
use crate::decision::{NonConformance, Until};
use crate::error::InconsistentCapacity;
use crate::nanos::{Nanos, TimeLine};
use crate::quota::Quota;
use crate::status::Status;
use core::fmt;
use core::num::NonZeroU64;
use std::time::Instant;

/// A limit on a time line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule<A> {
    pub(crate) algorithm: A,
    pub(crate) time_line: TimeLine,
    /// What the limit was made of, if of a quota.
    pub(crate) quota: Option<Quota>,
    /// In what ticks volume drains, if not at every time.
    interval: Option<NonZeroU64>,
}

/// What a step makes: the new word and what else there is to tell.
pub(crate) type Stepped<T> = (u64, T);

impl<A: Algorithm> Rule<A> {
    /// A rule whose time line begins a day before it is made.
    pub(crate) fn made_at(made: Instant, algorithm: A, quota: Option<Quota>) -> Self {
        Self {
            algorithm,
            time_line: TimeLine::of_meter_made(made),
            quota,
            interval: quota.and_then(|quota| quota.refill_ns()),
        }
    }

    /// The rule of the same kind for another quota, on the same time line.
    pub(crate) fn with_quota(&self, quota: Quota) -> Result<Self, InconsistentCapacity> {
        Ok(Self {
            algorithm: self.algorithm.with_quota(quota)?,
            time_line: self.time_line,
            quota: Some(quota),
            interval: quota.refill_ns(),
        })
    }

    /// The same rule in words that all stay below `end`; `None` if they cannot.
    #[cfg_attr(not(feature = "keyed"), expect(dead_code, reason = "only a table has smaller words"))]
    pub(crate) fn below(&self, end: u64) -> Option<Self> {
        let algorithm = self.algorithm.below(self.quota, end)?;
        Some(Self { algorithm, ..*self })
    }

    /// The volume drained by a time: by the latest tick, if there are ticks.
    #[inline]
    pub(crate) fn volume(&self, at: Nanos) -> u64 {
        match self.interval {
            None => self.algorithm.scale().volume_at(at),
            Some(interval) => self.volume_by_tick(at, interval),
        }
    }

    #[cold]
    fn volume_by_tick(&self, at: Nanos, interval: NonZeroU64) -> u64 {
        let tick = self.time_line.tick_by(at, interval);
        self.algorithm.scale().volume_at(tick)
    }

    /// When a volume has drained, as the volume that has drained then: more only if there are ticks.
    #[inline]
    pub(crate) fn drained(&self, due: Due) -> Due {
        match self.interval {
            None => due,
            Some(interval) => self.drained_by_tick(due, interval),
        }
    }

    #[cold]
    fn drained_by_tick(&self, due: Due, interval: NonZeroU64) -> Due {
        let scale = self.algorithm.scale();
        let tick = self.time_line.tick_from(scale.nanos_at(due.0), interval);
        Due(scale.volume_of(tick.into()).unwrap_or(u64::MAX))
    }

    /// When a volume has drained, on the time line or after its end.
    #[cfg_attr(not(feature = "keyed"), expect(dead_code, reason = "only a table has tiers"))]
    pub(crate) fn drained_at(&self, due: Due) -> u64 {
        self.algorithm.scale().nanos_at(self.drained(due).0)
    }

    #[inline]
    pub(crate) fn until(&self, due: Due) -> Until {
        Until {
            scale: self.algorithm.scale(),
            due: self.drained(due),
        }
    }

    #[inline]
    pub(crate) fn denial(&self, due: Due) -> NonConformance {
        NonConformance::new(self.time_line.beginning(), self.until(due))
    }

    /// Whether `n` cells can conform at once at all.
    #[inline]
    pub(crate) fn can_conform(&self, n: u32) -> bool {
        n <= self.algorithm.max_batch()
    }

    /// Decides `n` cells, at least one and not too many: a denial that counts all the same is told with the word.
    #[inline]
    pub(crate) fn decide(&self, word: u64, now: u64, n: u32) -> Result<Stepped<Option<Until>>, Until> {
        match self.algorithm.decide(word, now, n) {
            Ok(word) => Ok((word, None)),
            Err(due) => match self.algorithm.refuse(word, now, n) {
                Some(word) => Ok((word, Some(self.until(self.algorithm.due(word, n))))),
                None => Err(self.until(due)),
            },
        }
    }

    /// The answer to `n` cells, at least one and not too many.
    #[inline]
    pub(crate) fn look(&self, word: u64, now: u64, n: u32) -> Result<(), Until> {
        let due = self.algorithm.due(word, n);
        if due.0 <= now { Ok(()) } else { Err(self.until(due)) }
    }

    /// Admits a part of `n` cells, at least one: how many, and when the next one is due.
    pub(crate) fn admit_part(&self, word: u64, now: u64, n: u32) -> Result<Stepped<(u32, Option<Until>)>, Until> {
        let cells = self.algorithm.room(word, now).min(n);
        let admitted = match cells {
            0 => word,
            _ => self.algorithm.decide(word, now, cells).map_err(|due| self.until(due))?,
        };
        if cells == n {
            return Ok((admitted, (cells, None)));
        }
        let refused = self.algorithm.refuse(admitted, now, n - cells);
        let word = refused.unwrap_or(admitted);
        let next = self.until(self.algorithm.due(word, 1));
        if cells == 0 && refused.is_none() {
            return Err(next);
        }
        Ok((word, (cells, Some(next))))
    }

    /// The word by another rule on this time line that owes what this one does at a time.
    #[cfg_attr(not(feature = "keyed"), expect(dead_code, reason = "only a table has tiers"))]
    pub(crate) fn owing(&self, word: u64, at: Nanos, next: &Self) -> u64 {
        self.algorithm
            .owing(word, self.volume(at), &next.algorithm, next.volume(at))
    }

    pub(crate) fn status(&self, word: u64, at: Nanos) -> Status {
        Status::of(self, word, at)
    }

    /// How far a word lies ahead of what has drained by now, or behind it: what there is to keep of it without its time line.
    pub(crate) fn offset(&self, word: u64, now: u64) -> i128 {
        i128::from(word) - i128::from(now)
    }

    /// The word that lies so far ahead of now, or the first there is; `None` past the last.
    pub(crate) fn word_at(&self, offset: i128, now: u64) -> Option<u64> {
        let word = u64::try_from(offset.saturating_add(now.into()).max(0)).ok()?;
        (word <= self.algorithm.last_word()).then_some(word)
    }

    /// Tells what the limit is and how it stands.
    pub(crate) fn debug(&self, word: u64, fields: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        self.algorithm.describe(fields);
        fields
            .field("rested_from", &self.rested_from(word))
            .finish_non_exhaustive()
    }

    /// The instant by which all that was admitted has drained, rounded up; `None` if nothing ever was.
    pub(crate) fn rested_from(&self, word: u64) -> Option<Instant> {
        (word > 0).then(|| self.denial(self.algorithm.rested(word)).earliest_possible())
    }
}
