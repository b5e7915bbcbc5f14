//! A bucket in whole numbers: nothing is rounded, and a double holds each of them.
//!
//! With C cells per period of P ns, and g = gcd(1000 C, P), one cell of the quota is `one` = P/g units. In a microsecond `drain` = 1000 C/g units
//! drain. A checked cell of weight w costs `cell` = w * one units and the burst B is B * one. The state of a key is (time, level): microseconds since
//! 1970, and the units owed then. At a later time t, `level - min(level, (t - time) * drain)` is owed. `n` cells conform if and only if level + n *
//! cell <= burst, from `time + ceil((level + n * cell - burst) / drain)` on, exact to the microsecond.
//!
//! Every number is a whole number up to 2^53, so scripts that count in doubles (Lua) and tables of 64-bit integers (SQL) decide alike.

use crate::error::InvalidQuota;
use crate::time::Micros;
use ratelimit_meter::{GCRA, Quota};

/// The largest burst in units, and the largest time: sums of two of them are exact in a double.
pub(crate) const MOST: u64 = 1 << 52;

/// The largest whole number up to which a double holds them all.
pub(crate) const TOP: u64 = (1 << 53) - 1;

/// The numbers of a quota for a store: the drain of a microsecond, a cell and the burst, in the same units.
///
/// ```
/// use ratelimit_meter_store::Units;
///
/// let units = Units::of("100/min burst 20".parse()?)?;
/// assert_eq!((units.drain(), units.cell(), units.burst()), (1, 600_000, 12_000_000));
/// assert!(units.is_exact());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Units {
    drain: u64,
    one: u64,
    cell: u64,
    burst: u64,
    tick_us: u64,
    exact: bool,
    quota: Quota,
}

impl Units {
    /// Returns the numbers of `quota`.
    ///
    /// If burst * P/g exceeds 2^52, [`is_exact`](Self::is_exact) is false. Then the rate is the largest fraction at most C/P that fits, short by less
    /// than 4 * burst / 2^52 of the rate.
    ///
    /// # Errors
    ///
    /// [`InvalidQuota`], if no meter can hold the quota, or a full burst takes longer than 2^52 us (142 years) to drain. Also if a refill interval is
    /// no whole number of microseconds.
    pub fn of(quota: Quota) -> Result<Self, InvalidQuota> {
        GCRA::from_quota(quota).map_err(InvalidQuota::Inconsistent)?;
        let tick_us = match quota.refill_interval() {
            None => 0,
            Some(interval) => match u64::try_from(interval.as_micros()) {
                Ok(us) if interval.subsec_nanos() % 1000 == 0 && us <= MOST => us,
                _ => return Err(InvalidQuota::Interval { interval }),
            },
        };
        let [cells, burst, weight] = [quota.cells(), quota.burst(), quota.weight()].map(|n| u64::from(n.get()));
        let period_ns = u64::try_from(quota.period().as_nanos()).map_err(|_| InvalidQuota::RestTooLong)?;
        let divisor = gcd(1000 * cells, period_ns);
        let exact = (1000 * cells / divisor, period_ns / divisor);
        let (drain, one) = best_at_most(exact, MOST / burst);
        if drain == 0 {
            return Err(InvalidQuota::RestTooLong);
        }
        Ok(Self {
            drain,
            one,
            cell: one * weight,
            burst: one * burst,
            tick_us,
            exact: (drain, one) == exact,
            quota,
        })
    }

    /// Returns the units that drain in a microsecond.
    #[must_use]
    pub const fn drain(&self) -> u64 {
        self.drain
    }

    /// Returns the units of one of the cells that the quota counts.
    #[must_use]
    pub const fn one(&self) -> u64 {
        self.one
    }

    /// Returns the units of one checked cell: of its weight.
    #[must_use]
    pub const fn cell(&self) -> u64 {
        self.cell
    }

    /// Returns the units of the burst, at most 2^52.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// Returns the refill interval in microseconds, counted from 1970; 0 if cells drain one by one.
    #[must_use]
    pub const fn tick_us(&self) -> u64 {
        self.tick_us
    }

    /// Returns `true` if the rate equals the quota's, `false` if it is the next lower rate that fits.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.exact
    }

    /// Returns the quota.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Returns the most cells that conform at once.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "at most the burst of the quota")]
    pub const fn max_batch(&self) -> u32 {
        (self.burst / self.cell) as u32
    }

    /// Returns the numbers with `units` taken off the burst; `None` if that leaves less than a cell.
    pub(crate) fn with_less_burst(self, units: u64) -> Option<Self> {
        let burst = self.burst.checked_sub(units).filter(|&burst| burst >= self.cell)?;
        Some(Self { burst, ..self })
    }

    /// Returns the units owed at the tick of `at`: more than the level if the state is of a later time.
    pub(crate) fn owed(&self, time: Micros, level: u64, at: Micros) -> i128 {
        let drained = (i128::from(at.tick(self.tick_us)) - i128::from(time.get())) * i128::from(self.drain);
        (i128::from(level) - drained).max(0)
    }

    /// Returns how many cells conform at once at a time.
    pub(crate) fn remaining(&self, time: Micros, level: u64, at: Micros) -> u32 {
        let free = (i128::from(self.burst) - self.owed(time, level, at)).max(0);
        u32::try_from(free / i128::from(self.cell)).unwrap_or(u32::MAX)
    }

    /// Returns the first microsecond at which the level is at most `level_then`; 0 if that is before 1970.
    pub(crate) fn due(&self, time: Micros, level: u64, level_then: u64) -> u64 {
        let free = i128::from(level_then) - i128::from(level);
        let due = i128::from(time.get()) - free.div_euclid(i128::from(self.drain));
        let due = u64::try_from(due).unwrap_or(0);
        match self.tick_us {
            0 => due,
            interval => due.div_ceil(interval) * interval,
        }
    }
}

const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Returns the largest fraction at most `p/q`, which is in lowest terms, whose denominator is at most `most`.
///
/// Walks down the Stern-Brocot tree in whole runs, like a continued fraction: logarithmic in `q`.
fn best_at_most((p, q): (u64, u64), most: u64) -> (u64, u64) {
    if q <= most {
        return (p, q);
    }
    let whole = p / q;
    let (p, q) = (i128::from(p % q), i128::from(q));
    let most = i128::from(most);
    // low <= p/q < high, neighbours in the tree; the answer is always `low`.
    let (mut low, mut high) = ((0, 1), (1, 1));
    loop {
        let below = p * low.1 - low.0 * q;
        let above = high.0 * q - p * high.1;
        let run = (below / above).min((most - low.1) / high.1);
        low = (low.0 + run * high.0, low.1 + run * high.1);
        if low.1 + high.1 > most {
            break;
        }
        // As far down as `high` stays above p/q. `high` moves, because `low` has gone as far up as it stays below p/q. `low` never is p/q, because q
        // exceeds `most`.
        let below = p * low.1 - low.0 * q;
        let run = (above - 1) / below;
        high = (high.0 + run * low.0, high.1 + run * low.1);
    }
    let [numerator, denominator] = [low.0, low.1].map(|n| u64::try_from(n).unwrap_or(0));
    (whole * denominator + numerator, denominator)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn units(quota: &str) -> Units {
        Units::of(quota.parse().unwrap()).unwrap()
    }

    #[test]
    fn quotas_of_round_numbers_are_exact() {
        let table = [
            ("100/min burst 20", 1, 600_000),
            ("1/6s", 1, 6_000_000),
            ("250000/d", 1, 345_600),
            ("10/s", 1, 100_000),
            ("4294967295/s", 858_993_459, 200_000),
            ("1/36525d burst 1", 1, 3_155_760_000_000_000),
        ];
        for (quota, drain, one) in table {
            let units = units(quota);
            assert_eq!((units.drain, units.one, units.exact), (drain, one, true), "{quota}");
        }
        let heavy = units("400000/min burst 100000 weight 2");
        assert_eq!((heavy.cell, heavy.max_batch()), (heavy.one * 2, 50_000));
    }

    #[test]
    fn inexact_rate_becomes_the_next_lower() {
        for (quota, drain, one) in [
            ("999983/d", 39_599, 3_421_411_764),
            ("1000000007/d burst 4294967295", 5, 432),
        ] {
            let units = units(quota);
            assert_eq!((units.drain, units.one, units.exact), (drain, one, false), "{quota}");
        }
    }

    #[test]
    fn overlong_idle_time_and_nanosecond_ticks_are_errors() {
        let error_of = |quota: &str| Units::of(quota.parse().unwrap()).unwrap_err();
        assert_eq!(error_of("1/60000d"), InvalidQuota::RestTooLong);
        assert!(matches!(error_of("3/s every 1500ns"), InvalidQuota::Interval { .. }));
        let heavy = Quota::per_second(ratelimit_meter::nonzero!(1u32)).cell_weight(ratelimit_meter::nonzero!(2u32));
        assert!(matches!(Units::of(heavy), Err(InvalidQuota::Inconsistent(_))));
    }

    proptest! {
        #[test]
        fn no_fraction_lies_between(p in 1_u64..60, q in 1_u64..400, most in 1_u64..60) {
            let divisor = gcd(p, q);
            let (p, q) = (p / divisor, q / divisor);
            let best = best_at_most((p, q), most);
            prop_assert!(best.1 <= most.max(1) && u128::from(best.0) * u128::from(q) <= u128::from(p) * u128::from(best.1));
            for denominator in 1..=most {
                let numerator = p * denominator / q;
                prop_assert!(numerator * best.1 <= best.0 * denominator, "{numerator}/{denominator} is closer than {best:?}");
            }
        }

        #[test]
        fn every_number_is_exact_in_a_double(cells in 1_u32.., burst in 1_u32.., period_ns in 1_u64..4_000_000_000_000_000_000) {
            let Ok(quota) = Quota::new(cells.try_into().unwrap(), std::time::Duration::from_nanos(period_ns)) else { return Ok(()) };
            let Ok(units) = Units::of(quota.allow_burst(burst.try_into().unwrap())) else { return Ok(()) };
            prop_assert!(units.burst <= MOST && units.burst == units.one * u64::from(burst));
            prop_assert!(units.drain <= TOP);
            #[expect(clippy::cast_precision_loss, reason = "a bound with room for it")]
            let [drain, one, period, most] = [units.drain, units.one, period_ns, MOST].map(|n| n as f64);
            let short = 1.0 - drain / one / (f64::from(cells) * 1000.0 / period);
            prop_assert!(short > -1e-12 && short < 4.0 * f64::from(burst) / most + 1e-12, "short by {short}");
        }
    }
}
