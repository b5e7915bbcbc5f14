//! A quota that changes, as properties: against the exact bucket, the lock-based twin and the sum of impulses.

use crate::support::exponential::ExactAverage;
use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::quota;
use crate::support::time::{HORIZON, SECOND, fixed_time, instant, since};
use crate::support::traffic::spread;
use crate::support::twin::Twin;
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::{Adjustable, Exponential, GCRA, LeakyBucket, Meter, NegativeMultiDecision, Quota};
use std::time::{Duration, Instant};

/// The next step, and numbers for it.
type Turn = (u8, u64, u64);

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    prop::collection::vec((0..10_u8, any::<u64>(), any::<u64>()), 1..100)
}

fn cells(seed: u64, limit: &Limit) -> u32 {
    u32::try_from(spread(seed, 1, u64::from(limit.at_once()))).expect("at most what conforms at once")
}

/// The limit of the same period with another number of cells, and a burst and a weight of any size.
fn changed(limit: &Limit, seed: u64, cells: u64) -> Limit {
    let burst = spread(seed.rotate_left(20), 1, 1 << 20);
    let weight = if seed % 2 == 0 {
        1
    } else {
        spread(seed.rotate_left(40), 1, burst)
    };
    Limit::new(cells, limit.period).burst(burst).weight(weight)
}

/// A unit of the word, rounded up, in 1/period of the quota's unit.
fn unit(limit: &Limit) -> i128 {
    i128::from(limit.period >> limit.fraction_bits()) + 1
}

proptest! {
    /// After any history and a change, the available cells are those of the exact bucket, to two units of each of the two words. A
    /// denial is exact, and changes nothing.
    #[test]
    fn an_adjustable_is_an_exact_bucket_that_changes(period in any::<u64>(), turns in turns()) {
        fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>, mut limit: Limit, turns: &[Turn]) {
            let origin = Instant::now();
            let (mut exact, mut now) = (ExactBucket::new(limit), 0);
            let (mut short, mut over) = (0, 0);
            for &(turn, size, wait) in turns {
                let (n, at) = (cells(size, &limit), instant(origin, now));
                match turn {
                    0 | 1 => {
                        let most = (1_u128 << 32) * u128::from(limit.period) / u128::from(SECOND);
                        let most = u64::try_from(most).unwrap_or(u64::MAX).clamp(1, 1 << 30);
                        let next = changed(&limit, wait, spread(size, 1, most));
                        let after = exact.changed(next, now);
                        // A debt too large for the new rate has a test of its own.
                        let lasts = next.time_to_drain(after.level(now));
                        if next.time_to_rest() > i128::from(3600 * SECOND) || next.cells > most || lasts > HORIZON / 2 {
                            continue;
                        }
                        assert_eq!(meter.set_quota_at(quota(&next), at), Ok(0));
                        exact = after;
                        short += 2 * unit(&limit) + 2 * unit(&next);
                        over += 2 * unit(&limit);
                        limit = next;
                    }
                    2 => {
                        meter.charge_at(n.into(), at);
                        exact.charge(n.into(), now);
                    }
                    3 => {
                        meter.refund_at(n.into(), at);
                        exact.refund(n.into(), now);
                    }
                    4..7 => now += i128::from(spread(wait, 1, 2 * u64::try_from(limit.time_to_rest()).expect("an hour"))),
                    _ => {
                        let (excess, before) = (exact.excess(n, now), meter.snapshot_at(fixed_time()));
                        match meter.check_n_at(n, at) {
                            Ok(()) => {
                                assert!(excess <= over + 2 * unit(&limit), "{n} are {excess} too many: {limit:?}");
                                exact.take(n, now);
                            }
                            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => {
                                assert!(excess > -short, "{n} would fit by {excess}, {short} is lost: {limit:?}");
                                let earliest = denial.earliest_possible();
                                assert_eq!(meter.peek_n_at(n, earliest), Ok(()));
                                assert!(meter.peek_n_at(n, earliest - Duration::from_nanos(1)).is_err());
                                assert_eq!(meter.snapshot_at(fixed_time()), before);
                            }
                            Err(never @ NegativeMultiDecision::InsufficientCapacity(_)) => panic!("{never}: {limit:?}"),
                        }
                    }
                }
            }
        }
        let limit = Limit::new(1, spread(period, 1, 3600 * SECOND));
        check(&Adjustable::<GCRA>::from_quota(quota(&limit)).expect("a limit"), limit, &turns);
        check(&Adjustable::<LeakyBucket>::from_quota(quota(&limit)).expect("a limit"), limit, &turns);
    }

    /// Where a nanosecond is a whole number of units of each of the words nothing is rounded: verdict for verdict the meter is its
    /// lock-based twin.
    #[test]
    fn an_adjustable_and_its_twin_have_one_history(period in 20_u32..30, seed in any::<u64>(), turns in turns()) {
        fn check<A: Algorithm>(meter: &Adjustable<Meter<A>>, mut limit: Limit, turns: &[Turn]) {
            let (origin, twin, mut now) = (Instant::now(), Twin::new(limit), 0);
            for &(turn, size, wait) in turns {
                let (n, at) = (cells(size, &limit), instant(origin, now));
                match turn {
                    0..2 => {
                        limit = changed(&limit, wait, 1 << (size % 3));
                        assert_eq!(meter.set_quota_at(quota(&limit), at), Ok(0));
                        twin.change(limit, now);
                    }
                    2..6 => now += i128::from(spread(wait, 1, 2 * u64::try_from(limit.time_to_rest()).expect("some days"))),
                    _ => {
                        let said = match meter.check_n_at(n, at) {
                            Ok(()) => Verdict::Conforms,
                            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => {
                                Verdict::From(since(origin, denial.earliest_possible()))
                            }
                            Err(NegativeMultiDecision::InsufficientCapacity(_)) => Verdict::Never,
                        };
                        assert_eq!(said, twin.check_n_at(n, now), "{n} at {now} ns: {limit:?}");
                    }
                }
            }
        }
        let limit = changed(&Limit::new(1, 1 << period), seed, 1 << (seed % 3));
        check(&Adjustable::<GCRA>::from_quota(quota(&limit)).expect("a limit"), limit, &turns);
        check(&Adjustable::<LeakyBucket>::from_quota(quota(&limit)).expect("a limit"), limit, &turns);
    }

    #[test]
    fn adjustable_average_is_a_sum_of_impulses(limit in 1_u32..300, period in SECOND..3600 * SECOND, turns in turns()) {
        let meter = Exponential::new(limit, Duration::from_nanos(period)).expect("a limit").into_adjustable();
        let origin = Instant::now();
        let (mut sum, mut now, mut limit, mut period) = (ExactAverage::new(limit, period), 0, limit, period);
        for (turn, size, wait) in turns {
            let n = u32::try_from(spread(size, 1, limit.into())).expect("at most the limit");
            let (at, room) = (instant(origin, now), sum.room(now));
            match turn {
                0..2 => {
                    limit = u32::try_from(spread(size, 1, 300)).expect("small");
                    period = spread(wait, SECOND, 3600 * SECOND);
                    prop_assert_eq!(meter.set_quota_at(quota(&Limit::new(limit.into(), period)), at), Ok(0));
                    sum = sum.changed(limit, period, now);
                }
                2 => {
                    prop_assert_eq!(meter.charge_at(n.into(), at), 0);
                    sum.count(n.into(), now);
                }
                3..6 => now += i128::from(spread(wait, 1, period)),
                _ => {
                    let ok = meter.check_n_at(n, at).is_ok();
                    prop_assert!((room - f64::from(n)).abs() < 1e-4 || ok == (room > f64::from(n)), "{} for {}", room, n);
                    if ok {
                        sum.count(n.into(), now);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Where a unit is half a cell, thousands of changes add no more than two units.
    #[test]
    fn changes_add_no_units(seed in any::<u64>(), rates in prop::array::uniform2(u32::MAX - 1_000_000..)) {
        let quotas = rates.map(|rate| Quota::per_second(rate.try_into().expect("not zero")).allow_burst(100.try_into().expect("not zero")));
        let meter = Adjustable::<GCRA>::from_quota(quotas[0]).expect("a limit");
        let (start, mut at, mut random) = (Instant::now(), 0, seed | 1);
        // In billionths of a cell.
        let (mut admitted, mut drained) = (0_u128, 100_000_000_000_u128);
        for turn in 0..3_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let step = random % 9;
            at += step;
            drained += u128::from(rates[turn % 2]) * u128::from(step);
            let now = start + Duration::from_nanos(at);
            admitted += u128::from(meter.check_up_to_at(1000, now).cells()) * 1_000_000_000;
            meter.set_quota_at(quotas[(turn + 1) % 2], now).expect("a limit");
        }
        prop_assert!(admitted <= drained + 1_000_000_000, "{} cells too many", (admitted - drained) / 1_000_000_000);
    }
}
