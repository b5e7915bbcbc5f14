//! The atomics of a keyed table. [`bucket`](super::bucket) says what they hold and why that is enough.
//!
//! # Orderings
//!
//! A slot's two words are one location of 128 bits: whose meter it is and how that stands change together or not at all. Reads acquire
//! and exchanges release as well, for one reason: whoever finds a slot taken from a meter at rest has to see the watermark that was
//! raised before ([`Bucket::claim`](super::bucket::Bucket::claim)); exchanges in between pass that on. A decision orders nothing for
//! callers, as everywhere.

#[cfg(ratelimit_meter_loom)]
use loom::sync::Mutex;
#[cfg(ratelimit_meter_loom)]
pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(ratelimit_meter_loom))]
use portable_atomic::AtomicU128;
#[cfg(not(ratelimit_meter_loom))]
pub(super) use std::sync::atomic::{AtomicU64, Ordering};

/// What a slot holds: whose meter, and its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pair {
    pub(super) id: u64,
    pub(super) word: u64,
}

impl Pair {
    #[cfg(not(ratelimit_meter_loom))]
    const fn joined(self) -> u128 {
        (self.id as u128) << u64::BITS | self.word as u128
    }

    #[cfg(not(ratelimit_meter_loom))]
    #[expect(clippy::cast_possible_truncation, reason = "one half, and the other")]
    const fn parted(both: u128) -> Self {
        Self {
            id: (both >> u64::BITS) as u64,
            word: both as u64,
        }
    }
}

/// A pair that is read and exchanged as one.
#[derive(Debug, Default)]
#[cfg(not(ratelimit_meter_loom))]
pub(super) struct Slot(AtomicU128);

#[cfg(not(ratelimit_meter_loom))]
impl Slot {
    #[inline]
    pub(super) fn load(&self) -> Pair {
        // ORDERING: acquire; meets the release of the exchange that took the slot for whom it now belongs to. Test:
        // `tests/loom/keyed.rs`, the last cell of a key whose slot was taken.
        Pair::parted(self.0.load(Ordering::Acquire))
    }

    /// Stores `new` if the slot still holds `seen`; else tells what it holds.
    #[inline]
    pub(super) fn exchange(&self, seen: Pair, new: Pair) -> Result<(), Pair> {
        // ORDERING: release for the watermark raised before, acquire for what the loser reads, as in `load`. Strong: claims do not
        // stand in a loop over the same slot. Test: as there.
        self.0
            .compare_exchange(seen.joined(), new.joined(), Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Pair::parted)
    }
}

/// What the loom models have in its place, as loom has no atomic of 128 bits: the same steps, each under a lock.
#[cfg(ratelimit_meter_loom)]
#[derive(Debug)]
pub(super) struct Slot(Mutex<Pair>);

#[cfg(ratelimit_meter_loom)]
impl Default for Slot {
    fn default() -> Self {
        Self(Mutex::new(Pair::default()))
    }
}

#[cfg(ratelimit_meter_loom)]
impl Slot {
    pub(super) fn load(&self) -> Pair {
        *self.held()
    }

    pub(super) fn exchange(&self, seen: Pair, new: Pair) -> Result<(), Pair> {
        let mut pair = self.held();
        if *pair == seen {
            *pair = new;
            Ok(())
        } else {
            Err(*pair)
        }
    }

    fn held(&self) -> loom::sync::MutexGuard<'_, Pair> {
        // A pair is whole whoever panicked.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether no lock is behind it on this machine.
#[cfg(not(ratelimit_meter_loom))]
pub(super) fn is_lock_free() -> bool {
    AtomicU128::is_lock_free()
}

#[cfg(ratelimit_meter_loom)]
pub(super) fn is_lock_free() -> bool {
    false
}
