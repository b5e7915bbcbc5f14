//! A limit as plain numbers, and the resolution a meter of it documents.

use super::time::SECOND;

/// `cells` units per `period` nanoseconds, `burst` units at once, `weight` units a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) cells: u64,
    pub(crate) period: u64,
    pub(crate) burst: u64,
    pub(crate) weight: u64,
}

impl Limit {
    /// As many units at once as in a period, one unit a cell.
    pub(crate) const fn new(cells: u64, period: u64) -> Limit {
        Limit {
            cells,
            period,
            burst: cells,
            weight: 1,
        }
    }

    pub(crate) const fn per_second(cells: u64) -> Limit {
        Limit::new(cells, SECOND)
    }

    pub(crate) const fn burst(self, burst: u64) -> Limit {
        Limit { burst, ..self }
    }

    pub(crate) const fn weight(self, weight: u64) -> Limit {
        Limit { weight, ..self }
    }

    /// GCRA(T, tau) of the standard, in nanoseconds: a bucket of T + tau that drains one a nanosecond; a cell costs T.
    pub(crate) const fn standard(t: u64, tau: u64) -> Limit {
        Limit {
            cells: 1,
            period: 1,
            burst: t + tau,
            weight: t,
        }
    }

    /// What a rested meter admits at one instant, as far as a batch can say it.
    pub(crate) fn at_once(&self) -> u32 {
        u32::try_from(self.burst / self.weight).unwrap_or(u32::MAX)
    }

    /// The whole bucket, in 1/period of a unit: the measure in which everything here is a whole number.
    pub(crate) fn capacity(&self) -> i128 {
        i128::from(self.burst) * i128::from(self.period)
    }

    /// What `n` cells cost, in the same measure.
    pub(crate) fn cost(&self, n: u32) -> i128 {
        i128::from(n) * i128::from(self.weight) * i128::from(self.period)
    }

    /// What drains in `ns` nanoseconds, in the same measure.
    pub(crate) fn drained(&self, ns: i128) -> i128 {
        ns * i128::from(self.cells)
    }

    /// The first whole nanosecond by which `level` has drained.
    pub(crate) fn time_to_drain(&self, level: i128) -> i128 {
        let cells = i128::from(self.cells);
        (level + cells - 1).div_euclid(cells)
    }

    /// D: from a full bucket to an empty one.
    pub(crate) fn time_to_rest(&self) -> i128 {
        self.time_to_drain(self.capacity())
    }

    /// The first whole nanosecond by which `k` cells have drained; exactly k emission intervals where that is a whole number.
    pub(crate) fn emission(&self, k: i128) -> i128 {
        self.time_to_drain(k * i128::from(self.weight) * i128::from(self.period))
    }

    /// f, from its definition: the largest f up to 63 with fewer than 16 units of 2^-f a nanosecond for which the whole
    /// time line of 2^60 ns, the burst and two more stay below 2^64 units.
    pub(crate) fn fraction_bits(&self) -> u32 {
        let (cells, period, burst) = (u128::from(self.cells), u128::from(self.period), u128::from(self.burst));
        (0..=63)
            .rev()
            .find(|f| {
                cells << f < 16 * period
                    && burst << f < 1 << 64
                    && ((cells << f) << 60) + ((burst << f) + 2) * period < period << 64
            })
            .expect("a limit within the law of parameters")
    }

    /// The two units of 2^-f that the resolution of the word may add to a window, in 1/period of a unit, rounded down.
    pub(crate) fn resolution(&self) -> i128 {
        (2 * i128::from(self.period)) >> self.fraction_bits()
    }
}
