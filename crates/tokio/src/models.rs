//! Loom models: every interleaving of callers that join, look, leave and ring at one queue.
//!
//! Run with `RUSTFLAGS="--cfg ratelimit_meter_loom" cargo test --profile model -p ratelimit_meter_tokio --features __loom --lib`.
//!
//! Places are pure and under one lock. A wake-up or a timer could be lost between one section under the lock and the next. So each model ends with
//! the driver alone: each caller that still waits must be served and woken by the timers that are set. Cells could also be taken twice, or before a
//! caller that waits, if some are taken without the lock. The last models count the cells.

use crate::bucket::Bucket;
use crate::error::AcquireError;
use crate::rate_limiter::RateLimiter;
use crate::timers::{Id, driver};
use crate::waiting::{AcquireOwned, Wait};
use loom::thread;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

/// A waiter that is polled only if it was woken, or never was polled.
struct PolledWaiter {
    acquire: AcquireOwned<Bucket>,
    flag: Arc<driver::WakeFlag>,
    runtime: Id,
    is_over: bool,
}

impl PolledWaiter {
    fn new(limiter: &RateLimiter, n: usize) -> Self {
        Self {
            acquire: limiter.acquire_owned(n),
            flag: Arc::default(),
            runtime: 0,
            is_over: false,
        }
    }

    fn polled_in(runtime: Id, limiter: &RateLimiter, n: usize) -> Self {
        let mut waiter = Self::new(limiter, n);
        waiter.runtime = runtime;
        waiter.poll();
        waiter
    }

    fn polled(limiter: &RateLimiter, n: usize) -> Self {
        let mut waiter = Self::new(limiter, n);
        waiter.poll();
        waiter
    }

    /// Polls with a new waker.
    fn poll(&mut self) {
        driver::enter(Some(self.runtime));
        self.flag = Arc::default();
        let waker = Waker::from(Arc::clone(&self.flag));
        self.is_over = Pin::new(&mut self.acquire)
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
    }

    /// Returns whether the waiter is over by `ms`, after the timers that are set have gone off, and it was polled when woken.
    fn is_over_by(&mut self, ms: u64) -> bool {
        for time in 0..=ms {
            driver::set_time(Duration::from_millis(time));
            driver::turn(self.runtime);
            if !self.is_over && self.flag.is_set() {
                self.poll();
            }
        }
        self.is_over
    }
}

/// Runs a model with a limiter that admits a cell each millisecond.
fn model(check: impl Fn(RateLimiter) + Send + Sync + 'static) {
    model_with(0, check);
}

/// Runs a model with a limiter that has `initial` cells, and admits one each millisecond.
fn model_with(initial: usize, check: impl Fn(RateLimiter) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        driver::set_time(Duration::ZERO);
        let mut builder = RateLimiter::builder();
        check(builder.initial(initial).interval(Duration::from_millis(1)).build());
    });
}

/// Drives the first runtime on another thread until `ms`.
fn drive(ms: u64) -> thread::JoinHandle<()> {
    drive_one(0, ms)
}

/// Drives a runtime on another thread until `ms`.
fn drive_one(runtime: Id, ms: u64) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for time in 1..=ms {
            driver::set_time(Duration::from_millis(time));
            driver::turn(runtime);
        }
    })
}

#[test]
fn new_waker_is_woken_or_finds_its_cells() {
    model(|limiter| {
        let first = PolledWaiter::polled(&limiter, 1);
        let mut second = PolledWaiter::polled(&limiter, 1);
        let driver = drive(2);
        second.poll();
        driver.join().unwrap();
        assert!(second.is_over_by(2));
        drop(first);
    });
}

#[test]
fn joining_behind_the_last_served_sets_a_timer() {
    model(|limiter| {
        let mut first = PolledWaiter::polled(&limiter, 1);
        let driver = drive(1);
        let mut second = PolledWaiter::polled(&limiter, 1);
        driver.join().unwrap();
        assert!(first.is_over_by(1) && second.is_over_by(2));
    });
}

#[test]
fn timer_that_fires_while_set_is_set_again() {
    model(|limiter| {
        let driver = drive(1);
        let other = limiter.clone();
        let second = thread::spawn(move || PolledWaiter::polled(&other, 1));
        let mut first = PolledWaiter::polled(&limiter, 1);
        driver.join().unwrap();
        let mut second = second.join().unwrap();
        assert!(first.is_over_by(2) && second.is_over_by(2));
    });
}

#[test]
fn two_join_at_once_and_both_are_served() {
    model(|limiter| {
        let other = limiter.clone();
        let first = thread::spawn(move || PolledWaiter::polled(&other, 1));
        let mut second = PolledWaiter::polled(&limiter, 1);
        let mut first = first.join().unwrap();
        assert!(second.is_over_by(2) && first.is_over_by(2));
    });
}

#[test]
fn waiters_behind_a_leaver_are_served_when_due() {
    model(|limiter| {
        let first = PolledWaiter::polled(&limiter, 3);
        let mut second = PolledWaiter::polled(&limiter, 1);
        let driver = drive(1);
        drop(first);
        driver.join().unwrap();
        assert!(second.is_over_by(1));
    });
}

/// The head, which asked for many cells, leaves outside any runtime, while another runtime serves the next waiter. The waiter behind wakes for its
/// own instant, although the timer of its runtime was set for the head that left.
#[test]
fn cross_runtime_serve_wakes_the_next_waiter() {
    model(|limiter| {
        let large = PolledWaiter::polled_in(0, &limiter, 5);
        let mut between = PolledWaiter::polled_in(1, &limiter, 1);
        let mut behind = PolledWaiter::polled_in(2, &limiter, 1);
        let driver = drive_one(1, 1);
        driver::enter(None);
        drop(large);
        driver.join().unwrap();
        assert!(between.is_over_by(1));
        assert!(behind.is_over_by(2));
    });
}

#[test]
fn cells_of_a_leaver_go_to_the_next() {
    model(|limiter| {
        let first = PolledWaiter::polled(&limiter, 1);
        let mut second = PolledWaiter::polled(&limiter, 1);
        let driver = drive(1);
        drop(first);
        driver.join().unwrap();
        assert!(second.is_over_by(1));
    });
}

#[test]
fn try_never_overtakes_waiters() {
    model(|limiter| {
        let mut first = PolledWaiter::polled(&limiter, 2);
        let driver = drive(2);
        let taken = limiter.try_acquire(1).is_ok();
        driver.join().unwrap();
        assert!(!taken, "two cells come in all");
        assert!(first.is_over_by(2));
    });
}

#[test]
fn available_cells_go_once_with_or_without_lock() {
    model_with(1, |limiter| {
        let other = limiter.clone();
        let first = thread::spawn(move || PolledWaiter::polled(&other, 1));
        let mut second = PolledWaiter::polled(&limiter, 1);
        let mut first = first.join().unwrap();
        assert_ne!(first.is_over, second.is_over, "one is there");
        assert!(first.is_over_by(1) && second.is_over_by(1));
        assert_eq!(limiter.balance(), 0);
    });
}

#[test]
fn reported_wait_holds_beside_a_lock_free_take() {
    model_with(1, |limiter| {
        let beginning = crate::clock::now();
        let other = limiter.clone();
        let newcomer = thread::spawn(move || other.try_acquire(1).is_ok());
        let driver = drive(1);
        let mut reported = None;
        let mut wait = Wait::new(&*limiter.queue, 2);
        let _ = wait.poll::<AcquireError>(&mut Context::from_waker(Waker::noop()), |outlook| {
            reported = outlook.earliest().map(|earliest| earliest - beginning);
            Ok(())
        });
        driver.join().unwrap();
        let taken = newcomer.join().unwrap();
        // Two cells come by the first millisecond.
        assert_eq!(taken, reported == Some(Duration::from_millis(2)), "{reported:?}");
        assert_eq!(limiter.waiting(), usize::from(taken));
    });
}

#[test]
fn cells_left_after_the_last_waiter_are_available() {
    model_with(1, |limiter| {
        let other = limiter.clone();
        let newcomer = thread::spawn(move || other.try_acquire(1).is_ok());
        drop(PolledWaiter::polled(&limiter, 2));
        let taken = newcomer.join().unwrap();
        assert_eq!(limiter.balance(), usize::from(!taken));
        assert_eq!(PolledWaiter::polled(&limiter, 1).is_over, !taken);
    });
}
