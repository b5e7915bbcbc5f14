//! `charge`, into debt and to the end of time, and `refund`, never above rest.

use crate::support::exponential::{ExactAverage, float, threshold};
use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::{gcra, leaky_bucket, quota, singles};
use crate::support::time::{HORIZON, SECOND, YEAR, fixed_time, instant, since};
use crate::support::traffic::{EXTREMES, limits, spread};
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, Meter, Quota};
use std::time::{Duration, Instant};

/// Runs a check of a meter and its limit on GCRA and on the leaky bucket.
macro_rules! on_both {
    ($limit:expr, $check:expr) => {{
        $check(gcra(&$limit), &$limit);
        $check(leaky_bucket(&$limit), &$limit);
    }};
}

/// When a cell conforms by the meter, and by the exact bucket.
fn next<A: Algorithm>(meter: &Meter<A>, exact: &ExactBucket, origin: Instant, at: i128) -> (i128, i128) {
    let told = match meter.peek_at(instant(origin, at)) {
        Ok(()) => at,
        Err(denied) => since(origin, denied.earliest_possible()),
    };
    let right = match exact.judge(1, at) {
        Verdict::From(then) => then,
        _ => at,
    };
    (told, right)
}

proptest! {
    #[test]
    fn debt_lasts_exactly_its_drain_time(limit in limits(), sizes in prop::collection::vec(any::<u64>(), 1..10)) {
        fn check<A: Algorithm>(meter: &Meter<A>, limit: &Limit, sizes: &[u64]) {
            let origin = Instant::now();
            let mut exact = ExactBucket::new(*limit);
            let mut at = 0;
            for &size in sizes {
                // Debts of any magnitude that drain before the horizon.
                let most = (limit.drained(HORIZON - at) - exact.level(at)) / limit.cost(1) / 2;
                let Ok(most @ 1..) = u64::try_from(most.clamp(0, i128::from(u64::MAX))) else { return };
                let n = spread(size, 1, most);
                assert_eq!(meter.charge_at(n, instant(origin, at)), 0, "{n} cells of {limit:?}");
                exact.charge(n, at);
                let (told, right) = next(meter, &exact, origin, at);
                // A nanosecond, or a billionth of the wait.
                assert!((told - right).abs() <= 1 + (right - at) / 1_000_000_000, "{told}, not {right}: {n} of {limit:?}");
                assert!(told == at || meter.peek_at(instant(origin, told - 1)).is_err());
                at += (right - at) / 3;
            }
        }
        on_both!(limit, |meter, limit| check(&meter, limit, &sizes));
    }

    #[test]
    fn charge_then_refund_at_once_is_void(limit in limits(), n: u64, before: u64) {
        fn check<A: Algorithm>(meter: &Meter<A>, limit: &Limit, n: u64, before: u64) {
            let now = Instant::now();
            let _ = meter.charge_at(spread(before, 1, limit.at_once().into()), now);
            let debug = meter.snapshot_at(fixed_time());
            let n = spread(n, 1, u64::MAX);
            let recorded = n - meter.charge_at(n, now);
            meter.refund_at(recorded, now);
            assert_eq!(meter.snapshot_at(fixed_time()), debug, "{n} cells, {recorded} recorded");
        }
        on_both!(limit, |meter, limit| check(&meter, limit, n, before));
    }
}

#[test]
fn an_unrecordable_charge_is_returned() {
    fn check<A: Algorithm>(meter: &Meter<A>, limit: &Limit) {
        let now = Instant::now();
        let start = limit.at_once().into();
        let _ = meter.charge_at(start, now);
        let returned = meter.charge_at(u64::MAX, now);
        let (recorded, full) = (u64::MAX - returned, meter.snapshot_at(fixed_time()));
        assert!(returned > 0, "{limit:?}");
        assert_eq!(meter.charge_at(u64::MAX, now), u64::MAX, "{limit:?}: there is no more");
        assert_eq!(meter.snapshot_at(fixed_time()), full);
        // A year's worth of cells and a burst before the end of the time line.
        let owed = i128::from(recorded) * limit.cost(1) - limit.drained(36 * i128::from(YEAR));
        assert!(owed > -limit.cost(1) - limit.capacity(), "{limit:?}: {recorded}");
        // The same by hand: exactly this number has room.
        meter.reset();
        let _ = meter.charge_at(start, now);
        assert_eq!(meter.charge_at(recorded, now), 0, "{limit:?}: {recorded} were recorded");
        assert_eq!(meter.snapshot_at(fixed_time()), full);
        assert_eq!(meter.charge_at(1, now), 1, "{limit:?}: one more was not");
        meter.refund_at(recorded, now);
        assert_eq!(
            meter.charge_at(recorded, now),
            0,
            "{limit:?}: what is given back has room again"
        );
    }
    for &limit in EXTREMES {
        on_both!(limit, |meter, limit| check(&meter, limit));
    }
}

#[test]
fn an_exponential_debt_lasts_until_it_has_decayed() {
    for (limit, period) in [(10, SECOND), (1000, 3600 * SECOND)] {
        for n in [1, 5, 100, 1_000_000_000, u64::MAX] {
            let meter = Exponential::new(limit, Duration::from_nanos(period)).expect("a limit");
            let (now, mut sum) = (Instant::now(), ExactAverage::new(limit, period));
            assert_eq!(meter.charge_at(n, now), 0);
            sum.count(float(n.into()), 0);
            let (told, exact) = (
                float(i128::try_from(meter.status_at(now).until_next().as_nanos()).expect("some hours")),
                sum.wait(1, 0).max(0.0),
            );
            assert!(
                (told - exact).abs() <= 2.0 + 1e-9 * exact,
                "{told} ns, not {exact}: {n} of {limit}"
            );
            meter.refund_at(n / 2, now);
            sum.count(-float((n / 2).into()), 0);
            let rate = meter.rate_at(now) / f64::from(limit) * threshold(limit);
            assert!((rate / sum.level(0) - 1.0).abs() < 1e-6, "{rate}: {n} of {limit}");
        }
    }
}

#[test]
fn an_unrecordable_exponential_charge_is_returned() {
    let (limit, period) = (10, 100 * YEAR);
    let meter = Exponential::new(limit, Duration::from_nanos(period)).expect("a limit");
    let now = Instant::now();
    let (mut recorded, mut last) = (0.0, 0);
    for _ in 0..200 {
        let before = meter.snapshot_at(fixed_time());
        last = meter.charge_at(u64::MAX, now);
        recorded += float((u64::MAX - last).into());
        if last == u64::MAX {
            assert_eq!(meter.snapshot_at(fixed_time()), before);
        }
        let level = meter.rate_at(now) / f64::from(limit) * threshold(limit);
        assert!((level / recorded - 1.0).abs() < 1e-6, "{level} of {recorded}");
    }
    assert_eq!(last, u64::MAX, "there is no more room");
}

#[test]
fn a_refund_never_lifts_a_meter_above_rest() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        let rested = meter.status_at(now).remaining();
        for (taken, refund) in [(0, 5), (1, 2), (5, u64::MAX), (10, 10), (10, 11), (10, 1 << 40)] {
            assert_eq!(meter.check_n_at(taken, now), Ok(()));
            meter.refund_at(refund, now);
            assert_eq!(meter.status_at(now).until_rest(), Duration::ZERO, "{refund} of {taken}");
            assert_eq!(singles(meter, now), rested, "{refund} of {taken}");
            meter.reset();
        }
    }
    let quota: Quota = "10/s".parse().expect("a quota");
    check(&GCRA::from_quota(quota).expect("a limit"));
    check(&LeakyBucket::from_quota(quota).expect("a limit"));
    check(&Exponential::from_quota(quota).expect("a limit"));
}

#[test]
fn drained_cells_are_not_refunded_again() {
    fn check<A: Algorithm>(meter: &Meter<A>) {
        let now = Instant::now();
        assert_eq!(meter.check_n_at(10, now), Ok(()));
        // Of ten cells four have drained.
        let later = now + Duration::from_millis(400);
        meter.refund_at(4, later);
        assert_eq!(meter.status_at(later).remaining(), 8);
        meter.refund_at(4, later);
        assert_eq!(meter.status_at(later).remaining(), 10);
        meter.refund_at(4, later + Duration::from_secs(5));
        assert_eq!(singles(meter, later), 10, "a refund at rest is no credit");
        meter.reset();
        assert_eq!(meter.check_n_at(10, now), Ok(()));
        meter.refund_at(10, now + Duration::from_secs(5));
        assert!(meter.check_at(now).is_err(), "nor is it at an earlier time");
    }
    let quota: Quota = "10/s".parse().expect("a quota");
    check(&GCRA::from_quota(quota).expect("a limit"));
    check(&LeakyBucket::from_quota(quota).expect("a limit"));
}

#[test]
fn a_refund_of_no_cells_changes_nothing() {
    let (meter, now) = (
        Exponential::new(10, Duration::from_secs(1)).expect("a limit"),
        Instant::now(),
    );
    assert_eq!(meter.check_n_at(5, now), Ok(()));
    let rate = meter.rate_at(now);
    meter.refund_at(0, now + Duration::from_secs(3600));
    assert_eq!(meter.rate_at(now).to_bits(), rate.to_bits());
}

#[test]
fn refunds_out_of_debt_are_cells_again() {
    let limit = Limit::per_second(10).weight(3).burst(30);
    fn check<A: Algorithm>(meter: &Meter<A>, limit: &Limit) {
        let now = Instant::now();
        assert_eq!(meter.status_at(now).quota(), Some(quota(limit)));
        assert_eq!(meter.charge_at(25, now), 0);
        let lasts = limit.emission(25) - limit.emission(10) + limit.emission(1);
        assert_eq!(i128::try_from(meter.status_at(now).until_next().as_nanos()), Ok(lasts));
        meter.refund_at(15, now);
        assert!(meter.check_at(now).is_err());
        meter.refund_at(3, now);
        assert_eq!(singles(meter, now), 3);
    }
    on_both!(limit, |meter, limit| check(&meter, limit));
}
