//! The state of a meter as plain data that outlives the process.

use crate::algorithm::{Algorithm, Kind, Numbers};
use crate::quota::Quota;
use crate::schedule::Schedule;
use crate::time::{SystemTime, UNIX_EPOCH};
use crate::units::{Nanos, Volume};
use core::error::Error;
use core::fmt;
use core::time::Duration;

/// A meter's owed cells at one wall-clock time, as plain data. [`Meter::snapshot`](crate::Meter::snapshot) makes it, and
/// [`Meter::restore`](crate::Meter::restore) reads it.
///
/// With the feature `serde` it is (de)serialised as its fields. `wall_ns` and `owed` are decimal text, so that no format rounds them. Nothing is
/// checked until the snapshot is restored; data that does not fit the meter is then a [`RestoreError`].
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use ratelimit_meter::{GCRA, Quota, Snapshot};
/// use std::time::{Duration, Instant, SystemTime};
///
/// let day = SystemTime::UNIX_EPOCH + Duration::from_secs(86_400);
/// let meter = GCRA::from_quota("10/h".parse::<Quota>()?)?;
/// let json = serde_json::to_string(&meter.snapshot_at((Instant::now(), day)))?;
/// assert!(json.starts_with(r#"{"version":1,"kind":"GCRA","limit":{"quota":"10/h"},"wall_ns":"86400000000000","owed":"#));
/// let read: Snapshot = serde_json::from_str(&json)?;
/// meter.restore(&read)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Snapshot {
    /// The version of the format, which gives the fields their meaning: [`Snapshot::VERSION`].
    pub version: u32,
    /// The algorithm.
    pub kind: Kind,
    /// The limit.
    pub limit: SnapshotLimit,
    /// The wall-clock time of the snapshot, in nanoseconds from the beginning of 1970, negative before.
    #[cfg_attr(feature = "serde", serde(with = "decimal"))]
    pub wall_ns: i128,
    /// The distance of the meter's word ahead of the drained volume, negative if it lay behind. It is in the limit's units, of which a
    /// nanosecond drains one to sixteen. A negative number is no debt: it is the past of an idle meter, or of an average. A key of a table has the
    /// units of a meter with the same limit, so either restores the snapshot of the other.
    #[cfg_attr(feature = "serde", serde(with = "decimal"))]
    pub owed: i128,
}

/// The limit of the meter of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum SnapshotLimit {
    /// A quota.
    Quota(Quota),
    /// The standard's T and tau ([`GCRA::with_parameters`](crate::GCRA::with_parameters)).
    Interval {
        /// T, in nanoseconds.
        t_ns: u64,
        /// Tau, in nanoseconds.
        tau_ns: u64,
    },
}

impl fmt::Display for SnapshotLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Quota(quota) => quota.fmt(f),
            Self::Interval { t_ns, tau_ns } => {
                let [t, tau] = [t_ns, tau_ns].map(Duration::from_nanos);
                write!(f, "T {t:?} tau {tau:?}")
            }
        }
    }
}

impl Snapshot {
    /// The version of the snapshots that this crate makes and restores.
    pub const VERSION: u32 = 1;

    /// Makes a snapshot of a word at time `at` of its time line, which was `wall` by the wall clock.
    pub(crate) fn of<A: Algorithm>(schedule: &Schedule<A>, word: u64, at: Nanos, wall: SystemTime) -> Self {
        Self {
            version: Self::VERSION,
            kind: schedule.algorithm.kind(),
            limit: limit_of(schedule),
            wall_ns: wall_ns(wall),
            owed: in_units_of(
                &schedule.of_meter(),
                schedule,
                schedule.offset(word, schedule.drained(at)),
            ),
        }
    }

    /// Returns the word of the same debt on another time line when the wall clock reads `wall`, less the volume drained meanwhile.
    pub(crate) fn word<A: Algorithm>(
        &self,
        schedule: &Schedule<A>,
        drained: Volume,
        wall: SystemTime,
    ) -> Result<u64, RestoreError> {
        if self.version != Self::VERSION {
            return Err(RestoreError::UnknownVersion(self.version));
        }
        let (kind, limit) = (schedule.algorithm.kind(), limit_of(schedule));
        if self.kind != kind {
            let snapshot = self.kind;
            return Err(RestoreError::AnotherKind { snapshot, meter: kind });
        }
        if self.limit != limit {
            let snapshot = self.limit;
            return Err(RestoreError::AnotherLimit { snapshot, meter: limit });
        }
        let meter = schedule.of_meter();
        let owed = still_owed(&meter, self.owed, elapsed(self.wall_ns, wall));
        let word = schedule.word_at(in_units_of(schedule, &meter, owed), drained);
        word.ok_or(RestoreError::OwesTooMuch)
    }
}

/// Converts a volume in units of `from` to units of `to`, rounded up. Both have the same limit, in words of different lengths.
fn in_units_of<A: Algorithm>(to: &Schedule<A>, from: &Schedule<A>, owed: i128) -> i128 {
    let [to, from] = [to, from].map(|schedule| i128::from(schedule.algorithm.limit().cell()));
    if to == from {
        return owed;
    }
    // A volume whose product does not fit exceeds every word.
    let scaled = owed.saturating_mul(to);
    scaled.div_euclid(from) + i128::from(scaled.rem_euclid(from) > 0)
}

/// Returns the time that has passed since a wall-clock time. If the clock went back, no time has passed.
pub(crate) fn elapsed(since_ns: i128, wall: SystemTime) -> u128 {
    u128::try_from(wall_ns(wall).saturating_sub(since_ns)).unwrap_or(0)
}

/// Returns the part of `owed` that has not drained yet.
pub(crate) fn still_owed(schedule: &Schedule<impl Algorithm>, owed: i128, elapsed_ns: u128) -> i128 {
    // If more has drained than a word holds, more has drained than can be owed.
    let drained = schedule.scale.volume_of(elapsed_ns);
    owed.saturating_sub(drained.map_or(u64::MAX, |volume| volume.0).into())
}

pub(crate) fn limit_of(schedule: &Schedule<impl Algorithm>) -> SnapshotLimit {
    let (t_ns, tau_ns) = schedule.algorithm.limit().parameters();
    schedule
        .quota
        .map_or(SnapshotLimit::Interval { t_ns, tau_ns }, SnapshotLimit::Quota)
}

pub(crate) fn wall_ns(wall: SystemTime) -> i128 {
    let ns = |span: Duration| i128::from(span.as_secs()) * 1_000_000_000 + i128::from(span.subsec_nanos());
    match wall.duration_since(UNIX_EPOCH) {
        Ok(after) => ns(after),
        Err(before) => -ns(before.duration()),
    }
}

/// The reason why a meter cannot restore a snapshot. The meter is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The snapshot has this version, which this crate does not know: another version of the crate made it.
    UnknownVersion(u32),
    /// The snapshot is of a meter with another algorithm. Make such a meter, or start idle.
    AnotherKind {
        /// The algorithm of the snapshot.
        snapshot: Kind,
        /// The algorithm of the meter.
        meter: Kind,
    },
    /// The snapshot is of a meter with another limit, as after a change of the configuration. Restore it to an [`Adjustable`](crate::Adjustable) with
    /// the old limit, and then set the new limit; or start idle.
    AnotherLimit {
        /// The limit of the snapshot.
        snapshot: SnapshotLimit,
        /// The limit of the meter.
        meter: SnapshotLimit,
    },
    /// The snapshot owes more than the meter can record (a full burst at the end of its time line), so no meter made it.
    OwesTooMuch,
    /// The meter is that of a key, and its table has no slot for the key: all slots belong to other live keys, and `WhenFull` is not `Forgive`.
    /// Restore the key later, or build a larger table.
    NoSlot,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion(version) => {
                write!(
                    f,
                    "the snapshot has version {version}, this crate restores version {}: start with an idle meter",
                    Snapshot::VERSION
                )
            }
            Self::AnotherKind { snapshot, meter } => {
                write!(
                    f,
                    "the snapshot is of a {snapshot}, but this meter is a {meter}: restore it to its own kind, or start with an idle meter"
                )
            }
            Self::AnotherLimit { snapshot, meter } => {
                write!(
                    f,
                    "the snapshot is of the limit {snapshot}, but this meter has {meter}: restore it to that limit, or start with an idle meter"
                )
            }
            Self::OwesTooMuch => {
                f.write_str("the snapshot owes more than a meter can record: start with an idle meter")
            }
            Self::NoSlot => f.write_str("the table has no slot for the key: restore it later, or build a larger table"),
        }
    }
}

impl Error for RestoreError {}

/// Numbers as decimal text.
#[cfg(feature = "serde")]
mod decimal {
    use crate::quota;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        quota::deserialize(deserializer, "a whole number as text")
    }
}
