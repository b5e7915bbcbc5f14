use super::snapshot::VERSION;
use crate::error::InconsistentCapacity;
use core::error::Error;
use core::fmt;
use std::io;

/// The reason why a [`KeyedMeter`](crate::KeyedMeter) could not be made from the numbers given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTable {
    /// A capacity of no keys.
    NoCapacity,
    /// Less memory than the smallest table takes.
    TooLittleMemory {
        /// The memory that was offered, in bytes.
        bytes: usize,
        /// The memory that the smallest table takes, in bytes.
        least: usize,
    },
    /// More memory than there is.
    TooMuchMemory {
        /// The number of buckets of 8 KiB that the table would have needed.
        buckets: usize,
    },
    /// More than 16 tiers, or 15 in an [adjustable](super::KeyedBuilder::adjustable) table.
    TooManyTiers,
    /// A quota that makes a meter, but has too many cells a second for the word of a slot, which is shorter than a meter's word.
    ///
    /// | limits | bits of a word | most cells a second for a key | exact instants |
    /// |---|---|---|---|
    /// | 1 tier | 62 | 1,990 million | if a whole number of nanoseconds passes between cells, or a multiple of 1/3; otherwise within 1 ns |
    /// | 2 | 61 | 998 million | if a whole number of nanoseconds passes between cells; otherwise within 2 ns |
    /// | 3 or 4 | 60 | 499 million | within 3 ns |
    /// | 5 to 8 | 59 | 249 million | within 5 ns |
    /// | 9 to 16 | 58 | 124 million | within 9 ns |
    ///
    /// The number of limits is the number of tiers, and one more for an [adjustable](super::KeyedBuilder::adjustable) table. To make the quota fit, count
    /// larger cells (kilobytes, not bytes), or have fewer tiers.
    WordTooNarrow {
        /// The number of bits of a slot's word.
        bits: u32,
        /// The number of tiers.
        tiers: usize,
    },
    /// A change of quota, in a table that was not built [adjustable](super::KeyedBuilder::adjustable).
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
                f.write_str("the table's quotas cannot be changed: build it with KeyedBuilder::adjustable()")
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

/// The tier belongs to a table that another builder made.
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

/// The reason why a table cannot restore a snapshot of keys.
#[derive(Debug)]
#[non_exhaustive]
pub enum RestoreKeysError {
    /// The snapshot could not be read. The keys before the error were restored.
    Io {
        /// The reason.
        error: io::Error,
        /// The number of keys that were restored.
        restored: u64,
    },
    /// The input is not a snapshot of keys.
    NotKeys,
    /// The snapshot was written by another version of this crate, whose hashes or words differ.
    ///
    /// Start with an empty table: its keys begin with their full burst.
    UnknownVersion(u32),
    /// The snapshot is of a table with another number of slots. Tables of the same capacity have the same number.
    AnotherShape {
        /// The slots of the snapshot.
        snapshot: u64,
        /// The slots of the table.
        table: u64,
    },
    /// The snapshot is of a table with other limits, so its words have no meaning here.
    AnotherLimit {
        /// The limits of the snapshot.
        snapshot: String,
        /// The limits of the table.
        table: String,
    },
    /// The snapshot is of a table that hashes keys in another way, or with another seed.
    AnotherHash,
    /// The snapshot was cut off or changed. The keys before the damage were restored.
    Damaged {
        /// The number of keys that were restored.
        restored: u64,
    },
    /// The snapshot is followed by further bytes, so the input is not only what [`snapshot_to`](crate::KeyedMeter::snapshot_to) wrote. All keys were
    /// restored. If the input holds more on purpose, pass only the part with the snapshot (`Read::take`).
    BytesAfterEnd {
        /// The number of keys that were restored.
        restored: u64,
    },
    /// Some keys could not be restored; all others were. There are two reasons: the live keys of this table left no slot for them, and
    /// [`WhenFull`](super::WhenFull) is not `Forgive`; or their debt reaches past the end of the table's time line.
    LeftOut {
        /// The number of keys that were restored.
        restored: u64,
        /// The number of keys that were not restored.
        left_out: u64,
    },
}

impl RestoreKeysError {
    /// Converts a read error after `restored` keys.
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
