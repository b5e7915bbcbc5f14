//! The error of a limit that cannot be made from its numbers.

use core::error::Error;
use core::fmt;
use core::time::Duration;

/// The reason why a limit could not be made from the numbers given.
///
/// Every limit is checked once, when it is made. No number is rounded to "unlimited" or clamped. Each variant's text names the number to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InconsistentCapacity {
    /// A capacity of no cells: nothing could ever conform.
    ZeroCapacity,
    /// A period (or an emission interval) of zero: the rate would be infinite.
    ZeroPeriod,
    /// A cell weight of zero: every cell would conform.
    ZeroWeight,
    /// A weight above the burst: no cell could ever conform.
    WeightAboveBurst {
        /// The weight of one cell, in units.
        weight: u32,
        /// The burst, in units.
        burst: u32,
    },
    /// A rate of more than 2^32 cells a second; use larger cells.
    TooFast {
        /// The cells of a period.
        cells: u32,
        /// The period.
        period: Duration,
    },
    /// A full burst that would take more than 200 years to drain; use a smaller burst or a shorter period.
    RestTooLong {
        /// The time until a full burst has drained, in whole seconds rounded up.
        rest: Duration,
    },
    /// Leases that may hold so much that less than one cell of the burst is left; use fewer leases, or smaller blocks.
    LeasesAboveBurst {
        /// The maximum number of leases.
        leases: u32,
        /// The maximum number of cells that each lease holds.
        block: u32,
        /// The burst, in units.
        burst: u32,
    },
    /// A refill interval of zero; omit it for cells that come back one by one.
    ZeroInterval,
    /// A refill interval of more than 200 years.
    IntervalTooLong {
        /// The interval.
        interval: Duration,
    },
    /// A refill interval, on an algorithm that has no ticks: omit the interval, or use another algorithm.
    IntervalOnAverage {
        /// The interval.
        interval: Duration,
    },
    /// More cells available at first than the burst.
    AvailableAboveBurst {
        /// The requested number of cells available at first.
        cells: u32,
        /// The burst, in cells.
        burst: u32,
    },
    /// A burst that differs from the cells, on an algorithm that has no burst of its own: omit the burst, or use another algorithm.
    BurstNotCells {
        /// The cells of a period.
        cells: u32,
        /// The burst.
        burst: u32,
    },
    /// At most one cell in every window of a period: no rate above zero obeys that, because two cells exactly a period apart lie in one window. Use
    /// one cell per period, which admits two such cells.
    AtMostOne,
    /// A committed and an excess burst that exceed 2^32 - 1 together; use larger cells, such as kilobytes.
    BurstsTooLarge {
        /// The committed burst.
        committed: u32,
        /// The excess burst.
        excess: u32,
    },
    /// A peak rate below the committed rate; exchange them, or use an excess rate.
    PeakBelowCommitted,
    /// A theoretical arrival time more than a full burst past the end of the meter's time line, 36 years ahead.
    TatTooLate,
}

impl InconsistentCapacity {
    #[allow(clippy::cast_possible_truncation, reason = "compared first")]
    pub(crate) const fn rest_too_long(rest_ns: u128) -> Self {
        const SECOND: u128 = 1_000_000_000;
        let secs = rest_ns.div_ceil(SECOND);
        let secs = if secs < u64::MAX as u128 { secs as u64 } else { u64::MAX };
        Self::RestTooLong {
            rest: Duration::from_secs(secs),
        }
    }
}

impl fmt::Display for InconsistentCapacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ZeroCapacity => f.write_str("a capacity of zero cells admits no cell"),
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
                write!(f, "{cells} available cells exceed a burst of {burst}")
            }
            Self::BurstNotCells { cells, burst } => {
                write!(
                    f,
                    "an exponential limit of {cells} cells cannot have a burst of {burst}"
                )
            }
            Self::AtMostOne => f.write_str(
                "no rate admits at most 1 cell in every window of a period: use one cell per period, like `1/min`",
            ),
            Self::BurstsTooLarge { committed, excess } => {
                write!(f, "bursts of {committed} and {excess} add up to more than 4294967295")
            }
            Self::PeakBelowCommitted => f.write_str("the peak rate is below the committed rate"),
            Self::TatTooLate => {
                f.write_str("a theoretical arrival time over 36 years and a full burst ahead is off the time line")
            }
        }
    }
}

impl Error for InconsistentCapacity {}
