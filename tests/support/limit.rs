//! A limit as plain numbers, and the resolution a meter of it documents.

use super::time::SECOND;

/// `cells` units per `period` nanoseconds, `burst` units at once, `weight` units a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) cells: u64,
    pub(crate) period: u64,
    pub(crate) burst: u64,
    pub(crate) weight: u64,
    /// The number of bits of a meter's word: 64, and fewer in a table of keys.
    pub(crate) word_bits: u32,
}

impl Limit {
    /// Creates a limit with as many units at once as in a period, and one unit a cell.
    pub(crate) const fn new(cells: u64, period: u64) -> Limit {
        Limit {
            cells,
            period,
            burst: cells,
            weight: 1,
            word_bits: 64,
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

    /// Creates GCRA(T, tau) of the standard, in nanoseconds: a bucket of T + tau that drains one a nanosecond; a cell costs T.
    pub(crate) const fn standard(t: u64, tau: u64) -> Limit {
        Limit {
            cells: 1,
            period: 1,
            burst: t + tau,
            weight: t,
            word_bits: 64,
        }
    }

    pub(crate) const fn in_words_of(self, word_bits: u32) -> Limit {
        Limit { word_bits, ..self }
    }

    /// Returns the cells that an idle meter admits at one instant, capped at the largest batch.
    pub(crate) fn at_once(&self) -> u32 {
        u32::try_from(self.burst / self.weight).unwrap_or(u32::MAX)
    }

    /// Returns the capacity of the bucket, in 1/period of a unit: the measure in which everything here is a whole number.
    pub(crate) fn capacity(&self) -> i128 {
        i128::from(self.burst) * i128::from(self.period)
    }

    /// Returns the cost of `n` cells, in the same measure.
    pub(crate) fn cost(&self, n: u32) -> i128 {
        i128::from(n) * i128::from(self.weight) * i128::from(self.period)
    }

    /// Returns the volume that drains in `ns` nanoseconds, in the same measure.
    pub(crate) fn drained(&self, ns: i128) -> i128 {
        ns * i128::from(self.cells)
    }

    /// Returns the first whole nanosecond by which `level` has drained.
    pub(crate) fn time_to_drain(&self, level: i128) -> i128 {
        let cells = i128::from(self.cells);
        (level + cells - 1).div_euclid(cells)
    }

    /// Returns D: the time from a full bucket to an empty one.
    pub(crate) fn time_to_rest(&self) -> i128 {
        self.time_to_drain(self.capacity())
    }

    /// Returns the first whole nanosecond by which `k` cells have drained; exactly k emission intervals if that is a whole number.
    pub(crate) fn emission(&self, k: i128) -> i128 {
        self.time_to_drain(k * i128::from(self.weight) * i128::from(self.period))
    }

    /// Returns f by its definition. It is the largest f up to 63 with fewer than 16 units of 2^-f a nanosecond. The whole time line of 2^60 ns, the
    /// burst and two more must stay below 2^64 units.
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

    /// Returns the units in which the word of a table's slot counts one, and whether none of them is rounded. By definition the units are the most
    /// for which the whole time line, the burst and one more stay below 2^bits - 2^52. Units that drain in whole numbers by the nanosecond are
    /// preferred, if there are any.
    fn units(&self) -> Option<(i128, bool)> {
        let (cells, period, burst) = (i128::from(self.cells), i128::from(self.period), i128::from(self.burst));
        let (line, end) = ((1_i128 << 60) - 1, (1_i128 << self.word_bits) - (1 << 52));
        let (mut divisor, mut rest) = (cells, period);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        let (rate, least) = (cells / divisor, period / divisor);
        let times = (end - 1) / (rate * line + burst * least);
        let exact = Some((least * times, true)).filter(|(one, _)| times > 0 && rate * times < 16 && *one > 1);
        exact
            .or(Some(((end - 2) / ((cells * line) / period + burst + 1), false)))
            .filter(|(one, _)| *one > 1)
    }

    /// Returns whether the word of a table's slot can count this limit.
    pub(crate) fn fits(&self) -> bool {
        self.units().is_some()
    }

    /// Returns a unit of the word, in 1/period of the quota's unit, rounded up.
    pub(crate) fn unit(&self) -> i128 {
        match self.word_bits {
            64 => (i128::from(self.period) >> self.fraction_bits()) + 1,
            _ => i128::from(self.period) / self.units().expect("a limit that fits").0 + 1,
        }
    }

    /// Returns the two units that the resolution of the word may add to a window, in 1/period of the quota's unit, rounded down.
    pub(crate) fn resolution(&self) -> i128 {
        match self.word_bits {
            64 => (2 * i128::from(self.period)) >> self.fraction_bits(),
            _ => match self.units().expect("a limit that fits") {
                (_, true) => 0,
                // Less than one more, since the volume drained in a nanosecond was rounded here.
                (one, false) => 2 * i128::from(self.period) / (one - one / 1_000_000_000 - 1).max(1),
            },
        }
    }
}
