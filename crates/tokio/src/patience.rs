//! How long, and behind how many, one is willing to wait.

use crate::acquire::Wait;
use crate::error::{AcquireError, NotYet};
use crate::held::Held;
use crate::queue::{Outlook, Queue};
use crate::source::Source;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout_at};

/// How long a caller waits at most, behind how many, and how much longer than it has to.
///
/// A bound that cannot be kept as the queue stands is told at once, before a place is taken. Bounds are the caller's: a limiter may
/// have callers of much patience and of little.
///
/// ```
/// use ratelimit_meter_tokio::{AcquireError, Patience, RateLimiter};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let limiter = RateLimiter::builder().interval(Duration::from_millis(100)).build();
/// let little = Patience::unlimited().timeout(Duration::from_millis(250)).max_waiters(50);
/// limiter.acquire_with(2, little).await.unwrap(); // comes at 200 ms
/// let Err(AcquireError::NotYet(denied)) = limiter.acquire_with(3, little).await else { panic!() };
/// assert_eq!(denied.wait_time_from(tokio::time::Instant::now().into_std()), Duration::from_millis(300));
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patience {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    max_waiters: Option<usize>,
    jitter: Duration,
}

impl Patience {
    /// Waits as long as it takes.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self {
            timeout: None,
            deadline: None,
            max_waiters: None,
            jitter: Duration::ZERO,
        }
    }

    /// Waits for cells that can be had within `timeout` of the first poll, or by a [`deadline`](Self::deadline) that is earlier.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits for cells that can be had at `deadline` or before.
    #[must_use]
    pub const fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Waits only if fewer than `max_waiters` do already.
    #[must_use]
    pub const fn max_waiters(mut self, max_waiters: usize) -> Self {
        self.max_waiters = Some(max_waiters);
        self
    }

    /// Stays away for up to `jitter` more, at random, after a wait: callers that waited for the same instant then come one by one.
    /// Where the call has a timeout or a deadline, the jitter is drawn from the time that is left by then, so that the bound holds.
    /// The cells are taken at their instant all the same, and given back if the future is dropped meanwhile.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    fn until(&self, now: Instant) -> Option<Instant> {
        let timeout = self.timeout.and_then(|timeout| now.checked_add(timeout));
        self.deadline.into_iter().chain(timeout).min()
    }

    fn permits<S: Source>(&self, n: u32, until: Option<Instant>, outlook: &Outlook<'_, S>) -> Result<(), AcquireError> {
        let waiting = outlook.waiting();
        if self.max_waiters.is_some_and(|most| waiting >= most) {
            return Err(AcquireError::TooManyWaiting { waiting });
        }
        match until.map(|until| (until, outlook.earliest())) {
            Some((until, earliest)) if earliest > until => Err(AcquireError::NotYet(NotYet::new(n, earliest))),
            _ => Ok(()),
        }
    }
}

/// Waits for `n` cells with so much patience.
pub(crate) async fn acquire<S: Source>(queue: &Queue<S>, n: u32, patience: Patience) -> Result<(), AcquireError> {
    let until = patience.until(crate::clock::now());
    let mut wait = Wait::new(queue, n);
    let asked = poll_fn(|cx| Poll::Ready(wait.poll(cx.waker(), |outlook| patience.permits(n, until, outlook))));
    if let Poll::Ready(acquired) = asked.await {
        return acquired;
    }
    let acquired = poll_fn(|cx| wait.poll::<S::Never>(cx.waker(), |_| Ok(())));
    match until {
        None => acquired.await.map_err(Into::into)?,
        Some(until) => match timeout_at(until.into(), acquired).await {
            Ok(acquired) => acquired.map_err(Into::into)?,
            Err(_) => {
                // Others took cells without a place in the queue.
                drop(wait);
                return Err(AcquireError::NotYet(NotYet::new(n, queue.earliest(n))));
            }
        },
    }
    // A bound is one for the whole call.
    let left = until.map(|until| until.saturating_duration_since(crate::clock::now()));
    let jitter = left.map_or(patience.jitter, |left| left.min(patience.jitter));
    if !jitter.is_zero() {
        let held = Held::new(queue, n);
        sleep(random(jitter)).await;
        held.use_up();
    }
    Ok(())
}

/// A random part of `most`, to the nanosecond.
fn random(most: Duration) -> Duration {
    let ns = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(fastrand::u64(..=ns))
}
