//! The generic cell rate algorithm, as virtual scheduling.

use super::{Algorithm, Decide, Kind};
use crate::error::InconsistentCapacity;
use crate::limit::Limit;
use crate::quota::Quota;
use crate::units::{Scale, Volume};
use core::fmt;

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

    fn kind(&self) -> Kind {
        Kind::Gcra
    }

    fn parameters(&self) -> (u64, u64) {
        (self.limit.emission_interval_ns, self.limit.tau_ns)
    }

    fn below(&self, quota: Option<Quota>, end: u64) -> Option<Self> {
        self.limit.below(quota, end).map(|limit| Self { limit })
    }

    #[inline]
    fn scale(&self) -> Scale {
        self.limit.scale
    }

    fn last_word(&self) -> u64 {
        self.limit.last_word()
    }

    #[inline]
    fn max_batch(&self) -> u32 {
        self.limit.max_batch
    }

    #[inline]
    fn decide(&self, tat: u64, Volume(drained): Volume, n: u32) -> Result<u64, Volume> {
        let cost = self.limit.cell * u64::from(n);
        let tau = self.limit.tolerance - cost;
        if tat > drained + tau {
            return Err(Volume(tat - tau));
        }
        Ok(tat.max(drained) + cost)
    }

    #[inline]
    fn due(&self, tat: u64, n: u32) -> Volume {
        let tau = self.limit.tolerance - self.limit.cell * u64::from(n);
        Volume(tat.saturating_sub(tau))
    }

    fn idle(&self, tat: u64) -> Volume {
        Volume(tat)
    }

    fn room(&self, tat: u64, Volume(drained): Volume) -> u32 {
        let room = (drained + self.limit.tolerance).saturating_sub(tat.max(drained));
        self.limit.cells_in(room)
    }

    fn charge(&self, tat: u64, Volume(drained): Volume, n: u64) -> (u64, u64) {
        let tat = tat.max(drained);
        let recorded = n.min(self.limit.cells_until_last_word(tat));
        (tat + self.limit.cost_of_any(recorded), n - recorded)
    }

    fn refund(&self, tat: u64, Volume(drained): Volume, n: u64) -> u64 {
        tat.saturating_sub(self.limit.cost_of_any(n)).max(drained).min(tat)
    }

    fn cancel(&self, tat: u64, Volume(drained): Volume, n: u32, Volume(at): Volume) -> u64 {
        let undrained = self
            .limit
            .cost_of_any(n.into())
            .saturating_sub(drained.saturating_sub(at));
        tat.saturating_sub(undrained).max(drained).min(tat)
    }

    fn carry(&self, tat: u64, Volume(drained): Volume, part: u64, next: &Self, next_drained: Volume) -> (u64, u64) {
        let level = tat.saturating_sub(drained);
        let part = if level > 0 { part } else { 0 };
        self.limit.carry(level, part, &next.limit, next_drained)
    }

    fn owing(&self, tat: u64, Volume(drained): Volume, next: &Self, next_drained: Volume) -> u64 {
        self.limit.owing(tat.saturating_sub(drained), &next.limit, next_drained)
    }

    fn leaving(&self, n: u32, Volume(drained): Volume) -> u64 {
        drained + self.limit.level_leaving(n)
    }

    fn describe(&self, fields: &mut fmt::DebugStruct<'_, '_>) {
        self.limit.describe(fields);
    }
}
