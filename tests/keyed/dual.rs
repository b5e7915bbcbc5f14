//! Two limits for each key: both or neither.

use crate::support::time::{SECOND, instant};
use crate::support::traffic::spread;
use proptest::prelude::*;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::keyed::{KeyedDual, WhenFull};
use ratelimit_meter::{Dual, DualQuota, Exponential, GCRA, LeakyBucket, NegativeDualDecision, RefusedBy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn keyed(text: &str, clock: &ManualClock) -> KeyedDual<u64, GCRA<ManualClock>> {
    let quotas: DualQuota = text.parse().unwrap();
    let [first, second] = [quotas.first(), quotas.second()].map(|quota| GCRA::from_quota(quota).unwrap());
    KeyedDual::new(
        first.with_clock(clock.clone()),
        second.with_clock(clock.clone()),
        WhenFull::Deny,
        1000,
    )
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_key_is_a_dual_of_its_own(
        text in prop::sample::select(&["10/s & 30/min", "5/s & 5/h", "3/min burst 7 & 100/d", "1/s & 1/s"][..]),
        steps in prop::collection::vec((0_u64..5, 0_u32..9, 0_u32..9, any::<u64>()), 1..100),
    ) {
        let clock = ManualClock::new();
        let keys = keyed(text, &clock);
        let own: Vec<_> = (0..5).map(|_| Dual::<GCRA>::from_quota(text.parse().unwrap()).unwrap().with_clock(clock.clone())).collect();
        let mut now = 0;
        for (key, first, second, wait) in steps {
            now += i128::from(spread(wait, 1, 100 * SECOND)) * i128::from(wait % 2);
            let at = instant(clock.now(), now);
            let own = &own[usize::try_from(key).unwrap()];
            let [one, other] = [keys.check_each_at(&key, [first, second], at), own.check_each_at(first, second, at)];
            prop_assert_eq!(one.is_ok(), other.is_ok());
            prop_assert_eq!(one.map_err(|denied| denied.refused_by()), other.map_err(|denied| denied.refused_by()));
            if let (Err(NegativeDualDecision::BatchNonConforming(_, one)), Err(NegativeDualDecision::BatchNonConforming(_, other))) = (one, other) {
                let [one, other] = [one, other].map(|denied| denied.wait_time_from(at));
                prop_assert!(one.abs_diff(other) <= Duration::from_nanos(1), "{one:?} and {other:?}");
            }
            let [one, other] = keys.status_at(&key, at);
            let dual = own.status_at(at);
            prop_assert_eq!([one.remaining(), other.remaining()], [dual.first().remaining(), dual.second().remaining()]);
        }
    }
}

#[test]
fn a_denial_by_either_limit_counts_by_neither() {
    let clock = ManualClock::new();
    let keys = keyed("2/s & 3/h", &clock);
    assert!(keys.check(&1).is_ok() && keys.check(&1).is_ok());
    let denied = keys.check(&1).unwrap_err();
    assert_eq!(denied.refused_by(), RefusedBy::First);
    assert_eq!(denied.earliest_possible(), clock.now() + Duration::from_millis(500));
    clock.advance(Duration::from_secs(1)).unwrap();
    assert!(keys.check(&1).is_ok());
    assert_eq!(keys.check(&1).unwrap_err().refused_by(), RefusedBy::Second);
    let [first, second] = keys.status(&1);
    assert_eq!([first.remaining(), second.remaining()], [1, 0]);
    let never = keys.check_each_at(&2, [3, 1], clock.now()).unwrap_err();
    assert_eq!(
        never,
        NegativeDualDecision::InsufficientCapacity([3, 1], RefusedBy::First)
    );
    assert_eq!((keys.first().stats().taken, keys.second().stats().taken), (1, 1));
    assert!(keys.clone().check(&2).is_ok() && keys.check(&2).is_ok() && keys.check(&2).is_err());
}

/// Threads race for the last cells of the second limit: the cells that the first gives back can be taken again.
#[test]
fn admissions_in_threads_count_in_both_limits() {
    for _ in 0..50 {
        let quotas: DualQuota = "1000/h & 50/h".parse().unwrap();
        let [first, second] = [quotas.first(), quotas.second()].map(|quota| LeakyBucket::from_quota(quota).unwrap());
        let keys: KeyedDual<u8, LeakyBucket> = KeyedDual::new(first, second, WhenFull::Deny, 10).unwrap();
        let (admitted, now) = (AtomicU32::new(0), Instant::now());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let cells = (0..40).filter(|_| keys.check_at(&7, now).is_ok()).count();
                    admitted.fetch_add(u32::try_from(cells).unwrap(), Ordering::Relaxed);
                });
            }
        });
        let [first, second] = keys.status_at(&7, now);
        assert_eq!(admitted.into_inner(), 50);
        assert_eq!([first.remaining(), second.remaining()], [950, 0]);
    }
}

/// A clock that counts its readings, and its exact readings.
#[derive(Clone)]
struct Read(ManualClock, Arc<[AtomicU32; 2]>);

impl Clock for Read {
    fn now(&self) -> Instant {
        self.1[0].fetch_add(1, Ordering::Relaxed);
        self.0.now()
    }

    fn now_exactly(&self) -> Instant {
        self.1[1].fetch_add(1, Ordering::Relaxed);
        self.0.now()
    }
}

/// If the race for the last cells is lost, the denial counts. At the exact time it is final, so it is never decided again.
#[test]
fn strict_averages_decide_once_at_the_exact_time() {
    let clock = Read(ManualClock::new(), Arc::default());
    let average = |text: &str| {
        Exponential::from_quota(text.parse().unwrap())
            .unwrap()
            .with_clock(clock.clone())
    };
    for [first, second] in [[true, true], [true, false], [false, true]] {
        let like = |is_strict, text| {
            if is_strict {
                average(text).strict()
            } else {
                average(text)
            }
        };
        let keys: KeyedDual<u8, Exponential<Read>> =
            KeyedDual::new(like(first, "9/s"), like(second, "5/s"), WhenFull::Forgive, 1).unwrap();
        clock.1.iter().for_each(|read| read.store(0, Ordering::Relaxed));
        let admitted = (0..20).filter(|_| keys.check(&1).is_ok()).count();
        assert!((1..20).contains(&admitted));
        let read = clock.1.each_ref().map(|read| read.load(Ordering::Relaxed));
        assert_eq!(read, [0, 20], "strict: {first}, {second}");
    }
}
