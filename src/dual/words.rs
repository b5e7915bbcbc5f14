//! The words of a pair or of a marker: one atomic of 128 bits, the only one of its kind here.
//!
//! # Orderings
//!
//! Those of [`crate::store`], for the same reason: both words are one location with one modification order. The place of a decision in that order is
//! one exchange, or one load, of both words. No thread ever sees one word of a decision without the other.
//!
//! A denial also reads both words of one moment, since its instant depends on both. It cannot read them by two loads of 64 bits. The two values need
//! not have existed at the same moment. Also, accesses of two sizes to one location are not defined in Rust's memory model, so no library offers
//! them.
//!
//! # Where it is one instruction
//!
//! The load is one plain `vmovdqa` on x86-64 with AVX, which shares the line with other readers as a load of 64 bits does. On aarch64 with LSE2 it is
//! `ldp`. Without those (x86-64 before 2011, aarch64 before ARMv8.4) the load is an exchange of the words with themselves, which takes the line from
//! other threads. The exchange is `cmpxchg16b`, or `casp` or `ldxp` and `stxp`. Where there is no such instruction, or it was not found at run time,
//! both are done under a lock of the process.

#[cfg(ratelimit_meter_spurious)]
use crate::store::Spurious;
use crate::store::{SharedWord, Word};
#[cfg(not(ratelimit_meter_loom))]
use core::sync::atomic::Ordering;
#[cfg(ratelimit_meter_loom)]
use loom::sync::Mutex;

/// The words of the first and of the second limit.
pub(crate) type Words = [u64; 2];

pub(crate) type SharedWords = SharedWord<PairState>;

#[cfg(ratelimit_meter_loom)]
type PairState = Mutex<Words>;
#[cfg(ratelimit_meter_spurious)]
type PairState = Spurious<PaddedWords>;
#[cfg(not(any(ratelimit_meter_loom, ratelimit_meter_spurious)))]
type PairState = PaddedWords;

/// Both words, alone on their cache lines as one word is.
#[cfg(not(ratelimit_meter_loom))]
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct PaddedWords(portable_atomic::AtomicU128);

/// Returns whether loads and exchanges take no lock on this machine.
pub(super) fn is_lock_free() -> bool {
    portable_atomic::AtomicU128::is_lock_free()
}

#[cfg(not(ratelimit_meter_loom))]
impl Word for PaddedWords {
    type Value = Words;

    fn holding(words: Words) -> Self {
        Self(portable_atomic::AtomicU128::new(joined(words)))
    }

    #[inline]
    fn load(&self) -> Words {
        // ORDERING: relaxed, as for one word; forms no edge. Tests: `tests/loom/dual.rs` for the loop, `tests/meters/dual_threads.rs` for this load.
        parted(self.0.load(Ordering::Relaxed))
    }

    #[inline]
    fn compare_exchange_weak(&self, seen: Words, new: Words) -> Result<(), Words> {
        // ORDERING: relaxed on both outcomes, weak in a loop, as for one word; forms no edge. Tests: `tests/loom/dual.rs` for the loop,
        // `tests/meters/dual_threads.rs` for this exchange.
        self.0
            .compare_exchange_weak(joined(seen), joined(new), Ordering::Relaxed, Ordering::Relaxed)
            .map(drop)
            .map_err(parted)
    }
}

/// The replacement in the loom models, as loom has no atomic of 128 bits: the same steps, each under a lock.
#[cfg(ratelimit_meter_loom)]
impl Word for Mutex<Words> {
    type Value = Words;

    fn holding(words: Words) -> Self {
        Self::new(words)
    }

    fn load(&self) -> Words {
        *held(self)
    }

    fn compare_exchange_weak(&self, seen: Words, new: Words) -> Result<(), Words> {
        let mut words = held(self);
        if *words == seen {
            *words = new;
            Ok(())
        } else {
            Err(*words)
        }
    }
}

#[cfg(ratelimit_meter_loom)]
fn held(words: &Mutex<Words>) -> loom::sync::MutexGuard<'_, Words> {
    // The words are valid even if a thread panicked while it held the lock.
    words.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(not(ratelimit_meter_loom))]
#[inline]
const fn joined([first, second]: Words) -> u128 {
    first as u128 | (second as u128) << u64::BITS
}

#[cfg(not(ratelimit_meter_loom))]
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "one half, and the other")]
const fn parted(both: u128) -> Words {
    [both as u64, (both >> u64::BITS) as u64]
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_compares_and_stores_both_words() {
        let cell = PaddedWords::holding([1, u64::MAX]);
        for seen in [[0, u64::MAX], [1, 0], [u64::MAX, 1]] {
            assert_eq!(cell.compare_exchange_weak(seen, [2, 3]), Err([1, u64::MAX]));
        }
        // The exchange may fail spuriously.
        while cell.compare_exchange_weak([1, u64::MAX], [2, 3]).is_err() {}
        assert_eq!(cell.load(), [2, 3]);
    }
}
