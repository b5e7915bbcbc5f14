use super::decide::{Algorithm, Decide, Denial};
use crate::error::InconsistentCapacity;
use crate::limit::Limit;
use crate::nanos::Nanos;
use crate::quota::Quota;

/// The virtual scheduling algorithm, by which ITU-T I.371 defines the GCRA.
///
/// The word is the theoretical arrival time (TAT) of the next cell, in units of volume. A batch of cost c conforms when
/// TAT <= now + tau, where tau = D - c and D is the burst; then TAT becomes max(TAT, now) + c.
#[derive(Debug, Clone, Copy)]
pub struct VirtualScheduling {
    limit: Limit,
}

impl VirtualScheduling {
    pub(crate) const fn new(limit: Limit) -> Self {
        Self { limit }
    }
}

impl Algorithm for VirtualScheduling {}

impl Decide for VirtualScheduling {
    const NAME: &'static str = "GCRA";

    fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity> {
        Limit::of_quota(quota).map(Self::new)
    }

    fn limit(&self) -> &Limit {
        &self.limit
    }

    #[inline]
    fn decide(&self, tat: u64, now: Nanos, n: u32) -> Result<u64, Denial> {
        let cost = self.limit.cost(n);
        let tau = self.limit.tolerance() - cost;
        let scale = self.limit.scale();
        let now = scale.volume_at(now);
        if tat > now + tau {
            return Err(Denial {
                scale,
                volume: tat - tau,
            });
        }
        Ok(tat.max(now) + cost)
    }

    fn room(&self, tat: u64, now: Nanos) -> u32 {
        let now = self.limit.scale().volume_at(now);
        self.limit
            .cells_in((now + self.limit.tolerance()).saturating_sub(tat.max(now)))
    }

    fn give_back(&self, tat: u64, now: Nanos, n: u32) -> u64 {
        let now = self.limit.scale().volume_at(now);
        tat.saturating_sub(self.limit.cost(n)).max(now).min(tat)
    }
}
