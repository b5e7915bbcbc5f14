//! The quotas of a limit, and the algorithm that decides by them.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use ratelimit_meter::{DualQuota, ParseQuotaError, Quota};

/// The algorithm of a meter. For equal limits the first two make the same decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum AlgorithmName {
    /// The generic cell rate algorithm: stores the time at which the next cell is due.
    #[default]
    Gcra,
    /// The leaky bucket: stores the level.
    LeakyBucket,
    /// The exponential average: limits the recent average rate, and has no separate burst.
    Exponential,
}

impl AlgorithmName {
    /// Returns the name that `--algorithm` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gcra => "gcra",
            Self::LeakyBucket => "leaky-bucket",
            Self::Exponential => "exponential",
        }
    }

    /// Returns whether a limit has a separate burst and rate, so that the least of either can be computed.
    #[must_use]
    pub fn has_burst(self) -> bool {
        self != Self::Exponential
    }
}

/// The quotas of a limit: one, or two of which both must admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotas {
    /// One quota, such as `100/min burst 20`.
    One(Quota),
    /// Two quotas, such as `10/s & 1000/h`.
    Two(DualQuota),
}

impl From<Quota> for Quotas {
    fn from(quota: Quota) -> Self {
        Self::One(quota)
    }
}

impl From<DualQuota> for Quotas {
    fn from(quotas: DualQuota) -> Self {
        Self::Two(quotas)
    }
}

/// Formats the quotas as `--limit` takes them.
impl fmt::Display for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(quota) => quota.fmt(f),
            Self::Two(quotas) => quotas.fmt(f),
        }
    }
}

/// Parses one quota, or two joined by `&`.
impl FromStr for Quotas {
    type Err = ParseQuotaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('&') {
            text.parse().map(Self::Two)
        } else {
            text.parse().map(Self::One)
        }
    }
}

/// Returns the greatest common divisor of two numbers.
pub(crate) fn common_divisor(one: u128, other: u128) -> u128 {
    if other == 0 {
        one
    } else {
        common_divisor(other, one % other)
    }
}
