//! What an adjustable meter owes, kept over a restart.

use super::Adjustable;
use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::meter::Meter;
use crate::metered::When;
use crate::snapshot::{self, RestoreError, Snapshot};
use std::time::{Instant, SystemTime};

impl<A: Algorithm, C: Clock> Adjustable<Meter<A, C>> {
    /// Returns what the meter owes now, with the quota that holds, tied to the wall clock; see [`Meter::snapshot`].
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

    /// Makes the meter, and all its clones, owe what it owed when the snapshot was made, less what has drained since by the wall clock;
    /// see [`Meter::restore`].
    ///
    /// The quota that holds has to be the snapshot's. Where another is configured by now, set that of the snapshot first, restore, and then set
    /// the other: what was owed is owed, and what was available stays so, as at any change.
    ///
    /// # Errors
    ///
    /// As [`Meter::restore`]; nothing has changed.
    ///
    /// ```
    /// use ratelimit_meter::{Adjustable, GCRA, Quota, SnapshotLimit};
    ///
    /// let before = Adjustable::<GCRA>::from_quota("10/d".parse()?)?;
    /// before.check_n(10)?;
    /// let snapshot = before.snapshot(); // to be stored
    ///
    /// // After the restart, with another quota in the configuration:
    /// let SnapshotLimit::Quota(old) = snapshot.limit else { panic!("a meter of T and tau") };
    /// let limit = Adjustable::<GCRA>::from_quota(old)?;
    /// limit.restore(&snapshot)?;
    /// limit.set_quota("20/d".parse::<Quota>()?)?;
    /// assert!(limit.check().is_err());
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
