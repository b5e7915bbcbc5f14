//! Meters that begin with less than their burst.

use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::{gcra, leaky_bucket, quota};
use crate::support::time::{HORIZON, instant, since};
use crate::support::traffic::{batch, limits, spread, whole_limits};
use proptest::prelude::*;
use ratelimit_meter::algorithms::{Algorithm, InconsistentCapacity};
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, Meter, Quota};
use std::time::Duration;

/// Plays batches in the order of time on a meter that begins with `available` cells, and on an exact bucket of the same level.
fn play<A: Algorithm>(meter: Meter<A>, limit: &Limit, available: u32, questions: &[(u64, u64)]) {
    let clock = ManualClock::new();
    let origin = clock.now();
    let meter = meter
        .with_clock(clock)
        .with_available(available)
        .expect("at most the burst");
    let mut exact = ExactBucket::filled(*limit, limit.capacity() - limit.cost(available), 0);
    let mut now = 0;
    let rest = u64::try_from(limit.time_to_rest().clamp(1, HORIZON / 100)).expect("positive");
    for &(size, wait) in questions {
        let n = batch(size, limit);
        let said = meter.check_n_at(n, instant(origin, now));
        let judged = exact.decide(n, now);
        match (said, judged) {
            (Ok(()), Verdict::Conforms) => {}
            (Err(ratelimit_meter::NegativeMultiDecision::BatchNonConforming(_, denied)), Verdict::From(due)) => {
                assert_eq!(since(origin, denied.earliest_possible()), due, "{limit:?}");
            }
            (said, judged) => panic!("{n} cells at {now}: {said:?}, not {judged:?}: {limit:?}"),
        }
        now += i128::from(spread(wait, 1, rest)) - 1;
    }
}

proptest! {
    #[test]
    fn initial_cells_equal_the_exact_bucket(
        limit in whole_limits(),
        seed in any::<u64>(),
        none in any::<bool>(),
        questions in prop::collection::vec(any::<(u64, u64)>(), 1..60),
    ) {
        let available = if none { 0 } else { batch(seed, &limit) };
        play(gcra(&limit), &limit, available, &questions);
        play(leaky_bucket(&limit), &limit, available, &questions);
    }

    /// Checks for every limit and algorithm that exactly the initial cells are available, as one batch and in the status.
    #[test]
    fn exactly_the_initial_cells_are_available(limit in limits(), seed in any::<u64>(), none in any::<bool>()) {
        let available = if none { 0 } else { batch(seed, &limit) };
        assert_available(&gcra(&limit), available);
        assert_available(&leaky_bucket(&limit), available);
    }

    #[test]
    fn exactly_the_initial_cells_of_averages_are_available(cells in 1u64..1_000_000, period in 1_000u64..1 << 50, seed in any::<u64>(), none in any::<bool>()) {
        let limit = Limit::new(cells, period.max(cells));
        let meter = Exponential::from_quota(quota(&limit)).unwrap();
        assert_available(&meter, if none { 0 } else { batch(seed, &limit) });
    }
}

fn assert_available<A: Algorithm>(meter: &Meter<A>, available: u32) {
    let clock = ManualClock::new();
    let meter = || {
        meter
            .clone()
            .with_clock(clock.clone())
            .with_available(available)
            .expect("at most the burst")
    };
    assert_eq!(meter().status().remaining(), available);
    assert!(available == u32::MAX || meter().check_n(available + 1).is_err());
    let taken = meter().take(available);
    assert!(taken.decision().is_ok());
    assert_eq!(taken.status().remaining(), 0);
}

#[test]
fn more_than_the_burst_cannot_be_available() {
    let quota: Quota = "10/s burst 8 weight 3".parse().unwrap();
    for n in [3, u32::MAX] {
        let error = GCRA::from_quota(quota).unwrap().with_available(n).unwrap_err();
        assert_eq!(error, InconsistentCapacity::AvailableAboveBurst { cells: n, burst: 2 });
    }
    assert!(LeakyBucket::from_quota(quota).unwrap().with_available(2).is_ok());
    let average = Exponential::new(10, Duration::from_secs(1)).unwrap();
    assert!(average.clone().with_available(10).is_ok());
    assert!(average.with_available(11).is_err());
}

/// It is another meter, of the same limit and kind.
#[test]
fn making_a_meter_leaves_its_source_unchanged() {
    let clock = ManualClock::new();
    let meter = Exponential::new(10, Duration::from_secs(1))
        .unwrap()
        .with_clock(clock)
        .strict();
    let other = meter.clone().with_available(0).unwrap();
    assert!(other.check().is_err());
    assert!(meter.check_n(10).is_ok());
    assert!(other.rate() > 10.5, "refused cells count: {}", other.rate());
    assert_eq!(other.into_local().status().remaining(), 0);
    let standard = GCRA::with_parameters(Duration::from_secs(1000), Duration::from_secs(1500), None);
    assert_eq!(standard.with_available(1).unwrap().status().remaining(), 1);
}

proptest! {
    /// Up to the bound that the type documents: the square of the limit is below the units of a period, of which a nanosecond has 12.
    #[test]
    fn average_admits_all_available_single_cells(
        limit in prop_oneof![1_u32..50, 1_u32..20_000],
        period_ms in prop_oneof![1_000_u64..100_000, Just(60_000), Just(3_600_000), Just(30 * 86_400_000)],
        share in 0.0..=1.0_f64,
    ) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the limit")]
        let available = [0, 1, limit / 2, (f64::from(limit) * share) as u32, limit];
        for n in available {
            let clock = ManualClock::new();
            let average = Exponential::new(limit, Duration::from_millis(period_ms)).expect("a limit").with_clock(clock.clone());
            let meter = average.with_available(n.min(limit)).expect("at most the limit");
            prop_assert_eq!(meter.status().remaining(), n);
            let admitted = (0..=n).take_while(|_| meter.check().is_ok()).count();
            prop_assert_eq!(admitted, n as usize);
        }
    }
}
