//! What a pair owes, kept over a restart.

use super::{Dual, Half};
use crate::clock::Clock;
use crate::nanos::Nanos;
use crate::snapshot::{RestoreError, Snapshot};
use std::time::{Instant, SystemTime};

impl<A: Half, B: Half, C: Clock> Dual<A, B, C> {
    /// Returns what both limits owe now, each as a meter of its own would tell it, tied to the wall clock. Changes nothing; reads both
    /// words at once.
    ///
    /// ```
    /// use ratelimit_meter::{Dual, GCRA, RefusedBy};
    ///
    /// let before = Dual::<GCRA>::from_quota("10/s & 10/d".parse()?)?;
    /// before.check_n(10)?;
    /// let snapshots = before.snapshot(); // to be stored
    ///
    /// // After the restart:
    /// let limits = Dual::<GCRA>::from_quota("10/s & 10/d".parse()?)?;
    /// limits.restore(&snapshots)?;
    /// assert_ne!(limits.check().unwrap_err().refused_by(), RefusedBy::First);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> [Snapshot; 2] {
        // The wall clock last: time that passes in between has not drained then.
        let at = self.exactly_now();
        self.snapshot_as_at(at, SystemTime::now())
    }

    /// Returns what both limits owe at an instant, given with what the wall clock says then; see [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn snapshot_at(&self, (at, wall): (Instant, SystemTime)) -> [Snapshot; 2] {
        self.snapshot_as_at(self.pair.time_line().position(at), wall)
    }

    fn snapshot_as_at(&self, at: Nanos, wall: SystemTime) -> [Snapshot; 2] {
        self.pair.snapshot(self.cell.load(), at, wall)
    }

    /// Makes the pair, and all its clones, owe what it owed when the snapshots were made, less what has drained since by the wall clock:
    /// as [`Meter::restore`](crate::Meter::restore), both limits in one atomic step.
    ///
    /// # Errors
    ///
    /// [`RestoreError`], and nothing has changed, if either snapshot is not one of its half.
    pub fn restore(&self, snapshots: &[Snapshot; 2]) -> Result<(), RestoreError> {
        // The wall clock first: time that passes in between has not drained yet.
        let wall = SystemTime::now();
        self.restore_as_at(snapshots, self.exactly_now(), wall)
    }

    /// Makes the pair owe what it owed, as of an instant, given with what the wall clock says then; see [`restore`](Self::restore).
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn restore_at(&self, snapshots: &[Snapshot; 2], (at, wall): (Instant, SystemTime)) -> Result<(), RestoreError> {
        self.restore_as_at(snapshots, self.pair.time_line().position(at), wall)
    }

    fn restore_as_at(&self, snapshots: &[Snapshot; 2], at: Nanos, wall: SystemTime) -> Result<(), RestoreError> {
        let words = self.pair.restored(snapshots, at, wall)?;
        self.replace(|_| words);
        Ok(())
    }
}
