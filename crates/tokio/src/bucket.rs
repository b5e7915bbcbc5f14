//! The bucket of a `RateLimiter`: cells come in ticks.

use crate::error::InsufficientCapacity;
use crate::source::{Part, Source, never};
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
    pub(crate) interval_ns: u64,
    pub(crate) initial: u32,
    pub(crate) made: Instant,
}

/// How full the bucket is.
#[derive(Debug)]
pub struct Level {
    balance: u64,
    /// The last tick that is counted in.
    tick: Instant,
}

/// What may be in the bucket at most.
#[derive(Clone, Copy)]
enum Cap {
    Max,
    /// Somebody waits for what overflows.
    Waited,
}

impl Bucket {
    pub(crate) const fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval_ns)
    }

    /// The cells in the bucket at `at`.
    pub(crate) fn balance(&self, level: &mut Level, at: Instant, queued: bool) -> u32 {
        self.advance(level, at, Self::cap(queued));
        u32::try_from(level.balance).unwrap_or(u32::MAX).min(self.max)
    }

    const fn cap(queued: bool) -> Cap {
        if queued { Cap::Waited } else { Cap::Max }
    }

    /// Counts in the ticks up to `at`.
    fn advance(&self, level: &mut Level, at: Instant, cap: Cap) {
        let passed = at.saturating_duration_since(level.tick);
        if passed < self.interval() {
            return;
        }
        let ns = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        let ticks = ns / self.interval_ns;
        // At most what has passed, so it is not past the platform's end.
        level.tick += Duration::from_nanos(ticks * self.interval_ns);
        let balance = level.balance.saturating_add(ticks.saturating_mul(self.refill.into()));
        level.balance = match cap {
            Cap::Max => balance.min(self.max.into()),
            Cap::Waited => balance,
        };
    }

    /// The tick at which there will be `cells` in the bucket if nobody takes any.
    fn tick_of(&self, level: &Level, cells: u64) -> Instant {
        let ticks = cells.saturating_sub(level.balance).div_ceil(self.refill.into());
        let after = ticks.checked_mul(self.interval_ns).map(Duration::from_nanos);
        let tick = after.and_then(|after| level.tick.checked_add(after));
        tick.unwrap_or_else(|| never(level.tick))
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
        Level {
            balance: self.initial.into(),
            tick: self.made,
        }
    }

    fn queueable(&self, _: &Level, _: u32) -> Result<(), Infallible> {
        Ok(())
    }

    fn at_once(&self, _: &Level, n: u32) -> Result<(), InsufficientCapacity> {
        if n > self.max {
            Err(InsufficientCapacity(n))
        } else {
            Ok(())
        }
    }

    fn take_unlocked(&self, _: u32) -> bool {
        false
    }

    fn take(&self, level: &mut Level, n: u32, at: Instant, queued: bool) -> Result<(), Instant> {
        self.advance(level, at, Self::cap(queued));
        match level.balance.checked_sub(n.into()) {
            Some(left) => {
                level.balance = left;
                Ok(())
            }
            None => Err(self.due(level, n, at)),
        }
    }

    fn due(&self, level: &Level, missing: u32, from: Instant) -> Instant {
        self.tick_of(level, missing.min(self.portion()).into()).max(from)
    }

    fn is_sooner(&self, _: u32, _: Instant) -> bool {
        false
    }

    fn serve(&self, level: &mut Level, missing: u32, due: Instant, now: Instant) -> Result<Part, Instant> {
        let whole = self.tick_of(level, missing.into()).max(due);
        let at = whole.min(now);
        self.advance(level, at, Cap::Waited);
        let cells = u32::try_from(level.balance).unwrap_or(u32::MAX).min(missing);
        level.balance -= u64::from(cells);
        Ok(Part { cells, at })
    }

    fn plan(&self, level: &Level, _: u32, due: Instant, cells: u64) -> Instant {
        self.tick_of(level, cells).max(due)
    }

    fn give_back(&self, level: &mut Level, n: u32, _: Instant) {
        level.balance += u64::from(n);
    }

    fn settle(&self, level: &mut Level) {
        level.balance = level.balance.min(self.max.into());
    }
}
