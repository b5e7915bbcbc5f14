//! The exponential average in floating point: as published, with two numbers, and as the sum of its decayed cells.

use super::time::{SECOND, YEAR};
use super::traffic::spread;
use proptest::prelude::*;

/// Converts nanoseconds to a float. Those of a test are below 2^53, or need not be exact.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn float(ns: i128) -> f64 {
    ns as f64
}

/// The published form, after Finch and Exim: the rate in cells per period, and when it was computed.
#[derive(Clone, Debug)]
pub(crate) struct Finch {
    limit: f64,
    period: f64,
    state: Option<(i128, f64)>,
}

impl Finch {
    pub(crate) fn new(limit: u32, period: u64) -> Finch {
        Finch {
            limit: limit.into(),
            period: float(period.into()),
            state: None,
        }
    }

    /// Returns the rate if `cells` come at `at`.
    pub(crate) fn rate_with(&self, cells: f64, at: i128) -> f64 {
        let Some((then, rate)) = self.state else {
            return cells;
        };
        let x = float(at - then) / self.period;
        let mean = if x > 0.0 { -(-x).exp_m1() / x } else { 1.0 };
        (mean * cells + (-x).exp() * rate).max(cells)
    }

    /// Counts `cells` and returns the rate.
    pub(crate) fn count(&mut self, cells: f64, at: i128) -> f64 {
        let rate = self.rate_with(cells, at);
        self.state = Some((at, rate));
        rate
    }

    /// Admits and counts a cell, unless the rate would then be over the limit.
    pub(crate) fn check(&mut self, at: i128) -> bool {
        let conforms = self.rate_with(1.0, at) <= self.limit;
        if conforms {
            self.count(1.0, at);
        }
        conforms
    }
}

/// The sum of the cells, each decayed since it came; at most the threshold just after an admission.
#[derive(Clone, Debug)]
pub(crate) struct ExactAverage {
    period: f64,
    threshold: f64,
    level: f64,
    at: i128,
}

impl ExactAverage {
    pub(crate) fn new(limit: u32, period: u64) -> ExactAverage {
        ExactAverage {
            period: float(period.into()),
            threshold: threshold(limit),
            level: 0.0,
            at: 0,
        }
    }

    pub(crate) fn level(&self, at: i128) -> f64 {
        self.level * (-float(at - self.at) / self.period).exp()
    }

    pub(crate) fn count(&mut self, cells: f64, at: i128) {
        self.level = (self.level(at) + cells).max(0.0);
        self.at = at;
    }

    /// Returns the average for another limit that has as much room at `at`, capped at its whole room.
    pub(crate) fn changed(&self, limit: u32, period: u64, at: i128) -> ExactAverage {
        let mut average = ExactAverage::new(limit, period);
        average.count((average.threshold - self.room(at)).max(0.0), at);
        average
    }

    /// Returns the number of cells that would conform, with fractions.
    pub(crate) fn room(&self, at: i128) -> f64 {
        self.threshold - self.level(at)
    }

    /// Returns the nanoseconds from `at` until `n` cells conform; not positive if they conform now.
    pub(crate) fn wait(&self, n: u32, at: i128) -> f64 {
        self.period * (self.level(at) / (self.threshold - f64::from(n))).ln()
    }
}

/// Returns 1 / (1 - e^(-1/L)), the threshold at which a client that always asks gets L cells in a period.
pub(crate) fn threshold(limit: u32) -> f64 {
    -1.0 / (-1.0 / f64::from(limit)).exp_m1()
}

/// Checks the law of windows of `Exponential`: returns the cells by which the worst window exceeds threshold + L/p * v, for any order of admissions.
pub(crate) fn worst_window(limit: u32, period: u64, admitted: &[(i128, u32)]) -> f64 {
    let mut sorted = admitted.to_vec();
    sorted.sort_unstable();
    let per_ns = f64::from(limit) / float(period.into());
    let (mut worst, mut ending_here, mut before) = (0.0_f64, 0.0_f64, None);
    for (at, n) in sorted {
        let since = before.map_or(0.0, |then| float(at - then));
        ending_here = (ending_here - per_ns * since).max(0.0) + f64::from(n);
        worst = worst.max(ending_here);
        before = Some(at);
    }
    worst - threshold(limit)
}

/// Returns the cells that the resolution of the word may add to a window: two units. A nanosecond has at least twelve units, and a period has no more
/// than necessary.
pub(crate) fn resolution(limit: u32, period: u64) -> f64 {
    2.0 * f64::from(limit) / (12.0 * float(period.into())).min(float(1 << 56))
}

/// Returns limits of any magnitude, each with a period that makes it at most 2^32 cells a second.
pub(crate) fn exponential_limits() -> impl Strategy<Value = (u32, u64)> {
    any::<[u64; 2]>().prop_map(|[limit, period]| {
        let limit = spread(limit, 1, u64::from(u32::MAX));
        let shortest = (u128::from(limit) * u128::from(SECOND)).div_ceil(1 << 32);
        let shortest = u64::try_from(shortest).expect("at most a second").max(1);
        let period = spread(period, shortest, 100 * YEAR);
        (u32::try_from(limit).expect("32 bits"), period)
    })
}

/// Pseudo-random numbers that are the same in every run (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.number() % n
    }

    /// Returns a number above 0 and at most 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (float(i128::from(self.number() >> 12)) + 1.0) / float(1 << 52)
    }

    /// Returns the time to the next event of a Poisson process with this `mean`.
    #[expect(clippy::cast_possible_truncation, reason = "some nanoseconds")]
    pub(crate) fn gap(&mut self, mean: f64) -> i128 {
        (-mean * self.unit().ln()) as i128
    }
}
