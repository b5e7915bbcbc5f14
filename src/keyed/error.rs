use crate::error::InconsistentCapacity;
use core::error::Error;
use core::fmt;

/// Why there is no [`KeyedMeter`](crate::KeyedMeter) of such numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTable {
    /// A capacity of no keys.
    NoCapacity,
    /// Less memory than the smallest table takes.
    TooLittleMemory {
        /// What was offered, in bytes.
        bytes: usize,
        /// What the smallest table takes, in bytes.
        least: usize,
    },
    /// More memory than there is.
    TooMuchMemory {
        /// How many buckets of 1 KiB were wanted.
        buckets: usize,
    },
    /// More than 16 tiers.
    TooManyTiers,
    /// A quota that makes no meter.
    Quota(InconsistentCapacity),
}

impl fmt::Display for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapacity => f.write_str("a table needs a capacity of at least one key"),
            Self::TooLittleMemory { bytes, least } => {
                write!(f, "{bytes} bytes are too few for a table, the smallest takes {least}")
            }
            Self::TooMuchMemory { buckets } => write!(f, "no memory for a table of {buckets} KiB"),
            Self::TooManyTiers => f.write_str("a table has at most 16 tiers"),
            Self::Quota(error) => error.fmt(f),
        }
    }
}

impl Error for InvalidTable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Quota(error) => Some(error),
            _ => None,
        }
    }
}

impl From<InconsistentCapacity> for InvalidTable {
    fn from(error: InconsistentCapacity) -> Self {
        Self::Quota(error)
    }
}

/// A keyed meter has fewer tiers than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchTier {
    pub(super) tier: u8,
    pub(super) tiers: usize,
}

impl fmt::Display for NoSuchTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no tier {}: there are {}, counted from 0", self.tier, self.tiers)
    }
}

impl Error for NoSuchTier {}
