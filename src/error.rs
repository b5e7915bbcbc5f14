//! What was wrong with the numbers.

use core::error::Error;
use core::fmt;
use std::time::Duration;

/// Tells why a limit could not be made from the numbers given.
///
/// Every limit is checked once, when it is made; no meter exists with numbers that it could not honour, and nothing is rounded
/// to "unlimited" or clamped. Each variant's text says what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InconsistentCapacity {
    /// A capacity of no cells: nothing could ever conform.
    ZeroCapacity,
    /// A period (or an emission interval) of no time: the rate would be infinite.
    ZeroPeriod,
    /// Cells that weigh nothing: everything would conform.
    ZeroWeight,
    /// One cell is heavier than all that may come at once, so none could ever conform.
    WeightAboveBurst {
        /// The weight of one cell.
        weight: u32,
        /// The units that may come at once.
        burst: u32,
    },
    /// More than 2^32 cells a second; meter in larger cells.
    TooFast {
        /// The cells of a period.
        cells: u32,
        /// The period.
        period: Duration,
    },
    /// A full burst would take more than 200 years to drain; use a smaller burst or a shorter period.
    RestTooLong {
        /// The time from a full burst to rest, in whole seconds rounded up.
        rest: Duration,
    },
    /// What the leases may hold leaves less than one cell of the burst; lease fewer, or smaller blocks.
    LeasesAboveBurst {
        /// How many leases there may be.
        leases: u32,
        /// The cells that each may hold.
        block: u32,
        /// The units that may come at once.
        burst: u32,
    },
    /// A refill interval of no time; leave it away for cells that come back one by one.
    ZeroInterval,
    /// A refill interval of more than 200 years.
    IntervalTooLong {
        /// The interval.
        interval: Duration,
    },
    /// Ticks, on an algorithm that has none: leave the interval away, or use another algorithm.
    IntervalOnAverage {
        /// The interval.
        interval: Duration,
    },
    /// More cells available at first than may ever come at once.
    AvailableAboveBurst {
        /// The cells that were to be available.
        cells: u32,
        /// The cells that may come at once.
        burst: u32,
    },
    /// A burst apart from the cells, on an algorithm that has none: leave the burst away, or use another algorithm.
    BurstNotCells {
        /// The cells of a period.
        cells: u32,
        /// The burst.
        burst: u32,
    },
    /// At most one cell in every window of a period: no rate above zero holds that, because two cells exactly a period apart lie in one window.
    /// Use one cell per period, which admits exactly those.
    AtMostOne,
    /// A theoretical arrival time more than a full burst past the end of the meter's time line, 36 years ahead.
    TatTooLate,
}

impl InconsistentCapacity {
    pub(crate) fn rest_too_long(rest_ns: u128) -> Self {
        const SECOND: u128 = 1_000_000_000;
        let secs = u64::try_from(rest_ns.div_ceil(SECOND)).unwrap_or(u64::MAX);
        Self::RestTooLong {
            rest: Duration::from_secs(secs),
        }
    }
}

impl fmt::Display for InconsistentCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ZeroCapacity => f.write_str("a capacity of zero cells lets no cell through"),
            Self::ZeroPeriod => f.write_str("a period of zero leaves the rate unlimited"),
            Self::ZeroWeight => f.write_str("a cell weight of zero leaves the rate unlimited"),
            Self::WeightAboveBurst { weight, burst } => {
                write!(f, "a cell of weight {weight} never fits a burst of {burst}")
            }
            Self::TooFast { cells, period } => {
                write!(f, "{cells} cells per {period:?} is above 4294967296 cells a second")
            }
            Self::RestTooLong { rest } => {
                let years = rest.as_secs().div_ceil(31_557_600);
                write!(f, "a full burst takes {years} years to drain, more than 200")
            }
            Self::LeasesAboveBurst { leases, block, burst } => {
                write!(
                    f,
                    "{leases} leases of {block} cells leave no cell of a burst of {burst}"
                )
            }
            Self::ZeroInterval => f.write_str("a refill interval of zero has no ticks"),
            Self::IntervalTooLong { interval } => {
                write!(f, "a refill interval of {interval:?} is longer than 200 years")
            }
            Self::IntervalOnAverage { interval } => {
                write!(f, "an exponential limit has no refill every {interval:?}")
            }
            Self::AvailableAboveBurst { cells, burst } => {
                write!(f, "{cells} cells cannot be available of a burst of {burst}")
            }
            Self::BurstNotCells { cells, burst } => {
                write!(f, "an exponential limit of {cells} cells has no burst of {burst} apart")
            }
            Self::AtMostOne => f.write_str(
                "no rate admits at most 1 cell in every window of a period: use one cell per period, like `1/min`",
            ),
            Self::TatTooLate => {
                f.write_str("a theoretical arrival time over 36 years and a full burst ahead is off the time line")
            }
        }
    }
}

impl Error for InconsistentCapacity {}
