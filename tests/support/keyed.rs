//! Keyed meters under test, with hashes that are the same in every run.

use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::keyed::{Builder, InvalidTable, KeyHashes, WhenFull};
use ratelimit_meter::{KeyedMeter, Meter};
use std::hash::{BuildHasher, Hasher};

pub(crate) const POLICIES: [WhenFull; 3] = [WhenFull::Forgive, WhenFull::Deny, WhenFull::Admit];

/// The memory of one bucket, and how many slots it has.
pub(crate) const BUCKET: usize = 1024;
pub(crate) const SLOTS: usize = 60;

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
