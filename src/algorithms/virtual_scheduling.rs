use super::Kind;
use super::decide::{Algorithm, Decide, Due};
use crate::error::InconsistentCapacity;
use crate::limit::Limit;
use crate::quota::Quota;
use crate::scale::Scale;
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

    pub(crate) const fn limit(&self) -> &Limit {
        &self.limit
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
        (self.limit.emission_interval_ns(), self.limit.tau_ns())
    }

    fn below(&self, quota: Option<Quota>, end: u64) -> Option<Self> {
        self.limit.below(quota, end).map(Self::new)
    }

    #[inline]
    fn scale(&self) -> Scale {
        self.limit.scale()
    }

    fn last_word(&self) -> u64 {
        self.limit.last_word()
    }

    #[inline]
    fn max_batch(&self) -> u32 {
        self.limit.max_batch()
    }

    #[inline]
    fn decide(&self, tat: u64, now: u64, n: u32) -> Result<u64, Due> {
        let cost = self.limit.cost(n);
        let tau = self.limit.tolerance() - cost;
        if tat > now + tau {
            return Err(Due(tat - tau));
        }
        Ok(tat.max(now) + cost)
    }

    fn due(&self, tat: u64, n: u32) -> Due {
        let tau = self.limit.tolerance() - self.limit.cost(n);
        Due(tat.saturating_sub(tau))
    }

    fn rested(&self, tat: u64) -> Due {
        Due(tat)
    }

    fn room(&self, tat: u64, now: u64) -> u32 {
        self.limit
            .cells_in((now + self.limit.tolerance()).saturating_sub(tat.max(now)))
    }

    fn charge(&self, tat: u64, now: u64, n: u64) -> (u64, u64) {
        let tat = tat.max(now);
        let recorded = n.min(self.limit.cells_until_last_word(tat));
        (tat + self.limit.cost_of_any(recorded), n - recorded)
    }

    fn refund(&self, tat: u64, now: u64, n: u64) -> u64 {
        tat.saturating_sub(self.limit.cost_of_any(n)).max(now).min(tat)
    }

    fn cancel(&self, tat: u64, now: u64, n: u32, _at: u64, counted: u64) -> u64 {
        let undrained = counted.saturating_sub(now).min(self.limit.cost(n));
        tat.saturating_sub(undrained).max(now).min(tat)
    }

    fn carry(&self, tat: u64, now: u64, next: &Self, next_now: u64) -> (u64, u64) {
        self.limit.carry(tat.saturating_sub(now), &next.limit, next_now)
    }

    fn owing(&self, tat: u64, now: u64, next: &Self, next_now: u64) -> u64 {
        self.limit.owing(tat.saturating_sub(now), &next.limit, next_now)
    }

    fn leaving(&self, n: u32, now: u64) -> u64 {
        now + self.limit.level_leaving(n)
    }

    fn describe(&self, fields: &mut fmt::DebugStruct<'_, '_>) {
        self.limit.describe(fields);
    }
}
