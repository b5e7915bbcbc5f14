//! The meter of one key, over any span of traffic: for limits of two quotas, and where each key has a limit of its own. All other limits have one meter
//! for all keys ([`crowd`](crate::crowd)).
//!
//! The decisions of a meter are exact for 20 years after it was made. All its history is in the cells that have not yet drained, so an idle meter and
//! a new meter make the same decisions. After half of that time, a meter is replaced by a new one as soon as it is found idle. The tool fails only
//! for traffic that keeps a meter busy for ten years without a break.
//!
//! This holds only if time never goes back. Otherwise a replaced meter would have forgotten cells that an earlier time would find still owed. In that
//! case each key keeps its first meter, which measures ten years before its first request and ten years after it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ratelimit_meter::MultiDecider;
use ratelimit_meter::clock::ManualClock;

use crate::lending::Lend;
use crate::limit::Metered;
use crate::verdict::EventVerdict;

const YEAR_NS: u64 = 31_557_600_000_000_000;
/// Time after its creation for which the decisions of a meter are exact.
const HORIZON_NS: u64 = 20 * YEAR_NS;
/// Time before its first request from which a meter measures, if time may go back.
const LEAD_NS: u64 = 10 * YEAR_NS;

/// The values that the meters of a limit are made from.
pub(crate) struct Maker {
    limit: Metered,
    clock: ManualClock,
    /// The fixed time of the clock, at which every meter is made.
    now: Instant,
    /// The latest age that was converted, and its instant: many requests have one stamp.
    latest: Cell<(u64, Instant)>,
    time_to_rest_ns: u64,
    may_go_back: bool,
}

impl Maker {
    pub(crate) fn new(limit: Metered, may_go_back: bool) -> Self {
        let now = Instant::now();
        Self {
            time_to_rest_ns: limit.time_to_rest_ns(),
            limit,
            clock: ManualClock::starting_at(now),
            now,
            latest: Cell::new((0, now)),
            may_go_back,
        }
    }

    /// Creates a meter that decides for many keys; `None` for two quotas.
    pub(crate) fn lend(&self) -> Option<Box<dyn Lend>> {
        self.limit.lend(&self.clock, self.now)
    }

    /// Returns whether a key is idle this long after its latest request.
    #[inline]
    pub(crate) fn is_idle_after(&self, ns: u64) -> bool {
        ns >= self.time_to_rest_ns
    }

    pub(crate) fn may_go_back(&self) -> bool {
        self.may_go_back
    }

    /// Returns the time of the traffic at which to make a meter whose first request comes at `time`.
    pub(crate) fn made_for(&self, time: i64) -> i64 {
        let lead = if self.may_go_back { LEAD_NS } else { 0 };
        self.limit.tick_by(time.saturating_sub_unsigned(lead))
    }

    /// Returns whether a key may start at `time` on a meter made at `made`, so that at least nine years are left to measure: after `time`, and if time
    /// may go back also before it.
    #[inline]
    pub(crate) fn starts_on(&self, made: i64, time: i64) -> bool {
        let range = if self.may_go_back {
            LEAD_NS - YEAR_NS..=LEAD_NS + YEAR_NS
        } else {
            0..=HORIZON_NS / 2
        };
        time >= made && range.contains(&time.abs_diff(made))
    }

    /// Converts `time` to the instant of a meter that was made at `made`; `None` if the instant is too early.
    #[inline]
    pub(crate) fn instant(&self, made: i64, time: i64) -> Option<Instant> {
        let age = time.checked_sub(made).and_then(|age| u64::try_from(age).ok())?;
        let (latest, at) = self.latest.get();
        if age == latest {
            return Some(at);
        }
        let at = self.now.checked_add(Duration::from_nanos(age))?;
        self.latest.set((age, at));
        Some(at)
    }

    /// Does the same; `None` if the meter's decisions are not exact at `time`.
    #[inline]
    pub(crate) fn at(&self, made: i64, time: i64) -> Option<Instant> {
        let is_exact = time.abs_diff(made) <= HORIZON_NS;
        self.instant(made, time).filter(|_| is_exact)
    }
}

/// A meter and the meters that replace it.
pub(crate) struct Lineage {
    meter: Box<dyn MultiDecider>,
    /// The time of the traffic when the meter was made. Its clock stands at this time.
    made: i64,
    /// The time of the latest request.
    asked: i64,
}

impl Lineage {
    /// Creates the meter of a key whose first request comes at `time`.
    pub(crate) fn new(maker: &Maker, time: i64) -> Self {
        Self {
            meter: maker.limit.meter(&maker.clock),
            made: maker.made_for(time),
            asked: time,
        }
    }

    /// Asks for `cost` cells at `time`, which is no earlier than any before it unless the maker allows that. Returns `None` if `time` is so far from
    /// the making of the meter that its decisions are not exact.
    #[inline]
    pub(crate) fn check(&mut self, maker: &Maker, time: i64, cost: u64) -> Option<EventVerdict> {
        let is_aged = !maker.may_go_back && time.abs_diff(self.made) > HORIZON_NS / 2;
        if is_aged && maker.is_idle_after(time.abs_diff(self.asked)) {
            *self = Self::new(maker, time);
        }
        self.asked = time;
        let at = maker.at(self.made, time)?;
        Some(EventVerdict::of(cost, at, |n| self.meter.check_n_at(n, at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::AlgorithmName;

    const YEAR: i64 = 31_557_600_000_000_000;

    fn verdicts(limit: &str, may_go_back: bool, times: &[i64]) -> Vec<Option<EventVerdict>> {
        let maker = Maker::new(Metered::parse(limit, AlgorithmName::Gcra), may_go_back);
        let mut lineage = Lineage::new(&maker, times[0]);
        times.iter().map(|&time| lineage.check(&maker, time, 1)).collect()
    }

    #[test]
    fn centuries_are_exact_for_a_meter_becoming_idle() {
        let times: Vec<i64> = (-50..50)
            .map(|step| step * 4 * YEAR)
            .flat_map(|time| [time, time + 1])
            .collect();
        for (at, verdict) in verdicts("1/d", false, &times).into_iter().enumerate() {
            let expected = if at % 2 == 0 {
                EventVerdict::Admitted
            } else {
                EventVerdict::Denied(Duration::from_secs(86_400) - Duration::from_nanos(1))
            };
            assert_eq!(verdict, Some(expected), "event {at}");
        }
    }

    #[test]
    fn ticks_follow_the_clock_for_centuries() {
        const S: i64 = 1_000_000_000;
        for may_go_back in [false, true] {
            let times = [S / 2, S - 1, S, S + 1, 2 * S];
            let admitted = Some(EventVerdict::Admitted);
            let until = |ns: i64| Some(EventVerdict::Denied(Duration::from_nanos(ns.unsigned_abs())));
            assert_eq!(
                verdicts("1/s every 1s", may_go_back, &times),
                [admitted, until(1), admitted, until(S - 1), admitted]
            );
        }
        // Each meter is replaced by the next, and no meter is made at a tick.
        let times: Vec<i64> = (-50..50)
            .flat_map(|step| [step * 4 * YEAR + S / 3, step * 4 * YEAR + S / 2])
            .collect();
        for pair in verdicts("1/s every 1s", false, &times).chunks(2) {
            assert_eq!(
                pair,
                [
                    Some(EventVerdict::Admitted),
                    Some(EventVerdict::Denied(Duration::from_millis(500)))
                ]
            );
        }
    }

    #[test]
    fn indebted_meter_is_kept() {
        // 1 in 15 years: at 11, the meter is old enough to give way, but the first cell has not drained.
        let verdicts = verdicts("1/5475d", false, &[0, 11 * YEAR, 16 * YEAR, 30 * YEAR]);
        assert!(matches!(verdicts[1], Some(EventVerdict::Denied(_))), "{verdicts:?}");
        assert_eq!(
            [verdicts[0], verdicts[2], verdicts[3]],
            [Some(EventVerdict::Admitted), Some(EventVerdict::Admitted), None]
        );
    }

    #[test]
    fn pair_is_kept_until_both_limits_are_idle() {
        let verdicts = verdicts("1/s & 1/5475d", false, &[0, 11 * YEAR, 16 * YEAR, 19 * YEAR]);
        let denied = verdicts
            .iter()
            .map(|verdict| matches!(verdict, Some(EventVerdict::Denied(_))));
        assert_eq!(denied.collect::<Vec<_>>(), [false, true, false, true], "{verdicts:?}");
    }

    #[test]
    fn continuous_traffic_is_measured_for_twenty_years() {
        let times: Vec<i64> = (0..=21).map(|year| year * YEAR).collect();
        let verdicts = verdicts("1/2000d", false, &times);
        assert_eq!(verdicts.iter().position(Option::is_none), Some(21));
    }

    #[test]
    fn decreasing_times_are_measured_within_ten_years() {
        let hour = 3_600_000_000_000;
        // An hour and a day back, cells admitted later are still owed.
        let results = verdicts("2/s", true, &[YEAR, YEAR, YEAR - hour, YEAR - 24 * hour, YEAR + hour]);
        let wait = |hours: u64| {
            Some(EventVerdict::Denied(
                Duration::from_secs(hours * 3_600) + Duration::from_millis(500),
            ))
        };
        let admitted = Some(EventVerdict::Admitted);
        assert_eq!(results, [admitted, admitted, wait(1), wait(24), admitted]);
        let results = verdicts("1/s", true, &[0, 10 * YEAR, 10 * YEAR + 1, -10 * YEAR, -10 * YEAR - 1]);
        assert_eq!(results[1], admitted);
        assert!(matches!(results[3], Some(EventVerdict::Denied(_))), "{results:?}");
        assert_eq!([results[2], results[4]], [None, None]);
    }
}
