use super::limits::{Latest, Limits};
use super::state::{Form, MOST_LIMITS};
use super::table::{Size, Table};
use super::tiers::{Family, Tier};
use super::{InvalidTable, KeyHashes, KeyedMeter, Shared, WhenFull};
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::meter::{Meter, MeterKind};
use crate::quota::Quota;
use crate::schedule::Schedule;
use core::fmt;
use core::marker::PhantomData;
use std::sync::{Arc, Mutex};

/// The maximum number of tiers: as many as the number of limits that a slot can distinguish.
pub(super) const MOST_TIERS: usize = MOST_LIMITS;

/// Builds a [`KeyedMeter`] from more than a quota: a meter's clock and algorithm, tiers, another hash, another policy.
///
/// ```
/// use ratelimit_meter::keyed::{KeyedBuilder, WhenFull};
/// use ratelimit_meter::{Exponential, clock::ManualClock};
/// use std::time::Duration;
///
/// let like = Exponential::new(100, Duration::from_secs(60))?.with_clock(ManualClock::new()).strict();
/// let logins = KeyedBuilder::new(like).when_full(WhenFull::Deny).with_capacity::<str>(50_000)?;
/// assert!(logins.check("alice").is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct KeyedBuilder<M: MeterKind, S = KeyHashes> {
    tiers: Vec<Schedule<M::Algorithm>>,
    clock: M::Clock,
    when_full: WhenFull,
    hashes: S,
    is_adjustable: bool,
    family: Family,
}

impl<A: Algorithm, C: Clock> KeyedBuilder<Meter<A, C>> {
    /// Begins with a template for the meter of each key: its limit becomes the first tier, and all keys use its clock. The cells that it has counted
    /// do not matter.
    #[must_use]
    pub fn new(like: Meter<A, C>) -> Self {
        let (schedule, _, clock) = like.into_parts();
        Self {
            tiers: vec![schedule],
            clock,
            when_full: WhenFull::default(),
            hashes: KeyHashes::random(),
            is_adjustable: false,
            family: Family::new(),
        }
    }
}

impl<M: MeterKind, S> KeyedBuilder<M, S> {
    /// Adds a tier, of the same algorithm; select it with [`KeyedMeter::in_tier`].
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if there are 16 tiers already, or the quota makes no meter.
    pub fn tier(mut self, quota: Quota) -> Result<(Self, Tier), InvalidTable> {
        let number = u8::try_from(self.tiers.len()).ok();
        let number = number.filter(|number| usize::from(*number) < MOST_TIERS);
        let number = number.ok_or(InvalidTable::TooManyTiers)?;
        self.tiers.push(self.tiers[0].with_quota(quota)?);
        let tier = self.family.tier(number);
        Ok((self, tier))
    }

    /// Sets the policy for a key if all slots that it might take belong to other live keys; [`WhenFull::Forgive`] by default.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self { when_full, ..self }
    }

    /// Allows [`KeyedMeter::set_quota`] to change the quotas of the tiers while the table is in use.
    ///
    /// A slot then has to distinguish one limit more, as with a further tier: see [`InvalidTable::WordTooNarrow`] for the cost.
    #[must_use]
    pub fn adjustable(self) -> Self {
        Self {
            is_adjustable: true,
            ..self
        }
    }

    /// Sets the hash of keys, [`KeyHashes::random`] by default. A poor hash makes keys share meters; it never admits them for free.
    #[must_use]
    pub fn hashes<T>(self, hashes: T) -> KeyedBuilder<M, T> {
        KeyedBuilder {
            tiers: self.tiers,
            clock: self.clock,
            when_full: self.when_full,
            hashes,
            is_adjustable: self.is_adjustable,
            family: self.family,
        }
    }

    /// Returns a table for `keys` live keys. It takes 20 bytes for each, and at least 8 KiB.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if `keys` is zero, or there is too little memory.
    pub fn with_capacity<K: ?Sized>(self, keys: usize) -> Result<KeyedMeter<K, M, S>, InvalidTable> {
        self.sized(Size::Keys(keys))
    }

    /// Returns a table in `bytes` of memory, rounded down to whole buckets of 8 KiB.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if `bytes` is less than 8 KiB, or cannot be allocated.
    pub fn with_memory<K: ?Sized>(self, bytes: usize) -> Result<KeyedMeter<K, M, S>, InvalidTable> {
        self.sized(Size::Bytes(bytes))
    }

    fn sized<K: ?Sized>(self, size: Size) -> Result<KeyedMeter<K, M, S>, InvalidTable> {
        let tiers = self.tiers.len();
        let limits = tiers + usize::from(self.is_adjustable);
        if limits > MOST_LIMITS {
            return Err(InvalidTable::TooManyTiers);
        }
        let form = Form::telling_apart(limits);
        let too_wide = InvalidTable::WordTooNarrow {
            bits: form.bits(),
            tiers,
        };
        let schedules: Option<Vec<_>> = self.tiers.iter().map(|schedule| schedule.below(form.end())).collect();
        let limits = schedules.and_then(|schedules| Limits::new(&schedules, form, self.when_full));
        let limits = Arc::new(limits.ok_or(too_wide)?);
        Ok(KeyedMeter {
            shared: Arc::new(Shared {
                table: Table::new(size)?,
                latest: Latest::new(limits.clone()),
                changing: Mutex::new(()),
            }),
            limits,
            hashes: self.hashes,
            clock: self.clock,
            tier: None,
            family: self.family,
            key: PhantomData,
        })
    }
}

impl<M: MeterKind, S> fmt::Debug for KeyedBuilder<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBuilder")
            .field("tiers", &self.tiers.len())
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}
