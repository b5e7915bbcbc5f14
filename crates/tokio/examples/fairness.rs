//! Prints the waits of a thousand tasks for a cell each, at a hundred every 100 ms, with a fair limiter and an unfair one.
//!
//! Both serve waiters in the order in which they came. From the unfair one, a caller that finds cells may take them before waiters; here all wait.
//!
//! Run with `cargo run --release -p ratelimit_meter_tokio --example fairness`.

use ratelimit_meter_tokio::RateLimiter;
use std::time::Duration;
use tokio::time::Instant;

const TASKS: u32 = 1000;

/// The time each task waited, in the order in which they were spawned.
async fn grind(limiter: &RateLimiter) -> Vec<Duration> {
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                let start = Instant::now();
                limiter.acquire(1).await;
                start.elapsed()
            })
        })
        .collect();
    let mut waited = Vec::new();
    for task in tasks {
        waited.push(task.await.expect("no task panics"));
    }
    waited
}

#[tokio::main]
async fn main() {
    for (name, fair) in [("fair", true), ("unfair", false)] {
        let limiter = RateLimiter::builder().refill(100).fair(fair).build();
        let start = Instant::now();
        let waited = grind(&limiter).await;
        let most = waited.iter().max().map_or(0, Duration::as_millis);
        println!(
            "# {name}\nMax: {most}ms, Total: {}ms\nTimings:",
            start.elapsed().as_millis()
        );
        for (task, waited) in waited.iter().enumerate().step_by(100) {
            println!(" {task}: {}ms", waited.as_millis());
        }
    }
}
