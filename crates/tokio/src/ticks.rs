//! How many ticks have passed.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts intervals, and remembers what it found: to know that no tick has come since takes no division.
#[derive(Debug)]
pub(crate) struct Ticks {
    pub(crate) interval_ns: u64,
    latest: AtomicU64,
}

impl Ticks {
    pub(crate) const fn new(interval_ns: u64) -> Self {
        let latest = AtomicU64::new(0);
        Self { interval_ns, latest }
    }

    /// The ticks in the first `ns` nanoseconds.
    #[inline]
    pub(crate) fn within(&self, ns: u64) -> u64 {
        // ORDERING: relaxed, and no model's atomic; a hint, which is seen to be wrong if it is.
        let latest = self.latest.load(Ordering::Relaxed);
        // What was found for a later time wraps to an age of centuries.
        let age = ns.wrapping_sub(latest.wrapping_mul(self.interval_ns));
        if age < self.interval_ns {
            return latest;
        }
        let ticks = ns / self.interval_ns;
        self.latest.store(ticks, Ordering::Relaxed);
        ticks
    }
}
