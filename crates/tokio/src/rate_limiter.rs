//! The limiter that replaces `leaky-bucket`'s, and its builder.

use crate::bucket::Bucket;
use crate::error::InvalidRateLimiter;
use crate::source::CellCount;
use crate::waiting::Waiting;
use std::time::Duration;

/// A rate limiter whose bucket gets cells at fixed intervals, for callers that wait in line: a drop-in replacement for the `RateLimiter` of
/// `leaky-bucket`.
///
/// The intervals count from [`build`](RateLimiterBuilder::build). It has the methods of [`Waiting`]. Bytes can be counted directly:
/// `limiter.acquire(bytes.len())`. If a request is for more cells than the bucket holds, it is served in parts, over several intervals.
///
/// ```
/// use ratelimit_meter_tokio::RateLimiter;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let limiter = RateLimiter::builder().max(10).initial(0).refill(5).interval(Duration::from_millis(100)).build();
/// let start = tokio::time::Instant::now();
/// tokio::join!(limiter.acquire(7), limiter.acquire(3), limiter.acquire(10));
/// assert_eq!(start.elapsed(), Duration::from_millis(400));
/// # }
/// ```
pub type RateLimiter = Waiting<Bucket>;

impl RateLimiter {
    /// Returns a builder with `leaky-bucket`'s defaults: one cell every 100 ms, no initial cells, fair.
    #[must_use]
    pub const fn builder() -> RateLimiterBuilder {
        RateLimiterBuilder {
            max: None,
            initial: 0,
            refill: 1,
            interval: Duration::from_millis(100),
            fair: true,
        }
    }

    /// Returns the number of cells in the bucket now, including those that callers wait for.
    #[must_use]
    pub fn balance(&self) -> usize {
        self.queue.look(|queue, bucket, now| {
            let queued = queue.waiting() > 0;
            narrow(bucket.balance(&mut queue.state, now, queued))
        })
    }

    /// Returns the number of cells that the bucket holds.
    #[must_use]
    pub fn max(&self) -> usize {
        narrow(self.queue.source.max())
    }

    /// Returns the number of cells that come each interval.
    #[must_use]
    pub fn refill(&self) -> usize {
        narrow(self.queue.source.refill())
    }

    /// Returns the time from one refill to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.queue.source.interval()
    }
}

/// Builds a [`RateLimiter`].
#[derive(Debug, Clone)]
pub struct RateLimiterBuilder {
    max: Option<usize>,
    initial: usize,
    refill: usize,
    interval: Duration,
    fair: bool,
}

impl RateLimiterBuilder {
    /// The default size of a bucket, in units of the larger of refill and initial.
    const DEFAULT_MAX_FACTOR: usize = 10;

    /// Sets the number of cells that the bucket holds; by default, ten times the larger of `refill` and `initial`.
    ///
    /// It bounds the cells that are available at once after an idle time. It does not bound the cells that a caller may wait for.
    pub fn max(&mut self, max: impl CellCount) -> &mut Self {
        self.max = Some(usize::from_count(max.count()));
        self
    }

    /// Sets the number of cells in the bucket at the start; none by default.
    pub fn initial(&mut self, initial: impl CellCount) -> &mut Self {
        self.initial = usize::from_count(initial.count());
        self
    }

    /// Sets the number of cells that come each interval; one by default.
    pub fn refill(&mut self, refill: impl CellCount) -> &mut Self {
        self.refill = usize::from_count(refill.count());
        self
    }

    /// Sets the time from one refill to the next; 100 ms by default. It counts in whole nanoseconds, up to 200 years.
    pub const fn interval(&mut self, interval: Duration) -> &mut Self {
        self.interval = interval;
        self
    }

    /// Sets whether callers are served in the order in which they come; `true` by default.
    pub const fn fair(&mut self, fair: bool) -> &mut Self {
        self.fair = fair;
        self
    }

    /// Returns the limiter, whose first refill comes an interval from now.
    ///
    /// # Panics
    ///
    /// Panics with the error's text if [`try_build`](Self::try_build) would return an error. `leaky-bucket`'s `build` is infallible, too.
    #[must_use]
    pub fn build(&self) -> RateLimiter {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the limiter, whose first refill comes an interval from now.
    ///
    /// # Errors
    ///
    /// [`InvalidRateLimiter`] if the refill or the interval is zero, the interval is above 200 years, or the initial number of cells is above `max`.
    ///
    /// ```
    /// use ratelimit_meter_tokio::{InvalidRateLimiter, RateLimiter};
    ///
    /// assert_eq!(RateLimiter::builder().refill(0).try_build().unwrap_err(), InvalidRateLimiter::ZeroRefill);
    /// ```
    pub fn try_build(&self) -> Result<RateLimiter, InvalidRateLimiter> {
        const LONGEST: Duration = Duration::from_secs(200 * 31_557_600);

        let (initial, refill, interval) = (self.initial, self.refill, self.interval);
        let default = refill.max(initial).saturating_mul(Self::DEFAULT_MAX_FACTOR);
        let max = self.max.unwrap_or(default);
        if refill == 0 {
            return Err(InvalidRateLimiter::ZeroRefill);
        }
        if interval.is_zero() {
            return Err(InvalidRateLimiter::ZeroInterval);
        }
        let interval_ns = u64::try_from(interval.as_nanos()).ok().filter(|_| interval <= LONGEST);
        let interval_ns = interval_ns.ok_or(InvalidRateLimiter::IntervalTooLong { interval })?;
        if initial > max {
            return Err(InvalidRateLimiter::InitialAboveMax { initial, max });
        }
        let bucket = Bucket::new(max.count(), refill.count(), interval_ns, initial.count());
        Ok(Waiting::with_fairness(bucket, self.fair))
    }
}

impl Default for RateLimiterBuilder {
    fn default() -> Self {
        RateLimiter::builder()
    }
}

fn narrow(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
