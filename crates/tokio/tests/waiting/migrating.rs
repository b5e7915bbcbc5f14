//! The rows of the migration notes for limiters that wait: Guava, resilience4j, uber-go, aiolimiter, p-throttle and tokio.

use crate::support::ms;
use ratelimit_meter::{Adjustable, GCRA, LeakyBucket, Quota, nonzero};
use ratelimit_meter_tokio::{AcquireError, RateLimiter, Waiting};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep};

fn meter(text: &str) -> Waiting<GCRA> {
    Waiting::new(GCRA::from_quota(text.parse().unwrap()).unwrap())
}

fn starting_with(cells: u32, text: &str) -> Waiting<GCRA> {
    let meter = GCRA::from_quota(text.parse().unwrap()).unwrap();
    Waiting::new(meter.with_available(cells).unwrap())
}

/// Takes cells one by one, and returns when each came, in milliseconds.
async fn singles(limiter: &Waiting<GCRA>, cells: usize) -> Vec<u128> {
    let start = Instant::now();
    let mut came = Vec::new();
    for _ in 0..cells {
        limiter.acquire_one().await.unwrap();
        came.push(start.elapsed().as_millis());
    }
    came
}

#[tokio::test(start_paused = true)]
async fn semaphore_with_a_refill_task_is_a_bucket() {
    let limiter = RateLimiter::builder().max(3).initial(3).interval(ms(100)).build();
    let start = Instant::now();
    for came in [0, 0, 0, 100, 200] {
        limiter.acquire_one().await;
        assert_eq!(start.elapsed(), ms(came));
    }
}

#[tokio::test(start_paused = true)]
async fn interval_with_delay_is_a_burst_of_one() {
    let limiter = meter("1/100ms burst 1");
    let mut interval = interval(ms(100));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for work in [0, 30, 250, 10, 1000, 0] {
        interval.tick().await;
        limiter.try_acquire(1).expect("a cell at each tick");
        assert!(limiter.try_acquire(1).is_err());
        sleep(ms(work)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn guava_order_is_one_cell_and_a_charge() {
    let limiter = meter("5/s burst 1");
    let start = Instant::now();
    // acquire(10) passes at once, and the next caller waits for it.
    limiter.acquire_one().await.unwrap();
    limiter.change(|meter| meter.charge_at(9, Instant::now().into_std()));
    assert_eq!(start.elapsed(), ms(0));
    limiter.acquire_one().await.unwrap();
    assert_eq!(start.elapsed(), ms(2000));
}

#[tokio::test(start_paused = true)]
async fn guava_starts_empty_and_stores_a_second() {
    let limiter = starting_with(1, "5/s burst 6");
    assert_eq!(singles(&limiter, 3).await, [0, 200, 400]);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(singles(&limiter, 8).await, [0, 0, 0, 0, 0, 0, 200, 400]);
}

#[tokio::test(start_paused = true)]
async fn resilience4j_refresh_period_is_a_tick() {
    let limiter = meter("50/500ms every 500ms");
    let start = Instant::now();
    for period in 0..4 {
        limiter.acquire(50).await.unwrap();
        assert_eq!(start.elapsed(), ms(500) * period);
    }
    // timeoutDuration
    let denied = limiter.acquire_timeout(1, ms(499)).await;
    assert!(matches!(denied, Err(AcquireError::NotYet(_))));
    assert_eq!(start.elapsed(), ms(1500));
    limiter.acquire_timeout(1, ms(500)).await.unwrap();
    // drainPermissions
    assert_eq!(limiter.try_acquire_up_to(u32::MAX), 49);
    limiter.acquire_one().await.unwrap();
    assert_eq!(start.elapsed(), ms(2500));
}

#[tokio::test(start_paused = true)]
async fn guava_rate_changes_for_the_next_waiter() {
    let meter = Adjustable::<GCRA>::from_quota("5/s burst 1".parse().unwrap()).unwrap();
    let limiter = Waiting::new(meter);
    let start = Instant::now();
    limiter.acquire_one().await.unwrap();
    let change = async {
        sleep(ms(100)).await;
        let now = Instant::now().into_std();
        limiter.change(|meter| meter.set_quota_at("10/s burst 1".parse().unwrap(), now))
    };
    let (waited, changed) = tokio::join!(limiter.acquire_one(), change);
    waited.unwrap();
    changed.unwrap();
    // Half a cell was owed, which takes 50 ms at the new rate.
    assert_eq!(start.elapsed(), ms(150));
}

#[tokio::test(start_paused = true)]
async fn uber_go_slack_is_burst_minus_one() {
    let limiter = starting_with(1, "100/s burst 11");
    assert_eq!(singles(&limiter, 4).await, [0, 10, 20, 30]);
    sleep(Duration::from_secs(1)).await;
    let after_idle = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 20];
    assert_eq!(singles(&limiter, 13).await, after_idle);
    assert_eq!(singles(&meter("100/s burst 1"), 4).await, [0, 10, 20, 30]);
}

#[tokio::test(start_paused = true)]
async fn aiolimiter_is_a_leaky_bucket() {
    let limiter = Waiting::new(LeakyBucket::from_quota("100/min".parse().unwrap()).unwrap());
    let start = Instant::now();
    limiter.acquire(100).await.unwrap();
    assert_eq!(start.elapsed(), ms(0));
    limiter.acquire_one().await.unwrap();
    assert_eq!(start.elapsed(), ms(600));
}

#[tokio::test(start_paused = true)]
async fn p_throttle_ticks_and_strict_is_at_most() {
    let ticks = meter("2/s every 1s");
    assert_eq!(singles(&ticks, 5).await, [0, 0, 1000, 1000, 2000]);
    let strict = Quota::at_most(nonzero!(2u32), Duration::from_secs(1)).unwrap();
    let came = singles(&Waiting::new(GCRA::from_quota(strict).unwrap()), 20).await;
    assert!(came.windows(3).all(|three| three[2] - three[0] >= 1000), "{came:?}");
}
