//! Several meters, all or nothing: each decides as if alone, and none counts a request that another denies.

use crate::support::clock::Behind;
use crate::support::limit::Limit;
use crate::support::oracle::{ExactBucket, Verdict};
use crate::support::subject::{gcra, leaky_bucket};
use crate::support::threads::in_threads;
use crate::support::time::{HORIZON, instant, since};
use crate::support::traffic::{batch, spread, whole_limits};
use proptest::prelude::*;
use ratelimit_meter::algorithms::{Algorithm, ContinuousState, ExponentialAverage, VirtualScheduling};
use ratelimit_meter::clock::{Clock, DefaultClock, ManualClock};
use ratelimit_meter::{
    AllDenied, Checkable, Exponential, GCRA, LeakyBucket, Meter, NegativeMultiDecision, Quota, check_all, check_all_at,
    take_all_at,
};
use std::time::{Duration, Instant};

fn of<A: Algorithm>(text: &str) -> Meter<A> {
    Meter::from_quota(text.parse::<Quota>().expect("a quota")).expect("a limit")
}

fn remaining<A: Algorithm, C: Clock>(meter: &Meter<A, C>, at: Instant) -> u32 {
    meter.status_at(at).remaining()
}

proptest! {
    /// For three limits that are decided exactly: the latest of the buckets' instants, and their levels.
    #[test]
    fn all_or_nothing_matches_exact_buckets(
        limits in [whole_limits(), whole_limits(), whole_limits()],
        asked in prop::collection::vec(any::<([u64; 3], u64, bool)>(), 1..60),
    ) {
        let origin = Instant::now();
        let meters = (gcra(&limits[0]), leaky_bucket(&limits[1]), gcra(&limits[2]));
        let mut buckets = limits.map(ExactBucket::new);
        let rest = limits.iter().map(Limit::time_to_rest).min().expect("three");
        let rest = u64::try_from(rest.clamp(1, HORIZON / 60)).expect("some years");
        let mut now = 0;
        for (sizes, wait, is_one) in asked {
            let n = [0, 1, 2].map(|i| if is_one { 1 } else { batch(sizes[i], &limits[i]) });
            let at = instant(origin, now);
            let mut statuses = [None; 3];
            let said = take_all_at(&[(&meters.0, n[0]), (&meters.1, n[1]), (&meters.2, n[2])], &mut statuses, at);
            let judged = [0, 1, 2].map(|i| match buckets[i].judge(n[i], now) {
                Verdict::From(due) => due,
                _ => now,
            });
            let latest = judged.into_iter().max().expect("three");
            if latest == now {
                prop_assert_eq!(said, Ok(()));
                (0..3).for_each(|i| buckets[i].take(n[i], now));
            } else {
                let denied = said.expect_err("a bucket overflows");
                prop_assert_eq!(denied.earliest_possible().map(|due| since(origin, due)), Some(latest));
                prop_assert_eq!(judged[denied.meter()], latest);
            }
            let rooms = [0, 1, 2].map(|i| buckets[i].room(now).min(limits[i].at_once()));
            prop_assert_eq!([remaining(&meters.0, at), remaining(&meters.1, at), remaining(&meters.2, at)], rooms);
            let told = statuses.map(|status| status.expect("each is reported").remaining());
            prop_assert_eq!(told, rooms);
            now += i128::from(spread(wait, 1, rest)) - 1;
        }
    }

    /// For all algorithms and places: the answers of the single meters decide, and a charged meter is charged as if alone.
    #[test]
    fn all_or_nothing_matches_each_meter_alone(asked in prop::collection::vec(any::<([u8; 5], u32)>(), 1..80)) {
        let clock = ManualClock::new();
        let make = || {
            let strict: Exponential = of("8/s weight 2");
            (
                of::<VirtualScheduling>("10/s").with_clock(clock.clone()),
                of::<ContinuousState>("7/s burst 12 weight 3").with_clock(clock.clone()),
                of::<ExponentialAverage>("9/s").with_clock(clock.clone()),
                strict.strict().with_clock(clock.clone()),
                GCRA::with_parameters(Duration::from_millis(90), Duration::from_millis(500), None).with_clock(clock.clone()),
            )
        };
        let (together, alone) = (make(), make());
        for (sizes, wait) in asked {
            let n = sizes.map(|size| u32::from(size) % 6);
            let at = clock.advance(Duration::from_nanos(u64::from(wait) / 16)).expect("some time");
            let told = [
                alone.0.peek_n_at(n[0], at),
                alone.1.peek_n_at(n[1], at),
                alone.2.peek_n_at(n[2], at),
                alone.3.peek_n_at(n[3], at),
                alone.4.peek_n_at(n[4], at),
            ];
            let said = check_all(&[
                (&together.0, n[0]),
                (&together.1, n[1]),
                (&together.2, n[2]),
                (&together.3, n[3]),
                (&together.4, n[4]),
            ]);
            match said {
                Ok(()) => {
                    prop_assert_eq!(told, [Ok(()); 5]);
                    prop_assert!(alone.0.check_n_at(n[0], at).is_ok() && alone.1.check_n_at(n[1], at).is_ok());
                    prop_assert!(alone.2.check_n_at(n[2], at).is_ok() && alone.3.check_n_at(n[3], at).is_ok());
                    prop_assert!(alone.4.check_n_at(n[4], at).is_ok());
                }
                Err(denied) => {
                    prop_assert_eq!(Err(denied.decision()), told[denied.meter()]);
                    prop_assert!(told.iter().all(|told| lasts(*told) <= lasts(Err(denied.decision()))));
                }
            }
            prop_assert_eq!(remaining(&together.2, at), remaining(&alone.2, at));
            prop_assert_eq!(remaining(&together.3, at), remaining(&alone.3, at));
        }
    }
}

/// The end of a denial, in order: no denial, until an instant, for ever.
fn lasts(told: Result<(), NegativeMultiDecision>) -> (u8, Option<Instant>) {
    match told {
        Ok(()) => (0, None),
        Err(NegativeMultiDecision::BatchNonConforming(_, denied)) => (1, Some(denied.earliest_possible())),
        Err(NegativeMultiDecision::InsufficientCapacity(_)) => (2, None),
    }
}

#[test]
fn a_denial_at_any_place_charges_nothing() {
    let now = Instant::now();
    let (service, full, strict): (GCRA, LeakyBucket, Exponential) = (of("100/s"), of("10/s"), of("9/s"));
    let strict = strict.strict();
    assert_eq!(full.check_n_at(10, now), Ok(()));
    let lists: [[(&dyn Checkable, u32); 3]; 3] = [
        [(&full, 1), (&service, 1), (&strict, 1)],
        [(&service, 1), (&full, 1), (&strict, 1)],
        [(&service, 1), (&strict, 1), (&full, 1)],
    ];
    for (place, list) in lists.iter().enumerate() {
        let denied = check_all_at(list, now).unwrap_err();
        assert_eq!(denied.meter(), place);
        assert_eq!(denied.decision(), full.peek_n_at(1, now).unwrap_err());
    }
    assert_eq!((remaining(&service, now), remaining(&strict, now)), (100, 9));
    strict.charge_at(9, now);
    let rate = strict.rate_at(now);
    assert!(check_all_at(&[(&service, 1), (&strict, 1)], now).is_err());
    assert!(rate == strict.rate_at(now), "a refusal of several is not counted");
}

#[test]
fn impossible_batch_error_precedes_any_instant() {
    let now = Instant::now();
    let (one, other): (GCRA, LeakyBucket) = (of("1/h"), of("10/s"));
    assert_eq!(one.check_at(now), Ok(()));
    for _ in 0..2 {
        let denied = check_all_at(&[(&one, 1), (&other, 11)], now).unwrap_err();
        assert_eq!((denied.meter(), denied.earliest_possible()), (1, None));
        assert_eq!(denied.decision(), NegativeMultiDecision::InsufficientCapacity(11));
        let denied = check_all_at(&[(&other, 12), (&one, 1), (&one, 1)], now).unwrap_err();
        assert_eq!(
            (denied.meter(), denied.decision()),
            (0, NegativeMultiDecision::InsufficientCapacity(12))
        );
    }
    assert_eq!(remaining(&other, now), 10);
}

#[test]
fn equal_denials_report_the_first_meter() {
    let (first, now) = (of::<VirtualScheduling>("1/h"), Instant::now());
    let second = first.fork(DefaultClock);
    assert!(check_all_at(&[(&first, 1), (&second, 1)], now).is_ok());
    let earliest = |meter: &GCRA| meter.peek_at(now).expect_err("spent").earliest_possible();
    assert_eq!(earliest(&first), earliest(&second));
    let denied = check_all_at(&[(&first, 1), (&second, 1)], now).expect_err("both deny");
    assert_eq!(denied.meter(), 0);
}

#[test]
fn a_meter_listed_twice_decides_two_batches() {
    let now = Instant::now();
    let (meter, other): (GCRA, GCRA) = (of("10/s"), of("10/s"));
    let clone = meter.clone();
    assert_eq!(check_all_at(&[(&meter, 3), (&other, 1), (&clone, 4)], now), Ok(()));
    assert_eq!((remaining(&meter, now), remaining(&other, now)), (3, 9));
    let mut statuses = [None; 3];
    let denied = take_all_at(&[(&other, 1), (&meter, 2), (&clone, 2)], &mut statuses, now).unwrap_err();
    assert_eq!(denied.meter(), 2);
    let earliest = denied.earliest_possible().expect("some time");
    assert_eq!(earliest, now + Duration::from_millis(100), "four of them conform then");
    assert_eq!(
        (remaining(&meter, now), remaining(&other, now)),
        (3, 9),
        "all was given back"
    );
    let told = statuses.map(|status| status.expect("each is reported").remaining());
    assert_eq!(told[..2], [9, 3], "as it was given back");
    assert_eq!(check_all_at(&[(&meter, 2), (&clone, 2)], earliest), Ok(()));
}

#[test]
fn empty_requests_conform() {
    let (meter, now): (GCRA, _) = (of("1/h"), Instant::now());
    assert_eq!(meter.check_at(now), Ok(()));
    assert_eq!((check_all(&[]), check_all_at(&[], now)), (Ok(()), Ok(())));
    assert_eq!(check_all_at(&[(&meter, 0)], now), Ok(()));
}

#[test]
fn a_lagging_clock_admits_at_the_reported_instant() {
    let ns = Duration::from_nanos(1);
    let lags = [0, 1, 4999, 5000].map(Duration::from_nanos);
    for (by, strict) in lags.into_iter().flat_map(|by| [(by, false), (by, true)]) {
        let time = ManualClock::new();
        let clock = Behind::new(&time, by);
        let (first, second): (GCRA, Exponential) = (of("10/s"), of("5/s"));
        let second = if strict { second.strict() } else { second };
        let (first, second) = (first.with_clock(clock.clone()), second.with_clock(clock));
        let meters: [(&dyn Checkable, u32); 2] = [(&first, 1), (&second, 1)];
        assert!((0..5).all(|_| check_all(&meters).is_ok()));
        let before = (remaining(&first, time.now()), second.rate_at(time.now()));
        let denied = check_all(&meters).unwrap_err();
        assert_eq!(denied.meter(), 1);
        assert_eq!(before, (remaining(&first, time.now()), second.rate_at(time.now())));
        let earliest = denied.earliest_possible().expect("some time");
        time.set(earliest - ns);
        assert!(check_all(&meters).is_err(), "behind by {by:?}, strict: {strict}");
        time.set(earliest);
        assert_eq!(check_all(&meters), Ok(()), "behind by {by:?}, strict: {strict}");
        assert!(check_all(&[(&first, 1), (&second, 1)]).is_err());
    }
}

/// A million a second: by the clock, the second batch is denied until a time within the clock's lag. Decided again, both batches would conform, and
/// the denial would count as a third cell.
#[test]
fn strict_average_counts_no_denial_of_the_lag() {
    let clock = Behind::new(&ManualClock::new(), Duration::from_micros(4));
    let strict: Exponential = of("1000000/s");
    let strict = strict.strict().with_clock(clock.clone());
    assert!(strict.check_n_at(999_999, clock.now()).is_ok());
    let before = remaining(&strict, clock.now_exactly());
    assert_eq!(check_all(&[(&strict, 1), (&strict, 1)]), Ok(()));
    assert_eq!(remaining(&strict, clock.now_exactly()), before - 2);
}

#[test]
fn check_all_reads_the_first_meters_clock() {
    let [early, late] = [ManualClock::new(), ManualClock::new()];
    let (one, other): (GCRA, GCRA) = (of("1/h"), of("1/h"));
    let (one, other) = (one.with_clock(early.clone()), other.with_clock(late.clone()));
    late.set(early.now() + Duration::from_secs(4000));
    assert_eq!(check_all(&[(&one, 1), (&other, 1)]), Ok(()));
    assert_eq!(other.peek_at(early.now() + Duration::from_secs(3600)), Ok(()));
    assert!(check_all(&[(&one, 1), (&other, 1)]).is_err());
    assert_eq!(check_all(&[(&other, 1)]), Ok(()));
}

#[test]
fn denials_report_meter_and_wait() {
    fn is_an_error<E: std::error::Error + Copy + Eq + Send + Sync + 'static>(error: E) -> E {
        error
    }
    let long_ago = Instant::now() - Duration::from_secs(7200);
    let (meter, other): (GCRA, GCRA) = (of("1/h"), of("2/h"));
    assert_eq!(check_all_at(&[(&meter, 1), (&other, 1)], long_ago), Ok(()));
    let denied = is_an_error(check_all_at(&[(&other, 1), (&meter, 1)], long_ago).unwrap_err());
    assert_eq!(denied.to_string(), "meter 1: denied: batch of 1 cell conforms now");
    let never = check_all_at(&[(&meter, 2)], long_ago).unwrap_err();
    assert_eq!(
        never.to_string(),
        "meter 0: denied: batch of 2 cells exceeds the burst and can never conform"
    );
    if cfg!(all(target_os = "linux", target_pointer_width = "64")) {
        assert_eq!(size_of::<Result<(), AllDenied>>(), 48);
    }
}

/// Four threads in both orders: cells taken before a lost race are given back, and no meter admits more than it has.
#[test]
fn threads_lose_and_win_no_cell() {
    for round in 0..50 {
        let (one, other): (GCRA, LeakyBucket) = (of("3000/h"), of("3000/h"));
        let strict: Exponential = of("1000000/h");
        let now = Instant::now();
        let told = in_threads(|thread| {
            let mut admitted = 0;
            for turn in 0..800 {
                let n = 1 + (turn + round) % 3;
                let forth: [(&dyn Checkable, u32); 3] = [(&one, n), (&strict, 1), (&other, n)];
                let back = [forth[2], forth[1], forth[0]];
                let is_forth = thread % 2 == 0;
                let is_admitted = check_all_at(if is_forth { &forth } else { &back }, now).is_ok();
                admitted += u32::from(is_admitted) * n;
            }
            admitted
        });
        let admitted: u32 = told.iter().sum();
        assert_eq!([remaining(&one, now), remaining(&other, now)], [3000 - admitted; 2]);
    }
}

/// Every kind of meter beside every other: if any of them denies, no meter is charged.
#[test]
#[cfg(all(feature = "dual", feature = "keyed"))]
fn meters_of_all_kinds_decide_together() {
    use ratelimit_meter::{Adjustable, Dual, GCRA, KeyedMeter};

    /// The same denial of one cell.
    fn one_cell(denied: NegativeMultiDecision) -> NegativeMultiDecision {
        match denied {
            NegativeMultiDecision::BatchNonConforming(_, denial) => {
                NegativeMultiDecision::BatchNonConforming(1, denial)
            }
            NegativeMultiDecision::InsufficientCapacity(_) => NegativeMultiDecision::InsufficientCapacity(1),
        }
    }

    let at = Instant::now();
    let pair: Dual = Dual::from_quota("3/h & 100/h".parse().unwrap()).unwrap();
    let adjustable = Adjustable::<GCRA>::from_quota("5/h".parse().unwrap()).unwrap();
    let keys = KeyedMeter::<str>::with_capacity("2/h".parse().unwrap(), 10).unwrap();
    let (alice, bob) = (keys.key("alice"), keys.key("bob"));
    for _ in 0..2 {
        assert_eq!(check_all_at(&[(&pair, 1), (&adjustable, 1), (&alice, 1)], at), Ok(()));
    }
    let by_alice = check_all_at(&[(&pair, 1), (&adjustable, 1), (&alice, 1)], at).unwrap_err();
    assert_eq!(by_alice.meter(), 2);
    assert_eq!(by_alice.earliest_possible(), Some(at + Duration::from_secs(1800)));
    assert_eq!(check_all_at(&[(&pair, 1), (&adjustable, 1), (&bob, 1)], at), Ok(()));
    let by_pair = check_all_at(&[(&pair, 1), (&adjustable, 1), (&bob, 1)], at).unwrap_err();
    assert_eq!(by_pair.meter(), 0);
    assert_eq!(adjustable.status_at(at).remaining(), 2);
    assert_eq!(keys.key("bob").status_at(at).remaining(), 1);
    let twice = check_all_at(&[(&bob, 1), (&keys.key("bob"), 1)], at).unwrap_err();
    assert_eq!(
        twice.decision(),
        keys.key("bob").peek_n_at(2, at).map_err(one_cell).unwrap_err()
    );
    assert_eq!(check_all_at(&[(&bob, 1), (&keys.key("carol"), 1)], at), Ok(()));
}

#[test]
#[cfg(feature = "dual")]
fn pair_status_is_of_the_scarcer_limit() {
    use ratelimit_meter::{Dual, GCRA};

    let at = Instant::now();
    for (quotas, cells, remaining) in [
        ("10/s & 5/h", 1, 4),
        ("5/h & 10/s", 1, 4),
        ("4/s & 9/h", 4, 0),
        ("9/h & 4/s", 4, 0),
    ] {
        let pair = Dual::<GCRA>::from_quota(quotas.parse().expect("two quotas")).expect("limits");
        let mut statuses = [None];
        assert_eq!(take_all_at(&[(&pair, cells)], &mut statuses, at), Ok(()));
        assert_eq!(statuses[0].expect("reported").remaining(), remaining, "{quotas}");
    }
}
