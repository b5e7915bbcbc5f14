use super::decide::{Algorithm, Decide, Denial};
use crate::error::InconsistentCapacity;
use crate::limit::Limit;
use crate::nanos::Nanos;
use crate::quota::Quota;

/// The continuous-state leaky bucket algorithm, by which ITU-T I.371 defines the GCRA a second time.
///
/// The word is the mark up to which the bucket was filled, in units of volume since the beginning of time. The level is the mark
/// less the volume drained by now, and not below zero. A batch of cost c conforms when level + c <= capacity; then the mark is
/// set to the drained volume plus the new level.
#[derive(Debug, Clone, Copy)]
pub struct ContinuousState {
    limit: Limit,
}

impl ContinuousState {
    /// What is in the bucket at `now`, counted as the quota counts, rounded up.
    pub(crate) fn level(self, mark: u64, now: Nanos) -> u64 {
        let drained = self.limit.scale().volume_at(now);
        self.limit.count(mark.saturating_sub(drained))
    }
}

impl Algorithm for ContinuousState {}

impl Decide for ContinuousState {
    const NAME: &'static str = "LeakyBucket";

    fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity> {
        let limit = Limit::of_quota(quota)?;
        Ok(Self { limit })
    }

    fn limit(&self) -> &Limit {
        &self.limit
    }

    #[inline]
    fn decide(&self, mark: u64, now: Nanos, n: u32) -> Result<u64, Denial> {
        let cost = self.limit.cost(n);
        let scale = self.limit.scale();
        let drained = scale.volume_at(now);
        let level = mark.saturating_sub(drained);
        // Asked as `level <= capacity - cost`, since the level that a long past `now` reads may be near the largest word.
        let room_needed_from = self.limit.tolerance() - cost;
        if level > room_needed_from {
            return Err(Denial {
                scale,
                volume: mark - room_needed_from,
            });
        }
        Ok(drained + level + cost)
    }

    fn room(&self, mark: u64, now: Nanos) -> u32 {
        let level = mark.saturating_sub(self.limit.scale().volume_at(now));
        self.limit.cells_in(self.limit.tolerance().saturating_sub(level))
    }

    fn give_back(&self, mark: u64, now: Nanos, n: u32) -> u64 {
        let level = mark.saturating_sub(self.limit.scale().volume_at(now));
        // An empty bucket stays as it is.
        mark - level.min(self.limit.cost(n))
    }
}
