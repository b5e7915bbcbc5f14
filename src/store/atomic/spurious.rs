//! A word whose weak exchange fails spuriously two times in three, as LL/SC machines may and x86 never does.

use super::Word;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Spurious<W> {
    word: W,
    attempts: AtomicU64,
}

impl<W: Word> Word for Spurious<W> {
    type Value = W::Value;

    fn holding(value: W::Value) -> Self {
        Self {
            word: W::holding(value),
            attempts: AtomicU64::new(0),
        }
    }

    fn load(&self) -> W::Value {
        self.word.load()
    }

    fn compare_exchange_weak(&self, seen: W::Value, new: W::Value) -> Result<(), W::Value> {
        // ORDERING: relaxed; forms no edge. A count of attempts, which no other code reads.
        if self.attempts.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            self.word.compare_exchange_weak(seen, new)
        } else {
            // The value that a spurious failure reports is the current one, often `seen` itself.
            Err(self.load())
        }
    }
}
