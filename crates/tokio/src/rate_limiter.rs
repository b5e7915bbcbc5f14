//! The limiter that takes the place of `leaky-bucket`'s.

use crate::bucket::Bucket;
use crate::clock::Beginning;
use crate::error::BuildError;
use crate::open::Open;
use crate::ticks::Ticks;
use crate::waiting::Waiting;
use std::time::Duration;

/// A limiter to whose bucket some cells come every interval, for those who wait in line: the `RateLimiter` of `leaky-bucket`.
///
/// Ticks count from [`build`](Builder::build). Its verbs are those of [`Waiting`], of which it is one.
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
    /// Returns a builder with `leaky-bucket`'s defaults: one cell every 100 ms, none to begin with, fair.
    #[must_use]
    pub const fn builder() -> Builder {
        Builder {
            max: None,
            initial: 0,
            refill: 1,
            interval: Duration::from_millis(100),
            fair: true,
        }
    }

    /// Returns how many cells are in the bucket now, those that others wait for included.
    #[must_use]
    pub fn balance(&self) -> u32 {
        self.queue.look(|line, bucket, now| {
            let queued = line.waiting() > 0;
            bucket.balance(&mut line.state, now, queued)
        })
    }

    /// Returns how many cells the bucket holds.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.queue.source.max
    }

    /// Returns how many cells come every interval.
    #[must_use]
    pub fn refill(&self) -> u32 {
        self.queue.source.refill
    }

    /// Returns the time from one refill to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.queue.source.interval()
    }
}

/// Builds a [`RateLimiter`].
#[derive(Debug, Clone)]
pub struct Builder {
    max: Option<u32>,
    initial: u32,
    refill: u32,
    interval: Duration,
    fair: bool,
}

impl Builder {
    /// How many times the larger of refill and initial a bucket holds unless told.
    const DEFAULT_MAX_FACTOR: u32 = 10;

    /// Sets how many cells the bucket holds: ten times the larger of refill and initial, by default.
    ///
    /// It bounds what may be had at once after a rest, not how many cells one may wait for.
    pub const fn max(&mut self, max: u32) -> &mut Self {
        self.max = Some(max);
        self
    }

    /// Sets how many cells are there to begin with: none, by default.
    pub const fn initial(&mut self, initial: u32) -> &mut Self {
        self.initial = initial;
        self
    }

    /// Sets how many cells come every interval: one, by default.
    pub const fn refill(&mut self, refill: u32) -> &mut Self {
        self.refill = refill;
        self
    }

    /// Sets the time from one refill to the next: 100 ms, by default. Whole nanoseconds, up to 200 years.
    pub const fn interval(&mut self, interval: Duration) -> &mut Self {
        self.interval = interval;
        self
    }

    /// Sets whether those who come first are served first: they are, by default.
    pub const fn fair(&mut self, fair: bool) -> &mut Self {
        self.fair = fair;
        self
    }

    /// Returns the limiter, whose first refill comes an interval from now.
    ///
    /// # Panics
    ///
    /// With the error's text where [`try_build`](Self::try_build) returns one: this is `leaky-bucket`'s infallible shape.
    #[must_use]
    pub fn build(&self) -> RateLimiter {
        self.try_build().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the limiter, whose first refill comes an interval from now.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if refill or interval is zero, the interval above 200 years, or initial above max.
    ///
    /// ```
    /// use ratelimit_meter_tokio::{BuildError, RateLimiter};
    ///
    /// assert_eq!(RateLimiter::builder().refill(0).try_build().unwrap_err(), BuildError::ZeroRefill);
    /// ```
    pub fn try_build(&self) -> Result<RateLimiter, BuildError> {
        const LONGEST: Duration = Duration::from_secs(200 * 31_557_600);

        let (initial, refill, interval) = (self.initial, self.refill, self.interval);
        let default = refill.max(initial).saturating_mul(Self::DEFAULT_MAX_FACTOR);
        let max = self.max.unwrap_or(default);
        if refill == 0 {
            return Err(BuildError::ZeroRefill);
        }
        if interval.is_zero() {
            return Err(BuildError::ZeroInterval);
        }
        let interval_ns = u64::try_from(interval.as_nanos()).ok().filter(|_| interval <= LONGEST);
        let interval_ns = interval_ns.ok_or(BuildError::IntervalTooLong { interval })?;
        if initial > max {
            return Err(BuildError::InitialAboveMax { initial, max });
        }
        let bucket = Bucket {
            max,
            refill,
            ticks: Ticks::new(interval_ns),
            initial,
            made: Beginning::now(),
            open: Open::new(0),
        };
        Ok(Waiting::with_fairness(bucket, self.fair))
    }
}

impl Default for Builder {
    fn default() -> Self {
        RateLimiter::builder()
    }
}
