//! What a pair says when it says no.

use super::pair::Cells;
use crate::decision::{NegativeMultiDecision, NonConformance, Wait};
use core::error::Error;
use core::fmt;
use std::time::{Duration, Instant};

/// Which of two limits refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedBy {
    /// The first; the second had room.
    First,
    /// The second; the first had room.
    Second,
    /// Neither had room.
    Both,
}

impl RefusedBy {
    #[inline]
    pub(super) const fn of(first: bool, second: bool) -> Option<Self> {
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

/// A denial by a [`Dual`](crate::Dual): which limit refused, and from when on both would admit.
///
/// The instant is exact as [`NonConformance`]'s is: the later of the two limits' instants. Two denials are equal when their instants
/// are and the same limits refused.
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
    pub(super) const fn new(later: NonConformance, by: RefusedBy) -> Self {
        Self { later, by }
    }

    /// Returns which limit refused.
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
    #[must_use]
    pub fn wait_time(&self) -> Duration {
        self.later.wait_time()
    }
}

/// The instant alone.
impl From<DualNonConformance> for NonConformance {
    fn from(denial: DualNonConformance) -> Self {
        denial.later
    }
}

/// Tells the wait from `Instant::now()`, rounded up to a whole unit.
impl fmt::Display for DualNonConformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wait = Wait(self.wait_time());
        write!(f, "denied by {}: next cell conforms {wait}", self.by)
    }
}

impl Error for DualNonConformance {}

/// A denial of several cells at once by a [`Dual`](crate::Dual): not yet, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegativeDualDecision {
    /// So many cells of the first and of the second limit do not conform now; the second field tells by which, and from when on they
    /// would.
    BatchNonConforming([u32; 2], DualNonConformance),

    /// So many cells of the first and of the second limit exceed what may ever come at once by the limits told in the second field:
    /// they can never conform, however long one waits. Ask for them in smaller batches, or give that limit a larger burst.
    InsufficientCapacity([u32; 2], RefusedBy),
}

impl NegativeDualDecision {
    /// Returns which limit refused.
    #[must_use]
    pub const fn refused_by(&self) -> RefusedBy {
        match self {
            Self::BatchNonConforming(_, denial) => denial.refused_by(),
            Self::InsufficientCapacity(_, by) => *by,
        }
    }

    /// The same of one number of cells for both limits.
    pub(super) const fn of_both(self, n: u32) -> NegativeMultiDecision {
        match self {
            Self::BatchNonConforming(_, denial) => NegativeMultiDecision::BatchNonConforming(n, denial.later),
            Self::InsufficientCapacity(..) => NegativeMultiDecision::InsufficientCapacity(n),
        }
    }
}

impl fmt::Display for NegativeDualDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = |&[first, second]: &Cells| match first == second {
            true => format!("batch of {first} cells"),
            false => format!("batch of {first} and {second} cells"),
        };
        match self {
            Self::BatchNonConforming(n, denial) => {
                let (batch, wait) = (batch(n), Wait(denial.wait_time()));
                write!(f, "denied by {}: {batch} conforms {wait}", denial.by)
            }
            Self::InsufficientCapacity(n, by) => {
                let (batch, s) = (batch(n), if *by == RefusedBy::Both { "s" } else { "" });
                write!(f, "denied: {batch} exceeds the burst{s} of {by} and can never conform")
            }
        }
    }
}

impl Error for NegativeDualDecision {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::BatchNonConforming(_, denial) => Some(denial),
            Self::InsufficientCapacity(..) => None,
        }
    }
}
