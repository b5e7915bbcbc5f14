use super::snapshot::VERSION;
use crate::error::InconsistentCapacity;
use crate::outcome::NonConformance;
use core::error::Error;
use core::fmt;
use std::io;

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

/// Why [`KeyedMeter::check_tier`](crate::KeyedMeter::check_tier) did not admit a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegativeTierDecision {
    /// There is no such tier, and nothing was decided.
    NoSuchTier(NoSuchTier),
    /// The cell does not conform.
    NonConforming(NonConformance),
}

impl fmt::Display for NegativeTierDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchTier(error) => error.fmt(f),
            Self::NonConforming(denial) => denial.fmt(f),
        }
    }
}

impl Error for NegativeTierDecision {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoSuchTier(error) => Some(error),
            Self::NonConforming(denial) => Some(denial),
        }
    }
}

/// Why a table cannot take up a snapshot of keys.
#[derive(Debug)]
#[non_exhaustive]
pub enum RestoreKeysError {
    /// It could not be read. What came before was restored.
    Io {
        /// Why not.
        error: io::Error,
        /// How many keys were restored.
        restored: u64,
    },
    /// It is no snapshot of keys.
    NotKeys,
    /// The snapshot was written by another version of this crate, whose hashes or words differ.
    ///
    /// Start with an empty table: its keys begin with their full burst.
    UnknownVersion(u32),
    /// It is of a table with another number of slots: the same capacity makes the same.
    AnotherShape {
        /// The slots of the snapshot.
        snapshot: u64,
        /// The slots of the table.
        table: u64,
    },
    /// It is of a table with other limits, in which its words mean nothing.
    AnotherLimit {
        /// The limits of the snapshot.
        snapshot: String,
        /// The limits of the table.
        table: String,
    },
    /// It is of a table that hashes keys in another way, or with another seed.
    AnotherHash,
    /// It was cut off or changed. What stood before the damage was restored.
    Damaged {
        /// How many keys were restored.
        restored: u64,
    },
    /// Some keys could not be taken up, and all others were. There was no slot for them beside the live keys of this table, and
    /// [`WhenFull`](super::WhenFull) is not to forgive; or they owe more than can be recorded until the end of its time line.
    LeftOut {
        /// How many keys were restored.
        restored: u64,
        /// How many were not.
        left_out: u64,
    },
}

impl RestoreKeysError {
    /// What an error is that came after so many keys.
    pub(super) fn at_key(error: io::Error, restored: u64) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged { restored },
            _ => Self::Io { error, restored },
        }
    }
}

impl From<io::Error> for RestoreKeysError {
    fn from(error: io::Error) -> Self {
        Self::at_key(error, 0)
    }
}

impl fmt::Display for RestoreKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { error, restored } => {
                write!(
                    f,
                    "the snapshot could not be read after {restored} keys, which were restored: {error}"
                )
            }
            Self::NotKeys => f.write_str("not a snapshot of keys"),
            Self::UnknownVersion(version) => write!(
                f,
                "the snapshot has format version {version}, this crate restores version {VERSION}: start with an empty table"
            ),
            Self::AnotherShape { snapshot, table } => {
                write!(
                    f,
                    "the snapshot is of a table of {snapshot} slots, and this one has {table}"
                )
            }
            Self::AnotherLimit { snapshot, table } => {
                write!(
                    f,
                    "the snapshot is of a table for {snapshot}, and this one is for {table}"
                )
            }
            Self::AnotherHash => {
                f.write_str("the snapshot is of a table with other hashes: restore with the same seed")
            }
            Self::Damaged { restored } => {
                write!(f, "the snapshot is damaged after {restored} keys, which were restored")
            }
            Self::LeftOut { restored, left_out } => {
                write!(
                    f,
                    "{left_out} keys of the snapshot found no room, {restored} were restored"
                )
            }
        }
    }
}

impl Error for RestoreKeysError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
