//! The tiers of a table: several quotas, of which each handle decides by one.

use super::KeyedMeter;
use super::slot::Ordering;
use crate::meter::MeterKind;
#[cfg(not(ratelimit_meter_loom))]
use crate::store::AtomicU64;
use core::error::Error;
use core::fmt;
#[cfg(ratelimit_meter_loom)]
use std::sync::atomic::AtomicU64;

/// One of the quotas of a table, by which a handle decides; [`KeyedBuilder::tier`](super::KeyedBuilder::tier) returns it.
///
/// A tier is valid for the tables of the builder to which it was added, and of later clones of that builder. [`Tier::FIRST`] is valid for all tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tier(u64);

impl Tier {
    /// The tier of the meter with which the builder began. It is the only tier if none was added.
    pub const FIRST: Self = Self(0);

    /// Returns a tier that differs from all other tiers, of any builder.
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // ORDERING: relaxed. Only has to return each number once.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the number of this tier among the tiers of a table.
    pub(super) fn number_in(self, tiers: &[Self]) -> Result<u8, ForeignTier> {
        let mut numbered = (0..).zip(tiers);
        let found = numbered.find(|(_, tier)| **tier == self);
        found.map(|(number, _)| number).ok_or(ForeignTier)
    }
}

impl<K: ?Sized, M: MeterKind, S: Clone> KeyedMeter<K, M, S> {
    /// Returns a handle of the same table that decides in `tier`. When the handle counts cells of a key, the key moves to that tier and keeps its
    /// debt. (A denial changes nothing, so it does not move the key. Until the key moves, its debt drains at the rate of its own tier. The denial holds
    /// the instant by that rate, which takes some microseconds to find. A status by the handle's tier counts as if the key had moved. To move a key at
    /// once, `charge` it.)
    ///
    /// A handle without a tier decides each key in the tier that the key has, and a new key in the first tier. An idle key may lose its tier together
    /// with its slot. So if there are several tiers, name the key's tier with each decision.
    ///
    /// A move keeps the debt, but a change of quota ([`set_quota`](Self::set_quota)) keeps the available cells. The reason is that a move concerns one
    /// key. Its client may use the new burst at once, less the cells that it owes, and gains nothing by moving back and forth. A change of quota concerns
    /// all keys at one instant. If it kept the debts, a larger burst would be available to every key at that instant.
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
        let number = tier.number_in(&self.table.tiers)?;
        Ok(Self {
            tier: Some(number),
            ..self.clone()
        })
    }
}

/// The tier belongs to a table that another builder made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignTier;

impl fmt::Display for ForeignTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the tier is another table's: use one that this table's builder returned")
    }
}

impl Error for ForeignTier {}
