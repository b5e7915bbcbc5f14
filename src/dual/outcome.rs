//! The results of decisions on two limits.

use crate::outcome::{NegativeMultiDecision, NonConformance, ReadableWait, Status};
use crate::time::{self, Instant};
use core::cmp::Reverse;
use core::error::Error;
use core::fmt;
use core::time::Duration;

/// The limit, or both limits, that denied a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// The first limit; the second had room.
    First,
    /// The second limit; the first had room.
    Second,
    /// Both limits; neither had room.
    Both,
}

impl RefusedBy {
    #[inline]
    pub(crate) const fn of(first: bool, second: bool) -> Option<Self> {
        match (first, second) {
            (false, false) => None,
            (true, false) => Some(Self::First),
            (false, true) => Some(Self::Second),
            (true, true) => Some(Self::Both),
        }
    }
}

/// `the first limit`, `the second limit` or `both limits`.
impl fmt::Display for RefusedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "the first limit",
            Self::Second => "the second limit",
            Self::Both => "both limits",
        })
    }
}

/// A denial by a [`Dual`](crate::Dual): the limit that denied, and the instant from which both would admit.
///
/// The instant is exact, as [`NonConformance`]'s is. It is the later of the two limits' instants. Two denials are equal when their instants are equal
/// and the same limits denied.
///
/// ```
/// use ratelimit_meter::{Dual, RefusedBy};
/// use std::time::{Duration, Instant};
///
/// let limits = Dual::<ratelimit_meter::GCRA>::from_quota("2/s & 3/h".parse()?)?;
/// let now = Instant::now();
/// limits.check_n_at(2, now)?;
/// let denied = limits.check_at(now).unwrap_err();
/// assert_eq!(denied.refused_by(), RefusedBy::First);
/// assert_eq!(denied.earliest_possible(), now + Duration::from_millis(500));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DualNonConformance {
    later: NonConformance,
    by: RefusedBy,
}

impl DualNonConformance {
    #[inline]
    pub(crate) const fn new(later: NonConformance, by: RefusedBy) -> Self {
        Self { later, by }
    }

    /// Returns the limit that denied.
    #[must_use]
    pub const fn refused_by(&self) -> RefusedBy {
        self.by
    }

    /// Returns the earliest instant at which both limits would have admitted the request, rounded up to a whole nanosecond.
    ///
    /// Costs one 128-bit division.
    #[must_use]
    pub fn earliest_possible(&self) -> Instant {
        self.later.earliest_possible()
    }

    /// Returns the time from `from` until [`earliest_possible`](Self::earliest_possible), zero once that is past.
    #[must_use]
    pub fn wait_time_from(&self, from: Instant) -> Duration {
        self.later.wait_time_from(from)
    }

    /// Returns the time from `Instant::now()` until [`earliest_possible`](Self::earliest_possible), zero once that is past.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn wait_time(&self) -> Duration {
        self.later.wait_time()
    }
}

/// Returns the instant alone.
impl From<DualNonConformance> for NonConformance {
    fn from(denial: DualNonConformance) -> Self {
        denial.later
    }
}

/// Writes the wait from `Instant::now()`, or from the epoch in a build without `std`, rounded up to a whole unit.
impl fmt::Display for DualNonConformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = ReadableWait(self.wait_time_from(time::now()));
        write!(f, "denied by {}: next cell conforms {wait}", self.by)
    }
}

impl Error for DualNonConformance {}

/// A denial of several cells at once by a [`Dual`](crate::Dual): not yet, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegativeDualDecision {
    /// These numbers of cells of the first and of the second limit do not conform now. The second field holds the limit that denied them, and the
    /// instant from which they would conform.
    BatchNonConforming([u32; 2], DualNonConformance),

    /// These numbers of cells of the first and of the second limit can never conform, however long the caller waits. The second field holds the
    /// limit, or both limits, whose burst the cells exceed. Ask for them in smaller batches, or give that limit a larger burst.
    InsufficientCapacity([u32; 2], RefusedBy),
}

impl NegativeDualDecision {
    /// Returns the limit that denied.
    #[must_use]
    pub const fn refused_by(&self) -> RefusedBy {
        match self {
            Self::BatchNonConforming(_, denial) => denial.refused_by(),
            Self::InsufficientCapacity(_, by) => *by,
        }
    }

    /// Converts to the denial of one number of cells for both limits.
    pub(super) const fn of_both(self, n: u32) -> NegativeMultiDecision {
        match self {
            Self::BatchNonConforming(_, denial) => NegativeMultiDecision::BatchNonConforming(n, denial.later),
            Self::InsufficientCapacity(..) => NegativeMultiDecision::InsufficientCapacity(n),
        }
    }
}

impl fmt::Display for NegativeDualDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = |batch: &[u32; 2]| match batch {
            [1, 1] => alloc::string::String::from("batch of 1 cell"),
            [first, second] if first == second => alloc::format!("batch of {first} cells"),
            [first, second] => alloc::format!("batch of {first} and {second} cells"),
        };
        match self {
            Self::BatchNonConforming(n, denial) => {
                let (batch, wait) = (batch(n), ReadableWait(denial.wait_time_from(time::now())));
                write!(f, "denied by {}: {batch} conforms {wait}", denial.by)
            }
            Self::InsufficientCapacity(n, by) => {
                let (batch, s) = (batch(n), if *by == RefusedBy::Both { "s" } else { "" });
                write!(f, "denied: {batch} exceeds the burst{s} of {by} and can never conform")
            }
        }
    }
}

impl Error for NegativeDualDecision {}

/// The status of both limits of a [`Dual`](crate::Dual) at one time, all from one read of its words.
#[derive(Debug, Clone, Copy)]
pub struct DualStatus {
    first: Status,
    second: Status,
}

impl DualStatus {
    pub(super) const fn new(first: Status, second: Status) -> Self {
        Self { first, second }
    }

    /// Returns the status of the first limit.
    #[must_use]
    pub const fn first(&self) -> Status {
        self.first
    }

    /// Returns the status of the second limit.
    #[must_use]
    pub const fn second(&self) -> Status {
        self.second
    }

    /// Returns the status of the limit that admits later. If both admit at the same time, returns that of the limit with fewer cells, or of the first.
    pub(crate) fn later(&self) -> Status {
        let order = |status: &Status| (status.until_next(), Reverse(status.remaining()));
        if order(&self.second) > order(&self.first) {
            self.second
        } else {
            self.first
        }
    }

    /// Returns how many cells would conform at once, as one batch of the same size for both limits: the smaller of the two numbers.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.first.remaining().min(self.second.remaining())
    }

    /// Returns the time until a cell conforms to both limits, rounded up to a nanosecond; zero if a cell conforms now.
    #[must_use]
    pub fn until_next(&self) -> Duration {
        self.first.until_next().max(self.second.until_next())
    }

    /// Returns the time until both limits are idle, as [`Status::until_rest`]; zero if they are idle.
    #[must_use]
    pub fn until_rest(&self) -> Duration {
        self.first.until_rest().max(self.second.until_rest())
    }
}

/// A decision by a [`Dual`](crate::Dual) and the status of both limits with it: after an admission, or at a denial.
#[derive(Debug, Clone, Copy)]
#[must_use = "the decision is in the result"]
pub struct DualTaken {
    decision: Result<(), NegativeDualDecision>,
    status: DualStatus,
}

impl DualTaken {
    pub(super) const fn new(decision: Result<(), NegativeDualDecision>, status: DualStatus) -> Self {
        Self { decision, status }
    }

    /// Returns the decision.
    ///
    /// # Errors
    ///
    /// [`NegativeDualDecision`], and nothing has changed, if not all cells conform to both limits.
    pub const fn decision(&self) -> Result<(), NegativeDualDecision> {
        self.decision
    }

    /// Returns the time until the same request conforms to both limits, counted from the instant of the decision and rounded up to a nanosecond.
    /// Returns `None` if the request was admitted, or can never conform. Reads no clock.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match &self.decision {
            Err(NegativeDualDecision::BatchNonConforming(_, denial)) => Some(self.status.first.wait(&denial.later)),
            _ => None,
        }
    }

    /// Returns the status of both limits after the decision.
    #[must_use]
    pub const fn status(&self) -> DualStatus {
        self.status
    }
}
