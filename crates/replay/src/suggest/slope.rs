//! Exact rates, as fractions.

use std::cmp::Ordering;

/// Units per nanoseconds, compared as rates: 1/2 equals 2/4.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slope {
    pub(super) units: u64,
    /// Never zero.
    pub(super) ns: u64,
}

impl Slope {
    pub(super) const ZERO: Self = Self { units: 0, ns: 1 };

    /// Returns the fewest cells in `period_ns` that are no slower.
    pub(super) fn cells_in(self, period_ns: u64) -> u128 {
        (u128::from(self.units) * u128::from(period_ns)).div_ceil(u128::from(self.ns))
    }
}

impl Ord for Slope {
    fn cmp(&self, other: &Self) -> Ordering {
        let product = |units: u64, ns: u64| u128::from(units) * u128::from(ns);
        product(self.units, other.ns).cmp(&product(other.units, self.ns))
    }
}

impl PartialOrd for Slope {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Slope {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Slope {}
