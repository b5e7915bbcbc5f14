//! The trait of the metering algorithms: pure functions on a word.

use crate::error::InconsistentCapacity;
use crate::quota::Quota;
use crate::units::{UnitScale, Volume};
use core::fmt::{self, Debug};

/// A metering algorithm, which decides for a [`Meter`](crate::Meter).
///
/// Sealed. Its implementations are [`VirtualScheduling`](crate::algorithms::VirtualScheduling),
/// [`ContinuousState`](crate::algorithms::ContinuousState) and [`ExponentialAverage`](crate::algorithms::ExponentialAverage).
pub trait Algorithm: Decide {}

/// The numbers of a limit that an algorithm does not change.
pub trait Numbers {
    /// Returns how fast the limit drains.
    fn scale(&self) -> UnitScale;

    /// Returns the largest word.
    fn last_word(&self) -> u64;

    /// Returns the units of one checked cell: of an average, the units that drain between two cells at the limit.
    fn cell(&self) -> u64;

    /// Returns the most cells that can conform at once.
    fn max_batch(&self) -> u32;

    /// Returns the standard's T and tau in whole nanoseconds, which identify a limit that was not made of a quota.
    fn parameters(&self) -> (u64, u64);

    /// Adds the limit to a debug output.
    fn describe(&self, fields: &mut fmt::DebugStruct<'_, '_>);
}

/// The pure functions of an algorithm: from a meter's word, the drained volume and a number of cells to a new word or a denial. They use no
/// atomics, no clock and no allocation.
///
/// A *due* volume is the volume that has to drain before cells conform.
pub trait Decide: Copy + Debug + Send + Sync + 'static {
    /// The name of its meter.
    const NAME: &'static str;

    /// The numbers of its limit.
    type Limit: Numbers;

    /// Returns the numbers of its limit.
    fn limit(&self) -> &Self::Limit;

    /// Makes the algorithm for a quota.
    fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity>;

    /// Returns the kind, as data.
    fn kind(&self) -> Kind;

    /// Makes the same algorithm for another quota.
    fn with_quota(&self, quota: Quota) -> Result<Self, InconsistentCapacity> {
        Self::from_quota(quota)
    }

    /// Makes the same algorithm for `quota`, or for its own T and tau if there is none, in words that all stay below `end`. Returns `None` if that is
    /// not possible.
    fn below(&self, quota: Option<Quota>, end: u64) -> Option<Self>;

    /// Returns the most cells that can conform at once.
    #[inline]
    fn max_batch(&self) -> u32 {
        self.limit().max_batch()
    }

    /// Decides `n` cells, at least 1 and at most `max_batch`. Returns the new word, larger by at least one unit, or the due volume.
    fn decide(&self, word: u64, drained: Volume, n: u32) -> Result<u64, Volume>;

    /// Counts `n` denied cells, if the algorithm counts them. Returns the new word.
    #[inline]
    fn count_denied(&self, _word: u64, _drained: Volume, _n: u32) -> Option<u64> {
        None
    }

    /// Returns whether denied cells count.
    #[inline]
    fn counts_denials(&self) -> bool {
        false
    }

    /// Returns the due volume of `n` cells, at most `max_batch`.
    fn due(&self, word: u64, n: u32) -> Volume;

    /// Returns the volume that has to drain before the meter is idle.
    fn idle(&self, word: u64) -> Volume;

    /// Returns how many cells conform at once.
    fn room(&self, word: u64, drained: Volume) -> u32;

    /// Counts `n` cells whether they conform or not. Returns the new word, and how many of the cells no word can record. If that is all of them, and
    /// so if `n` is 0, the caller keeps its word.
    fn charge(&self, word: u64, drained: Volume, n: u64) -> (u64, u64);

    /// Gives back the part of `n` cells, counted when `at` had drained, that certainly has not drained: the part that is left if they drain before
    /// all other cells. Gives back no more than makes the meter idle.
    fn cancel(&self, word: u64, drained: Volume, n: u32, at: Volume) -> u64;

    /// Returns whether cells are counted that conform only later, and whose time depends on the cells counted before them.
    fn has_cells_ahead(&self, word: u64, drained: Volume) -> bool;

    /// Gives back `n` cells, but no more than makes the meter idle. Returns the same word if nothing can be given back.
    fn refund(&self, word: u64, drained: Volume, n: u64) -> u64;

    /// Converts `word` to the limit `next`, keeping the number of available cells, capped at the new burst. Also returns the part of a debt
    /// that no word of `next` can record, in the quota's cells, rounded up. `next_drained` is the volume that `next` has drained. A meter that is
    /// not idle owes `part` / 2^60 of a unit more than its word.
    fn carry(&self, word: u64, drained: Volume, part: u64, next: &Self, next_drained: Volume) -> (u64, u64);

    /// Converts `word` to the limit `next`, keeping the number of owed cells, at most the last word of `next`.
    fn owing(&self, word: u64, drained: Volume, next: &Self, next_drained: Volume) -> u64;

    /// Returns the word of a meter with exactly `n` cells available, at most `max_batch`.
    fn leaving(&self, n: u32, drained: Volume) -> u64;
}

/// The algorithm of a meter, as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Kind {
    /// [`GCRA`](crate::GCRA).
    #[cfg_attr(feature = "serde", serde(rename = "GCRA"))]
    Gcra,
    /// [`LeakyBucket`](crate::LeakyBucket).
    LeakyBucket,
    /// [`Exponential`](crate::Exponential), which counts admitted cells.
    Exponential,
    /// [`Exponential::strict`](crate::Exponential::strict), which counts denied cells too.
    StrictExponential,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gcra => "GCRA",
            Self::LeakyBucket => "LeakyBucket",
            Self::Exponential => "Exponential",
            Self::StrictExponential => "strict Exponential",
        })
    }
}
