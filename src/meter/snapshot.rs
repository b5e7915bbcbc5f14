//! What a meter owes, kept over a restart.

use super::Meter;
use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::metered::When;
use crate::snapshot::{self, RestoreError, Snapshot};
use std::time::{Instant, SystemTime};

impl<A: Algorithm, C: Clock> Meter<A, C> {
    /// Returns what the meter owes now, tied to the wall clock. Changes nothing; reads the word once.
    ///
    /// Cells that are admitted afterwards are not in it.
    ///
    /// ```
    /// use ratelimit_meter::{LeakyBucket, Quota};
    ///
    /// let quota: Quota = "10/d".parse()?;
    /// let before = LeakyBucket::from_quota(quota)?;
    /// before.charge(50);
    /// let snapshot = before.snapshot(); // to be stored
    ///
    /// // After the restart:
    /// let meter = LeakyBucket::from_quota(quota)?;
    /// meter.restore(&snapshot)?;
    /// assert_eq!(meter.level(), 50);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        // The wall clock last: time that passes in between has not drained then.
        let at = When::Now.exact_position(self);
        snapshot::snapshot(self, at, SystemTime::now())
    }

    /// Returns what the meter owes at an instant, given with what the wall clock says then; see [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn snapshot_at(&self, (at, wall): (Instant, SystemTime)) -> Snapshot {
        snapshot::snapshot(self, When::At(at).position(self), wall)
    }

    /// Makes the meter, and all its clones, owe what it owed when the snapshot was made, less what has drained since by the wall clock.
    ///
    /// It forgets what it has admitted itself: restore before the first cell. It then owes what the meter of the snapshot would by
    /// now, or a unit (2^-f cell, less than a nanosecond's worth) more; so law 1 may add one more unit to a window that holds a restart (with
    /// ticks, which count from when this meter was made, one more interval). A
    /// wall clock that went back has let no time pass; what it is set forward counts as time, as it does for all who read it. One
    /// atomic step; takes constant time.
    ///
    /// # Errors
    ///
    /// [`RestoreError`], and nothing has changed, if the snapshot is of another version, algorithm or limit, or owes more than a
    /// meter can record.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::{Duration, Instant, SystemTime};
    ///
    /// let quota: Quota = "10/h".parse()?;
    /// let (before, after) = (GCRA::from_quota(quota)?, GCRA::from_quota(quota)?);
    /// let (now, wall) = (Instant::now(), SystemTime::now());
    /// before.check_n_at(10, now)?;
    /// let snapshot = before.snapshot_at((now, wall));
    ///
    /// // Twelve minutes later, in another process:
    /// after.restore_at(&snapshot, (now, wall + Duration::from_secs(720)))?;
    /// assert_eq!(after.status_at(now).remaining(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore(&self, snapshot: &Snapshot) -> Result<(), RestoreError> {
        // The wall clock first: time that passes in between has not drained yet.
        let wall = SystemTime::now();
        snapshot::restore(self, snapshot, When::Now.exact_position(self), wall)
    }

    /// Makes the meter owe what it owed, as of an instant, given with what the wall clock says then; see [`restore`](Self::restore).
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn restore_at(&self, snapshot: &Snapshot, (at, wall): (Instant, SystemTime)) -> Result<(), RestoreError> {
        snapshot::restore(self, snapshot, When::At(at).position(self), wall)
    }
}
