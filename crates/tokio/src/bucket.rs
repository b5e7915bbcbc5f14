//! The bucket of a `RateLimiter`: cells come in ticks.

use crate::clock::Beginning;
use crate::error::InsufficientCapacity;
use crate::open::Open;
use crate::source::{Part, Source, never};
use crate::ticks::Ticks;
use core::convert::Infallible;
use std::time::{Duration, Instant};

/// A bucket into which some cells come every interval, as in `leaky-bucket`: nothing between, and all of them at the tick.
///
/// Ticks are counted from when it was made, in whole nanoseconds and integers, so neither the time line nor the level drifts. What
/// comes while the bucket is full is lost, unless somebody waits.
///
/// # Law
///
/// In every window the cells had are at most those that come at the ticks in it, and the larger of max and refill. While somebody
/// waits, none that come are lost.
#[derive(Debug)]
pub struct Bucket {
    pub(crate) max: u32,
    pub(crate) refill: u32,
    pub(crate) ticks: Ticks,
    pub(crate) initial: u32,
    pub(crate) made: Beginning,
    /// The count that a [`Level`] is, while nobody waits.
    pub(crate) open: Open,
}

/// The cells that were had or lost since the bucket was made. It is the lock's while the bucket is closed.
#[derive(Debug)]
pub struct Level {
    spent: u128,
}

impl Bucket {
    pub(crate) const fn interval(&self) -> Duration {
        Duration::from_nanos(self.ticks.interval_ns)
    }

    /// The cells in the bucket at `at`.
    pub(crate) fn balance(&self, level: &mut Level, at: Instant, queued: bool) -> u32 {
        let there = self.there(level, at, queued);
        u32::try_from(there).unwrap_or(u32::MAX).min(self.max)
    }

    /// The same, and what has overflown if others wait for it.
    fn there(&self, level: &mut Level, at: Instant, queued: bool) -> u128 {
        let come = self.come_by(at);
        if !queued {
            level.spent = level.spent.max(come.saturating_sub(self.max.into()));
        }
        come.saturating_sub(level.spent)
    }

    /// The cells that have come by `at`, those to begin with included.
    fn come_by(&self, at: Instant) -> u128 {
        let ticks = self.ticks.within(self.made.until(at));
        u128::from(self.initial) + u128::from(ticks) * u128::from(self.refill)
    }

    /// The tick at which there will be `cells` in the bucket if nobody takes any.
    fn tick_of(&self, level: &Level, cells: u64) -> Instant {
        let missing = (level.spent + u128::from(cells)).saturating_sub(self.initial.into());
        let ticks = u64::try_from(missing.div_ceil(self.refill.into())).ok();
        let after = ticks.and_then(|ticks| ticks.checked_mul(self.ticks.interval_ns));
        let tick = after.and_then(|after| self.made.at.checked_add(Duration::from_nanos(after)));
        tick.unwrap_or_else(|| never(self.made.at))
    }

    /// What a large request takes at once at least: a full bucket, or a refill if that is more.
    fn portion(&self) -> u32 {
        self.max.max(self.refill)
    }
}

impl Source for Bucket {
    type Outcome = ();
    type Never = Infallible;
    type State = Level;

    fn outcome(result: Result<(), Infallible>) {
        let Ok(()) = result;
    }

    fn state(&self) -> Level {
        Level { spent: 0 }
    }

    fn queueable(&self, _: u32, _: Instant) -> Result<(), Infallible> {
        Ok(())
    }

    fn at_once(&self, n: u32, _: Instant) -> Result<(), InsufficientCapacity> {
        if n > self.max {
            Err(InsufficientCapacity(n))
        } else {
            Ok(())
        }
    }

    fn close(&self, level: &mut Level) {
        if let Some(spent) = self.open.close() {
            level.spent = spent.into();
        }
    }

    fn open(&self, level: &Level) {
        // What no word can count stays closed, and is taken with the lock.
        if let Ok(spent) = u64::try_from(level.spent) {
            self.open.open(spent);
        }
    }

    #[inline]
    fn take_unlocked(&self, n: u32) -> bool {
        let ticks = self.ticks.within(self.made.elapsed());
        let come = ticks.checked_mul(self.refill.into());
        let Some(come) = come.and_then(|come| come.checked_add(self.initial.into())) else {
            return false;
        };
        let lost = come.saturating_sub(self.max.into());
        self.open.spend(|spent| {
            let spent = spent.max(lost).checked_add(n.into())?;
            (spent <= come).then_some(spent)
        })
    }

    fn take(&self, level: &mut Level, n: u32, at: Instant, queued: bool) -> Result<(), Instant> {
        if self.there(level, at, queued) < n.into() {
            return Err(self.due(level, n, at));
        }
        level.spent += u128::from(n);
        Ok(())
    }

    fn due(&self, level: &Level, missing: u32, from: Instant) -> Instant {
        self.tick_of(level, missing.min(self.portion()).into()).max(from)
    }

    fn is_sooner(&self, _: u32, _: Instant) -> bool {
        false
    }

    fn serve(&self, level: &mut Level, missing: u32, from: Instant, now: Instant) -> Result<Part, Instant> {
        if self.come_by(from) >= level.spent + u128::from(missing) {
            level.spent += u128::from(missing);
            return Ok(Part {
                cells: missing,
                at: from,
            });
        }
        let due = self.due(level, missing, from);
        if due > now {
            return Err(due);
        }
        let at = if missing > self.portion() {
            self.tick_of(level, missing.into()).clamp(due, now)
        } else {
            due
        };
        let there = self.come_by(at).saturating_sub(level.spent);
        let cells = u32::try_from(there).unwrap_or(u32::MAX).min(missing);
        level.spent += u128::from(cells);
        Ok(Part { cells, at })
    }

    fn plan(&self, level: &Level, _: u32, due: Instant, cells: u64) -> Instant {
        self.tick_of(level, cells).max(due)
    }

    fn give_back(&self, level: &mut Level, n: u32, _: Instant) {
        level.spent = level.spent.saturating_sub(n.into());
    }
}
