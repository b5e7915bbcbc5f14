//! Keyed meters under test, with hashes that are the same in every run.

use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::keyed::{Builder, InvalidTable, KeyHashes, WhenFull};
use ratelimit_meter::{KeyedMeter, Meter};
use std::hash::{BuildHasher, Hasher};

pub(crate) const POLICIES: [WhenFull; 3] = [WhenFull::Forgive, WhenFull::Deny, WhenFull::Admit];

/// The memory of one bucket, and how many slots it has.
pub(crate) const BUCKET: usize = 8 << 10;
pub(crate) const BUCKET_SLOTS: usize = 508;

/// How many slots [`few_slots`] leaves free.
pub(crate) const SLOTS: usize = 60;

/// How many keys of a table with few slots owe something for ever.
pub(crate) const BALLAST: usize = BUCKET_SLOTS - SLOTS;

/// Hashes whose seed is as good as random.
pub(crate) fn hashes(seed: u64) -> KeyHashes {
    let mixed = |n: u64| (n ^ n >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let number = |n: u64| mixed(mixed(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
    KeyHashes::with_seed([1, 2, 3].map(number))
}

/// A builder of meters like one, on a clock that stands still.
pub(crate) fn builder<A: Algorithm>(
    like: Meter<A>,
    clock: &ManualClock,
    when_full: WhenFull,
) -> Builder<Meter<A, ManualClock>> {
    Builder::new(like.with_clock(clock.clone()))
        .hashes(hashes(0))
        .when_full(when_full)
}

/// A table of so many buckets.
pub(crate) fn buckets<K: ?Sized, A: Algorithm>(
    builder: Builder<Meter<A, ManualClock>>,
    buckets: usize,
) -> KeyedMeter<K, Meter<A, ManualClock>> {
    let table: Result<_, InvalidTable> = builder.with_memory(buckets * BUCKET);
    table.expect("some memory")
}

/// A table of one bucket, whose slots belong for ever to keys that owe all they can, but for [`SLOTS`]: so little of it fills it.
pub(crate) fn few_slots<A: Algorithm>(
    builder: Builder<Meter<A, ManualClock>>,
) -> KeyedMeter<u64, Meter<A, ManualClock>> {
    let table = buckets(builder, 1);
    for key in 0..BALLAST as u64 {
        table.key(&(u64::MAX - key)).charge(u64::MAX);
    }
    assert_eq!(table.stats().live, BALLAST);
    table
}

/// A poor hash: of all that is written, the remainder by `.0`.
#[derive(Clone, Debug)]
pub(crate) struct Poor(pub(crate) u64);

impl BuildHasher for Poor {
    type Hasher = PoorHasher;

    fn build_hasher(&self) -> PoorHasher {
        PoorHasher {
            of: self.0,
            remainder: 0,
        }
    }
}

pub(crate) struct PoorHasher {
    of: u64,
    remainder: u64,
}

impl Hasher for PoorHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().rev() {
            self.remainder = (self.remainder * 256 + u64::from(*byte)) % self.of;
        }
    }

    fn finish(&self) -> u64 {
        self.remainder
    }
}
