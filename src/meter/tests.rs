//! What the meter makes of a clock that is behind.

use crate::clock::{Clock, ManualClock};
use crate::{GCRA, LeakyBucket, NegativeMultiDecision};
use std::time::{Duration, Instant};

/// Reads up to 5 us less than the time.
#[derive(Clone)]
struct Behind {
    time: ManualClock,
    by: Duration,
}

impl Clock for Behind {
    const LAG_NS: u64 = 5_000;

    fn now(&self) -> Instant {
        self.time.now() - self.by
    }

    fn now_exactly(&self) -> Instant {
        self.time.now()
    }
}

#[test]
fn a_denial_short_by_less_than_the_clock_is_behind_is_decided_once_more() {
    for by in [0, 1, 4_999, 5_000].map(Duration::from_nanos) {
        let time = ManualClock::new();
        let clock = Behind { time: time.clone(), by };
        let gcra = GCRA::for_capacity(10).unwrap().build().with_clock(clock.clone());
        let bucket = LeakyBucket::per_second(10).unwrap().with_clock(clock);
        assert!(gcra.check_n(10).is_ok() && bucket.check_n(10).is_ok());
        let denied = [gcra.check().unwrap_err(), bucket.check().unwrap_err()];
        let earliest = denied.map(|denial| denial.earliest_possible());
        for (gcra_turn, earliest) in [true, false].into_iter().zip(earliest) {
            let check = || if gcra_turn { gcra.check_n(1) } else { bucket.check_n(1) };
            time.set(earliest - Duration::from_nanos(1));
            assert!(
                matches!(check(), Err(NegativeMultiDecision::BatchNonConforming(1, _))),
                "{by:?}"
            );
            time.set(earliest);
            assert_eq!(check(), Ok(()), "behind by {by:?}");
        }
    }
}
