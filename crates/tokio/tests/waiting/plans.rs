//! Every instant that is reported is exact, and every bound that is accepted is kept, as long as none interferes.

use crate::support::{ByHand, ms, quota};
use proptest::prelude::*;
use ratelimit_meter::keyed::{KeyedBuilder, WhenFull};
use ratelimit_meter::{Dual, Exponential, GCRA, KeyedMeter, LeakyBucket, Quota};
use ratelimit_meter_tokio::{
    AcquireError, InsufficientCapacity, Keyed, Patience, RateLimiter, Source, TokioClock, Waiting,
};
use std::time::Duration;
use tokio::time::{Instant, advance, sleep_until};

const NS: Duration = Duration::from_nanos(1);

fn not_yet(denied: Result<(), AcquireError>) -> Instant {
    match denied {
        Err(AcquireError::NotYet(denied)) => denied.earliest_possible().into(),
        other => panic!("{other:?}"),
    }
}

/// Queues batches one behind another, each with the tightest bound that is accepted, and expects each within the millisecond of its bound.
async fn tightest_bounds_are_kept(acquire: impl AsyncFn(u32, Patience) -> Result<(), AcquireError>, batches: &[u32]) {
    let mut waits = Vec::new();
    for &n in batches {
        let none = Patience::unlimited().timeout(Duration::ZERO);
        let denied = acquire(n, none).await;
        if denied.is_ok() {
            continue;
        }
        let bound = not_yet(denied);
        let too_tight = Patience::unlimited().deadline((bound - NS).into_std());
        assert_eq!(not_yet(acquire(n, too_tight).await), bound);
        let acquire = &acquire;
        let kept = async move {
            let patience = Patience::unlimited().deadline(bound.into_std());
            (acquire(n, patience).await, Instant::now())
        };
        let mut wait = Box::pin(kept);
        assert!(futures_util::poll!(&mut wait).is_pending());
        waits.push((bound, wait));
    }
    for (bound, wait) in waits {
        let (result, at) = wait.await;
        assert_eq!(result, Ok(()));
        assert!(at >= bound && at - bound <= ms(1), "at {at:?}, due at {bound:?}");
    }
}

fn in_paused_time(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(test);
}

fn waiting<S: Source>(limiter: &Waiting<S>) -> impl AsyncFn(u32, Patience) -> Result<(), AcquireError> {
    async move |n, patience| limiter.acquire_with(n, patience).await
}

/// Quotas with ticks and without, with weights and without, whose burst is 12 cells.
fn quotas() -> impl Strategy<Value = Quota> {
    let texts = [
        "12/s",
        "7/3s burst 12",
        "12/s every 1s",
        "12/700ms every 50ms",
        "5/s burst 12 every 1s",
        "1000003/s burst 12",
        "7/min burst 12",
        "12/s weight 1",
        "91/3s burst 84 weight 7",
        "36/s burst 36 weight 3 every 250ms",
    ];
    (0..texts.len()).prop_filter_map("a quota", move |index| texts[index].parse().ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bounds_of_a_gcra_are_exact(quota in quotas(), batches in prop::collection::vec(1..=12_u32, 1..40)) {
        in_paused_time(async {
            let limiter = Waiting::new(GCRA::from_quota(quota).unwrap());
            tightest_bounds_are_kept(waiting(&limiter), &batches).await;
        });
    }

    #[test]
    fn bounds_of_a_leaky_bucket_are_exact(quota in quotas(), batches in prop::collection::vec(1..=12_u32, 1..40)) {
        in_paused_time(async {
            let limiter = Waiting::new(LeakyBucket::from_quota(quota).unwrap());
            tightest_bounds_are_kept(waiting(&limiter), &batches).await;
        });
    }

    #[test]
    fn bounds_of_an_average_are_exact(limit in 12..100_u32, batches in prop::collection::vec(1..=12_u32, 1..40)) {
        in_paused_time(async {
            let limiter = Waiting::new(Exponential::new(limit, ms(777)).unwrap());
            tightest_bounds_are_kept(waiting(&limiter), &batches).await;
        });
    }

    #[test]
    fn bounds_of_a_dual_are_exact(quota in quotas(), batches in prop::collection::vec(1..=12_u32, 1..40)) {
        in_paused_time(async {
            let limits = Dual::new(GCRA::from_quota(quota).unwrap(), GCRA::from_quota("20/3s".parse().unwrap()).unwrap());
            tightest_bounds_are_kept(waiting(&Waiting::new(limits)), &batches).await;
        });
    }

    #[test]
    fn bounds_of_a_key_are_exact(quota in quotas(), batches in prop::collection::vec(1..=12_u32, 1..40)) {
        in_paused_time(async {
            let limiter = Keyed::of_table(KeyedMeter::<u8>::with_capacity(quota, 100).unwrap());
            let acquire = async |n, patience| limiter.acquire_key_with(&1, n, patience).await;
            tightest_bounds_are_kept(acquire, &batches).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn instant_behind_a_tick_waiter_is_exact() {
    let start = Instant::now();
    let meter = GCRA::from_quota(quota("3/s every 1s")).unwrap().with_clock(TokioClock);
    let keys = KeyedMeter::<u8>::with_capacity(quota("3/s every 1s"), 100).unwrap();
    let (limiter, keyed) = (Waiting::new(meter), Keyed::of_table(keys));
    limiter.acquire(3).await.unwrap();
    let mut first = ByHand::new(limiter.acquire(3));
    assert!(first.is_pending());
    assert_eq!(not_yet(limiter.try_acquire(1)), start + ms(2000));
    assert!(limiter.acquire_timeout(1, ms(1500)).await.is_err());
    limiter.acquire_timeout(1, ms(2000)).await.unwrap();
    keyed.acquire_key(&1, 3).await.unwrap();
    let mut first = ByHand::new(keyed.acquire_key(&1, 3));
    assert!(first.is_pending());
    let next = not_yet(keyed.try_acquire_key(&1, 1));
    let in_time = Patience::unlimited().deadline(next.into_std());
    keyed.acquire_key_with(&1, 1, in_time).await.unwrap();
    assert!(Instant::now() - next <= ms(1));
}

#[tokio::test(start_paused = true)]
async fn bound_that_equals_the_wait_is_kept() {
    let meter = GCRA::from_quota(quota("3/s burst 2")).unwrap();
    let limiter = Waiting::new(meter);
    let start = Instant::now();
    limiter.acquire(2).await.unwrap();
    let mut behind = [1, 2, 2, 2].map(|n| ByHand::new(limiter.acquire(n)));
    assert!(behind.iter_mut().all(ByHand::is_pending));
    sleep_until(start + ms(500)).await;
    // Seven cells are waited for, two more make nine: 3 s after the start.
    limiter.acquire_timeout(2, ms(2500)).await.unwrap();
    assert_eq!(start.elapsed(), ms(3000));
}

/// Returns the instant of `n` cells behind the waiters, in milliseconds from `start`. The second call has the plan of the first.
fn comes<S: Source>(limiter: &Waiting<S>, n: u32, start: Instant) -> u128 {
    let [first, second] = [(); 2].map(|()| not_yet(limiter.try_acquire(n)));
    assert_eq!(first, second);
    (first - start).as_millis()
}

#[tokio::test(start_paused = true)]
async fn plan_follows_a_change_by_a_clone() {
    let meter = GCRA::from_quota(quota("10/s burst 10")).unwrap().with_clock(TokioClock);
    let (limiter, start) = (Waiting::new(meter.clone()), Instant::now());
    limiter.acquire(10).await.unwrap();
    let mut head = ByHand::new(limiter.acquire(10));
    assert!(head.is_pending());
    assert_eq!(comes(&limiter, 1, start), 1100);
    meter.charge(5);
    assert_eq!(comes(&limiter, 1, start), 1600);
    assert!(limiter.acquire_timeout(1, ms(1500)).await.is_err());
    assert_eq!(start.elapsed(), Duration::ZERO, "denied at once");
}

/// The head is due at the same tick, with or without the change.
#[tokio::test(start_paused = true)]
async fn plan_follows_a_change_that_leaves_the_head() {
    let meter = GCRA::from_quota(quota("5/s burst 10 every 1s"))
        .unwrap()
        .with_clock(TokioClock);
    let (limiter, start) = (Waiting::new(meter.clone()), Instant::now());
    limiter.acquire(8).await.unwrap();
    let mut head = ByHand::new(limiter.acquire(3));
    assert!(head.is_pending());
    assert_eq!(comes(&limiter, 4, start), 1000);
    meter.check_n(2).unwrap();
    assert_eq!(comes(&limiter, 4, start), 2000);
    meter.refund(2);
    assert_eq!(comes(&limiter, 4, start), 1000);

    let [fast, slow] = ["10/s burst 2", "1/s burst 10"].map(|text| GCRA::from_quota(quota(text)).unwrap());
    let limits = Dual::new(fast, slow).with_clock(TokioClock);
    let (limiter, start) = (Waiting::new(limits.clone()), Instant::now());
    limiter.acquire(2).await.unwrap();
    let mut head = ByHand::new(limiter.acquire(1));
    assert!(head.is_pending());
    assert_eq!(comes(&limiter, 2, start), 300);
    limits.charge_each(0, 7);
    assert_eq!(comes(&limiter, 2, start), 2000);
}

#[tokio::test(start_paused = true)]
async fn plan_follows_the_slot_of_the_head() {
    let meter = GCRA::from_quota(quota("1/s burst 10")).unwrap().with_clock(TokioClock);
    let builder = KeyedBuilder::new(meter).when_full(WhenFull::Deny);
    let table = builder.with_memory::<u32>(8192).unwrap();
    let (limiter, start) = (Keyed::of_table(table.clone()), Instant::now());
    let keys = (0..).take_while(|key| table.check_at(key, start.into_std()).is_ok());
    let owners: Vec<u32> = keys.collect();
    let new = u32::MAX;
    let mut head = ByHand::new(limiter.acquire_key(&new, 1));
    assert!(head.is_pending());
    let comes = || (not_yet(limiter.try_acquire_key(&new, 1)) - start).as_millis();
    assert_eq!(comes(), 1000);
    for key in &owners {
        table.key(key).charge_at(9, start.into_std());
    }
    sleep_until(start + ms(1500)).await;
    assert!(head.is_pending());
    assert_eq!(comes(), 10_000);
    for key in &owners {
        table.key(key).refund_at(4, start.into_std());
    }
    assert_eq!(comes(), 6_000);
}

/// The next part of the head's cells is due before all of them were planned to come.
#[tokio::test(start_paused = true)]
async fn plan_follows_cells_lost_by_a_stall() {
    let limiter = RateLimiter::builder().interval(ms(10)).max(1).initial(0).build();
    let start = Instant::now();
    let mut head = ByHand::new(limiter.acquire(100));
    assert!(head.is_pending());
    assert_eq!(comes(&limiter, 1, start), 1010);
    advance(ms(505)).await;
    // A catch-up of 10 ms: the bucket held 1 of the 49 cells that had come by 495 ms.
    assert_eq!(comes(&limiter, 1, start), 1490);
}

#[tokio::test(start_paused = true)]
async fn plan_follows_cells_taken_past_waiters() {
    let limiter = RateLimiter::builder()
        .interval(ms(10))
        .max(10)
        .initial(5)
        .fair(false)
        .build();
    let start = Instant::now();
    let mut head = ByHand::new(limiter.acquire(10));
    assert!(head.is_pending());
    let comes = async || not_yet(limiter.acquire_timeout(7, Duration::ZERO).await) - start;
    assert_eq!(comes().await, ms(120));
    assert_eq!(limiter.try_acquire_up_to(3), 3);
    assert_eq!(comes().await, ms(150));
}

#[tokio::test(start_paused = true)]
async fn plan_follows_waiters_served_after_it() {
    let limiter = Waiting::new(GCRA::from_quota(quota("10/s burst 1")).unwrap());
    let start = Instant::now();
    limiter.acquire(1).await.unwrap();
    let mut first = ByHand::new(limiter.acquire(1));
    assert!(first.is_pending());
    assert_eq!(comes(&limiter, 1, start), 200);
    let mut later = [(); 2].map(|()| ByHand::new(limiter.acquire(1)));
    assert!(later.iter_mut().all(ByHand::is_pending));
    sleep_until(start + ms(250)).await;
    assert_eq!(limiter.waiting(), 1);
    assert_eq!(comes(&limiter, 1, start), 400);
}

/// The number of waits: 5,000, or `RATELIMIT_METER_WAITS`.
fn waits() -> u32 {
    std::env::var("RATELIMIT_METER_WAITS").map_or(5_000, |waits| waits.parse().unwrap())
}

/// Waits for one cell again and again, at seven cells a minute, and compares the instant of the next cell with the exact one.
async fn never_drifts(next: impl Fn() -> Instant, acquire: impl AsyncFn() -> Result<(), InsufficientCapacity>) {
    let first = {
        acquire().await.unwrap();
        next()
    };
    for _ in 0..waits() {
        acquire().await.unwrap();
    }
    let exact = Duration::from_nanos(u64::from(waits()) * 60_000_000_000 / 7);
    let drift = (next() - first).abs_diff(exact);
    // Both instants are rounded to nanoseconds, and those of a key may be early by one.
    assert!(drift <= 3 * NS, "{drift:?}");
}

#[tokio::test(start_paused = true)]
async fn waits_do_not_drift() {
    let limiter = Waiting::new(GCRA::from_quota(quota("7/min burst 1")).unwrap());
    never_drifts(|| not_yet(limiter.try_acquire(1)), async || limiter.acquire(1).await).await;
}

#[tokio::test(start_paused = true)]
async fn waits_of_a_key_do_not_drift() {
    let keyed = Keyed::of_table(KeyedMeter::<u8>::with_capacity(quota("7/min burst 1"), 100).unwrap());
    never_drifts(
        || not_yet(keyed.try_acquire_key(&1, 1)),
        async || keyed.acquire_key(&1, 1).await,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn waits_of_a_dual_do_not_drift() {
    for limits in ["7/min burst 1 & 11/min burst 3", "11/min burst 3 & 7/min burst 1"] {
        let limiter = Waiting::new(Dual::<GCRA>::from_quota(limits.parse().unwrap()).unwrap());
        never_drifts(|| not_yet(limiter.try_acquire(1)), async || limiter.acquire(1).await).await;
    }
}
