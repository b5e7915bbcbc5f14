//! Debug output: a line for each public type, with its limit.

use crate::quota;
use ratelimit_meter::clock::{DefaultClock, ManualClock};
use ratelimit_meter::keyed::KeyedBuilder;
use ratelimit_meter::marker::{ExcessRate, SingleRate, TwoRate};
use ratelimit_meter::observed::Observed;
use ratelimit_meter::{
    Adjustable, Budget, Dual, Exponential, GCRA, KeyedMeter, LeakyBucket, LeasedMeter, LocalMeter, nonzero,
};
use std::fmt::Debug;
use std::time::{Duration, Instant};

/// The longest line: a screen and a half.
const LONGEST: usize = 240;

#[track_caller]
fn assert_line(value: &dyn Debug, says: &str) {
    let line = format!("{value:?}");
    assert!(
        !line.contains('\n') && line.len() <= LONGEST,
        "{} bytes: {line}",
        line.len()
    );
    assert!(line.contains(says), "no {says} in {line}");
}

#[test]
fn debug_output_is_one_line_with_the_limit() {
    let ten = quota("10/s");
    let gcra = GCRA::from_quota(ten).expect("a meter");
    assert_line(&gcra, "burst: 10, idle_from: None");
    gcra.check().expect("a cell");
    assert_line(&gcra, "burst: 10, idle_from: Some");
    assert_line(&LeakyBucket::from_quota(ten).expect("a meter"), "burst: 10");
    assert_line(&Exponential::from_quota(ten).expect("a meter"), "Exponential");
    assert_line(&Adjustable::<GCRA>::from_quota(ten).expect("a meter"), "burst: 10");
    assert_line(&<LocalMeter>::from_quota(ten).expect("a meter"), "burst: 10");
    assert_line(&Budget::new(10), "10");
    assert_line(&ten, "10");
    assert_line(&Observed::new("api", gcra.clone()), "burst: 10");
    let leased = LeasedMeter::new(quota("1000/s"), nonzero!(2u32), nonzero!(10u32)).expect("a meter");
    assert_line(&leased.lease().expect("a lease"), "burst: 980");
    assert_line(&leased, "0 of 2");
    let dual = Dual::<GCRA>::from_quota("10/s & 100/h".parse().expect("a quota")).expect("a pair");
    assert_line(&dual, "burst: 100");
    let table = KeyedMeter::<u32>::with_capacity(ten, 1000).expect("a table");
    assert_line(&table, "tiers: 1");
    assert_line(&KeyedBuilder::new(gcra.clone()), "tiers: 1");
    assert_line(&table.top(1), "[]");

    assert_line(
        &SingleRate::new(ten, 20).expect("a marker"),
        "committed: 10/s, excess_burst: 20",
    );
    assert_line(
        &TwoRate::new(ten, quota("20/s")).expect("a marker"),
        "committed: 10/s, peak: 20/s",
    );
    let excess = ExcessRate::new(ten, quota("20/s")).expect("a marker");
    assert_eq!(excess.mark(10), ratelimit_meter::marker::Colour::Green);
    assert_line(&excess, "committed: 10/s, excess: 20/s, full_from: Some");

    let now = Instant::now();
    assert_line(&gcra.check_n_at(10, now).expect_err("a burst"), "earliest_possible");
    assert_line(&gcra.take_at(20, now).decision(), "InsufficientCapacity");
    assert_line(&gcra.reserve(1, Duration::MAX).expect("a cell"), "Reservation");
    assert_line(&DefaultClock, "DefaultClock");
    assert_line(&ManualClock::new(), "ManualClock");
}
