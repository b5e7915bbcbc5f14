//! Errors of a configuration.

use core::error::Error;
use core::fmt;
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::keyed::InvalidTable;

/// The error of a limit that cannot be built. The text of each variant names the change that helps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidLimit {
    /// The quota is invalid for a meter.
    Quota(InconsistentCapacity),
    /// The table of keys cannot be built.
    Table(InvalidTable),
    /// The meter was made of T and tau instead of a quota, so there is nothing to announce.
    NoQuota,
    /// A tier of one quota was added to a limit of two, or the reverse.
    TierOfAnotherShape {
        /// The name of the tier.
        tier: String,
    },
    /// Two tiers have one name.
    DuplicateTier {
        /// The name of both.
        tier: String,
    },
    /// Requests cannot wait for this limit.
    CannotQueue {
        /// The reason.
        why: &'static str,
    },
}

impl fmt::Display for InvalidLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota(error) => error.fmt(f),
            Self::Table(error) => error.fmt(f),
            Self::NoQuota => f.write_str("the meter has no quota to announce: make it with from_quota"),
            Self::TierOfAnotherShape { tier } => {
                write!(
                    f,
                    "tier {tier:?} needs as many quotas as its limit: use tier for one, dual_tier for two"
                )
            }
            Self::CannotQueue { why } => write!(f, "requests cannot wait for this limit, as {why}"),
            Self::DuplicateTier { tier } => write!(f, "there is a tier {tier:?} already: give each its own name"),
        }
    }
}

impl Error for InvalidLimit {}

impl From<InconsistentCapacity> for InvalidLimit {
    fn from(error: InconsistentCapacity) -> Self {
        Self::Quota(error)
    }
}

impl From<InvalidTable> for InvalidLimit {
    fn from(error: InvalidTable) -> Self {
        Self::Table(error)
    }
}
