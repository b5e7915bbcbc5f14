//! An exact bucket in whole numbers of its own: no greatest common divisor, no bound of 2^53, no theoretical arrival time.

use ratelimit_meter::Quota;
use ratelimit_meter_store::Units;

/// A bucket with an exact debt. A microsecond drains `drain` parts, and a cell of the quota is `one` parts.
#[derive(Debug, Clone)]
pub struct ExactBucket {
    one: i128,
    drain: i128,
    cell: i128,
    burst: i128,
    tick: i128,
    time: i128,
    owed: i128,
}

impl ExactBucket {
    /// Returns an idle bucket of the exact rate if the store keeps that, otherwise of the rate that it keeps.
    pub fn of(quota: Quota, units: &Units) -> Self {
        let exact = (quota.period().as_nanos(), 1000 * u128::from(quota.cells().get()));
        let kept = (u128::from(units.one()), u128::from(units.drain()));
        let (one, drain) = if units.is_exact() { exact } else { kept };
        let [one, drain] = [one, drain].map(|n| i128::try_from(n).expect("less than 2^64"));
        let tick_us = quota.refill_interval().map_or(0, |interval| interval.as_micros());
        Self {
            one,
            drain,
            cell: one * i128::from(quota.weight().get()),
            burst: one * i128::from(quota.burst().get()),
            tick: i128::try_from(tick_us).expect("less than 2^64"),
            time: 0,
            owed: 0,
        }
    }

    fn at(&self, now: u64) -> i128 {
        let now = i128::from(now);
        if self.tick == 0 { now } else { now - now % self.tick }
    }

    /// Returns the debt at a time. Before the last change, returns the debt at that change and the volume that drains until then.
    fn owed(&self, now: u64) -> i128 {
        let owed = self.owed - (self.at(now) - self.time) * self.drain;
        if self.at(now) > self.time { owed.max(0) } else { owed }
    }

    /// Returns the cells that conform at once.
    pub fn room(&self, now: u64) -> u64 {
        u64::try_from((self.burst - self.owed(now)).max(0) / self.cell).expect("less than 2^32")
    }

    /// Returns `true` if this number of cells can ever conform.
    pub fn ever(&self, n: u64) -> bool {
        i128::from(n) * self.cell <= self.burst
    }

    /// Returns `true` if this number of cells conforms at a time.
    pub fn conforms(&self, n: u64, now: u64) -> bool {
        self.owed(now) + i128::from(n) * self.cell <= self.burst
    }

    /// Returns the first microsecond at which this number of cells conforms.
    pub fn due(&self, n: u64) -> u64 {
        self.when(self.burst - i128::from(n) * self.cell)
    }

    /// Returns the first microsecond at which nothing is owed.
    pub fn rest(&self) -> u64 {
        if self.owed == 0 { 0 } else { self.when(0) }
    }

    fn when(&self, level: i128) -> u64 {
        let due = self.time - (level - self.owed).div_euclid(self.drain);
        let due = if self.tick == 0 {
            due
        } else {
            -(-due).div_euclid(self.tick) * self.tick
        };
        u64::try_from(due.max(0)).expect("before 2112")
    }

    /// Counts cells at a time.
    pub fn add(&mut self, n: u64, now: u64) {
        self.change(now, |owed, cell| owed + i128::from(n) * cell);
    }

    /// Gives back cells, down to none owed.
    pub fn refund(&mut self, n: u64, now: u64) {
        self.change(now, |owed, cell| (owed - i128::from(n) * cell).max(0));
    }

    /// Gives back the cells added at `drawn` that have certainly not drained.
    pub fn cancel(&mut self, n: u64, drawn: u64, now: u64) {
        let drained = (self.at(now) - self.at(drawn)).max(0) * self.drain;
        self.change(now, |owed, cell| {
            (owed - (i128::from(n) * cell - drained).max(0)).max(0)
        });
    }

    /// Drains until a time, unless that lies before the last change, and replaces the debt; an equal debt is no change.
    fn change(&mut self, now: u64, new: impl FnOnce(i128, i128) -> i128) {
        let later = self.at(now) > self.time;
        let owed = if later { self.owed(now) } else { self.owed };
        let new = new(owed, self.cell);
        if new != owed {
            self.owed = new;
            self.time = self.time.max(self.at(now));
        }
    }

    /// Cancels the debt.
    pub fn reset(&mut self) {
        (self.time, self.owed) = (0, 0);
    }

    /// Returns `true` if at `now` just as much is owed as by the state of a store.
    pub fn owes(&self, units: &Units, time: u64, level: u64, now: u64) -> bool {
        let at = self.at(now).max(i128::from(time)).max(self.time);
        let left = |owed: i128, since: i128, drain: i128| (owed - (at - since) * drain).max(0);
        let mine = left(self.owed, self.time, self.drain);
        let theirs = left(i128::from(level), i128::from(time), i128::from(units.drain()));
        mine * i128::from(units.one()) == theirs * self.one
    }

    /// Returns the debt at `now` in cells of the quota: the numerator, and the denominator.
    pub fn owed_cells(&self, now: u64) -> (i128, i128) {
        (self.owed(now), self.one)
    }
}
