//! The meter of one key, over any span of traffic.
//!
//! The decisions of a meter are exact for 20 years from its making. But all its history is in what has not
//! yet drained: a meter at rest and a new one decide alike. So past half of that time a meter gives way to a
//! new one as soon as it is found at rest, and only traffic that leaves none at rest for ten years is beyond
//! this tool.

use std::time::Duration;

use ratelimit_meter::clock::{Clock as _, ManualClock};
use ratelimit_meter::{MultiDecider, NegativeMultiDecision};

use crate::limit::Limit;

const YEAR_NS: u64 = 31_557_600_000_000_000;
const HORIZON_NS: u64 = 20 * YEAR_NS;

/// What a meter said to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admitted,
    /// It would conform this much later.
    Denied(Duration),
    /// It asks for more than the burst has.
    Never,
}

/// A meter and its successors.
pub(crate) struct Lineage {
    meter: Box<dyn MultiDecider>,
    /// When the meter was made, in the time of the traffic; its clock's now is this time.
    made: i64,
    /// When it was asked last.
    asked: i64,
}

impl Lineage {
    pub(crate) fn new(limit: &Limit, clock: &ManualClock, time: i64) -> Self {
        Self {
            meter: limit.meter(clock),
            made: time,
            asked: time,
        }
    }

    /// Asks for `cost` cells at `time`, which is no earlier than any before it. `None` if that is farther from
    /// the making of the meter than its decisions are exact.
    pub(crate) fn check(&mut self, limit: &Limit, clock: &ManualClock, time: i64, cost: u64) -> Option<Verdict> {
        let is_aged = time.abs_diff(self.made) > HORIZON_NS / 2;
        if is_aged && time.abs_diff(self.asked) >= limit.time_to_rest_ns() {
            *self = Self::new(limit, clock, time);
        }
        self.asked = time;
        let age = time.abs_diff(self.made);
        let at = clock
            .now()
            .checked_add(Duration::from_nanos(age))
            .filter(|_| age <= HORIZON_NS)?;
        let Ok(cost) = u32::try_from(cost) else {
            return Some(Verdict::Never);
        };
        Some(match self.meter.check_n_at(cost, at) {
            Ok(()) => Verdict::Admitted,
            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => Verdict::Denied(denial.wait_time_from(at)),
            Err(NegativeMultiDecision::InsufficientCapacity(_)) => Verdict::Never,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Algorithm;

    const YEAR: i64 = 31_557_600_000_000_000;

    fn verdicts(limit: &str, times: &[i64]) -> Vec<Option<Verdict>> {
        let limit = Limit::parse(limit, Algorithm::Gcra).expect("a good limit");
        let clock = ManualClock::new();
        let mut lineage = Lineage::new(&limit, &clock, times[0]);
        times
            .iter()
            .map(|&time| lineage.check(&limit, &clock, time, 1))
            .collect()
    }

    #[test]
    fn centuries_are_exact_where_the_meter_comes_to_rest() {
        let times: Vec<i64> = (-50..50)
            .map(|step| step * 4 * YEAR)
            .flat_map(|time| [time, time + 1])
            .collect();
        for (at, verdict) in verdicts("1/d", &times).into_iter().enumerate() {
            let expected = if at % 2 == 0 {
                Verdict::Admitted
            } else {
                Verdict::Denied(Duration::from_secs(86_400) - Duration::from_nanos(1))
            };
            assert_eq!(verdict, Some(expected), "event {at}");
        }
    }

    #[test]
    fn a_meter_that_is_not_at_rest_is_kept() {
        // 1 in 15 years: at 11, the meter is old enough to give way, but the first cell has not drained.
        let verdicts = verdicts("1/5475d", &[0, 11 * YEAR, 16 * YEAR, 30 * YEAR]);
        assert!(matches!(verdicts[1], Some(Verdict::Denied(_))), "{verdicts:?}");
        assert_eq!(
            [verdicts[0], verdicts[2], verdicts[3]],
            [Some(Verdict::Admitted), Some(Verdict::Admitted), None]
        );
    }

    #[test]
    fn traffic_without_a_rest_is_measured_for_twenty_years() {
        let times: Vec<i64> = (0..=21).map(|year| year * YEAR).collect();
        let verdicts = verdicts("1/2000d", &times);
        assert_eq!(verdicts.iter().position(Option::is_none), Some(21));
    }
}
