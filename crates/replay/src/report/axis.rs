//! Chooses round numbers and round times for the ticks of axes.

const SECOND: i64 = 1_000_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// The possible distances between ticks of time, in nanoseconds.
const STEPS: [i64; 32] = [
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    28 * DAY,
    364 * DAY,
    3_640 * DAY,
];

/// Maximum number of ticks of time whose labels fit; the next constant is for labels with fractions of seconds.
const MOST_TICKS: i64 = 8;
const MOST_LONG_TICKS: i64 = 4;

/// A tick of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tick {
    /// Its place in the box.
    pub(super) at: i64,
    pub(super) label: String,
    /// True if the tick stays if only every other tick has room.
    pub(super) is_major: bool,
}

impl Tick {
    /// Returns the classes of its label.
    pub(super) fn class(&self, class: &str) -> String {
        let minor = if self.is_major { "" } else { " minor" };
        format!("{class}{minor}")
    }
}

/// Returns a few round times of the clock from `start` on for `span` nanoseconds, and the format of their labels.
pub(super) fn times(start: i64, span: i64) -> (impl Iterator<Item = i64>, &'static str) {
    let has_room = |step: i64| span / step < if step < SECOND { MOST_LONG_TICKS } else { MOST_TICKS };
    let step = STEPS.into_iter().find(|&step| has_room(step)).unwrap_or(span);
    let format = match step {
        ..SECOND => "%T%.3f",
        SECOND..MINUTE => "%T",
        MINUTE..DAY => "%H:%M",
        _ if span < 300 * DAY => "%-d %b",
        _ => "%b %Y",
    };
    let end = start.saturating_add(span);
    let first = start.saturating_sub(start.rem_euclid(step));
    let all = std::iter::successors(Some(first), move |time| time.checked_add(step));
    let shown = all
        .skip_while(move |&time| time < start)
        .take_while(move |&time| time <= end);
    (shown, format)
}

/// Returns a round number, three to five of which make `highest`.
pub(super) fn step_of(highest: u128) -> u128 {
    let mut unit = 1_u128;
    loop {
        for times in [1, 2, 5] {
            let step = unit.saturating_mul(times);
            if highest.div_ceil(step) <= 5 {
                return step;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_are_round_and_few() {
        let table = [
            (1, 1),
            (5, 1),
            (6, 2),
            (412, 100),
            (501, 200),
            (1_000_001, 500_000),
            (u128::MAX, 10_u128.pow(38)),
        ];
        for (highest, step) in table {
            assert_eq!(step_of(highest), step, "{highest}");
        }
    }

    proptest! {
        #[test]
        fn axis_has_few_times_within_its_range(start in any::<i64>(), span in 1..i64::MAX) {
            let end = start.saturating_add(span);
            let (times, _) = times(start, span);
            let times: Vec<i64> = times.collect();
            prop_assert!(times.len() <= 9, "{:?}", times);
            prop_assert!(times.iter().all(|time| (start..=end).contains(time)), "{:?}", times);
        }
    }
}
