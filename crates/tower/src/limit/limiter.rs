//! The limits: one for all requests, or one per key.

use super::Limit;
use super::asked::{Asked, Plain};
use super::lane::{BASE_TIER, HeadFn, Lane, OnNoKey, Rules, Warned};
use crate::error::InvalidLimit;
use crate::head::Head;
use crate::key::{Key, KeyWriter, NoKey};
use crate::meters::{HashedKey, Ticket};
use core::fmt;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::Clock;
use ratelimit_meter::keyed::{KeyHashes, Stats};
use ratelimit_meter::{DualQuota, GCRA, Meter, Quota};
use std::sync::Arc;

/// One limit that all requests share.
///
/// ```
/// use ratelimit_meter_tower::{RateLimitLayer, Shared};
///
/// let layer = RateLimitLayer::new(Shared::new("5000/s".parse()?)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Shared = Limiter<Everyone>;

/// A limit for each key, in a table of fixed size.
///
/// ```
/// use ratelimit_meter_tower::{PeerIp, PerKey, RateLimitLayer};
///
/// // 100 requests a minute from each address, for 100,000 addresses at once: 2 MB.
/// let layer = RateLimitLayer::new(PerKey::new(PeerIp::new(), "100/min burst 20".parse()?, 100_000)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type PerKey<K> = Limiter<ByKey<K>>;

/// A limit of one quota, or two; see [`Shared`] and [`PerKey`]. It is a [`Limit`], as are tuples of it.
pub struct Limiter<T> {
    pub(super) target: T,
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) rules: Rules,
}

/// Returns the length of the body that `Content-Length` promises, as the [`cost`](Limiter::cost) of a limit of bytes; 0 without it. For a
/// body that is streamed without a length, use a [`late`](Limiter::late) limit.
///
/// ```
/// use ratelimit_meter_tower::{PeerIp, PerKey, content_length};
///
/// let uploads = PerKey::new(PeerIp::new(), "10000000/min".parse()?, 10_000)?.unit("content-bytes").cost(content_length);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn content_length(head: &Head<'_>) -> u64 {
    let length = head.headers().get(http::header::CONTENT_LENGTH);
    // A length that cannot be read is no way around the limit.
    length.map_or(0, |length| {
        length
            .to_str()
            .ok()
            .and_then(|length| length.parse().ok())
            .unwrap_or(u64::MAX)
    })
}

/// Finds the meter of a request: one for all, or one per key.
pub trait Target: Send + Sync + sealed::Sealed {
    #[doc(hidden)]
    fn ticket(&self, head: &Head<'_>, warned: &Warned) -> Result<Ticket, NoKey>;

    /// Does the work of `ticket` if no tier is to be found and no warning to be given; otherwise returns `None`, and `ticket` is asked.
    #[doc(hidden)]
    fn ticket_at_once(&self, head: &Head<'_>, warned: &Warned) -> Option<Result<Ticket, NoKey>>;
}

mod sealed {
    pub trait Sealed {}
}

/// All requests, as the [`Target`] of [`Shared`].
#[derive(Debug, Clone, Copy)]
pub struct Everyone;

/// Each key, as the [`Target`] of [`PerKey`].
pub struct ByKey<K> {
    pub(super) key: K,
    hashes: KeyHashes,
    pub(super) tier_by: Option<HeadFn<Option<TierName>>>,
    pub(super) tiers: Vec<String>,
}

/// The name of a tier, or its number from 0, as [`tier_by`](Limiter::tier_by) returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TierName {
    /// The name given to [`Limiter::tier`].
    Name(std::borrow::Cow<'static, str>),
    /// The number: 0 is the quota the limit was made of, 1 the first [`Limiter::tier`].
    Number(u8),
}

impl From<&'static str> for TierName {
    fn from(name: &'static str) -> Self {
        Self::Name(name.into())
    }
}

impl From<String> for TierName {
    fn from(name: String) -> Self {
        Self::Name(name.into())
    }
}

impl From<u8> for TierName {
    fn from(number: u8) -> Self {
        Self::Number(number)
    }
}

impl sealed::Sealed for Everyone {}

impl Target for Everyone {
    #[inline]
    fn ticket(&self, _: &Head<'_>, _: &Warned) -> Result<Ticket, NoKey> {
        let key = HashedKey(0);
        Ok(Ticket { key, tier: 0 })
    }

    #[inline]
    fn ticket_at_once(&self, head: &Head<'_>, warned: &Warned) -> Option<Result<Ticket, NoKey>> {
        Some(self.ticket(head, warned))
    }
}

impl<K> sealed::Sealed for ByKey<K> {}

impl<K: Key> Target for ByKey<K> {
    fn ticket(&self, head: &Head<'_>, warned: &Warned) -> Result<Ticket, NoKey> {
        let mut writer = KeyWriter::new(&self.hashes);
        self.key.find(head, &mut writer)?;
        if self.key.ignores_forwarding() {
            warned.of_forwarding(head);
        }
        let tier = self.tier_by.as_ref().and_then(|tier_by| tier_by(head));
        let tier = tier.map_or(0, |name| self.tier(&name, warned));
        let key = writer.hashed();
        Ok(Ticket { key, tier })
    }

    // Always: the hasher stays in registers.
    #[inline(always)]
    fn ticket_at_once(&self, head: &Head<'_>, warned: &Warned) -> Option<Result<Ticket, NoKey>> {
        if self.tier_by.is_some() || self.key.ignores_forwarding() && warned.looks_for_forwarding() {
            return None;
        }
        let mut writer = KeyWriter::new(&self.hashes);
        let found = self.key.find_at_once(head, &mut writer)?;
        let key = writer.hashed();
        Some(found.map(|()| Ticket { key, tier: 0 }))
    }
}

impl<K> ByKey<K> {
    fn new(key: K) -> Self {
        Self {
            key,
            hashes: KeyHashes::random(),
            tier_by: None,
            tiers: vec![BASE_TIER.to_owned()],
        }
    }

    fn tier(&self, name: &TierName, warned: &Warned) -> u8 {
        let number = match name {
            TierName::Number(number) if usize::from(*number) < self.tiers.len() => Some(*number),
            TierName::Number(_) => None,
            TierName::Name(name) => {
                let number = self.tiers.iter().position(|tier| tier == name);
                number.and_then(|number| u8::try_from(number).ok())
            }
        };
        number.unwrap_or_else(|| {
            warned.of_tier(name);
            0
        })
    }
}

/// The names of policies that were given none.
const NAME: &str = "default";
pub(super) const SECOND_NAME: &str = "sustained";

impl Limiter<Everyone> {
    /// Returns one limit for all requests.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if the quota is invalid for a meter.
    pub fn new(quota: Quota) -> Result<Self, InvalidLimit> {
        Self::of(GCRA::from_quota(quota)?)
    }

    /// Returns two limits for all requests, such as `10/s & 1000/h`, all or nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if a quota is invalid for a meter.
    pub fn dual(quotas: DualQuota) -> Result<Self, InvalidLimit> {
        Self::dual_of(GCRA::from_quota(quotas.first())?, GCRA::from_quota(quotas.second())?)
    }

    /// Returns one limit for all requests by a meter of any algorithm and clock. The meter is shared, not copied: its clones see the cells
    /// that are counted.
    ///
    /// The limits of a layer are decided at one time, by the clock of the first. So in a test, give one clock to all of them.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit::NoQuota`] if the meter was not made of a quota.
    pub fn of<A, C>(meter: Meter<A, C>) -> Result<Self, InvalidLimit>
    where
        A: Algorithm + 'static,
        C: Clock + 'static,
    {
        Ok(Self::with(Everyone, vec![Lane::of(NAME, meter)?]))
    }

    /// Returns two limits for all requests by meters of any algorithms and one type of clock, all or nothing; see [`of`](Self::of).
    ///
    /// # Errors
    ///
    /// As [`of`](Self::of).
    pub fn dual_of<A, B, C>(first: Meter<A, C>, second: Meter<B, C>) -> Result<Self, InvalidLimit>
    where
        A: Algorithm + 'static,
        B: Algorithm + 'static,
        C: Clock + 'static,
    {
        Ok(Self::with(
            Everyone,
            vec![Lane::of(NAME, first)?, Lane::of(SECOND_NAME, second)?],
        ))
    }
}

impl<K: Key> Limiter<ByKey<K>> {
    /// Returns a limit for each key, in a table for `keys` keys with debt at the same time. The table takes about 20 bytes for each.
    ///
    /// # Errors
    ///
    /// [`InvalidLimit`] if the quota is invalid for a meter, `keys` is zero, or there is too little memory.
    pub fn new(key: K, quota: Quota, keys: usize) -> Result<Self, InvalidLimit> {
        Self::like(key, GCRA::from_quota(quota)?, keys)
    }

    /// Returns two limits for each key, such as `10/s & 1000/h`, all or nothing; see [`new`](Self::new). Their names are `default` and
    /// `sustained`, or the names of [`named_both`](Self::named_both).
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn dual(key: K, quotas: DualQuota, keys: usize) -> Result<Self, InvalidLimit> {
        let (first, second) = (GCRA::from_quota(quotas.first())?, GCRA::from_quota(quotas.second())?);
        Self::dual_like(key, first, second, keys)
    }

    /// Returns a limit for each key by meters like this one, of any algorithm and clock; see [`new`](Self::new). Cells that this meter has
    /// counted are ignored. All limits of a layer need one clock, as [`Shared::of`](Limiter::of) explains.
    ///
    /// ```
    /// use ratelimit_meter::Exponential;
    /// use ratelimit_meter_tower::{PeerIp, PerKey};
    ///
    /// let average = Exponential::from_quota("100/min".parse::<ratelimit_meter::Quota>()?)?;
    /// let limit = PerKey::like(PeerIp::new(), average, 100_000)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`InvalidLimit::NoQuota`] if the meter was not made of a quota.
    pub fn like<A, C>(key: K, meter: Meter<A, C>, keys: usize) -> Result<Self, InvalidLimit>
    where
        A: Algorithm + 'static,
        C: Clock + 'static,
    {
        Ok(Self::with(ByKey::new(key), vec![Lane::like(NAME, meter, keys)?]))
    }

    /// Returns two limits for each key by meters like these, of any algorithms and one type of clock, all or nothing; see [`dual`](Self::dual) and
    /// [`like`](Self::like).
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, clock::ManualClock};
    /// use ratelimit_meter_tower::{PeerIp, PerKey};
    ///
    /// let clock = ManualClock::new(); // which a test moves
    /// let second = GCRA::from_quota("10/s".parse()?)?.with_clock(clock.clone());
    /// let hour = GCRA::from_quota("1000/h".parse()?)?.with_clock(clock.clone());
    /// let limit = PerKey::dual_like(PeerIp::new(), second, hour, 100_000)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`like`](Self::like).
    pub fn dual_like<A, B, C>(
        key: K,
        first: Meter<A, C>,
        second: Meter<B, C>,
        keys: usize,
    ) -> Result<Self, InvalidLimit>
    where
        A: Algorithm + 'static,
        B: Algorithm + 'static,
        C: Clock + 'static,
    {
        let lanes = vec![Lane::like(NAME, first, keys)?, Lane::like(SECOND_NAME, second, keys)?];
        Ok(Self::with(ByKey::new(key), lanes))
    }

    /// Returns the number of cells of a key that conform at once, by the quota of the first tier; see [`remaining_in`](Self::remaining_in). The
    /// closure writes the key as its [`Key`] does: [`PeerIp`](crate::PeerIp) by [`PeerIp::write`](crate::PeerIp::write), [`ExtensionKey`](crate::ExtensionKey) a value,
    /// [`HeaderKey`](crate::HeaderKey) a value of bytes.
    ///
    /// ```
    /// use ratelimit_meter_tower::{PeerIp, PerKey};
    ///
    /// let limit = PerKey::new(PeerIp::new(), "100/min".parse()?, 10_000)?;
    /// let client = "192.0.2.1".parse()?;
    /// assert_eq!(limit.remaining(|key| PeerIp::new().write(client, key)), 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn remaining(&self, key: impl FnOnce(&mut KeyWriter<'_>)) -> u64 {
        self.remaining_in(0_u8, key)
    }

    /// Returns the number of cells of a key that conform at once, by the quota of this tier. A tier that does not exist is the first, as in
    /// [`tier_by`](Self::tier_by). The closure writes the key as for [`remaining`](Self::remaining).
    #[must_use]
    pub fn remaining_in(&self, tier: impl Into<TierName>, key: impl FnOnce(&mut KeyWriter<'_>)) -> u64 {
        let tier = self.target.tier(&tier.into(), &self.rules.warned);
        let ticket = Ticket {
            tier,
            ..self.ticket_of(key)
        };
        let remaining = self.lanes.iter().map(|lane| lane.meters.remaining(ticket));
        remaining.min().unwrap_or(0)
    }

    /// Forgets the debt of a key, as when support lifts a block; the closure as for [`remaining`](Self::remaining).
    pub fn reset(&self, key: impl FnOnce(&mut KeyWriter<'_>)) {
        let ticket = self.ticket_of(key);
        self.lanes.iter().for_each(|lane| lane.meters.reset(ticket));
    }

    fn ticket_of(&self, key: impl FnOnce(&mut KeyWriter<'_>)) -> Ticket {
        let mut writer = KeyWriter::new(&self.target.hashes);
        key(&mut writer);
        let key = writer.hashed();
        Ticket { key, tier: 0 }
    }

    /// Returns the statistics of the table of keys: how many are live, and how many found no slot. Reads the whole table.
    ///
    /// A dual limit has two tables. Its statistics have the keys of the table with more live keys, and the sums of the counts of both tables.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let tables = self.lanes.iter().filter_map(|lane| lane.meters.stats());
        let stats = tables.reduce(|first, second| {
            let is_first_fuller = first.live >= second.live;
            let (mut fuller, other) = if is_first_fuller {
                (first, second)
            } else {
                (second, first)
            };
            fuller.forgiven += other.forgiven;
            fuller.denied += other.denied;
            fuller.admitted += other.admitted;
            fuller
        });
        stats.unwrap_or_else(|| unreachable!("meters of keys are a table"))
    }
}

impl<T> Limiter<T> {
    fn with(target: T, lanes: Vec<Arc<Lane>>) -> Self {
        let rules = Rules::default();
        Self { target, lanes, rules }
    }

    #[cfg(feature = "queue")]
    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lanes[0]
    }

    /// Checks that requests can wait for it.
    #[cfg(feature = "queue")]
    pub(crate) fn can_queue(&self) -> Result<(), InvalidLimit> {
        let why = if self.lanes.len() > 1 {
            "it has two quotas: use one layer for each"
        } else if self.rules.dry_run {
            "it is a dry run, for which nothing waits"
        } else if self.rules.charges_after() {
            "it charges by the response: use refund_if"
        } else {
            return Ok(());
        };
        Err(InvalidLimit::CannotQueue { why })
    }
}

impl<T: Target> Limit for Limiter<T> {
    #[inline]
    fn plain(&self, head: &Head<'_>) -> Option<Plain<'_>> {
        let rules = &self.rules;
        let [lane] = &*self.lanes else { return None };
        if !rules.are_plain() {
            return None;
        }
        let ticket = self.target.ticket_at_once(head, &rules.warned)?.ok()?;
        Some(Plain { lane, rules, ticket })
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }

    fn is_late(&self) -> bool {
        self.rules.late
    }

    fn ask<'a>(&'a self, head: &Head<'_>, asked: &mut Asked<'a>) {
        let rules = &self.rules;
        if !rules.apply_to(head) {
            return;
        }
        let at_once = self.target.ticket_at_once(head, &rules.warned);
        let ticket = match at_once.unwrap_or_else(|| self.target.ticket(head, &rules.warned)) {
            Ok(ticket) => ticket,
            Err(NoKey) => {
                let action = rules.without_key();
                rules.warned.of_no_key(action);
                asked.keyless(&self.lanes[0], action);
                if action != OnNoKey::Share {
                    return;
                }
                Ticket { key: KEYLESS, tier: 0 }
            }
        };
        let cost = rules.cost_of(head);
        for lane in &self.lanes {
            asked.push(lane, rules, ticket, cost);
        }
    }
}

/// The hash that requests without a key share. A key has this hash only by chance.
pub(crate) const KEYLESS: HashedKey = HashedKey(u64::MAX);

impl<T> fmt::Debug for Limiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policies = self.lanes.iter().flat_map(|lane| &lane.policies);
        f.debug_struct("Limiter")
            .field(
                "policies",
                &policies
                    .map(|policy| (policy.name(), policy.tier(), policy.quota().to_string()))
                    .collect::<Vec<_>>(),
            )
            .field(
                "meters",
                &self.lanes.iter().map(|lane| &lane.meters).collect::<Vec<_>>(),
            )
            .field("dry_run", &self.rules.dry_run)
            .finish_non_exhaustive()
    }
}

impl<K> fmt::Debug for ByKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey")
            .field("tiers", &self.tiers)
            .finish_non_exhaustive()
    }
}
