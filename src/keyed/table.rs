//! The buckets of a keyed meter, and what happened to those for whom there was no slot.

use super::bucket::Bucket;
use super::error::InvalidTable;
use super::key::Key;
use super::slot::{AtomicU64, Ordering};

/// How many live keys a bucket of 60 slots is meant for. With as many on average, keys falling on buckets at random, a new key finds 60
/// others in its bucket once in 156,000 times: P(X >= 60) for X after Poisson. (With 33 it is once in 65,000, with 35 in 13,000.)
const KEYS_A_BUCKET: usize = 32;

#[derive(Debug)]
pub(super) struct Table {
    buckets: Box<[Bucket]>,
    pub(super) tallies: Tallies,
}

/// How often a full neighbourhood was met, by what was done.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tallies {
    pub(super) forgiven: AtomicU64,
    pub(super) denied: AtomicU64,
    pub(super) admitted: AtomicU64,
}

impl Tallies {
    pub(super) fn count(tally: &AtomicU64) {
        // ORDERING: relaxed; a number of events, which orders nothing.
        tally.fetch_add(1, Ordering::Relaxed);
    }
}

/// How large a table is to be.
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

    /// The key of a hash.
    #[inline]
    pub(super) const fn key(hash: u64) -> Key {
        Key::of_hash(mixed(hash))
    }

    /// Where a key belongs.
    #[inline]
    pub(super) fn bucket(&self, key: Key) -> &Bucket {
        &self.buckets[key.bucket_of(self.buckets.len())]
    }

    pub(super) fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// How many keys it is meant for.
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

/// A bijection that makes each bit depend on all (the finalizer of MurmurHash3, by Appleby): whatever hashes are equal were so
/// before, however poor the hasher.
#[inline]
const fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
