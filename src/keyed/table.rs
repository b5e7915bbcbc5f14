//! The table of a keyed meter: its buckets, its size, and the counts of full buckets.

use super::bucket::Bucket;
use super::error::InvalidTable;
use super::line::{AtomicU64, KeyHash, Ordering};

/// The number of live keys that a bucket is meant for. Keys fall on buckets at random. With this many on average in 508 slots, a new key finds 508
/// other keys in its bucket once in 180,000 times: P(X >= 508) for X after Poisson, 5.6e-6. (With 420 on average it is once in 58,000.)
const KEYS_A_BUCKET: usize = if cfg!(ratelimit_meter_loom) {
    1
} else if cfg!(ratelimit_meter_stress) {
    4
} else {
    415
};

#[derive(Debug)]
pub(super) struct Table {
    buckets: Box<[Bucket]>,
    pub(super) tallies: Tallies,
}

/// Counts of the events in which a key found its bucket full, and was denied or admitted uncounted. (Each bucket counts its own evictions.)
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tallies {
    pub(super) denied: AtomicU64,
    pub(super) admitted: AtomicU64,
}

impl Tallies {
    pub(super) fn count(tally: &AtomicU64) {
        // ORDERING: relaxed. A count of events, which orders nothing.
        tally.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes back an event that was counted.
    pub(super) fn uncount(tally: &AtomicU64) {
        // ORDERING: relaxed, as in `count`.
        tally.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The size of a table, in keys or in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Keys(usize),
    Bytes(usize),
}

impl Table {
    pub(super) fn new(size: Size) -> Result<Self, InvalidTable> {
        let buckets = match size {
            Size::Keys(0) => return Err(InvalidTable::NoCapacity),
            Size::Keys(keys) => keys.div_ceil(KEYS_A_BUCKET),
            Size::Bytes(bytes) if bytes < size_of::<Bucket>() => {
                return Err(InvalidTable::TooLittleMemory {
                    bytes,
                    least: size_of::<Bucket>(),
                });
            }
            Size::Bytes(bytes) => bytes / size_of::<Bucket>(),
        };
        let mut table = Vec::new();
        table
            .try_reserve_exact(buckets)
            .map_err(|_| InvalidTable::TooMuchMemory { buckets })?;
        table.resize_with(buckets, Bucket::default);
        Ok(Self {
            buckets: table.into_boxed_slice(),
            tallies: Tallies::default(),
        })
    }

    /// Returns the bucket of a key.
    #[inline]
    pub(super) fn bucket(&self, key: KeyHash) -> &Bucket {
        &self.buckets[key.bucket_of(self.buckets.len())]
    }

    pub(super) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// Returns the number of keys that the table is meant for.
    pub(super) fn capacity(&self) -> usize {
        self.buckets.len() * KEYS_A_BUCKET
    }

    pub(super) fn slots(&self) -> usize {
        self.buckets.len() * Bucket::SLOTS
    }

    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.buckets)
    }
}
