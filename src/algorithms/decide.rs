use crate::error::InconsistentCapacity;
use crate::limit::Limit;
use crate::nanos::Nanos;
use crate::quota::Quota;
use crate::scale::Scale;
use core::fmt::Debug;

/// A metering algorithm: what a [`Meter`](crate::Meter) asks for each decision.
///
/// Sealed: [`VirtualScheduling`](super::VirtualScheduling) and [`ContinuousState`](super::ContinuousState) are all there are.
pub trait Algorithm: Decide {}

/// The pure function of an algorithm, from a word, a time and a number of cells to a new word or a denial. It knows no atomics,
/// no clock and no allocation.
pub trait Decide: Copy + Debug + Send + Sync {
    /// What the meter is called.
    const NAME: &'static str;

    /// The algorithm for a quota.
    fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity>;

    /// The limit it holds.
    fn limit(&self) -> &Limit;

    /// Decides `n` cells at `now` on a meter whose word is `word`: the new word, larger by at least one unit, or what has to
    /// happen first. `n` is at least 1 and at most the limit's largest batch.
    fn decide(&self, word: u64, now: Nanos, n: u32) -> Result<u64, Denial>;

    /// How many cells would conform at once at `now`.
    fn room(&self, word: u64, now: Nanos) -> u32;

    /// The word with `n` cells given back at `now`, but no lower than at rest; the same word where there is nothing to give back to.
    fn give_back(&self, word: u64, now: Nanos, n: u32) -> u64;
}

/// Why cells do not conform: `volume` has to drain first.
#[derive(Debug, Clone, Copy)]
pub struct Denial {
    pub(crate) scale: Scale,
    pub(crate) volume: u64,
}

impl Denial {
    /// Whether enough has drained by `now`.
    #[inline]
    pub(crate) fn is_over_by(self, now: Nanos) -> bool {
        self.scale.volume_at(now) >= self.volume
    }

    /// The first nanosecond of the time line at which the cells would have conformed. Divides, so it is left until asked for.
    pub(crate) fn earliest_ns(self) -> u64 {
        self.scale.nanos_at(self.volume)
    }
}
