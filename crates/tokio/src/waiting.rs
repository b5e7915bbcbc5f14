//! A limiter to wait for.

use crate::acquire::{Acquire, AcquireOwned, Wait};
use crate::blocking;
use crate::error::AcquireError;
use crate::patience::{self, Patience};
use crate::queue::Queue;
use crate::source::Source;
use core::fmt;
use ratelimit_meter::Meter;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::Clock;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Adds waiting to a [`Meter`](ratelimit_meter::Meter) of the core, or, as a [`RateLimiter`](crate::RateLimiter), to a bucket of its own.
///
/// It is a handle: clones share one queue. The meter stays usable beside it, by its own clones, without queueing.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota};
/// use ratelimit_meter_tokio::Waiting;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter: Waiting<GCRA> = Waiting::new(GCRA::from_quota("50/s burst 10".parse::<Quota>()?)?);
/// let start = tokio::time::Instant::now();
/// limiter.acquire(10).await?; // at once
/// limiter.acquire(5).await?; // in 100 ms
/// assert_eq!(start.elapsed().as_millis(), 100);
/// # Ok(())
/// # }
/// ```
pub struct Waiting<S: Source> {
    pub(crate) queue: Arc<Queue<S>>,
}

impl<A, C> Waiting<Meter<A, C>>
where
    A: Algorithm + 'static,
    C: Clock + 'static,
{
    /// Returns a fair limiter: who comes first is served first, and nobody takes cells while others wait.
    ///
    /// It decides at tokio's time, whatever clock the meter has.
    #[must_use]
    pub fn new(meter: Meter<A, C>) -> Self {
        Self::with_fairness(meter, true)
    }

    /// Returns an unfair limiter: who asks while cells are there takes them, even if others wait. Those who wait are served in order.
    #[must_use]
    pub fn unfair(meter: Meter<A, C>) -> Self {
        Self::with_fairness(meter, false)
    }

    /// Returns the meter.
    #[must_use]
    pub fn meter(&self) -> &Meter<A, C> {
        &self.queue.source
    }
}

impl<S: Source> Waiting<S> {
    pub(crate) fn with_fairness(source: S, fair: bool) -> Self {
        Self {
            queue: Queue::new(source, fair),
        }
    }

    /// Waits for `n` cells.
    ///
    /// Zero are had at once. A [`RateLimiter`](crate::RateLimiter) serves more than it holds at most over several intervals; a meter
    /// refuses more than its burst.
    ///
    /// Lock-free while cells are there and nobody waits; else constant time under the lock.
    ///
    /// # Errors
    ///
    /// Of a meter, [`InsufficientCapacity`](crate::InsufficientCapacity) if `n` is above its burst.
    ///
    /// # Panics
    ///
    /// When polled outside a tokio runtime with timers, if it has to wait.
    pub fn acquire(&self, n: u32) -> Acquire<'_, S> {
        Acquire(Wait::new(&self.queue, n))
    }

    /// Waits for one cell; see [`acquire`](Self::acquire).
    pub fn acquire_one(&self) -> Acquire<'_, S> {
        self.acquire(1)
    }

    /// Waits for `n` cells with a future that keeps the limiter; see [`acquire`](Self::acquire).
    ///
    /// ```
    /// use ratelimit_meter_tokio::RateLimiter;
    /// use std::sync::Arc;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let limiter = Arc::new(RateLimiter::builder().build());
    /// tokio::spawn(limiter.clone().acquire_owned(3)).await.unwrap();
    /// # }
    /// ```
    pub fn acquire_owned(&self, n: u32) -> AcquireOwned<S> {
        AcquireOwned(Wait::new(Arc::clone(&self.queue), n))
    }

    /// Waits for `n` cells that can be had within `timeout`.
    ///
    /// # Errors
    ///
    /// As [`acquire_with`](Self::acquire_with).
    pub async fn acquire_timeout(&self, n: u32, timeout: Duration) -> Result<(), AcquireError> {
        self.acquire_with(n, Patience::unlimited().timeout(timeout)).await
    }

    /// Waits for `n` cells that can be had at `deadline` or before.
    ///
    /// # Errors
    ///
    /// As [`acquire_with`](Self::acquire_with).
    pub async fn acquire_before(&self, n: u32, deadline: Instant) -> Result<(), AcquireError> {
        self.acquire_with(n, Patience::unlimited().deadline(deadline)).await
    }

    /// Waits for `n` cells, but not longer, nor behind more others, than `patience` says.
    ///
    /// # Errors
    ///
    /// [`AcquireError`], and nothing was taken: at once if, as the queue stands, the cells come too late, or too many wait; at the
    /// deadline if others took cells meanwhile who do not queue.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_with(&self, n: u32, patience: Patience) -> Result<(), AcquireError> {
        patience::acquire(&self.queue, n, patience).await
    }

    /// Waits for `n` cells with this thread, in the same queue as all others. Not for use in async code, whose thread it would hold.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// ```
    /// use ratelimit_meter_tokio::RateLimiter;
    /// use std::time::Duration;
    ///
    /// let limiter = RateLimiter::builder().interval(Duration::from_millis(1)).build();
    /// std::thread::spawn(move || limiter.acquire_blocking(2)).join().unwrap();
    /// ```
    pub fn acquire_blocking(&self, n: u32) -> S::Outcome {
        blocking::acquire(&self.queue, n)
    }

    /// Takes `n` cells if they are there, and, of a fair limiter, nobody waits. Lock-free as [`acquire`](Self::acquire) is.
    ///
    /// # Errors
    ///
    /// [`AcquireError`], and nothing was taken. It tells from when on the cells could be had, behind all who wait; or that they never
    /// are there at once.
    pub fn try_acquire(&self, n: u32) -> Result<(), AcquireError> {
        self.queue.take(n)
    }

    /// Returns whether those who come first are served first.
    #[must_use]
    pub fn is_fair(&self) -> bool {
        self.queue.fair
    }

    /// Returns how many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.look(|line, _, _| line.waiting())
    }
}

impl<S: Source> Clone for Waiting<S> {
    fn clone(&self) -> Self {
        let queue = Arc::clone(&self.queue);
        Self { queue }
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Waiting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("source", &self.queue.source)
            .field("fair", &self.queue.fair)
            .field("waiting", &self.queue.waiting())
            .finish_non_exhaustive()
    }
}
