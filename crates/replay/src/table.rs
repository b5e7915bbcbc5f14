//! Tables of meters of any algorithm, for a fixed number of keys.

use std::time::Instant;

use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::keyed::{InvalidTable, KeyHashes, KeyedBuilder, WhenFull};
use ratelimit_meter::{KeyedMeter, Meter, NegativeMultiDecision};

use crate::event::KeyId;

/// Keys are numbers that no client chooses, so a public seed does no harm, and every run makes the same decisions.
const SEED: [u64; 3] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0];

/// A table of meters of any algorithm.
pub(crate) trait Table {
    /// As [`KeyedMeter::check_n_at`].
    fn check_n_at(&self, key: KeyId, n: u32, at: Instant) -> Result<(), NegativeMultiDecision>;

    /// Returns whether the key's meter is live: it is not idle.
    fn is_live(&self, key: KeyId, at: Instant) -> bool;

    /// Returns whether any meter is live.
    fn has_live(&self, at: Instant) -> bool;
}

impl<A: Algorithm> Table for KeyedMeter<KeyId, Meter<A, ManualClock>> {
    #[inline]
    fn check_n_at(&self, key: KeyId, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        Self::check_n_at(self, &key, n, at)
    }

    fn is_live(&self, key: KeyId, at: Instant) -> bool {
        self.key(&key).is_live_at(at)
    }

    fn has_live(&self, at: Instant) -> bool {
        self.stats_at(at).live > 0
    }
}

/// Creates a table of meters, each of them like `like`. A key without room is denied.
pub(crate) fn of_meters<A: Algorithm + 'static>(
    like: Meter<A, ManualClock>,
    keys: usize,
) -> Result<Box<dyn Table>, InvalidTable> {
    let builder = KeyedBuilder::new(like).hashes(KeyHashes::with_seed(SEED));
    let table = builder.when_full(WhenFull::Deny).with_capacity::<KeyId>(keys)?;
    Ok(Box::new(table))
}
