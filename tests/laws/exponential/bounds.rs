//! `Exponential`: its capacity, its recovery, its law of windows, its instants, and the cost of batches.

use crate::support::exponential::{ExactAverage, exponential_limits, float};
use crate::support::time::{DAY, HORIZON, SECOND, YEAR, instant, since};
use crate::support::traffic::spread;
use proptest::prelude::*;
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::{Exponential, NegativeMultiDecision, Quota};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// L and p in nanoseconds, within the bounds of precision: L * L / p below 1e10 a second, L / p at most 1e7 a second.
const PRECISE: &[(u32, u64)] = &[
    (1, 1000),
    (1, 100 * YEAR),
    (2, 1_000_000),
    (3, 60 * SECOND),
    (10, 1_000_003),
    (17, 7 * SECOND),
    (99, 1_000_000),
    (100, 60 * SECOND),
    (1000, SECOND),
    (1000, 100 * YEAR),
    (31_607, SECOND / 10),
    (99_999, SECOND),
    (100_000, DAY),
];

fn exponential(limit: u32, period: u64) -> (Exponential, Instant) {
    let origin = Instant::now();
    let meter = Exponential::new(limit, Duration::from_nanos(period)).expect("a limit");
    (meter, origin)
}

/// Cells of one at one instant until one is denied.
fn singles(meter: &Exponential, at: Instant) -> usize {
    (0..10_000_000).take_while(|_| meter.check_at(at).is_ok()).count()
}

fn size(n: u32) -> usize {
    usize::try_from(n).expect("32 bits")
}

#[test]
fn idle_meter_admits_exactly_its_limit() {
    for &(limit, period) in PRECISE {
        let (meter, now) = exponential(limit, period);
        assert_eq!(singles(&meter, now), size(limit), "{limit} in {period} ns");
        let (meter, now) = exponential(limit, period);
        assert_eq!(
            meter.check_n_at(limit + 1, now),
            Err(NegativeMultiDecision::InsufficientCapacity(limit + 1))
        );
        assert_eq!(meter.check_n_at(limit, now), Ok(()), "{limit} in {period} ns");
        assert!(meter.check_at(now).is_err());
    }
}

#[test]
fn singles_at_one_instant_are_a_batch() {
    for &(limit, period) in PRECISE {
        for n in [1, limit / 3, limit / 2, limit - 1, limit] {
            let [(by_one, now), (at_once, _)] = [exponential(limit, period), exponential(limit, period)];
            assert!((0..n).all(|_| by_one.check_at(now).is_ok()));
            assert_eq!(at_once.check_n_at(n, now), Ok(()));
            let rest = [&by_one, &at_once].map(|meter| singles(meter, now));
            assert_eq!(rest, [size(limit - n); 2], "{n} of {limit} in {period} ns");
        }
    }
}

#[test]
fn burst_returns_as_its_remainder_decays() {
    for (limit, table) in [(100, [39, 63, 86, 95]), (10, [4, 6, 9, 10])] {
        for (halves, back) in [1_u32, 2, 4, 6].into_iter().zip(table) {
            let (meter, now) = exponential(limit, 60 * SECOND);
            assert_eq!(meter.check_n_at(limit, now), Ok(()));
            let later = now + halves * Duration::from_secs(30);
            assert_eq!(singles(&meter, later), back, "{limit} after {halves} half periods");
        }
    }
}

/// A caller that returns at each reported instant gets the limit in each period, and not a nanosecond's worth more.
#[test]
fn saturation_reaches_the_limit_and_never_exceeds_it() {
    for (limit, period) in PRECISE.iter().copied().chain([(10, 1000), (10_000_000, SECOND)]) {
        if i128::from(period) > HORIZON / 10 {
            continue;
        }
        let (meter, origin) = exponential(limit, period);
        assert_eq!(meter.check_n_at(limit, origin), Ok(()));
        // The burst leaves the fraction of a cell; from the first wait on it is a steady stream.
        let mut at = since(origin, meter.check_at(origin).expect_err("taken").earliest_possible());
        let from = at;
        let cells = 2000;
        for _ in 0..cells {
            assert!(meter.check_at(instant(origin, at)).is_ok());
            at = since(
                origin,
                meter
                    .check_at(instant(origin, at))
                    .expect_err("at the limit")
                    .earliest_possible(),
            );
        }
        let share = float(cells * i128::from(period)) / f64::from(limit) / float(at - from);
        // An instant is a whole nanosecond, of which a fast client loses half.
        let rounding = 1.0 - f64::from(limit) / float(period.into());
        assert!(share <= 1.0 + 1e-9, "{limit} in {period} ns: {share}");
        assert!(share >= 0.999 * rounding, "{limit} in {period} ns: {share}");
        assert!((meter.rate_at(instant(origin, at)) / f64::from(limit) - 1.0).abs() < 1.0 / f64::from(limit) + 1e-3);
    }
}

#[test]
fn batches_pay_the_price_that_is_documented() {
    for (n, rate) in [(1, 100.0), (10, 95.4), (25, 87.4), (50, 72.7), (100, 18.9)] {
        let (meter, origin) = exponential(100, SECOND);
        let (mut at, mut admitted) = (origin, 0.0);
        let end = origin + Duration::from_secs(2000);
        let _ = meter.check_n_at(100, at);
        while at < end {
            match meter.check_n_at(n, at) {
                Ok(()) => admitted += f64::from(n),
                Err(NegativeMultiDecision::BatchNonConforming(_, denied)) => at = denied.earliest_possible(),
                Err(never) => panic!("{never}"),
            }
        }
        let per_period = admitted / 2000.0;
        assert!(
            (per_period / rate - 1.0).abs() < 0.01,
            "batches of {n}: {per_period} a period, not {rate}"
        );
    }
}

proptest! {
    #[test]
    fn a_denial_is_exact_to_the_nanosecond(
        (limit, period) in exponential_limits(),
        questions in prop::collection::vec((any::<u64>(), any::<u64>()), 1..60),
    ) {
        let (meter, origin) = exponential(limit, period);
        let mut now = 0;
        for (n, step) in questions {
            let n = u32::try_from(spread(n, 1, u64::from(limit))).expect("at most the limit");
            now += i128::from(spread(step, 1, period)) / 8;
            let Err(NegativeMultiDecision::BatchNonConforming(_, denied)) = meter.check_n_at(n, instant(origin, now)) else {
                continue;
            };
            let earliest = since(origin, denied.earliest_possible());
            if earliest > HORIZON {
                return Ok(());
            }
            let conforms = |at| meter.peek_n_at(n, instant(origin, at)).is_ok();
            let (mut before, mut after) = (now, now + 64 * i128::from(period).min(HORIZON / 32));
            while after - before > 1 {
                let middle = (before + after) / 2;
                *(if conforms(middle) { &mut after } else { &mut before }) = middle;
            }
            prop_assert_eq!(earliest, after, "the first instant of all");
            prop_assert!(meter.check_n_at(n, instant(origin, earliest - 1)).is_err());
            prop_assert_eq!(meter.check_n_at(n, instant(origin, earliest)), Ok(()));
            now = earliest;
        }
    }

    /// The sum of admitted cells, in floating point, finds the same instants.
    #[test]
    fn a_denial_is_the_sums_instant(
        limit in 1_u32..200,
        period in SECOND..1000 * SECOND,
        questions in prop::collection::vec((any::<u64>(), any::<u64>()), 1..100),
    ) {
        let (meter, origin) = exponential(limit, period);
        let mut sum = ExactAverage::new(limit, period);
        let mut now = 0;
        for (n, step) in questions {
            let n = u32::try_from(spread(n, 1, u64::from(limit))).expect("at most the limit");
            now += i128::from(spread(step, 1, period)) / 8;
            match meter.check_n_at(n, instant(origin, now)) {
                Ok(()) => {
                    prop_assert!(sum.room(now) > f64::from(n) - 1e-6);
                    sum.count(f64::from(n), now);
                }
                Err(NegativeMultiDecision::BatchNonConforming(_, denied)) => {
                    let told = float(since(origin, denied.earliest_possible()) - now);
                    let exact = sum.wait(n, now);
                    // Each decision may have cost a sixteenth of a nanosecond.
                    prop_assert!(exact - 1.0 <= told && told <= exact * (1.0 + 1e-9) + 20.0, "{told} ns, not {exact}");
                }
                Err(never) => panic!("{never}"),
            }
        }
    }
}

#[test]
fn separate_burst_is_an_error() {
    let number = |n| NonZeroU32::new(n).expect("positive");
    let quota = Quota::per_second(number(10)).allow_burst(number(3));
    let error = Exponential::from_quota(quota).expect_err("a burst apart");
    assert_eq!(error, InconsistentCapacity::BurstNotCells { cells: 10, burst: 3 });
    assert_eq!(
        error.to_string(),
        "an exponential limit of 10 cells cannot have a burst of 3"
    );
    assert!(Exponential::from_quota(quota.allow_burst(number(10))).is_ok());
    assert_eq!(
        Exponential::new(0, Duration::from_secs(1)).err(),
        Some(InconsistentCapacity::ZeroCapacity)
    );
    assert_eq!(
        Exponential::new(1, Duration::ZERO).err(),
        Some(InconsistentCapacity::ZeroPeriod)
    );
}
