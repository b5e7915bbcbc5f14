//! The errors: denials of cells, and invalid numbers of a limiter.

use core::convert::Infallible;
use core::error::Error;
use core::fmt;
use std::time::{Duration, Instant};

/// A denial of cells that come later. It holds the earliest instant at which they come, given the queue at that moment.
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
    cells: u64,
    earliest: Instant,
}

impl NotYet {
    /// Returns the number of cells that were requested.
    #[must_use]
    pub const fn cells(&self) -> u64 {
        self.cells
    }

    /// Returns the earliest instant at which the cells can be acquired. It is exact if all waiters go on waiting and no other caller takes cells.
    #[must_use]
    pub const fn earliest_possible(&self) -> Instant {
        self.earliest
    }

    /// Returns the time from `from` until [`earliest_possible`](Self::earliest_possible), or zero if that is past.
    #[must_use]
    pub fn wait_time_from(&self, from: Instant) -> Duration {
        self.earliest.saturating_duration_since(from)
    }

    /// Returns the time from now until [`earliest_possible`](Self::earliest_possible), or zero if that is past. In a runtime with paused time, now is
    /// the paused time.
    #[must_use]
    pub fn wait_time(&self) -> Duration {
        self.wait_time_from(crate::clock::now())
    }
}

/// Writes the wait from now, rounded up to a whole unit, as the core's denials do.
impl fmt::Display for NotYet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = self.wait_time().as_nanos();
        write!(f, "denied: {} can be acquired ", ReadableCells(self.cells))?;
        match wait {
            0 => f.write_str("now"),
            1..10_000 => write!(f, "in {wait} ns"),
            10_000..10_000_000 => write!(f, "in {} us", wait.div_ceil(1_000)),
            10_000_000..10_000_000_000 => write!(f, "in {} ms", wait.div_ceil(1_000_000)),
            _ => write!(f, "in {} s", wait.div_ceil(1_000_000_000)),
        }
    }
}

impl Error for NotYet {}

/// A number of cells, formatted for people.
struct ReadableCells(u64);

impl fmt::Display for ReadableCells {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 cell"),
            n => write!(f, "{n} cells"),
        }
    }
}

/// A denial of cells that never come: more than the burst, or after the end of the meter's time line.
///
/// Ask for fewer cells, or give the meter a larger burst. A meter's time line ends 36.5 years after the meter was made. If a test with paused time
/// reaches that end, make a new meter there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InsufficientCapacity {
    cells: u64,
    is_after_the_end: bool,
}

impl InsufficientCapacity {
    pub(crate) const fn above_burst(cells: u64) -> Self {
        let is_after_the_end = false;
        Self {
            cells,
            is_after_the_end,
        }
    }

    pub(crate) const fn after_the_end(cells: u64) -> Self {
        let is_after_the_end = true;
        Self {
            cells,
            is_after_the_end,
        }
    }

    /// Returns the number of cells that were requested.
    #[must_use]
    pub const fn cells(&self) -> u64 {
        self.cells
    }

    /// Returns whether the cells never come only because the meter's time line ends first.
    #[must_use]
    pub const fn is_after_the_end(&self) -> bool {
        self.is_after_the_end
    }
}

impl fmt::Display for InsufficientCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = ReadableCells(self.cells);
        if self.is_after_the_end {
            write!(
                f,
                "denied: {cells} would come after the end of the meter's time line; make a new meter"
            )
        } else {
            write!(f, "denied: {cells} can never be acquired at once; ask for fewer")
        }
    }
}

impl Error for InsufficientCapacity {}

/// The reason why cells were not acquired. No cells were taken, and the caller holds no place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// The cells come later than now, or later than the deadline. Retry at the instant that the error holds, or wait longer.
    NotYet(NotYet),
    /// The deadline was over before the call.
    DeadlinePassed,
    /// Too many callers wait already.
    TooManyWaiting {
        /// The number of waiters.
        waiting: usize,
    },
    /// The cells never come.
    InsufficientCapacity(InsufficientCapacity),
}

impl AcquireError {
    /// Returns the denial of cells that come at `earliest`, or never.
    pub(crate) const fn not_before(cells: u64, earliest: Option<Instant>) -> Self {
        match earliest {
            Some(earliest) => Self::NotYet(NotYet { cells, earliest }),
            None => Self::InsufficientCapacity(InsufficientCapacity::after_the_end(cells)),
        }
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYet(denied) => denied.fmt(f),
            Self::DeadlinePassed => f.write_str("denied: the deadline has passed"),
            Self::TooManyWaiting { waiting: 0 } => f.write_str("denied: the cells come later, and no caller may wait"),
            Self::TooManyWaiting { waiting: 1 } => f.write_str("denied: 1 caller is waiting already"),
            Self::TooManyWaiting { waiting } => write!(f, "denied: {waiting} callers are waiting already"),
            Self::InsufficientCapacity(denied) => denied.fmt(f),
        }
    }
}

impl Error for AcquireError {}

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

/// The reason why a [`RateLimiter`](crate::RateLimiter) could not be made from the numbers given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRateLimiter {
    /// A refill of zero: no cells ever come.
    ZeroRefill,
    /// An interval of zero: the rate would be infinite.
    ZeroInterval,
    /// An interval of more than 200 years.
    IntervalTooLong {
        /// The interval.
        interval: Duration,
    },
    /// More initial cells than the bucket holds.
    InitialAboveMax {
        /// The number of initial cells.
        initial: usize,
        /// The number of cells that the bucket holds.
        max: usize,
    },
}

impl fmt::Display for InvalidRateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroRefill => f.write_str("a refill of zero cells admits no cell"),
            Self::ZeroInterval => f.write_str("an interval of zero leaves the rate unlimited"),
            Self::IntervalTooLong { interval } => {
                write!(f, "an interval of {} s is more than 200 years", interval.as_secs())
            }
            Self::InitialAboveMax { initial, max } => {
                write!(f, "{initial} initial cells exceed a bucket of {max}")
            }
        }
    }
}

impl Error for InvalidRateLimiter {}
