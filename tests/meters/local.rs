//! Meters of one thread: a meter without an atomic decides like the atomic one, and a budget counts.

use crate::support::limit::Limit;
use crate::support::subject::{gcra, leaky_bucket, quota, timeless};
use crate::support::time::HORIZON;
use crate::support::traffic::{limits, spread};
use crate::support::verb::{
    Cancel, Charge, Check, Peek, Refund, Reserve, Reset, Status, Take, UpTo, Verb, Wait, sequences,
};
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{Adjustable, Budget, Exponential, GCRA, LeakyBucket, LocalMeter, Meter, OverBudget, Quota};
use std::marker::PhantomData;
use std::time::Duration;

fn is_send<T: Send>() {}

/// Plays the verbs on both, now by their clock and at its time.
fn twins<A: Algorithm>(meter: Meter<A>, limit: &Limit, verbs: &[(Verb, u64, u64)]) {
    let clock = ManualClock::new();
    let local = meter.clone().with_clock(clock.clone()).into_local();
    let meter = meter.with_clock(clock.clone());
    let rest = u64::try_from(limit.time_to_rest().clamp(1, HORIZON / 300)).expect("positive");
    for &(verb, size, wait) in verbs {
        let n = u32::try_from(spread(size, 1, u64::from(limit.at_once()) + 1)).unwrap_or(u32::MAX);
        let (at, many) = (clock.now(), u64::from(n));
        let told = |status: ratelimit_meter::Status| (status.remaining(), status.until_next(), status.until_rest());
        match verb {
            Check | Reserve => {
                assert_eq!(local.check_n(n), meter.check_n(n));
                assert_eq!(local.check_n_at(n, at), meter.check_n_at(n, at));
                assert_eq!(local.check(), meter.check());
                assert_eq!(local.check_at(at), meter.check_at(at));
            }
            Peek | Cancel => {
                assert_eq!(local.peek_n(n), meter.peek_n(n));
                assert_eq!(local.peek_n_at(n, at), meter.peek_n_at(n, at));
                assert_eq!(local.peek(), meter.peek());
                assert_eq!(local.peek_at(at), meter.peek_at(at));
            }
            Take => {
                for (one, other) in [
                    (local.take(n), meter.take(n)),
                    (local.take_at(n, at), meter.take_at(n, at)),
                ] {
                    assert_eq!(one.decision(), other.decision());
                    assert_eq!(told(one.status()), told(other.status()));
                }
            }
            UpTo => {
                assert_eq!(local.check_up_to(n), meter.check_up_to(n));
                assert_eq!(local.check_up_to_at(n, at), meter.check_up_to_at(n, at));
            }
            Charge => {
                assert_eq!(local.charge(many), meter.charge(many));
                assert_eq!(local.charge_at(many, at), meter.charge_at(many, at));
            }
            Refund => {
                local.refund(many);
                meter.refund(many);
                local.refund_at(many, at);
                meter.refund_at(many, at);
            }
            Status => {
                assert_eq!(told(local.status()), told(meter.status()));
                assert_eq!(told(local.status_at(at)), told(meter.status_at(at)));
                let debug = timeless(&meter).replacen(A::NAME, "LocalMeter", 1);
                assert_eq!(timeless(&local), debug);
            }
            Reset => {
                local.reset();
                meter.reset();
            }
            Wait => drop(clock.advance(Duration::from_nanos(spread(wait, 1, rest)))),
        }
    }
}

proptest! {
    #[test]
    fn local_meter_decides_like_the_shared_meter(limit in limits(), verbs in sequences()) {
        twins(gcra(&limit), &limit, &verbs);
        twins(leaky_bucket(&limit), &limit, &verbs);
    }

    #[test]
    fn local_average_decides_like_the_shared_average(cells in 1u64..1000, period in 1_000u64..1 << 50, verbs in sequences()) {
        let limit = Limit::new(cells, period);
        twins(Exponential::from_quota(quota(&limit)).unwrap(), &limit, &verbs);
    }

    #[test]
    fn budget_gives_out_exactly_its_cells(cells in 0u64..100, asked in prop::collection::vec((0u64..20, 0u8..3), 0..60)) {
        let budget = Budget::new(cells);
        let mut left = cells;
        for (n, verb) in asked {
            match verb {
                0 if n <= left => {
                    prop_assert_eq!(budget.check_n(n), Ok(()));
                    left -= n;
                }
                0 => {
                    let error = budget.check_n(n).unwrap_err();
                    prop_assert_eq!((error.asked(), error.remaining()), (n, left));
                }
                1 => {
                    prop_assert_eq!(budget.check_up_to(n), n.min(left));
                    left -= n.min(left);
                }
                _ => {
                    budget.refund(n);
                    left = cells.min(left + n);
                }
            }
            prop_assert_eq!(budget.remaining(), left);
        }
    }
}

#[test]
fn a_local_meter_continues_its_source_unchanged() {
    let clock = ManualClock::new();
    let bucket = LeakyBucket::per_second(10).unwrap().with_clock(clock.clone());
    bucket.check_n(4).unwrap();
    let local = bucket.clone().into_local();
    assert_eq!(local.level(), 4);
    local.check_n(6).unwrap();
    assert_eq!(
        [local.level(), local.level_at(clock.now()), bucket.level()],
        [10, 10, 4]
    );
    assert_eq!(local.status().quota(), bucket.status().quota());
}

#[test]
fn an_average_reports_its_rate() {
    let clock = ManualClock::new();
    let average = Exponential::new(10, Duration::from_secs(1))
        .unwrap()
        .with_clock(clock.clone());
    let local = average.clone().into_local();
    assert_eq!(local.check_n(7).is_ok(), average.check_n(7).is_ok());
    assert_eq!([local.rate(), local.rate_at(clock.now())], [average.rate(); 2]);
}

#[test]
fn local_meter_checks_its_quota() {
    let quota: Quota = "5/s burst 2".parse().unwrap();
    let local = LocalMeter::<LeakyBucket>::from_quota(quota).unwrap();
    assert!(local.check_n(2).is_ok() && local.check_n(3).is_err());
    assert!(LocalMeter::<GCRA>::from_quota(quota.cell_weight(ratelimit_meter::nonzero!(3u32))).is_err());
}

#[test]
fn single_thread_meters_are_send() {
    is_send::<LocalMeter<GCRA>>();
    is_send::<LocalMeter<Exponential<ManualClock>>>();
    is_send::<Budget>();
}

/// Shows whether `T` has clones. The constant of `Probe` comes before that of the trait, if `T` has them.
trait Uncloned {
    const HAS_CLONES: bool = false;
}

struct Probe<T>(PhantomData<T>);

impl<T> Uncloned for Probe<T> {}

impl<T: Clone> Probe<T> {
    const HAS_CLONES: bool = true;
}

/// A clone of a plain number would admit the same cells once more.
#[test]
fn single_thread_meters_have_no_clones() {
    let shared = [Probe::<GCRA>::HAS_CLONES, Probe::<Adjustable>::HAS_CLONES];
    let of_one_thread = [
        Probe::<LocalMeter<GCRA>>::HAS_CLONES,
        Probe::<LocalMeter<Exponential<ManualClock>>>::HAS_CLONES,
        Probe::<Budget>::HAS_CLONES,
    ];
    assert_eq!((shared, of_one_thread), ([true; 2], [false; 3]));
}

#[test]
fn a_budget_grants_the_empty_batch() {
    let budget = Budget::new(0);
    assert_eq!(budget.check_n(0), Ok(()));
    let error: OverBudget = budget.check_n(u64::MAX).unwrap_err();
    assert_eq!(
        error.to_string(),
        "denied: 18446744073709551615 cells of a budget that has 0 left"
    );
    budget.refund(u64::MAX);
    assert_eq!(budget.remaining(), 0);
    let all = Budget::new(u64::MAX);
    all.check().unwrap();
    all.refund(u64::MAX);
    assert_eq!(all.remaining(), u64::MAX);
}
