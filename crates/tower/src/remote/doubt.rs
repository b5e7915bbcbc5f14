//! The keys for which the store may not count.

use crate::meters::HashedKey;
use core::sync::atomic::{AtomicBool, Ordering};

/// The number of flags. Few keys of a limit share a flag, and the flags take 1 KiB.
const FLAGS: u16 = 1024;

/// The keys whose last charge failed. Until the store counts cells of a key, its requests are decided by a call that writes.
///
/// Keys of one flag are in doubt together, and leave it together. So each count of another key of the flag lets at most one charge be lost, besides those
/// of requests in flight.
pub(super) struct Doubts(Box<[AtomicBool]>);

impl Default for Doubts {
    fn default() -> Self {
        Self((0..FLAGS).map(|_| AtomicBool::new(false)).collect())
    }
}

impl Doubts {
    // ORDERING: relaxed, in all three. A request that reads an old flag is decided like a request that was in flight when the flag changed.

    pub(super) fn contains(&self, key: HashedKey) -> bool {
        self.flag(key).load(Ordering::Relaxed)
    }

    pub(super) fn insert(&self, key: HashedKey) {
        self.flag(key).store(true, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, key: HashedKey) {
        self.flag(key).store(false, Ordering::Relaxed);
    }

    fn flag(&self, HashedKey(hash): HashedKey) -> &AtomicBool {
        let [low, high, ..] = hash.to_le_bytes();
        &self.0[usize::from(u16::from_le_bytes([low, high]) % FLAGS)]
    }
}
