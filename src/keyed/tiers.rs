//! Tiers: several quotas in one table, and changes of a quota.

use super::error::{ForeignTier, InvalidTable};
use super::{KeyedMeter, Shared};
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::meter::MeterKind;
use crate::quota::Quota;
use crate::schedule::Schedule;
use crate::units::Nanos;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One of the quotas of a table, by which a handle decides; [`KeyedBuilder::tier`](super::KeyedBuilder::tier) returns it.
///
/// A tier is valid for the tables that its builder, or a clone of it, made. [`Tier::FIRST`] is valid for all tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tier {
    number: u8,
    family: Family,
}

/// Identifies the builder that a tier belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Family(u64);

impl Family {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // ORDERING: relaxed. Only has to return each number once.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) const fn tier(self, number: u8) -> Tier {
        Tier { number, family: self }
    }
}

impl Tier {
    /// The tier of the meter with which the builder began. It is the only tier if none was added.
    pub const FIRST: Self = Family(0).tier(0);

    pub(super) fn number_in(self, family: Family) -> Result<u8, ForeignTier> {
        if self.family == family || self == Self::FIRST {
            Ok(self.number)
        } else {
            Err(ForeignTier)
        }
    }
}

impl<K: ?Sized, M: MeterKind, S: Clone> KeyedMeter<K, M, S> {
    /// Returns a handle of the same table that decides in `tier`. When the handle counts cells of a key, the key moves to that tier and keeps its
    /// debt. (A denial changes nothing, so it does not move the key.)
    ///
    /// A handle without a tier decides each key in the tier that the key has, and a new key in the first tier. An idle key may lose its tier together
    /// with its slot. So if there are several tiers, name the key's tier with each decision.
    ///
    /// # Errors
    ///
    /// [`ForeignTier`] if the tier belongs to another table.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota, keyed::{KeyedBuilder, Tier}};
    ///
    /// let free = GCRA::from_quota("10/min".parse::<Quota>()?)?;
    /// let (builder, paying) = KeyedBuilder::new(free).tier("1000/min".parse::<Quota>()?)?;
    /// let users = builder.with_capacity::<str>(10_000)?;
    /// assert!(users.in_tier(paying)?.check_n("alice", 500).is_ok());
    /// assert!(users.in_tier(Tier::FIRST)?.check_n("bob", 500).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_tier(&self, tier: Tier) -> Result<Self, ForeignTier> {
        let number = tier.number_in(self.family)?;
        Ok(Self {
            tier: Some(number),
            ..self.clone()
        })
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    /// Sets the quota of a tier now, for all handles at once.
    ///
    /// Each key keeps its available cells and its debt, as with [`Adjustable`](crate::Adjustable): time until now is credited at the old rate. The
    /// change gives no key a burst, not even a key without a slot, which counts as idle by the former quota. A debt that would reach past the end of
    /// the table's time line is cut to the end. Setting the quota that is already set changes nothing.
    ///
    /// No decision waits for a change. Changes wait for each other, and each goes through the whole table: about 10 ms for a million keys. A handle
    /// that was made before a change takes some 10 ns longer for each decision after it; a clone of that handle does not.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`], and nothing has changed, if the table was not built [adjustable](super::KeyedBuilder::adjustable), the quota makes no meter, or
    /// the tier belongs to another table.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota, keyed::{KeyedBuilder, Tier}};
    ///
    /// let like = GCRA::from_quota("100/h burst 20".parse::<Quota>()?)?;
    /// let clients = KeyedBuilder::new(like).adjustable().with_capacity::<str>(10_000)?;
    /// clients.check_n("alice", 15)?;
    /// clients.set_quota(Tier::FIRST, "600/h burst 50".parse()?)?;
    /// assert!(clients.check_n("alice", 6).is_err(), "what is available stays: five, not 35");
    /// clients.check_n("alice", 5)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_quota(&self, tier: Tier, quota: Quota) -> Result<(), InvalidTable> {
        self.set_quota_at(tier, quota, self.clock.now_exactly())
    }

    /// Sets the quota of a tier at `at`; see [`set_quota`](Self::set_quota).
    ///
    /// All decisions after the call use the new quota. Time until `at` is credited at the old rate. If `at` is before the last change of the table,
    /// the time of that change counts instead.
    ///
    /// # Errors
    ///
    /// As [`set_quota`](Self::set_quota).
    pub fn set_quota_at(&self, tier: Tier, quota: Quota, at: Instant) -> Result<(), InvalidTable> {
        let number = tier.number_in(self.family)?;
        let at = self.limits.schedule(0).time_line.position(at);
        self.shared.set_quota(number, quota, at)
    }

    /// Returns the quota of a tier; `None` if its meter was made from T and tau, and no quota was set since.
    ///
    /// # Errors
    ///
    /// [`ForeignTier`] if the tier belongs to another table.
    pub fn quota(&self, tier: Tier) -> Result<Option<Quota>, ForeignTier> {
        let number = tier.number_in(self.family)?;
        Ok(self.shared.latest.get().schedule(number).quota)
    }
}

impl<A: Algorithm> Shared<A> {
    /// Sets the quota of a tier: publishes the new limits, which readers use at once, then converts each bucket.
    fn set_quota(&self, tier: u8, quota: Quota, at: Nanos) -> Result<(), InvalidTable> {
        // A panic while the lock was held would have left valid limits.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.latest.get();
        let schedule: &Schedule<A> = current.schedule(tier);
        if schedule.quota == Some(quota) {
            return Ok(());
        }
        let (form, tiers) = (current.form(), current.tiers());
        let bits = form.bits();
        let schedule = schedule.with_quota(quota)?.below(form.end());
        let schedule = schedule.ok_or(InvalidTable::WordTooNarrow { bits, tiers })?;
        let next = current.changed(tier, schedule, at).ok_or(InvalidTable::NotAdjustable)?;
        let next = self.latest.replace(next);
        for bucket in self.table.buckets() {
            bucket.convert(&next);
        }
        next.forget_former();
        Ok(())
    }
}
