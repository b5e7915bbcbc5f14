//! What the documentation of `quota` 0.2 and 0.3 shows, by the means of this crate.
#![cfg(feature = "keyed")]

use crate::support::keyed::{BUCKET, BUCKET_SLOTS};
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::keyed::{KeyHashes, KeyedBuilder};
use ratelimit_meter::{Budget, GCRA, KeyedMeter, LeakyBucket, Quota};
use std::time::{Duration, Instant};

const NANOSECOND: Duration = Duration::from_nanos(1);
const SECOND: Duration = Duration::from_secs(1);

/// How many of a hundred cells pass, and how many do not.
fn of_a_hundred(mut check: impl FnMut() -> bool) -> (usize, usize) {
    let passed = (0..100).filter(|_| check()).count();
    (passed, 100 - passed)
}

fn meter(quota: &str, clock: &ManualClock) -> GCRA<ManualClock> {
    let quota: Quota = quota.parse().unwrap();
    GCRA::from_quota(quota).unwrap().with_clock(clock.clone())
}

/// `Quota::with_initial_tokens(10)`, and `consume(1)` a hundred times.
#[test]
fn ten_initial_tokens_and_a_hundred_consumes_give_10_and_90() {
    let budget = Budget::new(10);
    assert_eq!(of_a_hundred(|| budget.check().is_ok()), (10, 90));
    assert_eq!(budget.remaining(), 0);
}

/// A capacity of 10, 10 initial tokens, 100 a microsecond, `tick(1, ..)` before each `consume(1)`: 0.1 token a tick.
#[test]
fn tenth_tokens_before_consumes_give_19_and_81() {
    for (quota, tick) in [
        ("100/us burst 10 every 1ns", NANOSECOND),
        ("100/us burst 10", NANOSECOND),
        ("1/s burst 10 every 100ms", SECOND / 10),
    ] {
        let clock = ManualClock::new();
        let (gcra, keyed) = (
            meter(quota, &clock),
            KeyedBuilder::new(meter(quota, &clock))
                .with_capacity::<str>(10)
                .unwrap(),
        );
        let bucket = LeakyBucket::from_quota(quota.parse().unwrap())
            .unwrap()
            .with_clock(clock.clone());
        let local = meter(quota, &clock).into_local();
        let counts = of_a_hundred(|| {
            clock.advance(tick).unwrap();
            let passes = gcra.check().is_ok();
            assert_eq!(bucket.check().is_ok(), passes);
            assert_eq!(local.check().is_ok(), passes);
            assert_eq!(keyed.check("testing").is_ok(), passes);
            passes
        });
        assert_eq!(counts, (19, 81), "{quota}");
    }
}

/// Plays the pool with 10 initial tokens, 3 a second and a refill interval of a second.
fn play_pool(clock: &ManualClock, mut check: impl FnMut() -> bool, mut remaining: impl FnMut() -> u32) {
    let made = clock.now();
    assert_eq!(of_a_hundred(&mut check), (10, 90));
    for second in 1..=20 {
        let tick = made + SECOND * second;
        for before in [SECOND - NANOSECOND, SECOND / 2, SECOND / 3, NANOSECOND] {
            clock.set(tick - before);
            assert_eq!(remaining(), 0);
            assert_eq!(of_a_hundred(&mut check), (0, 100), "none between");
        }
        clock.set(tick);
        assert_eq!(remaining(), 3);
        assert_eq!(of_a_hundred(&mut check), (3, 97), "three after {second} seconds");
    }
    clock.set(made + SECOND * 22 + SECOND / 2);
    assert_eq!(of_a_hundred(&mut check), (6, 94), "nothing is lost");
    clock.set(made + SECOND * 100);
    assert_eq!(of_a_hundred(&mut check), (10, 90), "nor more than the capacity kept");
}

/// `QuotaPool::with_capacity(policy, 10, 1)`.
#[test]
fn the_pool_passes_three_each_whole_second() {
    const QUOTA: &str = "3/s burst 10 every 1s";
    let clock = ManualClock::new();
    let gcra = meter(QUOTA, &clock);
    play_pool(&clock, || gcra.check().is_ok(), || gcra.status().remaining());

    let clock = ManualClock::new();
    let bucket = LeakyBucket::from_quota(QUOTA.parse().unwrap())
        .unwrap()
        .with_clock(clock.clone());
    play_pool(
        &clock,
        || bucket.take(1).decision().is_ok(),
        || bucket.take(0).status().remaining(),
    );

    let clock = ManualClock::new();
    let local = meter(QUOTA, &clock).into_local();
    play_pool(&clock, || local.check_n(1).is_ok(), || local.status().remaining());

    let clock = ManualClock::new();
    let pool: KeyedMeter<String, _> = KeyedBuilder::new(meter(QUOTA, &clock)).with_capacity(1).unwrap();
    play_pool(
        &clock,
        || pool.check("testing").is_ok(),
        || pool.key("testing").status().remaining(),
    );
}

/// All keys tick together, from when the first meter of the table was made, whenever they come and go.
#[test]
fn keys_of_a_pool_tick_together() {
    let clock = ManualClock::new();
    let made = clock.now();
    let pool = KeyedBuilder::new(meter("3/s burst 10 every 1s", &clock))
        .hashes(KeyHashes::with_seed([1 << 40, 2, 3]))
        .with_capacity::<u32>(1000)
        .unwrap();
    for key in 0..1000 {
        clock.set(made + SECOND * key / 1000);
        assert!(pool.check_n(&key, 10).is_ok());
        let denied = pool.check(&key).unwrap_err();
        assert_eq!(denied.earliest_possible(), made + SECOND, "key {key}");
    }
    clock.set(made + SECOND);
    assert!((0..1000).all(|key| pool.check_n(&key, 3).is_ok() && pool.check(&key).is_err()));
    // What is owed has drained at the fourth tick from there.
    let rests = (0..1000).map(|key| pool.key(&key).status().until_rest());
    assert!(rests.eq([SECOND * 4; 1000]));
    clock.set(made + SECOND * 5 - NANOSECOND);
    assert_eq!(pool.stats().live, 1000);
    clock.set(made + SECOND * 5);
    assert_eq!(pool.stats().live, 0);
}

/// A slot of a key is another's from the tick on at which it is at rest.
#[test]
fn a_table_that_is_full_has_room_at_a_tick() {
    let clock = ManualClock::new();
    let made = clock.now();
    let builder =
        KeyedBuilder::new(meter("3/s burst 10 every 1s", &clock)).when_full(ratelimit_meter::keyed::WhenFull::Deny);
    let pool = builder.with_memory::<usize>(BUCKET).unwrap();
    clock.set(made + SECOND / 4);
    assert!((0..BUCKET_SLOTS).all(|key| pool.check(&key).is_ok()));
    let denied = pool.check(&BUCKET_SLOTS).unwrap_err();
    assert_eq!(denied.earliest_possible(), made + SECOND);
    clock.set(made + SECOND - NANOSECOND);
    assert!(pool.check(&BUCKET_SLOTS).is_err());
    clock.set(made + SECOND);
    assert!(pool.check(&BUCKET_SLOTS).is_ok());
}

/// `QuotaPolicy::set_capacity(10)` with 4 initial tokens.
#[test]
fn initial_tokens_below_the_capacity() {
    let clock = ManualClock::new();
    let meter = meter("3/s burst 10 every 1s", &clock).with_available(4).unwrap();
    assert_eq!(of_a_hundred(|| meter.check().is_ok()), (4, 96));
    clock.advance(SECOND).unwrap();
    assert_eq!(of_a_hundred(|| meter.check().is_ok()), (3, 97));
    clock.advance(SECOND * 10).unwrap();
    assert_eq!(of_a_hundred(|| meter.check().is_ok()), (10, 90));
}

/// `consume` tells what is left, whatever it decides; so does `take`, and when more comes.
#[test]
fn both_outcomes_report_remaining_cells() {
    let pool = KeyedMeter::<str>::with_capacity("3/s burst 10 every 1h".parse::<Quota>().unwrap(), 100).unwrap();
    let now = Instant::now();
    let [admitted, denied] = [4, 7].map(|n| pool.key("testing").take_at(n, now));
    assert!(admitted.decision().is_ok() && denied.decision().is_err());
    assert_eq!([admitted, denied].map(|taken| taken.status().remaining()), [6, 6]);
}
