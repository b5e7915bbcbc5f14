//! A limit in units: the numbers that the algorithms compare and add.

use crate::algorithm::Numbers;
use crate::error::InconsistentCapacity;
use crate::quota::{LONGEST_REST, Quota, greatest_common_divisor};
use crate::units::{Nanos, UnitScale, Volume};
use core::fmt;
use core::time::Duration;

/// The number of parts into which a change of quota divides a unit.
const PARTS: u128 = 1 << 60;

/// The numbers of one limit.
///
/// *Invariant*: none of them can overflow a word. At the end of the time line, with a full burst outstanding, the word is at most `volume_at(END) +
/// tolerance`. The largest number, which marks closed words, is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitLimit {
    /// The rate at which the limit drains.
    pub(crate) scale: UnitScale,
    /// The units of one of the quota's cells, exact.
    one: u64,
    /// The units of one checked cell, exact: `one` times its weight. The product with a number of cells up to `max_batch` is exact too.
    pub(crate) cell: u64,
    /// The burst in units, exact.
    burst: u64,
    /// The burst in units, plus one unit where time is rounded. Without that unit, a cell that arrives exactly on its instant would be denied,
    /// since the volume drained by then was rounded down.
    pub(crate) tolerance: u64,
    /// The most cells that can conform at once.
    pub(crate) max_batch: u32,
    /// T, the time of one cell, rounded up.
    pub(crate) emission_interval_ns: u64,
    /// The standard's tau: how much earlier than its theoretical arrival time a cell conforms, rounded down.
    pub(crate) tau_ns: u64,
}

impl UnitLimit {
    /// Makes the limit of a quota, in units of 2^-f of the quota's unit, with f as large as the word and the scale allow.
    pub(crate) fn of_quota(quota: Quota) -> Result<Self, InconsistentCapacity> {
        quota.validate()?;
        let (cells, burst) = (quota.cells().get(), quota.burst().get());
        let period_ns = quota.period_ns();
        let (scale, f) = (0..u64::BITS)
            .rev()
            .find_map(|f| {
                let scale = UnitScale::draining(u128::from(cells) << f, period_ns)?;
                let full = (u128::from(burst) << f) + 1;
                (u128::from(scale.volume_at(Nanos::END).0) + full < u128::from(u64::MAX)).then_some((scale, f))
            })
            .ok_or(InconsistentCapacity::TooFast {
                cells,
                period: quota.period(),
            })?;
        Ok(Self::of_units(quota, scale, 1 << f, 1))
    }

    /// Makes the limit of a valid quota, in units of which the quota's unit is `one`. If time is rounded, `slack` is added to the burst.
    fn of_units(quota: Quota, scale: UnitScale, one: u64, slack: u64) -> Self {
        let (cells, burst) = (quota.cells().get(), quota.burst().get());
        let (weight, period_ns) = (quota.weight().get(), quota.period_ns());
        let interval_of = |units: u32| u128::from(units) * u128::from(period_ns);
        Self {
            scale,
            one,
            cell: u64::from(weight) * one,
            burst: u64::from(burst) * one,
            tolerance: u64::from(burst) * one + slack,
            max_batch: burst / weight,
            emission_interval_ns: whole(interval_of(weight).div_ceil(u128::from(cells))),
            tau_ns: whole(interval_of(burst - weight) / u128::from(cells)),
        }
    }

    /// Makes the limit of a quota whose words all stay below `end`, in the smallest possible units. Returns `None` if a cell would be less than two
    /// units.
    ///
    /// Words of a table are a few bits shorter than a meter's. Their units are not far below a nanosecond and must be chosen with care. If a
    /// whole number of units can drain in a nanosecond, nothing is rounded: at 10/s a unit is 10^-8 cells, and one drains each nanosecond.
    fn of_quota_below(quota: Quota, end: u64) -> Option<Self> {
        quota.validate().ok()?;
        let (cells, burst) = (u128::from(quota.cells().get()), u128::from(quota.burst().get()));
        let (period, line) = (u128::from(quota.period_ns()), u128::from(Nanos::END.get()));
        let divisor = greatest_common_divisor(cells, period);
        // Counts in units of which a cell is `least` and `rate` drain in a nanosecond, or in a multiple of both, as large as fits.
        let (rate, least) = (cells / divisor, period / divisor);
        let times = u128::from(end - 1) / (rate * line + burst * least);
        let exact = (times > 0).then(|| UnitScale::draining(rate * times, 1)).flatten();
        if let Some((scale, one)) = exact.zip(u64::try_from(least * times).ok()).filter(|(_, one)| *one > 1) {
            return Some(Self::of_units(quota, scale, one, 0));
        }
        let one = u128::from(end - 2) * period / (cells * line + burst * period);
        let scale = UnitScale::draining(cells * one, quota.period_ns())?;
        let one = u64::try_from(one).ok().filter(|one| *one > 1)?;
        Some(Self::of_units(quota, scale, one, 1))
    }

    /// Makes the standard's GCRA(T, tau), in units of 2^-k nanosecond. Rounds nothing.
    pub(crate) fn of_interval(t_ns: u64, tau_ns: u64) -> Result<Self, InconsistentCapacity> {
        Self::of_interval_below(t_ns, tau_ns, u64::MAX)
    }

    /// Makes the same limit in words that all stay below `end`.
    fn of_interval_below(t_ns: u64, tau_ns: u64, end: u64) -> Result<Self, InconsistentCapacity> {
        if t_ns == 0 {
            return Err(InconsistentCapacity::ZeroPeriod);
        }
        let rest_ns = t_ns
            .checked_add(tau_ns)
            .filter(|&rest| rest <= LONGEST_REST)
            .ok_or_else(|| InconsistentCapacity::rest_too_long(u128::from(t_ns) + u128::from(tau_ns)))?;
        // At most 3, because sixteen units a nanosecond would exceed the scale.
        let (scale, k) = (0..=3)
            .rev()
            .find_map(|k| {
                let scale = UnitScale::draining(1 << k, 1)?;
                let full = u128::from(rest_ns) << k;
                (u128::from(scale.volume_at(Nanos::END).0) + full < u128::from(end)).then_some((scale, k))
            })
            .ok_or_else(|| InconsistentCapacity::rest_too_long(u128::from(rest_ns)))?;
        Ok(Self {
            scale,
            one: t_ns << k,
            cell: t_ns << k,
            burst: rest_ns << k,
            tolerance: rest_ns << k,
            max_batch: u32::try_from(rest_ns / t_ns).unwrap_or(u32::MAX),
            emission_interval_ns: t_ns,
            tau_ns,
        })
    }

    /// Makes the same limit, from `quota` or otherwise from its own T and tau, in words that all stay below `end`. Returns `None` if that is not
    /// possible.
    pub(crate) fn below(self, quota: Option<Quota>, end: u64) -> Option<Self> {
        match quota {
            Some(quota) => Self::of_quota_below(quota, end),
            None => {
                let (t_ns, tau_ns) = (self.emission_interval_ns, self.tau_ns);
                let exact = Self::of_interval_below(t_ns, tau_ns, end).ok();
                exact.or_else(|| self.of_part_of_nanos_below(end))
            }
        }
    }

    /// Makes the limit of the same T and tau in units that drain more slowly than one a nanosecond, as small as fits below `end`. Returns `None` if T
    /// would be less than two units.
    fn of_part_of_nanos_below(self, end: u64) -> Option<Self> {
        let (t, tau) = (u128::from(self.emission_interval_ns), u128::from(self.tau_ns));
        let one = u128::from(end - 2) * t / (u128::from(Nanos::END.get()) + t + tau);
        let scale = UnitScale::draining(one, self.emission_interval_ns)?;
        let cell = u64::try_from(one).ok().filter(|one| *one > 1)?;
        let burst = whole((t + tau) * one / t);
        Some(Self {
            scale,
            one: cell,
            cell,
            burst,
            tolerance: burst + 1,
            ..self
        })
    }

    /// Returns the level at which exactly `n` cells are available; `n` is at most [`UnitLimit::max_batch`].
    pub(crate) const fn level_leaving(self, n: u32) -> u64 {
        self.burst - self.cell * n as u64
    }

    /// Returns the units of any number of cells, at most the largest word.
    pub(crate) const fn cost_of_any(self, n: u64) -> u64 {
        self.cell.saturating_mul(n)
    }

    /// Returns the units of `n` cells, counted at `at`, that certainly have not drained by `drained`: those left if they drain before all other cells.
    pub(crate) const fn undrained(self, n: u32, Volume(drained): Volume, Volume(at): Volume) -> u64 {
        self.cost_of_any(n as u64).saturating_sub(drained.saturating_sub(at))
    }

    /// Returns how many cells a meter whose word is `word` can still record.
    pub(crate) fn cells_until_last_word(self, word: u64) -> u64 {
        self.last_word().saturating_sub(word) / self.cell
    }

    /// Converts a level of this limit to a word of the limit `next`, keeping the number of available cells, capped at the new burst. Also
    /// returns the part of a debt that no word of `next` can record, in the quota's cells, rounded up.
    ///
    /// The level is zero if `level` is zero, and otherwise `level` units and `part` / 2^60 of a unit. `drained` is the volume that `next` has drained.
    /// The available cells are rounded down, by less than one unit.
    pub(crate) fn carry(self, level: u64, part: u64, next: &Self, Volume(drained): Volume) -> (u64, u64) {
        let [one, next_one] = [self.one, next.one].map(u128::from);
        let part = if level > 0 { part } else { 0 };
        // Units of `next` for a volume of this limit, rounded up; the product of the part is below 2^124.
        let scaled_up = |units: u64, part: u64| {
            let (whole, rest) = (u128::from(units) * next_one / one, u128::from(units) * next_one % one);
            let part = (rest * PARTS + u128::from(part) * next_one).div_ceil(one * PARTS);
            whole + part
        };
        let burst = u128::from(next.burst);
        let next_level = if level < self.burst {
            // The same from above: the available cells are rounded down.
            let above = PARTS - u128::from(part);
            let available = u128::from(self.burst - level - 1) * next_one;
            let (whole, rest) = (available / one, available % one);
            let available = whole + (rest * PARTS + above * next_one) / (one * PARTS);
            burst.saturating_sub(available)
        } else {
            burst + scaled_up(level - self.burst, part)
        };
        let (word, last) = (u128::from(drained) + next_level, u128::from(next.last_word()));
        let unrecorded = word.saturating_sub(last).div_ceil(next_one);
        (whole(word.min(last)), whole(unrecorded))
    }

    /// Converts a level of this limit to a word of the limit `next`, keeping the number of owed cells, rounded up. `drained` is the volume
    /// that `next` has drained.
    pub(crate) fn owing(self, level: u64, next: &Self, Volume(drained): Volume) -> u64 {
        let next_level = (u128::from(level) * u128::from(next.one)).div_ceil(self.one.into());
        whole((u128::from(drained) + next_level).min(next.last_word().into()))
    }

    /// Returns the whole cells in `units`, at most [`UnitLimit::max_batch`].
    #[inline]
    pub(crate) fn cells_in(self, units: u64) -> u32 {
        let cells = u32::try_from(units / self.cell).unwrap_or(u32::MAX);
        cells.min(self.max_batch)
    }

    /// Returns the quota's cells in `units`, rounded up.
    pub(crate) const fn count(self, units: u64) -> u64 {
        units.div_ceil(self.one)
    }
}

impl Numbers for UnitLimit {
    #[inline]
    fn scale(&self) -> UnitScale {
        self.scale
    }

    /// Returns the largest word: a full burst at the end of the time line.
    fn last_word(&self) -> u64 {
        self.scale.volume_at(Nanos::END).0 + self.tolerance
    }

    fn cell(&self) -> u64 {
        self.cell
    }

    #[inline]
    fn max_batch(&self) -> u32 {
        self.max_batch
    }

    fn parameters(&self) -> (u64, u64) {
        (self.emission_interval_ns, self.tau_ns)
    }

    fn describe(&self, fields: &mut fmt::DebugStruct<'_, '_>) {
        fields
            .field("emission_interval", &Duration::from_nanos(self.emission_interval_ns))
            .field("burst", &self.max_batch);
    }
}

/// Converts a number that the quota's own limits keep within 64 bits.
fn whole(exact: u128) -> u64 {
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::num::NonZeroU32;
    use proptest::prelude::*;

    /// Log-uniform, so that every magnitude occurs.
    fn magnitude(max: u64) -> impl Strategy<Value = u64> {
        (0..=max.ilog2(), any::<u64>()).prop_map(move |(bits, low)| (1 << bits | low & ((1 << bits) - 1)).min(max))
    }

    fn count() -> impl Strategy<Value = NonZeroU32> {
        magnitude(u64::from(u32::MAX)).prop_map(|n| NonZeroU32::new(u32::try_from(n).unwrap()).unwrap())
    }

    fn quota() -> impl Strategy<Value = Quota> {
        (count(), magnitude(LONGEST_REST), count(), count()).prop_filter_map(
            "law 9",
            |(cells, period, burst, weight)| {
                let quota = Quota::new(cells, Duration::from_nanos(period)).ok()?;
                let quota = quota.allow_burst(burst).cell_weight(weight);
                quota.validate().is_ok().then_some(quota)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { max_global_rejects: 100_000, max_local_rejects: 1_000_000, ..ProptestConfig::default() })]

        #[test]
        fn limit_in_shorter_words_counts_the_same(quota in quota(), bits in 58_u32..=62) {
            let (limit, end) = (UnitLimit::of_quota(quota).unwrap(), (1 << bits) - (1 << 52));
            let Some(short) = limit.below(Some(quota), end) else {
                // Possible only if a nanosecond drains a large part of a cell.
                prop_assert!(u128::from(quota.cells().get()) << (63 - bits) > u128::from(quota.period_ns()));
                return Ok(());
            };
            prop_assert!(short.last_word() < end);
            prop_assert_eq!([short.emission_interval_ns, short.tau_ns], [limit.emission_interval_ns, limit.tau_ns]);
            prop_assert_eq!([short.max_batch, limit.max_batch], [short.cells_in(short.tolerance), limit.cells_in(limit.tolerance)]);
            // The volume drained in a year is the same, to a unit of either limit.
            let year = Nanos::clamped(31_557_600_000_000_000);
            let drained = |limit: UnitLimit, other: UnitLimit| u128::from(limit.scale.volume_at(year).0) * u128::from(other.one);
            let (one, other) = (drained(limit, short), drained(short, limit));
            prop_assert!(one.abs_diff(other) <= 2 * u128::from(limit.one.max(short.one)), "{} and {}", one, other);
        }

        #[test]
        fn whole_emission_interval_is_exact_in_any_word(t in 2_u64..1_000_000_000_000, cells in 1_u32..1_000_000, bits in 61_u32..=62) {
            let quota = Quota::new(NonZeroU32::new(cells).unwrap(), Duration::from_nanos(t * u64::from(cells))).unwrap();
            let short = UnitLimit::of_quota(quota).unwrap().below(Some(quota), (1 << bits) - (1 << 52)).unwrap();
            prop_assert_eq!(short.tolerance, short.burst);
            prop_assert_eq!(short.scale.volume_at(Nanos::clamped(t)).0, short.one);
            prop_assert_eq!(short.scale.volume_at(Nanos::clamped(t - 1)).0, short.one - short.one / t);
        }

        #[test]
        fn every_quota_has_a_sufficiently_fine_scale(quota in quota()) {
            let limit = UnitLimit::of_quota(quota).unwrap();
            prop_assert!(limit.one.is_power_of_two() && limit.one >= 2, "a cell is {} units", limit.one);
            prop_assert_eq!(limit.cell, limit.one * u64::from(quota.weight().get()));
            prop_assert!(limit.scale.nanos_at(Volume(1)) == 1, "a unit takes longer than a nanosecond");
            prop_assert_eq!(limit.tolerance, u64::from(quota.burst().get()) * limit.one + 1);
        }

        #[test]
        fn no_word_overflows(quota in quota()) {
            let limit = UnitLimit::of_quota(quota).unwrap();
            let Volume(end) = limit.scale.volume_at(Nanos::END);
            prop_assert!(end.checked_add(limit.tolerance).is_some_and(|last| last < u64::MAX));
        }

        #[test]
        fn carried_volume_loses_less_than_a_unit(old in quota(), new in quota(), level in any::<u64>(), now in any::<u64>()) {
            let [old, new] = [old, new].map(|quota| UnitLimit::of_quota(quota).unwrap());
            let (level, now) = (level % (old.last_word() + 1), now % (new.scale.volume_at(Nanos::END).0 + 1));
            let (word, unrecorded) = old.carry(level, 0, &new, Volume(now));
            // The available cells, times the units that a cell has in both limits. The product may exceed the type.
            let available = |limit: UnitLimit, level: u64, other: u64| {
                i128::from(limit.burst).checked_sub(level.into())?.checked_mul(other.into())
            };
            let Some(exact) = available(old, level, new.one) else { return Ok(()) };
            let Some(carried) = available(new, word - now, old.one) else { return Ok(()) };
            let kept = exact.min(i128::from(new.burst) * i128::from(old.one));
            let one = i128::from(new.one) * i128::from(old.one);
            let Some(lost) = one.checked_mul(unrecorded.into()) else { return Ok(()) };
            if unrecorded == 0 {
                prop_assert!((0..i128::from(old.one)).contains(&(kept - carried)), "{kept} and {carried}");
            } else {
                prop_assert_eq!(word, new.last_word());
                let short = carried - kept;
                prop_assert!(short <= lost && lost - short < one + i128::from(old.one));
            }
        }

        #[test]
        fn a_whole_interval_is_exact(t in magnitude(LONGEST_REST / 2), tau in magnitude(LONGEST_REST / 2)) {
            let limit = UnitLimit::of_interval(t, tau).unwrap();
            let per_ns = limit.cell / t;
            prop_assert!((2..=8).contains(&per_ns), "{per_ns} units a nanosecond");
            prop_assert_eq!(limit.scale.volume_at(Nanos::clamped(12_345)), Volume(12_345 * per_ns));
            prop_assert_eq!(limit.tolerance, (t + tau) * per_ns);
            let last = limit.scale.volume_at(Nanos::END).0.checked_add(limit.tolerance);
            prop_assert!(last.is_some_and(|last| last < u64::MAX));
        }
    }

    #[test]
    fn the_fastest_cells_are_two_units() {
        let limit = UnitLimit::of_quota(Quota::per_second(NonZeroU32::MAX)).unwrap();
        assert_eq!(limit.cell, 2);
        assert_eq!(limit.tolerance, 2 * u64::from(u32::MAX) + 1);
    }
}
