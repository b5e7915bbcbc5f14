use super::snapshot::VERSION;
use crate::error::InconsistentCapacity;
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
        /// How many buckets of 8 KiB were wanted.
        buckets: usize,
    },
    /// More than 16 tiers, or 15 in an [adjustable](super::Builder::adjustable) table.
    TooManyTiers,
    /// A quota that makes a meter, but has too many cells a second for the word of a slot, which is shorter than a meter's.
    ///
    /// | limits | bits of a word | most cells a second for a key | exact instants |
    /// |---|---|---|---|
    /// | 1 tier | 62 | 1,990 million | if a whole number of nanoseconds passes between cells, or a multiple of 1/3; else within 1 ns |
    /// | 2 | 61 | 998 million | if a whole number of nanoseconds passes between cells; else within 2 ns |
    /// | 3 or 4 | 60 | 499 million | within 3 ns |
    /// | 5 to 8 | 59 | 249 million | within 5 ns |
    /// | 9 to 16 | 58 | 124 million | within 9 ns |
    ///
    /// Limits are the tiers, and one more for an [adjustable](super::Builder::adjustable) table. Count larger cells (kilobytes, not bytes), or have
    /// fewer tiers.
    WordTooNarrow {
        /// How many bits the word of a slot has.
        bits: u32,
        /// For how many tiers.
        tiers: usize,
    },
    /// A change of quota, in a table that was not built [adjustable](super::Builder::adjustable).
    NotAdjustable,
    /// A tier of another table.
    ForeignTier(ForeignTier),
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
            Self::TooMuchMemory { buckets } => write!(f, "no memory for a table of {buckets} buckets of 8 KiB"),
            Self::TooManyTiers => f.write_str("a table has at most 16 tiers, and an adjustable one 15"),
            Self::WordTooNarrow { bits, tiers } => write!(
                f,
                "the quota has too many cells a second for the {bits} bits of a slot's word beside {tiers} tiers: use larger cells or fewer tiers"
            ),
            Self::NotAdjustable => {
                f.write_str("the table's quotas cannot be changed: build it with Builder::adjustable()")
            }
            Self::ForeignTier(error) => error.fmt(f),
            Self::Quota(error) => error.fmt(f),
        }
    }
}

impl Error for InvalidTable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Quota(error) => Some(error),
            Self::ForeignTier(error) => Some(error),
            _ => None,
        }
    }
}

impl From<InconsistentCapacity> for InvalidTable {
    fn from(error: InconsistentCapacity) -> Self {
        Self::Quota(error)
    }
}

/// The tier is of a table that another builder made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignTier;

impl fmt::Display for ForeignTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tier is another table's: use one that this table's builder returned")
    }
}

impl Error for ForeignTier {}

impl From<ForeignTier> for InvalidTable {
    fn from(error: ForeignTier) -> Self {
        Self::ForeignTier(error)
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
    /// The snapshot is followed by further bytes, so the input is not only what [`snapshot_to`](crate::KeyedMeter::snapshot_to) wrote. All keys were
    /// restored. If the input holds more by intention, give the part with the snapshot (`Read::take`).
    BytesAfterEnd {
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
            Self::BytesAfterEnd { restored } => write!(
                f,
                "further bytes follow the snapshot, of which all {restored} keys were restored"
            ),
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
