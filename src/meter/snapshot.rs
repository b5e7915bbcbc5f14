//! Snapshots of a meter, by the wall clock.

use super::Meter;
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::schedule::NotStored;
use crate::snapshot::{RestoreError, Snapshot};
use crate::store::Store;
use crate::time::{Instant, SystemTime};
use core::cell::Cell;

/// Snapshots, by the wall clock.
impl<A: Algorithm, C: Clock, S: Store<A>> Meter<A, C, S> {
    /// Returns the meter's owed cells now, tied to the wall clock. Changes nothing; reads the word once.
    ///
    /// Cells that are admitted afterwards are not in the snapshot.
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
        // Reads the wall clock last: the time that passes in between has not drained then.
        let now = self.clock.now_exactly();
        self.snapshot_at((now, SystemTime::now()))
    }

    /// Returns the meter's owed cells at an instant, given together with the wall-clock time at that instant; see [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn snapshot_at(&self, (at, wall): (Instant, SystemTime)) -> Snapshot {
        let at = self.time_line().position(at);
        self.store
            .read(at, |schedule, word| Snapshot::of(schedule, word, at, wall))
    }

    /// Restores the owed cells of a snapshot, less those that have drained since by the wall clock, in this meter and all its clones.
    ///
    /// The meter forgets the cells that it has admitted itself, so restore before the first cell. The meter then has the debt that the meter of the
    /// snapshot would have now, or one unit more. (A unit is the fraction of a cell that the meter counts in, and drains in less than a nanosecond.)
    /// So law 1 of [`Decider`](crate::Decider) may add one more unit to a window that holds a restart. If cells come in ticks, which count from the
    /// creation of this meter, law 1 may add one more interval.
    ///
    /// If the wall clock went back, no time has passed. If the wall clock was set forward, the difference counts as time, as for every reader of that
    /// clock. One atomic step; takes constant time.
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
        // Reads the wall clock first: the time that passes in between has not drained yet.
        let wall = SystemTime::now();
        self.restore_at(snapshot, (self.clock.now_exactly(), wall))
    }

    /// Restores the owed cells of a snapshot at an instant, given together with the wall-clock time at that instant; see [`restore`](Self::restore).
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn restore_at(&self, snapshot: &Snapshot, (at, wall): (Instant, SystemTime)) -> Result<(), RestoreError> {
        let at = self.time_line().position(at);
        let error = Cell::new(None);
        let restored = self.store.update(at, |schedule, _, drained| {
            let word = snapshot.word(schedule, drained, wall);
            error.set(word.err());
            word.map_or(Err(NotStored::Unchanged), |word| Ok((word, ())))
        });
        match (restored, error.get()) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(error)) => Err(error),
            (Err(_), None) => Err(RestoreError::NoSlot),
        }
    }
}
