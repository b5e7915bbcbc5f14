//! The builder of a table: its tiers, its policy, its hash and its size.

use super::bucket::HashBucket;
use super::limits::{LatestLimits, Limits};
use super::slot::{Form, MOST_LIMITS};
use super::table::{Table, Tallies};
use super::{ForeignTier, KeyHashes, KeyedMeter, Tier, WhenFull};
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::error::InconsistentCapacity;
use crate::meter::{Meter, MeterKind};
use crate::quota::Quota;
use crate::schedule::Schedule;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::{vec, vec::Vec};
use core::error::Error;
use core::fmt;
use core::marker::PhantomData;

/// Builds a [`KeyedMeter`] with a chosen algorithm, clock, tiers, hash, or policy for a full bucket.
///
/// ```
/// use ratelimit_meter::keyed::{KeyedBuilder, WhenFull};
/// use ratelimit_meter::{Exponential, clock::ManualClock};
/// use std::time::Duration;
///
/// let like = Exponential::new(100, Duration::from_secs(60))?.with_clock(ManualClock::new()).strict();
/// let logins = KeyedBuilder::new(like).when_full(WhenFull::Deny).with_capacity::<str>(50_000)?;
/// assert!(logins.check("alice").is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeyedBuilder<M: MeterKind, S = KeyHashes> {
    schedules: Vec<Schedule<M::Algorithm>>,
    /// The tier of each schedule.
    tiers: Vec<Tier>,
    clock: M::Clock,
    when_full: WhenFull,
    hashes: S,
    is_adjustable: bool,
}

impl<A: Algorithm, C: Clock> KeyedBuilder<Meter<A, C>> {
    /// Begins with a template for the meter of each key: its limit becomes the first tier, and all keys use its clock. The cells that it has counted
    /// do not matter.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn new(like: Meter<A, C>) -> Self {
        Self::with_hashes(like, KeyHashes::random())
    }
}

impl<A: Algorithm, C: Clock, S> KeyedBuilder<Meter<A, C>, S> {
    /// Begins with a template for the meter of each key, and a hash of keys. Without the feature `std` this is the only way to begin, because
    /// only the caller has a source of random numbers there.
    ///
    /// ```
    /// use ratelimit_meter::keyed::{KeyHashes, KeyedBuilder};
    /// use ratelimit_meter::{GCRA, Quota, time};
    ///
    /// let seed = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0]; // from the board's source of entropy
    /// let like = GCRA::from_quota("10/s".parse::<Quota>()?)?;
    /// let sensors = KeyedBuilder::with_hashes(like, KeyHashes::with_seed(seed)).with_capacity::<[u8; 6]>(100)?;
    /// let now = time::at(100_000_000_000_000); // of the board's clock
    /// assert!((0..10).all(|_| sensors.check_at(&[0; 6], now).is_ok()));
    /// assert!(sensors.check_at(&[0; 6], now).is_err());
    /// assert!(sensors.check_at(&[1; 6], now).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_hashes(like: Meter<A, C>, hashes: S) -> Self {
        let (schedule, _, clock) = like.into_parts();
        Self {
            schedules: vec![schedule],
            tiers: vec![Tier::FIRST],
            clock,
            when_full: WhenFull::default(),
            hashes,
            is_adjustable: false,
        }
    }
}

impl<M: MeterKind, S> KeyedBuilder<M, S> {
    /// Adds a tier, of the same algorithm; select it with [`KeyedMeter::in_tier`].
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if there are 16 tiers already, or the quota is invalid for the meter.
    pub fn tier(mut self, quota: Quota) -> Result<(Self, Tier), InvalidTable> {
        if self.tiers.len() == MOST_LIMITS {
            return Err(InvalidTable::TooManyTiers);
        }
        let tier = Tier::new();
        self.schedules.push(self.schedules[0].with_quota(quota)?);
        self.tiers.push(tier);
        Ok((self, tier))
    }

    /// Sets the policy for a key if all slots that it might take belong to other live keys; [`WhenFull::Forgive`] by default.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self { when_full, ..self }
    }

    /// Allows [`KeyedMeter::set_quota`] to change the quotas of the tiers while the table is in use.
    ///
    /// Costs as much of a slot's word as one more tier: see [`InvalidTable::WordTooNarrow`].
    #[cfg(feature = "std")]
    #[must_use]
    pub fn adjustable(self) -> Self {
        Self {
            is_adjustable: true,
            ..self
        }
    }

    /// Sets the hash of keys, [`KeyHashes::random`] by default. A poor hash makes keys share meters; it never admits them for free.
    #[must_use]
    pub fn hashes<T>(self, hashes: T) -> KeyedBuilder<M, T> {
        KeyedBuilder {
            schedules: self.schedules,
            tiers: self.tiers,
            clock: self.clock,
            when_full: self.when_full,
            hashes,
            is_adjustable: self.is_adjustable,
        }
    }

    /// Returns a table for `keys` live keys, or for half as many again while that takes at most 192 KiB. It takes 20 bytes for each key of its
    /// [capacity](KeyedMeter::capacity), and at least 8 KiB.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if `keys` is zero, or there is too little memory.
    pub fn with_capacity<K: ?Sized>(self, keys: usize) -> Result<KeyedMeter<K, M, S>, InvalidTable> {
        self.sized(Size::Keys(keys))
    }

    /// Returns a table in `bytes` of memory, rounded down to whole buckets of 8 KiB.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if `bytes` is less than 8 KiB, or cannot be allocated.
    pub fn with_memory<K: ?Sized>(self, bytes: usize) -> Result<KeyedMeter<K, M, S>, InvalidTable> {
        self.sized(Size::Bytes(bytes))
    }

    fn sized<K: ?Sized>(self, size: Size) -> Result<KeyedMeter<K, M, S>, InvalidTable> {
        let tiers = self.tiers.len();
        let limits = tiers + usize::from(self.is_adjustable);
        if limits > MOST_LIMITS {
            return Err(InvalidTable::TooManyTiers);
        }
        let form = Form::for_limits(limits);
        let too_wide = InvalidTable::WordTooNarrow {
            bits: form.bits(),
            tiers,
        };
        let schedules: Option<Vec<_>> = self
            .schedules
            .iter()
            .map(|schedule| schedule.below(form.end()))
            .collect();
        let limits = schedules.and_then(|schedules| Limits::new(&schedules, form, self.when_full));
        let limits = Arc::new(limits.ok_or(too_wide)?);
        Ok(KeyedMeter {
            table: Arc::new(Table {
                buckets: empty(size)?,
                tallies: Tallies::default(),
                tiers: self.tiers.into_boxed_slice(),
                #[cfg(feature = "std")]
                is_adjustable: self.is_adjustable,
                latest: LatestLimits::new(limits.clone()),
                #[cfg(feature = "std")]
                changing: std::sync::Mutex::new(()),
            }),
            limits,
            hashes: self.hashes,
            clock: self.clock,
            tier: None,
            key: PhantomData,
        })
    }
}

impl<M: MeterKind, S> fmt::Debug for KeyedBuilder<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBuilder")
            .field("tiers", &self.tiers.len())
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}

/// The number of live keys that a bucket is meant for. Keys fall on buckets at random. With this many on average in 508 slots, a new key finds 508
/// other keys in its bucket once in 180,000 times: P(X >= 508) = 5.6e-6 for a Poisson variable X. (With 420 on average it is once in 58,000.)
pub(super) const KEYS_A_BUCKET: usize = if cfg!(ratelimit_meter_loom) {
    1
} else if cfg!(ratelimit_meter_stress) {
    4
} else {
    415
};

/// Up to this number of buckets, 192 KiB, a table has room for half as many keys again: it fits the second-level cache of any processor. More searches
/// then end at their first slot, where the branch predictor expects it: among 4096 `u64` keys a decision took 38 ns instead of 48.
const ROOMY_BUCKETS: usize = if cfg!(any(ratelimit_meter_loom, ratelimit_meter_stress)) {
    0
} else {
    24
};

/// The size of a table, in keys or in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Keys(usize),
    Bytes(usize),
}

/// Allocates the buckets of an empty table.
fn empty(size: Size) -> Result<Box<[HashBucket]>, InvalidTable> {
    let buckets = match size {
        Size::Keys(0) => return Err(InvalidTable::NoCapacity),
        Size::Keys(keys) => {
            let roomy = keys.saturating_add(keys / 2).div_ceil(KEYS_A_BUCKET);
            keys.div_ceil(KEYS_A_BUCKET).max(roomy.min(ROOMY_BUCKETS))
        }
        Size::Bytes(bytes) if bytes < size_of::<HashBucket>() => {
            return Err(InvalidTable::TooLittleMemory {
                bytes,
                least: size_of::<HashBucket>(),
            });
        }
        Size::Bytes(bytes) => bytes / size_of::<HashBucket>(),
    };
    let mut table = Vec::new();
    table
        .try_reserve_exact(buckets)
        .map_err(|_| InvalidTable::TooMuchMemory { buckets })?;
    table.resize_with(buckets, HashBucket::default);
    Ok(table.into_boxed_slice())
}

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
    /// More than 16 tiers, or 15 in an [adjustable](KeyedBuilder::adjustable) table.
    TooManyTiers,
    /// A valid quota of a meter, but with too many cells a second for the word of a slot, which is shorter than a meter's.
    ///
    /// | limits | bits of a word | most cells a second for a key | exact instants |
    /// |---|---|---|---|
    /// | 1 tier | 62 | 1,990 million | if a whole number of nanoseconds passes between cells, or a multiple of 1/3; otherwise within 1 ns |
    /// | 2 | 61 | 998 million | if a whole number of nanoseconds passes between cells; otherwise within 2 ns |
    /// | 3 or 4 | 60 | 499 million | within 3 ns |
    /// | 5 to 8 | 59 | 249 million | within 5 ns |
    /// | 9 to 16 | 58 | 124 million | within 9 ns |
    ///
    /// The number of limits is the number of tiers, and one more for an [adjustable](KeyedBuilder::adjustable) table. To make the quota fit, count
    /// larger cells (kilobytes, not bytes), or have fewer tiers.
    ///
    /// The last column is for limits of hours or days. If the longest debt that a limit admits drains in 36 years, its instants are twice as far off.
    WordTooNarrow {
        /// The number of bits of a slot's word.
        bits: u32,
        /// The number of tiers.
        tiers: usize,
    },
    /// A change of quota, in a table that was not built [adjustable](KeyedBuilder::adjustable).
    NotAdjustable,
    /// A tier of another table.
    ForeignTier(ForeignTier),
    /// A quota that is invalid for the meter.
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
                "the quota has too many cells a second for the {bits} bits of a slot's word (tiers: {tiers}): use larger cells or fewer tiers"
            ),
            Self::NotAdjustable => {
                f.write_str("the table's quotas cannot be changed: build it with KeyedBuilder::adjustable()")
            }
            Self::ForeignTier(error) => error.fmt(f),
            Self::Quota(error) => error.fmt(f),
        }
    }
}

impl Error for InvalidTable {}

impl From<InconsistentCapacity> for InvalidTable {
    fn from(error: InconsistentCapacity) -> Self {
        Self::Quota(error)
    }
}

impl From<ForeignTier> for InvalidTable {
    fn from(error: ForeignTier) -> Self {
        Self::ForeignTier(error)
    }
}
