//! Deciding by one of several quotas.

use super::KeyedMeter;
use super::entry::Entry;
use super::error::{NegativeTierDecision, NoSuchTier};
use super::table::Table;
use crate::meter::{Meter, MeterKind};
use core::borrow::Borrow;
use core::hash::{BuildHasher, Hash};
use std::time::Instant;

impl<K: ?Sized, M: MeterKind, S: Clone> KeyedMeter<K, M, S> {
    /// Returns a handle of the same table that decides in `tier`, as they were [told](crate::keyed::Builder::tier), from 0: a key of which it counts
    /// cells is of that tier from then on, with the debts it has. (A denial changes nothing, nor that.)
    ///
    /// A handle that was not made by this decides each key in the tier it is of, and a new key in tier 0. A key at rest may be forgotten
    /// with its tier; so where there are tiers, name the key's with each decision.
    ///
    /// # Errors
    ///
    /// [`NoSuchTier`] if there are not that many.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota, keyed::Builder};
    ///
    /// let free = GCRA::from_quota("10/min".parse::<Quota>()?)?;
    /// let users = Builder::new(free).tier("1000/min".parse::<Quota>()?)?.with_capacity::<str>(10_000)?;
    /// let paying = users.in_tier(1)?;
    /// assert!(paying.check_n("alice", 500).is_ok());
    /// assert!(users.in_tier(0)?.check_n("bob", 500).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_tier(&self, tier: u8) -> Result<Self, NoSuchTier> {
        self.having_tier(tier)?;
        Ok(Self {
            tier: Some(tier),
            ..self.clone()
        })
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    fn having_tier(&self, tier: u8) -> Result<(), NoSuchTier> {
        let tiers = self.tiers();
        if usize::from(tier) < tiers {
            Ok(())
        } else {
            Err(NoSuchTier { tier, tiers })
        }
    }
}

impl<K: ?Sized, M: MeterKind, S: BuildHasher> KeyedMeter<K, M, S> {
    /// Decides one cell of `key` in `tier` now, and counts it if it conforms; see [`in_tier`](Self::in_tier), whose handle has all the
    /// other verbs for a tier.
    ///
    /// # Errors
    ///
    /// [`NegativeTierDecision`], and nothing has changed, if there is no such tier, or the cell does not conform.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota, keyed::Builder};
    ///
    /// let free = GCRA::from_quota("1/min".parse::<Quota>()?)?;
    /// let users = Builder::new(free).tier("1000/min".parse::<Quota>()?)?.with_capacity::<str>(10_000)?;
    /// let [free, paying] = [0, 1];
    /// assert!((0..1000).all(|_| users.check_tier(paying, "alice").is_ok()));
    /// assert!(users.check_tier(free, "bob").is_ok());
    /// assert!(users.check_tier(free, "bob").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_tier<Q: Hash + ?Sized>(&self, tier: u8, key: &Q) -> Result<(), NegativeTierDecision>
    where
        K: Borrow<Q>,
    {
        self.check_tier_when(tier, key, None)
    }

    /// Decides one cell of `key` in `tier` at `at`; see [`check_tier`](Self::check_tier).
    ///
    /// # Errors
    ///
    /// As [`check_tier`](Self::check_tier).
    pub fn check_tier_at<Q: Hash + ?Sized>(&self, tier: u8, key: &Q, at: Instant) -> Result<(), NegativeTierDecision>
    where
        K: Borrow<Q>,
    {
        self.check_tier_when(tier, key, Some(at))
    }

    fn check_tier_when<Q: Hash + ?Sized>(
        &self,
        tier: u8,
        key: &Q,
        at: Option<Instant>,
    ) -> Result<(), NegativeTierDecision>
    where
        K: Borrow<Q>,
    {
        self.having_tier(tier).map_err(NegativeTierDecision::NoSuchTier)?;
        let key = Table::key(self.hashes.hash_one(key));
        let key = Meter::on(Entry::new(&self.shared, key, Some(tier)), &self.clock);
        at.map_or_else(|| key.check(), |at| key.check_at(at))
            .map_err(NegativeTierDecision::NonConforming)
    }
}
