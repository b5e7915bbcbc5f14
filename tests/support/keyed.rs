//! Creates the keyed meters under test, with hashes that are the same in every run.

use super::limit::Limit;
use proptest::prelude::*;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::keyed::{InvalidTable, KeyHashes, KeyedBuilder, WhenFull};
use ratelimit_meter::{KeyedMeter, Meter};
use std::hash::{BuildHasher, Hasher};

pub(crate) const POLICIES: [WhenFull; 3] = [WhenFull::Forgive, WhenFull::Deny, WhenFull::Admit];

/// The memory of one bucket; the next constant is the number of its slots.
pub(crate) const BUCKET: usize = 8 << 10;
pub(crate) const BUCKET_SLOTS: usize = 508;

/// Number of slots that [`few_slots`] leaves free.
pub(crate) const SLOTS: usize = 60;

/// Number of keys in a table with few slots that are never idle.
pub(crate) const BALLAST: usize = BUCKET_SLOTS - SLOTS;

/// Returns hashes whose seed looks random.
pub(crate) fn hashes(seed: u64) -> KeyHashes {
    let mixed = |n: u64| (n ^ n >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let number = |n: u64| mixed(mixed(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
    KeyHashes::with_seed([1, 2, 3].map(number))
}

/// Returns a builder of meters like `like`, on a clock that stands still.
pub(crate) fn builder<A: Algorithm>(
    like: Meter<A>,
    clock: &ManualClock,
    when_full: WhenFull,
) -> KeyedBuilder<Meter<A, ManualClock>> {
    KeyedBuilder::new(like.with_clock(clock.clone()))
        .hashes(hashes(0))
        .when_full(when_full)
}

/// Creates a table of `buckets` buckets.
pub(crate) fn buckets<K: ?Sized, A: Algorithm>(
    builder: KeyedBuilder<Meter<A, ManualClock>>,
    buckets: usize,
) -> KeyedMeter<K, Meter<A, ManualClock>> {
    let table: Result<_, InvalidTable> = builder.with_memory(buckets * BUCKET);
    table.expect("some memory")
}

/// Creates a table of one bucket. All slots except [`SLOTS`] belong forever to keys with the maximum debt, so that a few keys fill the table.
pub(crate) fn few_slots<A: Algorithm>(
    builder: KeyedBuilder<Meter<A, ManualClock>>,
) -> KeyedMeter<u64, Meter<A, ManualClock>> {
    let table = buckets(builder, 1);
    for key in 0..BALLAST as u64 {
        table.key(&(u64::MAX - key)).charge(u64::MAX);
    }
    assert_eq!(table.stats().live, BALLAST);
    table
}

/// Returns limits that a table of one tier takes.
pub(crate) fn fitting(limits: impl Strategy<Value = Limit>) -> impl Strategy<Value = Limit> {
    let limits = limits.prop_map(|limit| limit.in_words_of(62));
    limits.prop_filter("that a slot can count", Limit::fits)
}

/// A poor hash: the written bytes as one number, modulo `.0`.
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
