use super::table::{Size, Table};
use super::{InvalidTable, KeyHashes, KeyedMeter, Shared, WhenFull};
use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::meter::{Meter, MeterKind};
use crate::quota::Quota;
use crate::schedule::Schedule;
use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;

/// As many tiers as a slot tells apart.
pub(super) const MOST_TIERS: usize = 16;

/// Builds a [`KeyedMeter`] of more than a quota: with a meter's clock and algorithm, tiers, another hash, another policy.
///
/// ```
/// use ratelimit_meter::keyed::{Builder, WhenFull};
/// use ratelimit_meter::{Exponential, clock::ManualClock};
/// use std::time::Duration;
///
/// let like = Exponential::new(100, Duration::from_secs(60))?.with_clock(ManualClock::new()).strict();
/// let logins = Builder::new(like).when_full(WhenFull::Deny).with_capacity::<str>(50_000)?;
/// assert!(logins.check("alice").is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Builder<M: MeterKind, S = KeyHashes> {
    tiers: Vec<Schedule<M::Algorithm>>,
    clock: M::Clock,
    when_full: WhenFull,
    hashes: S,
}

impl<A: Algorithm, C: Clock> Builder<Meter<A, C>> {
    /// Begins with the meter that each key is to have: its limit is the first tier, its clock is everyone's. What it has counted does not
    /// matter.
    #[must_use]
    pub fn new(like: Meter<A, C>) -> Self {
        let (schedule, _, clock) = like.into_parts();
        Self {
            tiers: vec![schedule],
            clock,
            when_full: WhenFull::default(),
            hashes: KeyHashes::random(),
        }
    }
}

impl<M: MeterKind, S> Builder<M, S> {
    /// Adds a tier, of the same algorithm; [`KeyedMeter::in_tier`] decides by it.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if there are 16 already, or the quota makes no meter.
    pub fn tier(mut self, quota: Quota) -> Result<Self, InvalidTable> {
        if self.tiers.len() == MOST_TIERS {
            return Err(InvalidTable::TooManyTiers);
        }
        self.tiers.push(self.tiers[0].with_quota(quota)?);
        Ok(self)
    }

    /// Sets what to do about a key when all slots it might take are live others', [`WhenFull::Forgive`] by default.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self { when_full, ..self }
    }

    /// Sets how keys are hashed, [`KeyHashes::random`] by default. A poor hash makes keys share meters, never pass for free.
    #[must_use]
    pub fn hashes<T>(self, hashes: T) -> Builder<M, T> {
        Builder {
            tiers: self.tiers,
            clock: self.clock,
            when_full: self.when_full,
            hashes,
        }
    }

    /// Returns a table for `keys` live keys; it takes 32 bytes for each, at least 1 KiB.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if `keys` is zero, or memory does not suffice.
    pub fn with_capacity<K: ?Sized>(self, keys: usize) -> Result<KeyedMeter<K, M, S>, InvalidTable> {
        self.sized(Size::Keys(keys))
    }

    /// Returns a table of `bytes` of memory, less what does not make up a bucket of 1 KiB.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if `bytes` is less than 1 KiB, or more than there are.
    pub fn with_memory<K: ?Sized>(self, bytes: usize) -> Result<KeyedMeter<K, M, S>, InvalidTable> {
        self.sized(Size::Bytes(bytes))
    }

    fn sized<K: ?Sized>(self, size: Size) -> Result<KeyedMeter<K, M, S>, InvalidTable> {
        Ok(KeyedMeter {
            shared: Arc::new(Shared {
                table: Table::new(size)?,
                tiers: self.tiers.into_boxed_slice(),
                when_full: self.when_full,
            }),
            hashes: self.hashes,
            clock: self.clock,
            tier: None,
            key: PhantomData,
        })
    }
}

impl<M: MeterKind, S> fmt::Debug for Builder<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("tiers", &self.tiers.len())
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}
