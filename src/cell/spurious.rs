//! A word whose weak exchange fails spuriously two times in three, as LL/SC machines may and x86 never does.

use super::Word;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(super) struct Spurious {
    word: AtomicU64,
    attempts: AtomicU64,
}

impl Word for Spurious {
    fn holding(word: u64) -> Self {
        Self {
            word: AtomicU64::new(word),
            attempts: AtomicU64::new(0),
        }
    }

    fn load(&self) -> u64 {
        Word::load(&self.word)
    }

    fn compare_exchange_weak(&self, seen: u64, new: u64) -> Result<(), u64> {
        // ORDERING: relaxed; a count of attempts, read by nobody else.
        if self.attempts.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            Word::compare_exchange_weak(&self.word, seen, new)
        } else {
            // The value a spurious failure reports is the current one, often `seen` itself.
            Err(self.load())
        }
    }
}
