//! Medians and percentiles of measurements.

use serde::Serialize;

/// The summary of many rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) lower_quartile: f64,
    pub(crate) median: f64,
    pub(crate) upper_quartile: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// Summarizes values in any order; `None` if there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            min: *sorted.first()?,
            lower_quartile: percentile(&sorted, 25, 100)?,
            median: median(&sorted)?,
            upper_quartile: percentile(&sorted, 75, 100)?,
            max: *sorted.last()?,
        })
    }
}

/// The middle of sorted values, or the point halfway between the two in the middle.
fn median(sorted: &[f64]) -> Option<f64> {
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// The smallest of the sorted values that at least `part / whole` of the values do not exceed (nearest rank).
pub(crate) fn percentile<T: Copy>(sorted: &[T], part: usize, whole: usize) -> Option<T> {
    let rank = (sorted.len() * part).div_ceil(whole).max(1);
    sorted.get(rank - 1).copied()
}

/// A count as a float.
#[expect(clippy::cast_precision_loss, reason = "counts and ticks of a run are far below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_halfway_between_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }

    #[test]
    fn percentile_is_the_least_value_not_exceeded() {
        let thousand: Vec<u32> = (1..=1000).collect();
        let table = [(500, 500), (999, 999), (1000, 1000), (1, 1), (0, 1)];
        for (per_mille, value) in table {
            assert_eq!(percentile(&thousand, per_mille, 1000), Some(value));
        }
        assert_eq!(percentile(&[7, 8, 9], 50, 100), Some(8));
        assert_eq!(percentile(&[7, 8], 50, 100), Some(7));
        assert_eq!(percentile::<u32>(&[], 50, 100), None);
    }

    #[test]
    fn one_outlier_moves_the_maximum_and_nothing_else() {
        let mut values: Vec<f64> = (1..=100).map(f64::from).collect();
        let calm = Summary::of(&values).unwrap();
        values[99] = 1e9;
        values.reverse();
        let noisy = Summary::of(&values).unwrap();
        assert_eq!(noisy, Summary { max: 1e9, ..calm });
        assert_eq!(
            (calm.lower_quartile, calm.median, calm.upper_quartile),
            (25.0, 50.5, 75.0)
        );
    }
}
