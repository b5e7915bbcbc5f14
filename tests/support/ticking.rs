//! Limits whose cells come in ticks, and the meters of them.

use super::limit::Limit;
use super::subject::{Subject, quota};
use super::time::{DAY, HORIZON};
use super::traffic::spread;
use proptest::prelude::*;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{GCRA, LeakyBucket, Quota};
use std::time::Duration;

/// A limit whose cells come in ticks of this many nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticking {
    pub(crate) limit: Limit,
    pub(crate) interval: u64,
}

impl Ticking {
    /// Returns intervals of any magnitude up to a few times the time to idle.
    pub(crate) fn any(limits: impl Strategy<Value = Limit>) -> impl Strategy<Value = Ticking> {
        (limits, any::<u64>()).prop_map(|(limit, seed)| {
            let longest = u64::try_from((3 * limit.time_to_rest()).min(HORIZON / 50)).expect("some months");
            Ticking {
                limit,
                interval: spread(seed, 1, longest.max(1)),
            }
        })
    }

    pub(crate) fn quota(&self) -> Quota {
        quota(&self.limit)
            .refill_every(Duration::from_nanos(self.interval))
            .expect("an interval within bounds")
    }

    /// Returns the latest tick at or before `at`, counted from the making of the meter. The beginning of the time line, a day before that, is a tick.
    pub(crate) fn tick_by(&self, at: i128) -> i128 {
        let interval = i128::from(self.interval);
        (at.div_euclid(interval) * interval).max(-i128::from(DAY))
    }

    pub(crate) fn tick_from(&self, at: i128) -> i128 {
        let interval = i128::from(self.interval);
        (at + interval - 1).div_euclid(interval) * interval
    }

    /// Creates a meter of every algorithm at the origin.
    pub(crate) fn subjects(&self) -> [Subject; 2] {
        let clock = ManualClock::new();
        let origin = clock.now();
        let (gcra, bucket) = (GCRA::from_quota(self.quota()), LeakyBucket::from_quota(self.quota()));
        [
            Subject {
                name: "GCRA",
                origin,
                meter: Box::new(gcra.expect("as without ticks").with_clock(clock.clone())),
            },
            Subject {
                name: "LeakyBucket",
                origin,
                meter: Box::new(bucket.expect("as without ticks").with_clock(clock)),
            },
        ]
    }
}
