//! The meters behind a limit, of any algorithm, clock and number: the only file that knows how the core is asked.

use crate::error::InvalidLimit;
use crate::numbers::nanos;
use core::fmt;
#[cfg(feature = "queue")]
use core::future::Future;
use core::hash::{BuildHasher, Hash, Hasher};
#[cfg(feature = "queue")]
use core::pin::Pin;
use ratelimit_meter::algorithms::Algorithm;
use ratelimit_meter::clock::Clock;
use ratelimit_meter::keyed::{InvalidTable, KeyHandle, KeyedBuilder, Stats, Tier, WhenFull};
use ratelimit_meter::time::Moment;
use ratelimit_meter::{Checkable, KeyedMeter, Meter, NegativeMultiDecision, Quota, Status, Taken};
#[cfg(feature = "queue")]
use ratelimit_meter_tokio::{AcquireError, Keyed, MeterMap, Patience, Source, Waiting};
use std::sync::Arc;
use std::time::Duration;

/// A key that was found, in 16 bytes: enough for a charge after the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) key: HashedKey,
    pub(crate) tier: u8,
}

/// The hash of a key under the table's random numbers, which passes through the table's hasher unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashedKey(pub(crate) u64);

impl Hash for HashedKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// Hashes a [`HashedKey`] to itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AsIs(u64);

impl BuildHasher for AsIs {
    type Hasher = Self;

    #[inline]
    fn build_hasher(&self) -> Self {
        Self::default()
    }
}

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        bytes
            .iter()
            .for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The reasons for which cells do not conform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Not for this number of nanoseconds.
    For(u64),
    /// More was asked for than ever conforms at once.
    Never,
    /// The table has no slot for the key, for this number of nanoseconds.
    Full(u64),
}

impl Denied {
    pub(crate) const fn wait_ns(self) -> Option<u64> {
        match self {
            Self::For(ns) | Self::Full(ns) => Some(ns),
            Self::Never => None,
        }
    }
}

/// The state of a meter, in the numbers of the fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) remaining: u64,
    /// The time until one more conforms; computed only if none remains.
    pub(crate) until_next_ns: u64,
    /// The time until the meter is idle; computed only for [`Detail::Rest`].
    pub(crate) until_rest_ns: u64,
}

/// The parts of a standing that are needed: each time costs a division.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    Nothing,
    Next,
    Rest,
}

impl Standing {
    #[inline]
    fn of(status: &Status, detail: Detail) -> Self {
        let remaining = u64::from(status.remaining());
        let ns = |wanted: bool, time: fn(&Status) -> Duration| match wanted {
            true => nanos(time(status).as_nanos()),
            false => 0,
        };
        Self {
            remaining,
            until_next_ns: ns(detail > Detail::Nothing && remaining == 0, Status::until_next),
            until_rest_ns: ns(detail == Detail::Rest, Status::until_rest),
        }
    }
}

/// Meters of one quota per tier, found by ticket.
pub(crate) trait Meters: fmt::Debug + Send + Sync {
    /// Begins to fetch the state of a key, so that the states of several meters arrive together.
    fn fetch(&self, _: Ticket) {}

    fn now(&self) -> Moment;

    /// The time now for a request that was denied for `ns` nanoseconds, if the clock may be behind by as much.
    fn now_exactly(&self, ns: u64) -> Option<Moment>;

    /// Returns whether a denial changes a meter.
    fn counts_denials(&self) -> bool;

    /// Decides now, by the meter's own clock, without a standing: the shortest way. Returns the reason of a denial.
    fn check_now(&self, ticket: Ticket, n: u32) -> Option<Denied>;

    /// Decides now, by the meter's own clock, and writes the standing. Returns the reason of a denial.
    // In place: to return the standing would copy it before its parts have reached memory.
    fn take_now(&self, ticket: Ticket, n: u32, detail: Detail, standing: &mut Standing) -> Option<Denied>;

    fn peek(&self, ticket: Ticket, n: u32, at: Moment) -> Result<(), Denied>;

    /// Decides at `at`, and writes the standing. Returns the reason of a denial.
    fn take(&self, ticket: Ticket, n: u32, at: Moment, detail: Detail, standing: &mut Standing) -> Option<Denied>;

    fn standing(&self, ticket: Ticket, at: Moment, detail: Detail) -> Standing;

    fn charge(&self, ticket: Ticket, n: u64);

    fn refund(&self, ticket: Ticket, n: u64);

    /// Gives back cells that were taken at `taken` and lost in a race, less those that may have drained since.
    fn give_back(&self, ticket: Ticket, n: u32, taken: Moment);

    fn reset(&self, ticket: Ticket);

    /// The statistics of the table, if this is one.
    fn stats(&self) -> Option<Stats>;

    /// Meters with one tier more, all idle.
    fn with_tier(&self, quota: Quota) -> Result<Arc<dyn Meters>, InvalidLimit>;

    /// Meters with another policy for keys that find no slot, all idle.
    fn with_policy(&self, when_full: WhenFull) -> Result<Arc<dyn Meters>, InvalidLimit>;

    #[cfg(feature = "queue")]
    fn queue(&self) -> Box<dyn Queue>;
}

impl dyn Meters {
    /// Decides now, in the shortest way for that detail.
    #[inline]
    pub(crate) fn decide_now(&self, ticket: Ticket, n: u32, detail: Detail, standing: &mut Standing) -> Option<Denied> {
        match detail {
            Detail::Nothing => self.check_now(ticket, n),
            _ => self.take_now(ticket, n, detail, standing),
        }
    }

    /// Returns how many cells conform at once now.
    pub(crate) fn remaining(&self, ticket: Ticket) -> u64 {
        self.standing(ticket, self.now(), Detail::Next).remaining
    }
}

/// The time by a meter's own clock, which may be behind.
fn time<M: Checkable>(meter: &M) -> Moment {
    meter.moment()
}

/// The exact time, if a denial for `ns` may be due to a clock that is behind.
fn exact_time<M: Checkable>(meter: &M, ns: u64) -> Option<Moment> {
    (ns <= meter.now().1).then(|| meter.now_exactly().into())
}

#[cold]
fn denied(denial: NegativeMultiDecision, at: Moment) -> Denied {
    match denial {
        NegativeMultiDecision::BatchNonConforming(_, denial) => {
            let ns = nanos(denial.wait_time_from(at.instant()).as_nanos());
            denied_for(ns, denial.is_table_full())
        }
        NegativeMultiDecision::InsufficientCapacity(_) => Denied::Never,
    }
}

const fn denied_for(ns: u64, is_table_full: bool) -> Denied {
    if is_table_full {
        Denied::Full(ns)
    } else {
        Denied::For(ns)
    }
}

/// Writes the standing of a request that was admitted, or of one that was denied. Returns the reason of a denial.
#[inline]
fn taken(taken: Result<Standing, Taken>, detail: Detail, standing: &mut Standing) -> Option<Denied> {
    match taken {
        Ok(admitted) => {
            *standing = admitted;
            None
        }
        Err(taken) => not_admitted(&taken, detail, standing),
    }
}

// Out of line, so that an admission inlines.
#[inline(never)]
fn not_admitted(taken: &Taken, detail: Detail, standing: &mut Standing) -> Option<Denied> {
    let denied = taken.decision().err().map(|denial| match (denial, taken.wait()) {
        (NegativeMultiDecision::BatchNonConforming(_, denial), Some(wait)) => {
            denied_for(nanos(wait.as_nanos()), denial.is_table_full())
        }
        _ => Denied::Never,
    });
    // The fields of a denial have its own wait.
    let is_wanted = denied.is_none() || detail == Detail::Rest;
    *standing = Standing::of(&taken.status(), if is_wanted { detail } else { Detail::Nothing });
    denied
}

/// Gives cells back by the quota that holds now, because a change of quota keeps the available cells of a key.
fn give_back<M: Checkable>(meter: &M, n: u32, taken: Moment) {
    meter.give_back(n, taken.instant(), meter.now_exactly());
}

impl<A: Algorithm + 'static, C: Clock + 'static> Meters for Meter<A, C> {
    fn now(&self) -> Moment {
        time(self)
    }

    fn now_exactly(&self, ns: u64) -> Option<Moment> {
        exact_time(self, ns)
    }

    fn counts_denials(&self) -> bool {
        Self::counts_denials(self)
    }

    fn check_now(&self, _: Ticket, n: u32) -> Option<Denied> {
        self.check_n(n).err().map(|denial| denied(denial, time(self)))
    }

    fn take_now(&self, _: Ticket, n: u32, detail: Detail, standing: &mut Standing) -> Option<Denied> {
        taken(
            self.take_read(n, |status| Standing::of(status, detail)),
            detail,
            standing,
        )
    }

    fn peek(&self, _: Ticket, n: u32, at: Moment) -> Result<(), Denied> {
        self.look_at(n, at).map_err(|denial| denied(denial, at))
    }

    fn take(&self, _: Ticket, n: u32, at: Moment, detail: Detail, standing: &mut Standing) -> Option<Denied> {
        taken(
            self.take_read_at(n, at, |status| Standing::of(status, detail)),
            detail,
            standing,
        )
    }

    fn standing(&self, _: Ticket, at: Moment, detail: Detail) -> Standing {
        Standing::of(&self.status_at(at.instant()), detail)
    }

    fn charge(&self, _: Ticket, n: u64) {
        Self::charge(self, n);
    }

    fn refund(&self, _: Ticket, n: u64) {
        Self::refund(self, n);
    }

    fn give_back(&self, _: Ticket, n: u32, taken: Moment) {
        give_back(self, n, taken);
    }

    fn reset(&self, _: Ticket) {
        Self::reset(self);
    }

    fn stats(&self) -> Option<Stats> {
        None
    }

    fn with_tier(&self, _: Quota) -> Result<Arc<dyn Meters>, InvalidLimit> {
        Err(InvalidTable::TooManyTiers.into())
    }

    fn with_policy(&self, _: WhenFull) -> Result<Arc<dyn Meters>, InvalidLimit> {
        Ok(Arc::new(self.clone()))
    }

    #[cfg(feature = "queue")]
    fn queue(&self) -> Box<dyn Queue> {
        Box::new(Waiting::new(self.clone()))
    }
}

/// A handle of a table that decides in one tier.
type Handle<A, C> = KeyedMeter<HashedKey, Meter<A, C>, AsIs>;

/// A meter per key: one handle of the table for each tier.
struct TieredTable<A: Algorithm, C: Clock> {
    tiers: Box<[Handle<A, C>]>,
    /// The meter that each key has one like, for its clock.
    like: Meter<A, C>,
    parts: TableParts<A, C>,
}

/// The parts that a table is built of, again for each tier that is added.
#[derive(Clone)]
struct TableParts<A: Algorithm, C: Clock> {
    builder: KeyedBuilder<Meter<A, C>, AsIs>,
    tiers: Vec<Tier>,
    keys: usize,
}

impl<A: Algorithm + 'static, C: Clock + 'static> TieredTable<A, C> {
    fn new(like: Meter<A, C>, parts: TableParts<A, C>) -> Result<Self, InvalidLimit> {
        let table = parts.builder.clone().with_capacity(parts.keys)?;
        // The tiers are the builder's own.
        let tiers = parts
            .tiers
            .iter()
            .filter_map(|tier| table.in_tier(*tier).ok())
            .collect();
        Ok(Self { tiers, like, parts })
    }

    fn key(&self, ticket: Ticket) -> KeyHandle<'_, Meter<A, C>> {
        self.tiers[usize::from(ticket.tier)].key(&ticket.key)
    }
}

impl<A: Algorithm + 'static, C: Clock + 'static> Meters for TieredTable<A, C> {
    fn fetch(&self, ticket: Ticket) {
        // The core fetches when a key is named.
        let _ = self.key(ticket);
    }

    fn now(&self) -> Moment {
        time(&self.like)
    }

    fn now_exactly(&self, ns: u64) -> Option<Moment> {
        exact_time(&self.like, ns)
    }

    fn counts_denials(&self) -> bool {
        self.tiers[0].counts_denials()
    }

    fn check_now(&self, ticket: Ticket, n: u32) -> Option<Denied> {
        let denial = self.tiers[usize::from(ticket.tier)].check_n(&ticket.key, n).err()?;
        Some(denied(denial, time(&self.like)))
    }

    fn take_now(&self, ticket: Ticket, n: u32, detail: Detail, standing: &mut Standing) -> Option<Denied> {
        taken(
            self.key(ticket).take_read(n, |status| Standing::of(status, detail)),
            detail,
            standing,
        )
    }

    fn peek(&self, ticket: Ticket, n: u32, at: Moment) -> Result<(), Denied> {
        let decision = self.key(ticket).look_at(n, at);
        decision.map_err(|denial| denied(denial, at))
    }

    fn take(&self, ticket: Ticket, n: u32, at: Moment, detail: Detail, standing: &mut Standing) -> Option<Denied> {
        taken(
            self.key(ticket)
                .take_read_at(n, at, |status| Standing::of(status, detail)),
            detail,
            standing,
        )
    }

    fn standing(&self, ticket: Ticket, at: Moment, detail: Detail) -> Standing {
        Standing::of(&self.key(ticket).status_at(at.instant()), detail)
    }

    fn charge(&self, ticket: Ticket, n: u64) {
        self.key(ticket).charge(n);
    }

    fn refund(&self, ticket: Ticket, n: u64) {
        self.key(ticket).refund(n);
    }

    fn give_back(&self, ticket: Ticket, n: u32, taken: Moment) {
        give_back(&self.key(ticket), n, taken);
    }

    fn reset(&self, ticket: Ticket) {
        self.key(ticket).reset();
    }

    fn stats(&self) -> Option<Stats> {
        Some(self.tiers[0].stats())
    }

    fn with_tier(&self, quota: Quota) -> Result<Arc<dyn Meters>, InvalidLimit> {
        let mut parts = self.parts.clone();
        let (builder, tier) = parts.builder.tier(quota)?;
        parts.builder = builder;
        parts.tiers.push(tier);
        Ok(Arc::new(Self::new(self.like.clone(), parts)?))
    }

    fn with_policy(&self, when_full: WhenFull) -> Result<Arc<dyn Meters>, InvalidLimit> {
        let mut parts = self.parts.clone();
        parts.builder = parts.builder.when_full(when_full);
        Ok(Arc::new(Self::new(self.like.clone(), parts)?))
    }

    #[cfg(feature = "queue")]
    fn queue(&self) -> Box<dyn Queue> {
        let tiers = self.tiers.iter().cloned();
        Box::new(tiers.map(Keyed::of_table).collect::<Vec<_>>())
    }
}

impl<A: Algorithm, C: Clock> fmt::Debug for TieredTable<A, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.tiers).finish()
    }
}

/// Returns a table with a meter like `like` for each of `keys` live keys.
pub(crate) fn table<A, C>(like: Meter<A, C>, keys: usize) -> Result<Arc<dyn Meters>, InvalidLimit>
where
    A: Algorithm + 'static,
    C: Clock + 'static,
{
    let parts = TableParts {
        builder: KeyedBuilder::with_hashes(like.clone(), AsIs::default()),
        tiers: vec![Tier::FIRST],
        keys,
    };
    Ok(Arc::new(TieredTable::new(like, parts)?))
}

/// The answer of a queue, sooner or later.
#[cfg(feature = "queue")]
pub(crate) type Acquiring<'a> = Pin<Box<dyn Future<Output = Result<(), AcquireError>> + Send + 'a>>;

/// A queue in front of meters.
#[cfg(feature = "queue")]
pub(crate) trait Queue: fmt::Debug + Send + Sync {
    fn acquire(&self, ticket: Ticket, n: u32, patience: Patience) -> Acquiring<'_>;
}

#[cfg(feature = "queue")]
impl<S: Source + fmt::Debug> Queue for Waiting<S> {
    fn acquire(&self, _: Ticket, n: u32, patience: Patience) -> Acquiring<'_> {
        Box::pin(self.acquire_with(n, patience))
    }
}

/// A queue for each key, by tier.
#[cfg(feature = "queue")]
impl<P: MeterMap<HashedKey>> Queue for Vec<Keyed<HashedKey, P>> {
    fn acquire(&self, ticket: Ticket, n: u32, patience: Patience) -> Acquiring<'_> {
        let keyed = &self[usize::from(ticket.tier)];
        Box::pin(async move { keyed.acquire_key_with(&ticket.key, n, patience).await })
    }
}
