//! The options of a wait: its maximum duration, the maximum number of waiters ahead, and its jitter.

use crate::clock::now;
use crate::error::AcquireError;
use crate::shared::{Outlook, SharedQueue};
use crate::source::{CellCount, Source};
use crate::waiting::{Blocked, Held, Wait, Waiting, block_on};
use std::future::poll_fn;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout_at};

/// Bounds the wait of a call: its duration, the number of waiters ahead, and the jitter after it.
///
/// If a bound cannot be kept with the present queue, the call is denied at once, before a place is taken, with the true wait. Bounds belong to the
/// caller: one limiter may have patient and impatient callers.
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
    /// Returns bounds that accept any wait.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self {
            timeout: None,
            deadline: None,
            max_waiters: None,
            jitter: Duration::ZERO,
        }
    }

    /// Waits only for cells that come within `timeout` of the first poll. An earlier [`deadline`](Self::deadline) also holds.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Waits only for cells that come at `deadline` or before. After the deadline the call is denied even if there are cells, as in Go's
    /// `x/time/rate`: work whose deadline has passed should not use up the limit.
    #[must_use]
    pub const fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Waits only if there are fewer than `max_waiters` waiters already.
    #[must_use]
    pub const fn max_waiters(mut self, max_waiters: usize) -> Self {
        self.max_waiters = Some(max_waiters);
        self
    }

    /// Adds a random delay of up to `jitter` after a wait, so that callers that waited for the same instant resume one by one.
    ///
    /// If the call has a timeout or a deadline, the delay is drawn from the remaining time, so that the bound holds. The cells are taken
    /// at their instant anyway, and given back if the future is dropped during the delay.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns whether the deadline has passed.
    pub(crate) fn has_passed(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline < now())
    }

    /// Returns the instant at which a call that is made now ends; `None` if it never does.
    fn until(&self, now: Instant) -> Option<Instant> {
        let timeout = self.timeout.and_then(|timeout| now.checked_add(timeout));
        let until = self.deadline.into_iter().chain(timeout).min();
        // Tokio rounds a timer up to a millisecond, and panics if the platform's `Instant` ends before that.
        until.filter(|until| until.checked_add(Duration::from_millis(1)).is_some())
    }

    /// Returns the delay after the wait of a call that ends at `until`. The bound holds for the whole call.
    fn delay(&self, until: Option<Instant>) -> Duration {
        let left = until.map(|until| until.saturating_duration_since(now()));
        let most = left.map_or(self.jitter, |left| left.min(self.jitter));
        random(most)
    }

    fn permits<S: Source>(
        &self,
        n: u64,
        until: Option<Instant>,
        outlook: &mut Outlook<'_, S>,
    ) -> Result<(), AcquireError> {
        let waiting = outlook.waiting();
        if self.max_waiters.is_some_and(|most| waiting >= most) {
            return Err(AcquireError::TooManyWaiting { waiting });
        }
        let Some(until) = until else {
            return Ok(());
        };
        match outlook.earliest() {
            Some(earliest) if earliest <= until => Ok(()),
            earliest => Err(AcquireError::not_before(n, earliest)),
        }
    }
}

impl<S: Source> Waiting<S> {
    /// Waits for `n` cells, if they come within `timeout`.
    ///
    /// # Errors
    ///
    /// As [`acquire_with`](Self::acquire_with).
    pub async fn acquire_timeout(&self, n: impl CellCount, timeout: Duration) -> Result<(), AcquireError> {
        self.acquire_with(n, Patience::unlimited().timeout(timeout)).await
    }

    /// Waits for `n` cells, if they come at `deadline` or before.
    ///
    /// # Errors
    ///
    /// As [`acquire_with`](Self::acquire_with).
    pub async fn acquire_before(&self, n: impl CellCount, deadline: Instant) -> Result<(), AcquireError> {
        self.acquire_with(n, Patience::unlimited().deadline(deadline)).await
    }

    /// Waits for `n` cells, within the bounds of `patience`.
    ///
    /// With a timeout or a deadline, the first call after a change of the queue visits each waiter ahead once, under the lock.
    ///
    /// # Errors
    ///
    /// [`AcquireError`], and no cells were taken. The call is denied at once if the cells come too late, too many callers wait, or the deadline has
    /// passed. It is denied at the deadline if callers that do not queue took cells meanwhile.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    pub async fn acquire_with(&self, n: impl CellCount, patience: Patience) -> Result<(), AcquireError> {
        acquire_with(&self.queue, n.count(), patience).await
    }

    /// Waits for `n` cells on this thread, within the bounds of `patience`; see [`acquire_blocking`](Self::acquire_blocking).
    ///
    /// # Errors
    ///
    /// As [`acquire_with`](Self::acquire_with).
    ///
    /// # Panics
    ///
    /// As [`acquire_blocking`](Self::acquire_blocking).
    ///
    /// ```
    /// use ratelimit_meter_tokio::{Patience, RateLimiter};
    /// use std::time::Duration;
    ///
    /// let limiter = RateLimiter::builder().interval(Duration::from_millis(1)).build();
    /// let little = Patience::unlimited().timeout(Duration::from_secs(1));
    /// limiter.acquire_blocking_with(2, little)?; // in 2 ms
    /// assert!(limiter.acquire_blocking_with(2000, little).is_err()); // at once
    /// # Ok::<(), ratelimit_meter_tokio::AcquireError>(())
    /// ```
    pub fn acquire_blocking_with(&self, n: impl CellCount, patience: Patience) -> Result<(), AcquireError> {
        let n = n.count();
        if patience.has_passed() && n > 0 {
            return Err(AcquireError::DeadlinePassed);
        }
        let until = patience.until(now());
        match block_on(&self.queue, n, until, |outlook| patience.permits(n, until, outlook))? {
            Blocked::NotAtAll => {}
            Blocked::UntilServed => thread::sleep(patience.delay(until)),
            Blocked::UntilOver => return Err(self.queue.not_yet(n)),
        }
        Ok(())
    }
}

/// Waits for `n` cells within the bounds of `patience`.
pub(crate) async fn acquire_with<S: Source>(
    queue: &SharedQueue<S>,
    n: u64,
    patience: Patience,
) -> Result<(), AcquireError> {
    if n > 0 && patience.has_passed() {
        return Err(AcquireError::DeadlinePassed);
    }
    let until = patience.until(now());
    let mut wait = Wait::new(queue, n);
    let asked = poll_fn(|cx| {
        let asked = wait.poll(cx, |outlook| patience.permits(n, until, outlook));
        match asked {
            Poll::Pending if wait.is_queued() => Poll::Ready(None),
            asked => asked.map(Some),
        }
    });
    if let Some(answer) = asked.await {
        return answer;
    }
    let acquired = poll_fn(|cx| wait.poll::<S::Never>(cx, |_| Ok(())));
    match until {
        None => acquired.await.map_err(Into::into)?,
        Some(until) => match timeout_at(until.into(), acquired).await {
            Ok(acquired) => acquired.map_err(Into::into)?,
            Err(_) => {
                drop(wait);
                return Err(queue.not_yet(n));
            }
        },
    }
    let delay = patience.delay(until);
    if !delay.is_zero() {
        let held = Held::new(queue, n);
        sleep(delay).await;
        held.use_up();
    }
    Ok(())
}

/// Returns a random duration up to `most`, to the nanosecond.
fn random(most: Duration) -> Duration {
    let ns = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(fastrand::u64(..=ns))
}
