//! The integers of the header fields, as pure functions of a quota and of how its meter stands.

use crate::meters::Standing;
use ratelimit_meter::Quota;

/// The largest Integer of a structured field (RFC 9651, section 3.3.1).
const LARGEST: u64 = 999_999_999_999_999;

/// The longest window, in seconds, that is announced for a burst that drains sooner.
const LONGEST_ROUND_WINDOW: u128 = 3600;

const SECOND_NS: u64 = 1_000_000_000;

/// The integers of one quota, computed once.
///
/// T is the time in which one request's share of the quota drains: weight * period / cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldNumbers {
    /// The announced quota `q`, and its window `w` in seconds. Invariant: q / w is at most the rate.
    pub(crate) quota: u64,
    pub(crate) window: u64,
    /// The requests that conform at once, from idle.
    pub(crate) burst: u64,
    /// T as a reduced fraction of nanoseconds.
    unit: Fraction,
    /// The time of as many ticks as give back one request's share, 0 without ticks.
    ticks_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fraction {
    numerator: u128,
    denominator: u128,
}

impl FieldNumbers {
    pub(crate) fn of(quota: Quota) -> Self {
        let (cells, weight) = (u128::from(quota.cells().get()), u128::from(quota.weight().get()));
        let burst = u128::from(quota.burst().get()) / weight;
        let period_ns = quota.period().as_nanos();
        let unit = Fraction::reduced(weight * period_ns, cells);

        // The whole burst drains in `rest` seconds; `rest.denominator` bursts drain in a whole number of them.
        let rest = Fraction::reduced(burst * weight * period_ns, cells * u128::from(SECOND_NS));
        let longest = rest.ceil().max(LONGEST_ROUND_WINDOW);
        let (quota_cells, window) = if rest.numerator <= longest {
            (rest.denominator * burst, rest.numerator)
        } else {
            let ns = longest * u128::from(SECOND_NS);
            (ns * unit.denominator / unit.numerator, longest)
        };
        Self {
            quota: capped(quota_cells),
            window: capped(window),
            burst: capped(burst),
            unit,
            ticks_ns: quota.refill_interval().map_or(0, |tick| {
                let tick_ns = tick.as_nanos();
                nanos(unit.ceil().div_ceil(tick_ns) * tick_ns)
            }),
        }
    }

    /// Returns the standing after `cells` more are counted, which conformed. No time is too short. With ticks, the time until
    /// idle may be two ticks too long.
    ///
    /// The next cell conforms after T at the latest, because the debt is at most the burst.
    pub(crate) fn charged(&self, standing: Standing, cells: u64) -> Standing {
        let remaining = standing.remaining.saturating_sub(cells);
        let drains_ns = self.unit.times(cells).saturating_add(self.ticks_ns);
        let until_rest_ns = standing.until_rest_ns.saturating_add(drains_ns);
        let all_but_one_ns = self.unit.times(self.burst.saturating_sub(1));
        let longest_ns = self.unit.times(1).max(self.ticks_ns);
        let until_next_ns = match remaining {
            0 => until_rest_ns.saturating_sub(all_but_one_ns).min(longest_ns),
            _ => 0,
        };
        Standing {
            remaining,
            until_next_ns,
            until_rest_ns,
        }
    }

    /// Returns the effective window `t`, in seconds, in which `remaining` requests may be made.
    ///
    /// If none remain, `t` is the time until the next one conforms.
    #[inline]
    pub(crate) fn effective_window(&self, remaining: u64, until_next_ns: u64) -> u64 {
        match remaining {
            0 => seconds(until_next_ns),
            _ => seconds(self.unit.times(remaining).max(self.ticks_ns)),
        }
    }
}

impl Fraction {
    fn reduced(numerator: u128, denominator: u128) -> Self {
        let divisor = gcd(numerator, denominator);
        Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        }
    }

    fn ceil(self) -> u128 {
        self.numerator.div_ceil(self.denominator)
    }

    /// Multiplies and rounds up. The product of a burst and T is at most 200 years.
    #[inline]
    fn times(self, factor: u64) -> u64 {
        let product = self.numerator * u128::from(factor);
        match (u64::try_from(product), u64::try_from(self.denominator)) {
            // A division of 64 bits takes a fraction of the time of one of 128.
            (Ok(product), Ok(denominator)) => product.div_ceil(denominator),
            _ => nanos(product.div_ceil(self.denominator)),
        }
    }
}

/// Converts a wait to the seconds of `Retry-After`: rounded up, and never 0, which clients take for an invitation.
#[inline]
pub(crate) fn seconds(ns: u64) -> u64 {
    ns.div_ceil(SECOND_NS).max(1)
}

/// Converts a wait to milliseconds, rounded up.
pub(crate) fn millis(ns: u64) -> u64 {
    ns.div_ceil(1_000_000)
}

/// Narrows a time to 64 bits. A time past 584 years becomes the longest.
pub(crate) fn nanos(ns: u128) -> u64 {
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// A larger quota than a structured field can say is announced as the largest one: less than allowed, never more.
fn capped(n: u128) -> u64 {
    u64::try_from(n).map_or(LARGEST, |n| n.min(LARGEST))
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratelimit_meter::clock::ManualClock;
    use ratelimit_meter::{GCRA, Status};
    use std::time::Duration;

    fn standing(status: &Status) -> Standing {
        Standing {
            remaining: status.remaining().into(),
            until_next_ns: nanos(status.until_next().as_nanos()),
            until_rest_ns: nanos(status.until_rest().as_nanos()),
        }
    }

    /// The numbers of a charge are those of a meter that has counted it, and no wait is shorter.
    #[test]
    fn charged_standing_equals_that_of_a_meter() {
        let quotas = [
            "2/h",
            "7/3ns",
            "100/min burst 20",
            "400000/min weight 7",
            "1/6s",
            "10/s every 1s",
        ];
        for text in quotas {
            let quota: Quota = text.parse().unwrap();
            let (numbers, clock) = (FieldNumbers::of(quota), ManualClock::new());
            for taken in 0..numbers.burst.min(30) {
                let meter = GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
                meter.check_n(u32::try_from(taken).unwrap()).unwrap();
                clock.advance(Duration::from_nanos(1)).unwrap();
                let before = standing(&meter.status());
                let cells = before.remaining.min(5);
                let charged = numbers.charged(before, cells);
                meter.check_n(u32::try_from(cells).unwrap()).unwrap();
                let expected = standing(&meter.status());
                assert_eq!(charged.remaining, expected.remaining, "{text}, {taken}");
                let longer_ns = (charged.until_rest_ns + 2).checked_sub(expected.until_rest_ns);
                assert!(
                    longer_ns.is_some_and(|ns| ns <= 2 * numbers.ticks_ns + 4),
                    "{text}, {taken}"
                );
                if expected.remaining == 0 {
                    assert!(charged.until_next_ns >= expected.until_next_ns, "{text}, {taken}");
                }
            }
        }
    }
}
