//! Writes the least limits as quotas.

use std::num::NonZeroU32;
use std::time::Duration;

use ratelimit_meter::{GCRA, Quota};

use super::NoSuggestion;
use super::hull::Slope;

pub(super) const SECOND: u64 = 1_000_000_000;

/// The customary periods of rates, in nanoseconds.
const PERIODS: [u64; 7] = [
    1,
    1_000,
    1_000_000,
    SECOND,
    60 * SECOND,
    3_600 * SECOND,
    86_400 * SECOND,
];

/// Number of cells that state a rate to within a hundredth. Fewer cells are converted to a longer period, if there is one.
const FINE: u32 = 100;

/// Number of cells above which a rate is converted to a shorter period, if there is one.
const LEGIBLE: u32 = 10_000_000;

/// The longest time from full to idle that a meter supports: 200 years.
const LONGEST_REST: u64 = 200 * 31_557_600 * SECOND;

/// Returns the period of a limit, in nanoseconds.
pub(super) fn period_ns(limit: Quota) -> u64 {
    u64::try_from(limit.period().as_nanos()).unwrap_or(u64::MAX)
}

/// Returns the limit with the least burst that holds `level`, in units times the period in nanoseconds.
pub(super) fn burst(limit: Quota, level: u128) -> Result<Quota, NoSuggestion> {
    let units = level.div_ceil(u128::from(period_ns(limit)));
    let burst = u32::try_from(units).ok().and_then(NonZeroU32::new);
    // The level is zero only if the traffic asked for nothing; a meter still holds at least one cell.
    let quota = limit.allow_burst(burst.unwrap_or(NonZeroU32::MIN).max(limit.weight()));
    if GCRA::from_quota(quota).is_ok() {
        Ok(quota)
    } else {
        Err(NoSuggestion::RestTooLong)
    }
}

/// Returns the least rate in the limit's own period, unless a longer one is finer or a shorter one is easier to read.
pub(super) fn rate(limit: Quota, slope: Slope) -> Result<Quota, NoSuggestion> {
    let own_ns = period_ns(limit);
    let (shorter, longer): (Vec<u64>, Vec<u64>) = PERIODS
        .into_iter()
        .filter(|&period| period != own_ns)
        .partition(|&period| period < own_ns);
    let cells = |quota: &Quota| quota.cells().get();
    let own = rate_in(limit, slope, own_ns);
    match own {
        Some(own) if cells(&own) < FINE => {
            let finer: Vec<Quota> = longer
                .into_iter()
                .map_while(|period| rate_in(limit, slope, period))
                .collect();
            let fine = finer.iter().find(|quota| cells(quota) >= FINE).or(finer.last());
            Ok(*fine.filter(|fine| is_slower(fine, &own)).unwrap_or(&own))
        }
        Some(own) if cells(&own) < LEGIBLE => Ok(own),
        _ => {
            let mut readable = shorter
                .into_iter()
                .rev()
                .filter_map(|period| rate_in(limit, slope, period));
            let legible = readable.find(|quota| cells(quota) < LEGIBLE);
            legible.or(own).ok_or(NoSuggestion::TooLarge)
        }
    }
}

fn is_slower(this: &Quota, that: &Quota) -> bool {
    let cells = |quota: &Quota, other: &Quota| u128::from(quota.cells().get()) * other.period().as_nanos();
    cells(this, that) < cells(that, this)
}

/// Returns the least rate in a period, if a meter supports it.
fn rate_in(limit: Quota, slope: Slope, period_ns: u64) -> Option<Quota> {
    let volume = u128::from(limit.burst().get()) * u128::from(period_ns);
    let cells = slope
        .cells_in(period_ns)
        .max(volume.div_ceil(u128::from(LONGEST_REST)))
        .max(1);
    let cells = NonZeroU32::new(u32::try_from(cells).ok()?)?;
    let quota = Quota::new(cells, Duration::from_nanos(period_ns)).ok()?;
    let quota = quota.allow_burst(limit.burst()).cell_weight(limit.weight());
    GCRA::from_quota(quota).is_ok().then_some(quota)
}
