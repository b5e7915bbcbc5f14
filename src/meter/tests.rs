//! Decisions by a clock that may be behind.

use crate::clock::{Clock, ManualClock};
use crate::units::{Nanos, Scale, TimeLine, Volume};
use crate::{GCRA, LeakyBucket, NegativeMultiDecision, Quota, nonzero};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A clock that is up to 5 us behind, and may have an anchor that is as old as its lag.
#[derive(Clone)]
struct Behind<const ANCHORED: bool> {
    time: ManualClock,
    by: Duration,
    /// The number of readings of the clock, and of exact readings.
    read: Arc<[AtomicU32; 2]>,
}

impl<const ANCHORED: bool> Behind<ANCHORED> {
    fn new(time: &ManualClock, by: Duration) -> Self {
        Self {
            time: time.clone(),
            by,
            read: Arc::default(),
        }
    }

    /// Returns how often the clock was read since the last call.
    fn read(&self) -> [u32; 2] {
        [0, 1].map(|which| self.read[which].swap(0, Ordering::Relaxed))
    }
}

impl<const ANCHORED: bool> Clock for Behind<ANCHORED> {
    const LAG_NS: u64 = 5_000;

    const HAS_ANCHORS: bool = ANCHORED;

    fn now(&self) -> Instant {
        self.read[0].fetch_add(1, Ordering::Relaxed);
        self.time.now() - self.by
    }

    fn drained_at_anchor(&self, line: &TimeLine, end: Nanos, scale: Scale) -> Option<Volume> {
        let at = line.position(self.time.now() - self.by);
        (ANCHORED && at < end).then(|| scale.volume_at(at))
    }

    fn anchor_holds(&self) -> bool {
        true
    }

    fn drained_since_anchor(&self, anchored: Volume, _scale: Scale) -> Option<Volume> {
        Some(anchored)
    }

    fn now_exactly(&self) -> Instant {
        self.read[1].fetch_add(1, Ordering::Relaxed);
        self.time.now()
    }
}

fn decides_near_denials_exactly<const ANCHORED: bool>() {
    for by in [0, 1, 4_999, 5_000].map(Duration::from_nanos) {
        let time = ManualClock::new();
        let clock = Behind::<ANCHORED>::new(&time, by);
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

#[test]
fn a_denial_within_the_lag_is_decided_exactly() {
    decides_near_denials_exactly::<false>();
}

#[test]
fn a_denial_within_the_lag_of_an_anchor_is_decided_exactly() {
    decides_near_denials_exactly::<true>();
}

#[test]
fn a_certain_decision_reads_no_exact_time() {
    let (time, by) = (ManualClock::new(), Duration::from_micros(3));
    let clock = Behind::<true>::new(&time, by);
    let quota = Quota::per_second(nonzero!(10u32));
    let gcra = GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
    clock.read();
    assert!(gcra.check_n(9).is_ok() && gcra.check().is_ok());
    let read = clock.read();
    assert!(
        read == [0, 0] || cfg!(ratelimit_meter_spurious),
        "after a failed exchange, the decision is not made at once"
    );
    assert!(matches!(
        gcra.check_n(11),
        Err(NegativeMultiDecision::InsufficientCapacity(11))
    ));
    let denial = gcra.check().unwrap_err();
    assert_eq!(
        gcra.check_n(1),
        Err(NegativeMultiDecision::BatchNonConforming(1, denial))
    );
    assert_eq!(clock.read(), [1, 0], "only for the batch that never conforms");
    // Within the lag, the decision needs the exact time.
    time.set(denial.earliest_possible() - Duration::from_micros(2));
    assert_eq!(gcra.check(), Err(denial));
    assert_eq!(clock.read(), [1, 1]);
    // At the end of the time line, no decision is made at once.
    time.advance(Duration::from_secs(40 * 365 * 86_400)).unwrap();
    assert!(gcra.check().is_ok());
    assert_eq!(clock.read(), [1, 0]);
    // No decision is made at once where volume drains in ticks either.
    let quota = quota.refill_every(Duration::from_secs(1)).unwrap();
    let ticking = GCRA::from_quota(quota).unwrap().with_clock(clock.clone());
    clock.read();
    assert!(ticking.check().is_ok());
    assert_eq!(clock.read(), [1, 0]);
}
