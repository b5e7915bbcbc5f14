//! What is told when cells cannot be had.

use core::convert::Infallible;
use core::error::Error;
use core::fmt;
use std::time::{Duration, Instant};

/// The cells cannot be had yet; it tells from when on, as the queue stands.
///
/// ```
/// use ratelimit_meter_tokio::{AcquireError, RateLimiter};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let limiter = RateLimiter::builder().initial(1).interval(Duration::from_secs(1)).build();
/// assert!(limiter.try_acquire(1).is_ok());
/// let Err(AcquireError::NotYet(denied)) = limiter.try_acquire(1) else { panic!() };
/// tokio::time::sleep_until(denied.earliest_possible().into()).await;
/// assert!(limiter.try_acquire(1).is_ok());
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotYet {
    cells: u32,
    earliest: Instant,
}

impl NotYet {
    pub(crate) const fn new(cells: u32, earliest: Instant) -> Self {
        Self { cells, earliest }
    }

    /// Returns how many cells were asked for.
    #[must_use]
    pub const fn cells(&self) -> u32 {
        self.cells
    }

    /// Returns the earliest instant at which they could be had: exact, if those who wait go on waiting and nobody else takes cells.
    /// (In a [`Meter`](ratelimit_meter::Meter) that weighs batches by their size, as
    /// [`Exponential`](ratelimit_meter::Exponential) does, it may be later.)
    #[must_use]
    pub const fn earliest_possible(&self) -> Instant {
        self.earliest
    }

    /// Returns the time from `from` until [`earliest_possible`](Self::earliest_possible), zero once that is past.
    #[must_use]
    pub fn wait_time_from(&self, from: Instant) -> Duration {
        self.earliest.saturating_duration_since(from)
    }
}

impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = self.wait_time_from(crate::clock::now());
        write!(f, "denied: {} cells can be had in {wait:?} at the earliest", self.cells)
    }
}

impl Error for NotYet {}

/// More cells were asked for than can ever be had at once: ask for fewer, or give the meter a larger burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InsufficientCapacity(pub(crate) u32);

impl InsufficientCapacity {
    /// Returns how many cells were asked for.
    #[must_use]
    pub const fn cells(&self) -> u32 {
        self.0
    }
}

impl fmt::Display for InsufficientCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied: {} cells can never be had at once", self.0)
    }
}

impl Error for InsufficientCapacity {}

/// Why cells were not acquired. None were taken, and no place in the queue is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// Not now, or not by the deadline: come back at the instant told, or wait longer.
    NotYet(NotYet),
    /// Too many wait already.
    TooManyWaiting {
        /// How many.
        waiting: usize,
    },
    /// Never.
    InsufficientCapacity(InsufficientCapacity),
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet(denied) => denied.fmt(f),
            Self::TooManyWaiting { waiting } => write!(f, "denied: {waiting} are waiting already"),
            Self::InsufficientCapacity(denied) => denied.fmt(f),
        }
    }
}

impl Error for AcquireError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotYet(denied) => Some(denied),
            Self::TooManyWaiting { .. } => None,
            Self::InsufficientCapacity(denied) => Some(denied),
        }
    }
}

impl From<InsufficientCapacity> for AcquireError {
    fn from(denied: InsufficientCapacity) -> Self {
        Self::InsufficientCapacity(denied)
    }
}

impl From<Infallible> for AcquireError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Tells why a [`RateLimiter`](crate::RateLimiter) could not be made from the numbers given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// No cells ever come.
    ZeroRefill,
    /// An interval of no time: the rate would be infinite.
    ZeroInterval,
    /// An interval of more than 200 years.
    IntervalTooLong {
        /// The interval.
        interval: Duration,
    },
    /// More cells to begin with than the bucket holds.
    InitialAboveMax {
        /// The cells to begin with.
        initial: u32,
        /// What the bucket holds.
        max: u32,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroRefill => f.write_str("a refill of zero cells lets no cell through"),
            Self::ZeroInterval => f.write_str("an interval of zero leaves the rate unlimited"),
            Self::IntervalTooLong { interval } => {
                write!(f, "an interval of {} s is more than 200 years", interval.as_secs())
            }
            Self::InitialAboveMax { initial, max } => {
                write!(f, "{initial} cells to begin with overflow a bucket of {max}")
            }
        }
    }
}

impl Error for BuildError {}
