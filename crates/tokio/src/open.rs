//! The word by which cells are taken without the lock.

use crate::sync::{AtomicU64, Ordering};

/// How many cells are spent, for all to read and take while nobody waits. It is closed while somebody does, or decides under the lock:
/// then the count is theirs, and whoever comes finds the word closed and takes the lock.
///
/// So to close it is to decide, in one step, that nobody takes cells past the lock any more: there is no moment between finding too
/// few cells and being known to wait.
#[derive(Debug)]
pub(crate) struct Open(AtomicU64);

impl Open {
    const CLOSED: u64 = u64::MAX;

    // ORDERING: relaxed, all; the word is all that is read, and its operations have one order. What is done under the lock, the lock
    // publishes. `models.rs` has a newcomer at every step of one who joins.

    pub(crate) fn new(spent: u64) -> Self {
        Self(AtomicU64::new(spent))
    }

    /// Spends what `spend` makes of the count. Whether it could, which it cannot while the word is closed.
    #[inline]
    pub(crate) fn spend(&self, spend: impl Fn(u64) -> Option<u64>) -> bool {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let is_open = |count: &u64| *count != Self::CLOSED;
            let Some(spent) = Some(seen).filter(is_open).and_then(&spend).filter(is_open) else {
                return false;
            };
            match self
                .0
                .compare_exchange_weak(seen, spent, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(changed) => seen = changed,
            }
        }
    }

    /// Closes it, and returns the count, unless it was closed already.
    pub(crate) fn close(&self) -> Option<u64> {
        let spent = self.0.swap(Self::CLOSED, Ordering::Relaxed);
        Some(spent).filter(|spent| *spent != Self::CLOSED)
    }

    /// Opens it, unless it is open: then its count is newer.
    pub(crate) fn open(&self, spent: u64) {
        // It fails only if there is nothing to be done.
        let _ = self
            .0
            .compare_exchange(Self::CLOSED, spent, Ordering::Relaxed, Ordering::Relaxed);
    }
}
