use super::Clock;
use crate::time::Instant;
use core::error::Error;
use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A clock for tests that moves only when it is advanced or set. Clones share its time.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota, clock::ManualClock, nonzero};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let meter = GCRA::from_quota(Quota::per_second(nonzero!(2u32)))?.with_clock(clock.clone());
/// assert!(meter.check_n(2).is_ok());
/// assert!(meter.check().is_err());
/// clock.advance(Duration::from_millis(500))?;
/// assert!(meter.check().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    now: Arc<Mutex<Instant>>,
}

impl ManualClock {
    /// Returns a clock that starts at `Instant::now()`.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(Instant::now())
    }

    /// Returns a clock that starts at `start`, which may be as early as the platform's `Instant` allows.
    #[must_use]
    pub fn starting_at(start: Instant) -> Self {
        Self {
            now: Arc::new(Mutex::new(start)),
        }
    }

    /// Moves the clock, and all its clones, forward, and returns the new time.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if the platform's `Instant` ends before the new time. The clock then stays where it is.
    pub fn advance(&self, by: Duration) -> Result<Instant, OutOfRange> {
        let mut now = self.lock();
        *now = now.checked_add(by).ok_or(OutOfRange { by })?;
        Ok(*now)
    }

    /// Sets the clock, and all its clones, to `to`, later or earlier.
    pub fn set(&self, to: Instant) {
        *self.lock() = to;
    }

    fn lock(&self) -> MutexGuard<'_, Instant> {
        // An `Instant` is valid even if a thread panicked while it held the lock.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        *self.lock()
    }
}

/// The error of a manual clock that was to move past the platform's last `Instant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfRange {
    by: Duration,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the platform has no instant {} s later", self.by.as_secs())
    }
}

impl Error for OutOfRange {}
