//! One turn of one contender.

use super::contender::{RATE, WaitingContender};
use crate::stats::float;
use core::hint::black_box;
use cpu_time::ProcessTime;
use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

/// The number of tasks that wait at once.
pub(super) const TASKS: u32 = 1000;

/// The cells of a turn: a second's.
const CELLS: u64 = RATE;

/// The acquires of a turn that need not wait.
const READY: u32 = 50_000;

/// The futures whose memory is measured.
const CROWD: u32 = 100_000;

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without I/O needs nothing")
}

/// Nanoseconds of an acquire that need not wait.
pub(super) fn ready_ns<W: WaitingContender>() -> f64 {
    runtime().block_on(async {
        let limiter = W::ample();
        for _ in 0..READY / 10 {
            limiter.acquire().await;
        }
        let start = Instant::now();
        for _ in 0..READY {
            black_box(&limiter).acquire().await;
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(READY)
    })
}

/// The result of a crowd.
#[derive(Debug, Clone, Copy)]
pub(super) struct CrowdResult {
    pub(super) cpu_ns_per_cell: f64,
    /// The cells a second, as a part of the limit.
    pub(super) share: f64,
}

/// A thousand tasks that take turns at a cell each, until a second's cells are taken.
pub(super) fn crowd<W: WaitingContender>() -> CrowdResult {
    let runtime = runtime();
    let limiter = Arc::new(W::crowded());
    let had = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), ProcessTime::now());
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (limiter, had) = (Arc::clone(&limiter), Arc::clone(&had));
                tokio::spawn(async move {
                    // ORDERING: relaxed; it only counts.
                    while had.fetch_add(1, Ordering::Relaxed) < CELLS {
                        limiter.acquire().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no contender panics");
        }
    });
    let (cpu, wall) = (cpu.elapsed().as_secs_f64(), start.elapsed().as_secs_f64());
    let cells = float(CELLS);
    CrowdResult {
        cpu_ns_per_cell: cpu * 1e9 / cells,
        share: cells / float(RATE) / wall,
    }
}

/// Bytes of memory for each boxed future that waits, by the pages that the process has come to hold.
pub(super) fn bytes<W: WaitingContender>() -> f64 {
    let runtime = runtime();
    let limiter = W::scarce();
    let _context = runtime.enter();
    let mut cx = Context::from_waker(Waker::noop());
    let mut waiting: Vec<Pin<Box<dyn Future<Output = ()> + Send + '_>>> = Vec::with_capacity(CROWD as usize);
    let before = resident();
    for _ in 0..CROWD {
        let mut future: Pin<Box<dyn Future<Output = ()> + Send + '_>> = Box::pin(limiter.acquire());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        waiting.push(future);
    }
    let grown = resident().saturating_sub(before);
    float(grown) / f64::from(CROWD) - float(size_of_val(&waiting[0]) as u64)
}

/// The bytes that the process has in memory.
fn resident() -> u64 {
    const PAGE: u64 = 4096;
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE
}
