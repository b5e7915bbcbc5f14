//! By the clock on the wall: bounds, and nothing closer.

use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tokio::{AcquireError, Patience, RateLimiter, Waiting};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_time_two_workers_stay_within_the_limit() {
    let start = Instant::now();
    let limiter = Waiting::new(GCRA::from_quota("100000/s burst 100".parse::<Quota>().unwrap()).unwrap());
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let limiter = limiter.clone();
        tasks.spawn(async move {
            for _ in 0..100 {
                limiter.acquire(1).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(199), "{:?}", start.elapsed());
}

#[test]
fn real_time_threads_are_served_on_time() {
    // Taken before the first tick is counted.
    let start = Instant::now();
    let limiter = RateLimiter::builder()
        .refill(1)
        .interval(Duration::from_micros(250))
        .build();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| limiter.acquire_blocking(1)));
        }
    });
    assert!(start.elapsed() >= Duration::from_millis(50), "{:?}", start.elapsed());
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn real_time_paused_clock_panics_with_a_hint() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let limiter = RateLimiter::builder().build();
    let waits = limiter.clone();
    let panicked = runtime.block_on(async {
        let blocks = tokio::task::spawn_blocking(move || waits.acquire_blocking(2));
        blocks.await.unwrap_err()
    });
    let hint = panicked.into_panic().downcast::<&str>().unwrap();
    assert!(
        hint.contains("advance it from the test, or use acquire().await"),
        "{hint}"
    );
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn real_time_thread_waits_within_its_bounds() {
    let start = Instant::now();
    let limiter = RateLimiter::builder().interval(Duration::from_millis(2)).build();
    let patience = Patience::unlimited().timeout(Duration::from_secs(60));
    let jitter = Duration::from_micros(100);
    limiter.acquire_blocking_with(2, patience.jitter(jitter)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(4), "{:?}", start.elapsed());
    let denied = limiter.acquire_blocking_with(60_000, patience).unwrap_err();
    assert!(matches!(denied, AcquireError::NotYet(_)), "{denied}");
    let crowded = limiter.acquire_blocking_with(60_000, patience.max_waiters(0));
    assert_eq!(crowded, Err(AcquireError::TooManyWaiting { waiting: 0 }));
    let late = limiter.acquire_blocking_with(1, patience.deadline(start));
    assert_eq!(late, Err(AcquireError::DeadlinePassed));
    assert_eq!(limiter.acquire_blocking_with(0, patience.deadline(start)), Ok(()));
}
