//! The examples and tests of `leaky-bucket`, in paused time.

use crate::support::ms;
use ratelimit_meter_tokio::{Acquire, AcquireOwned, RateLimiter};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

const MOST: usize = 0xFFFF_FFFF;

#[tokio::test(start_paused = true)]
async fn twenty_cells_take_four_intervals_of_five() {
    for max in [0, 10] {
        let limiter = RateLimiter::builder().max(max).initial(0).refill(5).build();
        let start = Instant::now();
        tokio::join!(limiter.acquire(7), limiter.acquire(3), limiter.acquire(10));
        assert_eq!(start.elapsed(), ms(400), "max {max}");
    }
}

#[tokio::test(start_paused = true)]
async fn three_cells_beyond_the_initial_take_three_intervals() {
    let limiter = RateLimiter::builder().initial(10).interval(ms(100)).build();
    let start = Instant::now();
    limiter.acquire(10).await;
    assert_eq!(start.elapsed(), ms(0));
    limiter.acquire(3).await;
    assert_eq!(start.elapsed(), ms(300));
}

#[tokio::test(start_paused = true)]
async fn consecutive_acquires_take_an_interval_each() {
    for (interval, cells) in [(ms(100), 10), (ms(2000), 2)] {
        let limiter = RateLimiter::builder().interval(interval).build();
        let start = Instant::now();
        for _ in 0..cells {
            limiter.acquire_one().await;
        }
        assert_eq!(start.elapsed(), interval * cells);
    }
}

#[tokio::test(start_paused = true)]
async fn request_above_capacity_takes_every_refill() {
    let limiter = RateLimiter::builder().max(5).initial(5).interval(ms(100)).build();
    let start = Instant::now();
    limiter.acquire(10).await;
    assert_eq!(start.elapsed(), ms(500));
}

#[tokio::test(start_paused = true)]
async fn hundred_tasks_reach_a_thousand_in_two_seconds() {
    let limiter = RateLimiter::builder().refill(100).interval(ms(200)).build();
    let start = Instant::now();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    limiter.acquire_one().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(start.elapsed(), ms(2000));
}

#[tokio::test(start_paused = true)]
async fn largest_counts_wait_whole_intervals() {
    let limiter = RateLimiter::builder().refill(MOST).max(MOST).build();
    assert_eq!((limiter.max(), limiter.balance()), (MOST, 0));
    let start = Instant::now();
    limiter.acquire(MOST).await;
    assert_eq!(start.elapsed(), ms(100));
    limiter.acquire(1).await;
    assert_eq!(start.elapsed(), ms(200));
    assert_eq!(limiter.balance(), MOST - 1);
}

/// In `leaky-bucket` 1.1.2 the second acquire is served at 2961 ms, after 44 ticks of its own.
#[tokio::test(start_paused = true)]
async fn large_acquires_in_line_lose_no_tick() {
    let limiter = RateLimiter::builder().max(16).initial(7).interval(ms(47)).build();
    let start = Instant::now();
    let served = async |cells: u32| {
        limiter.acquire(cells).await;
        start.elapsed()
    };
    let ticks = (26 - 7, 26 - 7 + 22);
    assert_eq!(
        tokio::join!(served(26), served(22)),
        (ms(47) * ticks.0, ms(47) * ticks.1)
    );
}

/// A future of a user's own, with the names of `leaky-bucket`.
struct Permits {
    acquire: AcquireOwned,
}

impl Future for Permits {
    type Output = &'static str;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<&'static str> {
        Pin::new(&mut self.acquire).poll(cx).map(|()| "acquired")
    }
}

#[tokio::test(start_paused = true)]
async fn futures_are_named_without_a_source() {
    let limiter = Arc::new(RateLimiter::builder().build());
    let (start, owned) = (Instant::now(), limiter.clone().acquire_owned(2));
    assert_eq!(Permits { acquire: owned }.await, "acquired");
    let borrowed: Acquire<'_> = limiter.acquire(1);
    borrowed.await;
    assert_eq!(start.elapsed(), ms(300));
}
