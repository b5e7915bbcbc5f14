//! The bucket of the limiter that replaces `leaky-bucket`'s, and the gate through which cells are taken without the lock.

use crate::clock::{Beginning, Shift, now};
use crate::error::InsufficientCapacity;
use crate::source::{Part, Source, Times, never};
use crate::sync::{AtomicU64, Ordering};
use core::convert::Infallible;
use core::fmt;
use std::time::{Duration, Instant};

/// The bucket of a [`RateLimiter`](crate::RateLimiter): a number of cells comes at each tick, all at once, and none comes between ticks, as in `leaky-bucket`.
///
/// Ticks are counted from the moment the bucket was made, in whole nanoseconds and integers, so neither the time line nor the level drifts. Cells
/// that come while the bucket is full are lost, unless a caller waits.
///
/// # Law
///
/// In every window, the cells taken are at most those that come at the ticks in the window, plus the larger of max and refill. While a caller waits,
/// no cells are lost, unless a serve is later than the bound of [`Waiting::set_catch_up`](crate::Waiting::set_catch_up).
pub struct Bucket {
    max: u64,
    refill: u64,
    ticks: Ticks,
    initial: u64,
    made: Beginning,
    /// The count of a [`Spent`], while no caller waits.
    gate: Gate,
}

/// The number of cells that were taken or lost since the bucket was made. The lock guards it while the gate is closed.
#[derive(Debug, Clone)]
pub struct Spent {
    spent: u128,
}

impl Bucket {
    /// Returns a bucket whose first tick comes an interval from now. The refill and the interval are not zero, and `initial` is at most `max`.
    pub(crate) fn new(max: u64, refill: u64, interval_ns: u64, initial: u64) -> Self {
        Self {
            max,
            refill,
            ticks: Ticks::new(interval_ns),
            initial,
            made: Beginning::now(),
            gate: Gate::new(0),
        }
    }

    pub(crate) const fn max(&self) -> u64 {
        self.max
    }

    pub(crate) const fn refill(&self) -> u64 {
        self.refill
    }

    pub(crate) const fn interval(&self) -> Duration {
        Duration::from_nanos(self.ticks.interval_ns)
    }

    /// Returns the cells in the bucket at `at`, at most `max`, including those that callers wait for.
    pub(crate) fn balance(&self, level: &mut Spent, at: Instant, queued: bool) -> u64 {
        let there = self.there(level, at, queued);
        u64::try_from(there).map_or(self.max, |there| there.min(self.max))
    }

    /// Returns the cells in the bucket at `at`. While callers wait for them, cells that have overflowed are included.
    fn there(&self, level: &mut Spent, at: Instant, queued: bool) -> u128 {
        if !queued {
            self.overflow(level, at);
        }
        self.come_by(at).saturating_sub(level.spent)
    }

    /// Counts the cells that the bucket could not hold at `at` as lost.
    fn overflow(&self, level: &mut Spent, at: Instant) {
        level.spent = level.spent.max(self.come_by(at).saturating_sub(self.max.into()));
    }

    /// Returns the cells that have come by `at`, including the initial ones.
    fn come_by(&self, at: Instant) -> u128 {
        let ticks = self.ticks.within(self.made.until(at));
        u128::from(self.initial) + u128::from(ticks) * u128::from(self.refill)
    }

    /// Returns the tick from which the bucket holds `cells`, if none are taken.
    fn tick_of(&self, level: &Spent, cells: u64) -> Instant {
        let missing = (level.spent + u128::from(cells)).saturating_sub(self.initial.into());
        let ticks = u64::try_from(missing.div_ceil(self.refill.into())).ok();
        let after = ticks.and_then(|ticks| ticks.checked_mul(self.ticks.interval_ns));
        let tick = after.and_then(|after| self.made.at.checked_add(Duration::from_nanos(after)));
        tick.unwrap_or_else(|| never(self.made.at))
    }

    /// Returns the tick at which the next part of the missing cells comes.
    fn tick_of_part(&self, level: &Spent, missing: u64, from: Instant) -> Instant {
        self.tick_of(level, missing.min(self.portion())).max(from)
    }

    /// Returns the minimum that a large request takes at once: a full bucket, or a refill if that is more.
    fn portion(&self) -> u64 {
        self.max.max(self.refill)
    }
}

impl Source for Bucket {
    type Outcome = ();
    type Never = Infallible;
    type State = Spent;
    type Ahead = Spent;

    const CHANGES_ELSEWHERE: bool = false;

    fn outcome(result: Result<(), Infallible>) {
        let Ok(()) = result;
    }

    fn over(&self, _: u64, _: Instant) -> Result<(), Infallible> {
        // The bucket's ticks never end.
        Ok(())
    }

    fn state(&self) -> Spent {
        Spent { spent: 0 }
    }

    fn queueable(&self, _: u64, _: Instant) -> Result<(), Infallible> {
        Ok(())
    }

    fn at_once(&self, n: u64, _: Instant) -> Result<(), InsufficientCapacity> {
        if n > self.max {
            Err(InsufficientCapacity::above_burst(n))
        } else {
            Ok(())
        }
    }

    fn close(&self, level: &mut Spent) {
        if let Some(spent) = self.gate.close() {
            level.spent = spent.into();
        }
    }

    fn open(&self, level: &Spent) {
        // If the count does not fit a word, the gate stays closed, and cells are taken with the lock.
        if let Ok(spent) = u64::try_from(level.spent) {
            self.gate.open(spent);
        }
    }

    #[inline]
    fn take_unlocked(&self, n: u64, _: Shift) -> bool {
        let ticks = self.ticks.within(self.made.elapsed());
        let come = ticks.checked_mul(self.refill);
        let Some(come) = come.and_then(|come| come.checked_add(self.initial)) else {
            return false;
        };
        let lost = come.saturating_sub(self.max);
        self.gate.spend(|spent| {
            let spent = spent.max(lost).checked_add(n)?;
            (spent <= come).then_some(spent)
        })
    }

    fn take(&self, level: &mut Spent, n: u64, at: Instant, queued: bool) -> Result<(), Instant> {
        if self.there(level, at, queued) < n.into() {
            return Err(self.tick_of_part(level, n, at));
        }
        level.spent += u128::from(n);
        Ok(())
    }

    fn take_up_to(&self, level: &mut Spent, n: u64, at: Instant, queued: bool) -> u64 {
        let taken = self.balance(level, at, queued).min(n);
        level.spent += u128::from(taken);
        taken
    }

    fn due(&self, level: &Spent, missing: u64, from: Instant) -> Option<Instant> {
        Some(self.tick_of_part(level, missing, from))
    }

    fn all_due(&self, level: &Spent, n: u64, due: Instant, now: Instant) -> Instant {
        let mut level = level.clone();
        self.overflow(&mut level, now);
        self.tick_of(&level, n).max(due)
    }

    fn reaches(&self, _: u64, _: Instant) -> bool {
        true
    }

    fn serve(&self, level: &mut Spent, missing: u64, times: Times) -> Result<Part, Instant> {
        // The head could have been served before the floor, so the bucket was already full at the floor.
        if let Some(floor) = times.floor.filter(|floor| times.due < *floor) {
            self.overflow(level, floor);
        }
        let due = self.tick_of_part(level, missing, times.due);
        if due > times.now {
            return Err(due);
        }
        let at = if missing > self.portion() {
            self.tick_of(level, missing).clamp(due, times.now)
        } else {
            due
        };
        let there = self.come_by(at).saturating_sub(level.spent);
        let cells = u64::try_from(there).map_or(missing, |there| there.min(missing));
        level.spent += u128::from(cells);
        Ok(Part { cells, at })
    }

    fn ahead(&self, level: &Spent) -> Spent {
        level.clone()
    }

    fn due_ahead(&self, ahead: &Spent, n: u64, from: Instant) -> Option<Instant> {
        Some(self.tick_of(ahead, n).max(from))
    }

    fn take_ahead(&self, ahead: &mut Spent, n: u64, _: Instant, _: Instant) {
        ahead.spent += u128::from(n);
    }

    fn is_as(&self, _: &Spent, _: Instant) -> bool {
        // All changes go through the queue.
        true
    }

    fn give_back(&self, level: &mut Spent, n: u64, _: Instant) {
        level.spent = level.spent.saturating_sub(n.into());
    }
}

/// Shows the balance, read without the lock. If a caller waits or decides meanwhile, the lock guards the balance, and it is not shown.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Bucket");
        fields
            .field("max", &self.max)
            .field("refill", &self.refill)
            .field("interval", &self.interval());
        match self.gate.count() {
            None => fields.field("balance", &format_args!("<locked>")),
            Some(spent) => {
                let balance = self.balance(&mut Spent { spent: spent.into() }, now(), false);
                fields.field("balance", &balance).field("idle", &(balance == self.max))
            }
        };
        fields.finish_non_exhaustive()
    }
}

/// Counts intervals. It remembers the latest count, so that finding no new tick needs no division.
#[derive(Debug)]
struct Ticks {
    interval_ns: u64,
    latest: std::sync::atomic::AtomicU64,
}

impl Ticks {
    const fn new(interval_ns: u64) -> Self {
        let latest = std::sync::atomic::AtomicU64::new(0);
        Self { interval_ns, latest }
    }

    /// Returns the number of ticks in the first `ns` nanoseconds.
    #[inline]
    fn within(&self, ns: u64) -> u64 {
        // ORDERING: relaxed, and not an atomic of loom's. It is a hint, which is checked before use.
        let latest = self.latest.load(Ordering::Relaxed);
        // A count of a later time wraps to an age of centuries.
        let age = ns.wrapping_sub(latest.wrapping_mul(self.interval_ns));
        if age < self.interval_ns {
            return latest;
        }
        let ticks = ns / self.interval_ns;
        self.latest.store(ticks, Ordering::Relaxed);
        ticks
    }
}

/// The fast path: the count of spent cells, which callers read and exchange without the lock while no caller waits.
///
/// The gate is closed while a caller waits, or decides under the lock. Then the count is in the [`Spent`], and a newcomer finds the gate closed and
/// takes the lock. So closing the gate ensures in one step that no more cells are taken without the lock. There is no moment between finding too few
/// cells and being known to wait.
#[derive(Debug)]
struct Gate(AtomicU64);

impl Gate {
    const CLOSED: u64 = u64::MAX;

    // ORDERING: relaxed, all. The word is the only data that is read, and its operations have one order. The lock publishes the operations under the
    // lock. `models.rs` has a newcomer at each step of a caller that joins.

    fn new(spent: u64) -> Self {
        Self(AtomicU64::new(spent))
    }

    /// Replaces the count by the result of `spend`. Returns whether it did; it cannot while the gate is closed.
    #[inline]
    fn spend(&self, spend: impl Fn(u64) -> Option<u64>) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let is_open = |count: &u64| *count != Self::CLOSED;
            let Some(spent) = Some(seen).filter(is_open).and_then(&spend).filter(is_open) else {
                return false;
            };
            match self
                .0
                .compare_exchange_weak(seen, spent, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(changed) => seen = changed,
            }
        }
    }

    /// Returns the count, unless the gate is closed.
    fn count(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|spent| *spent != Self::CLOSED)
    }

    /// Closes the gate, and returns the count, unless it was closed already.
    fn close(&self) -> Option<u64> {
        let spent = self.0.swap(Self::CLOSED, Ordering::Relaxed);
        Some(spent).filter(|spent| *spent != Self::CLOSED)
    }

    /// Opens the gate, unless it is open: then its count is newer.
    fn open(&self, spent: u64) {
        // The exchange fails only if there is nothing to do.
        let _ = self
            .0
            .compare_exchange(Self::CLOSED, spent, Ordering::Relaxed, Ordering::Relaxed);
    }
}
