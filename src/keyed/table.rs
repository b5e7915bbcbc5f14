//! A table as a whole: builds it, changes its quotas, and reports on all its keys (the statistics, and the keys that owe most).

use super::bucket::HashBucket;
use super::hash::KeyHash;
use super::limits::{LatestLimits, Limits};
use super::slot::{Form, MOST_LIMITS, Ordering};
use super::{ForeignTier, KeyHashes, KeyedMeter, Table, Tallies, Tier, WhenFull};
use crate::algorithm::Algorithm;
use crate::clock::Clock;
use crate::clock::When;
use crate::error::InconsistentCapacity;
use crate::meter::{Meter, MeterKind};
use crate::outcome::Status;
use crate::quota::Quota;
use crate::schedule::Schedule;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::{vec, vec::Vec};
use core::borrow::Borrow;
use core::cmp::Reverse;
use core::error::Error;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::marker::PhantomData;
#[cfg(feature = "std")]
use {crate::units::Nanos, std::sync::PoisonError};

/// Builds a [`KeyedMeter`] with a chosen algorithm, clock, tiers, hash, or policy for a full bucket.
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
    schedules: Vec<Schedule<M::Algorithm>>,
    /// The tier of each schedule.
    tiers: Vec<Tier>,
    clock: M::Clock,
    when_full: WhenFull,
    hashes: S,
    is_adjustable: bool,
}

impl<A: Algorithm, C: Clock> KeyedBuilder<Meter<A, C>> {
    /// Begins with a template for the meter of each key: its limit becomes the first tier, and all keys use its clock. The cells that it has counted
    /// do not matter.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn new(like: Meter<A, C>) -> Self {
        Self::with_hashes(like, KeyHashes::random())
    }
}

impl<A: Algorithm, C: Clock, S> KeyedBuilder<Meter<A, C>, S> {
    /// Begins with a template for the meter of each key, and a hash of keys. Without the feature `std` this is the only way to begin, because
    /// only the caller has a source of random numbers there.
    ///
    /// ```
    /// use ratelimit_meter::keyed::{KeyHashes, KeyedBuilder};
    /// use ratelimit_meter::{GCRA, Quota, time};
    ///
    /// let seed = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0]; // from the board's source of entropy
    /// let like = GCRA::from_quota("10/s".parse::<Quota>()?)?;
    /// let sensors = KeyedBuilder::with_hashes(like, KeyHashes::with_seed(seed)).with_capacity::<[u8; 6]>(100)?;
    /// let now = time::at(100_000_000_000_000); // of the board's clock
    /// assert!((0..10).all(|_| sensors.check_at(&[0; 6], now).is_ok()));
    /// assert!(sensors.check_at(&[0; 6], now).is_err());
    /// assert!(sensors.check_at(&[1; 6], now).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_hashes(like: Meter<A, C>, hashes: S) -> Self {
        let (schedule, _, clock) = like.into_parts();
        Self {
            schedules: vec![schedule],
            tiers: vec![Tier::FIRST],
            clock,
            when_full: WhenFull::default(),
            hashes,
            is_adjustable: false,
        }
    }
}

impl<M: MeterKind, S> KeyedBuilder<M, S> {
    /// Adds a tier, of the same algorithm; select it with [`KeyedMeter::in_tier`].
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if there are 16 tiers already, or the quota is invalid for the meter.
    pub fn tier(mut self, quota: Quota) -> Result<(Self, Tier), InvalidTable> {
        if self.tiers.len() == MOST_LIMITS {
            return Err(InvalidTable::TooManyTiers);
        }
        let tier = Tier::new();
        self.schedules.push(self.schedules[0].with_quota(quota)?);
        self.tiers.push(tier);
        Ok((self, tier))
    }

    /// Sets the policy for a key if all slots that it might take belong to other live keys; [`WhenFull::Forgive`] by default.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        Self { when_full, ..self }
    }

    /// Allows [`KeyedMeter::set_quota`] to change the quotas of the tiers while the table is in use.
    ///
    /// Costs as much of a slot's word as one more tier: see [`InvalidTable::WordTooNarrow`].
    #[cfg(feature = "std")]
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
            schedules: self.schedules,
            tiers: self.tiers,
            clock: self.clock,
            when_full: self.when_full,
            hashes,
            is_adjustable: self.is_adjustable,
        }
    }

    /// Returns a table for `keys` live keys, or for half as many again while that takes at most 192 KiB. It takes 20 bytes for each key of its
    /// [capacity](KeyedMeter::capacity), and at least 8 KiB.
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
        let form = Form::for_limits(limits);
        let too_wide = InvalidTable::WordTooNarrow {
            bits: form.bits(),
            tiers,
        };
        let schedules: Option<Vec<_>> = self
            .schedules
            .iter()
            .map(|schedule| schedule.below(form.end()))
            .collect();
        let limits = schedules.and_then(|schedules| Limits::new(&schedules, form, self.when_full));
        let limits = Arc::new(limits.ok_or(too_wide)?);
        Ok(KeyedMeter {
            table: Arc::new(Table {
                buckets: empty(size)?,
                tallies: Tallies::default(),
                tiers: self.tiers.into_boxed_slice(),
                #[cfg(feature = "std")]
                is_adjustable: self.is_adjustable,
                latest: LatestLimits::new(limits.clone()),
                #[cfg(feature = "std")]
                changing: std::sync::Mutex::new(()),
            }),
            limits,
            hashes: self.hashes,
            clock: self.clock,
            tier: None,
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

/// The number of live keys that a bucket is meant for. Keys fall on buckets at random. With this many on average in 508 slots, a new key finds 508
/// other keys in its bucket once in 180,000 times: P(X >= 508) = 5.6e-6 for a Poisson variable X. (With 420 on average it is once in 58,000.)
const KEYS_A_BUCKET: usize = if cfg!(ratelimit_meter_loom) {
    1
} else if cfg!(ratelimit_meter_stress) {
    4
} else {
    415
};

/// Up to this number of buckets, 192 KiB, a table has room for half as many keys again: it fits the second-level cache of any processor. More searches
/// then end at their first slot, where the branch predictor expects it: among 4096 `u64` keys a decision took 38 ns instead of 48.
const ROOMY_BUCKETS: usize = if cfg!(any(ratelimit_meter_loom, ratelimit_meter_stress)) {
    0
} else {
    24
};

/// The size of a table, in keys or in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Keys(usize),
    Bytes(usize),
}

/// Allocates the buckets of an empty table.
fn empty(size: Size) -> Result<Box<[HashBucket]>, InvalidTable> {
    let buckets = match size {
        Size::Keys(0) => return Err(InvalidTable::NoCapacity),
        Size::Keys(keys) => {
            let roomy = keys.saturating_add(keys / 2).div_ceil(KEYS_A_BUCKET);
            keys.div_ceil(KEYS_A_BUCKET).max(roomy.min(ROOMY_BUCKETS))
        }
        Size::Bytes(bytes) if bytes < size_of::<HashBucket>() => {
            return Err(InvalidTable::TooLittleMemory {
                bytes,
                least: size_of::<HashBucket>(),
            });
        }
        Size::Bytes(bytes) => bytes / size_of::<HashBucket>(),
    };
    let mut table = Vec::new();
    table
        .try_reserve_exact(buckets)
        .map_err(|_| InvalidTable::TooMuchMemory { buckets })?;
    table.resize_with(buckets, HashBucket::default);
    Ok(table.into_boxed_slice())
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    /// Returns the number of live keys that the table is meant for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.table.buckets.len() * KEYS_A_BUCKET
    }

    /// Returns the memory that the table takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of_val(&*self.table.buckets)
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    /// Sets the quota of a tier now, for all handles at once.
    ///
    /// Each key keeps its available cells and its debt, as with [`Adjustable`](crate::Adjustable): time until now is credited at the old rate. The
    /// change gives no key a burst, not even a key without a slot, which counts as idle by the former quota. A debt that would reach past the end of
    /// the table's time line is cut to the end. Setting the quota that is already set changes nothing.
    ///
    /// No decision waits for a change. Changes wait for each other, and each goes through the whole table: about 40 ms for a million keys with debt. A handle
    /// that was made before a change takes about 10 ns longer for each decision after it; a clone of that handle does not.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`], and nothing has changed, if the table was not built [adjustable](KeyedBuilder::adjustable), the quota is invalid, or
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
    #[cfg(feature = "std")]
    pub fn set_quota(&self, tier: Tier, quota: Quota) -> Result<(), InvalidTable> {
        self.set_quota_at(tier, quota, self.clock.now_exactly())
    }

    /// Sets the quota of a tier at `at`; see [`set_quota`](Self::set_quota).
    ///
    /// All decisions after the call use the new quota. Time until `at` is credited at the old rate. If `at` is before the last change of the table,
    /// the time of that change counts instead. So after one wrong `at` years ahead, each key is denied until then once its burst is spent.
    ///
    /// # Errors
    ///
    /// As [`set_quota`](Self::set_quota).
    #[cfg(feature = "std")]
    pub fn set_quota_at(&self, tier: Tier, quota: Quota, at: Instant) -> Result<(), InvalidTable> {
        let number = tier.number_in(&self.table.tiers)?;
        let at = self.limits.schedule(0).time_line.position(at);
        self.table.set_quota(number, quota, at)
    }

    /// Returns the quota of a tier; `None` if its meter was made from T and tau, and no quota was set since.
    ///
    /// # Errors
    ///
    /// [`ForeignTier`] if the tier belongs to another table.
    pub fn quota(&self, tier: Tier) -> Result<Option<Quota>, ForeignTier> {
        let number = tier.number_in(&self.table.tiers)?;
        Ok(self.table.latest.get().schedule(number).quota)
    }
}

#[cfg(feature = "std")]
impl<A: Algorithm> Table<A> {
    /// Sets the quota of a tier: publishes the new limits, which readers use at once, then converts each bucket.
    fn set_quota(&self, tier: u8, quota: Quota, at: Nanos) -> Result<(), InvalidTable> {
        // A number may be free in any table: three tiers take four.
        if !self.is_adjustable {
            return Err(InvalidTable::NotAdjustable);
        }
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
        for bucket in &self.buckets {
            bucket.convert(&next);
        }
        next.forget_former();
        Ok(())
    }
}

/// The occupancy of a table, and counts of the events in which a key found no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of live keys: those that are not idle.
    pub live: usize,
    /// The number of slots that hold a key, live or idle.
    pub taken: usize,
    /// The number of slots.
    pub slots: usize,
    /// The number of live keys that were evicted to make room, with their debts cancelled.
    pub forgiven: u64,
    /// The number of times that, because a key found no slot, a request was denied, or a charge or a restored key was not recorded.
    pub denied: u64,
    /// The number of steps that were not recorded because a key found no slot: admitted requests, charges and restored keys.
    pub admitted: u64,
}

impl Stats {
    /// Returns the share of the slots whose keys are live.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share of 2^53 slots")]
    pub fn occupancy(&self) -> f64 {
        self.live as f64 / self.slots as f64
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    /// Returns the statistics of the table now. Reads the whole table, which takes about a millisecond for 100,000 keys.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats_when(When::Now)
    }

    /// Returns the statistics of the table at `at`; see [`stats`](Self::stats).
    ///
    /// ```
    /// use ratelimit_meter::{KeyedMeter, Quota};
    /// use std::time::{Duration, Instant};
    ///
    /// let keys = KeyedMeter::<u32>::with_capacity("1/s".parse::<Quota>()?, 1000)?;
    /// let now = Instant::now();
    /// for key in 0..100 {
    ///     keys.check_at(&key, now).unwrap();
    /// }
    /// assert_eq!(keys.stats_at(now).live, 100);
    /// assert_eq!(keys.stats_at(now + Duration::from_secs(1)).live, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats_at(&self, at: Instant) -> Stats {
        self.stats_when(When::At(at.into()))
    }

    fn stats_when(&self, when: When) -> Stats {
        let table = &*self.table;
        let at = when.position(&self.clock, &self.limits.schedule(0).time_line);
        let count = |limits: &Limits<M::Algorithm>| {
            let (mut live, mut taken) = (0, 0);
            for (_, state) in table.buckets.iter().flat_map(HashBucket::residents) {
                taken += 1;
                live += usize::from(limits.is_live(state, at)?);
            }
            Ok((live, taken))
        };
        let (live, taken) = table.latest.act(count);
        // ORDERING: relaxed. Counts of events, which order nothing.
        let [denied, admitted] =
            [&table.tallies.denied, &table.tallies.admitted].map(|tally| tally.load(Ordering::Relaxed));
        let forgiven = table.buckets.iter().map(HashBucket::evicted).sum();
        Stats {
            live,
            taken,
            slots: table.slots(),
            forgiven,
            denied,
            admitted,
        }
    }
}

/// A key that owes cells, as [`KeyedMeter::top`] reports it.
#[derive(Debug, Clone, Copy)]
pub struct Debtor {
    id: u64,
    status: Status,
}

impl Debtor {
    /// Returns the number by which the table identifies the key: [`KeyedMeter::id`] returns the same number for the key.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns the status of the key's meter; [`Status::until_rest`] is the time until its debt has drained.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }
}

impl<K: ?Sized, M: MeterKind, S: BuildHasher> KeyedMeter<K, M, S> {
    /// Returns the number by which the table identifies `key`, as [`top`](Self::top) reports it.
    ///
    /// A table keeps no keys, only parts of their hashes. In a table of b buckets (one for every 415 keys), two keys have the same number, and share a
    /// slot, with a probability of 2^-48 / b.
    #[must_use]
    pub fn id<Q: Hash + ?Sized>(&self, key: &Q) -> u64
    where
        K: Borrow<Q>,
    {
        let (key, buckets) = (self.hashed(key), self.table.buckets.len());
        lowest(key.id(), key.bucket_of(buckets), buckets)
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    /// Returns the `n` keys whose debts take longest to drain, the longest first. Live keys only, so there may be fewer.
    ///
    /// Reads the whole table, as [`stats`](Self::stats) does: about a millisecond for 100,000 keys, and the logarithm of `n` for each live key.
    /// Allocates `n` entries. Blocks no decision; a key that is charged meanwhile is reported as it was or as it is.
    ///
    /// The table knows keys by [`id`](Self::id). To name them, keep a map from ids to names, such as a log of recent clients.
    ///
    /// ```
    /// use ratelimit_meter::{KeyedMeter, Quota};
    /// use std::collections::HashMap;
    ///
    /// let table = KeyedMeter::<str>::with_capacity("10/min".parse::<Quota>()?, 1000)?;
    /// let mut names = HashMap::new();
    /// for (name, requests) in [("alice", 2), ("bob", 9), ("carol", 5)] {
    ///     names.insert(table.id(name), name);
    ///     table.check_n(name, requests)?;
    /// }
    /// let top: Vec<_> = table.top(2).iter().map(|debtor| names[&debtor.id()]).collect();
    /// assert_eq!(top, ["bob", "carol"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn top(&self, n: usize) -> Vec<Debtor> {
        self.top_at(n, self.clock.now())
    }

    /// Returns the `n` keys whose debts take longest to drain at `at`; see [`top`](Self::top).
    #[must_use]
    pub fn top_at(&self, n: usize, at: Instant) -> Vec<Debtor> {
        let position = self.limits.schedule(0).time_line.position(at);
        let buckets = &self.table.buckets;
        let longest = |limits: &Limits<M::Algorithm>| {
            // The smallest of the largest is on top.
            let mut longest = BinaryHeap::new();
            for (index, bucket) in buckets.iter().enumerate() {
                for (id, state) in HashBucket::residents(bucket) {
                    if limits.is_live(state, position)? {
                        longest.push(Reverse((limits.idle_from(state)?, lowest(id, index, buckets.len()))));
                    }
                    if longest.len() > n {
                        longest.pop();
                    }
                }
            }
            Ok(longest.into_sorted_vec())
        };
        let longest = self.table.latest.act(longest);
        let debtor = |Reverse((_, id))| Debtor {
            id,
            status: self.meter_of(KeyHash(id), None).status_at(at),
        };
        longest.into_iter().map(debtor).collect()
    }
}

/// Returns the lowest hash of a key with this id in this bucket. Every key that the table cannot distinguish from it has the same.
fn lowest(id: u64, bucket: usize, buckets: usize) -> u64 {
    // The id is that of a key in the bucket, so there is one.
    KeyHash::with_id(id, bucket as u64, buckets).map_or(id, |key| key.0)
}

/// The reason why a [`KeyedMeter`](crate::KeyedMeter) could not be made from the numbers given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidTable {
    /// A capacity of no keys.
    NoCapacity,
    /// Less memory than the smallest table takes.
    TooLittleMemory {
        /// The memory that was offered, in bytes.
        bytes: usize,
        /// The memory that the smallest table takes, in bytes.
        least: usize,
    },
    /// More memory than there is.
    TooMuchMemory {
        /// The number of buckets of 8 KiB that the table would have needed.
        buckets: usize,
    },
    /// More than 16 tiers, or 15 in an [adjustable](KeyedBuilder::adjustable) table.
    TooManyTiers,
    /// A valid quota of a meter, but with too many cells a second for the word of a slot, which is shorter than a meter's.
    ///
    /// | limits | bits of a word | most cells a second for a key | exact instants |
    /// |---|---|---|---|
    /// | 1 tier | 62 | 1,990 million | if a whole number of nanoseconds passes between cells, or a multiple of 1/3; otherwise within 1 ns |
    /// | 2 | 61 | 998 million | if a whole number of nanoseconds passes between cells; otherwise within 2 ns |
    /// | 3 or 4 | 60 | 499 million | within 3 ns |
    /// | 5 to 8 | 59 | 249 million | within 5 ns |
    /// | 9 to 16 | 58 | 124 million | within 9 ns |
    ///
    /// The number of limits is the number of tiers, and one more for an [adjustable](KeyedBuilder::adjustable) table. To make the quota fit, count
    /// larger cells (kilobytes, not bytes), or have fewer tiers.
    WordTooNarrow {
        /// The number of bits of a slot's word.
        bits: u32,
        /// The number of tiers.
        tiers: usize,
    },
    /// A change of quota, in a table that was not built [adjustable](KeyedBuilder::adjustable).
    NotAdjustable,
    /// A tier of another table.
    ForeignTier(ForeignTier),
    /// A quota that is invalid for the meter.
    Quota(InconsistentCapacity),
}

impl fmt::Display for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCapacity => f.write_str("a table needs a capacity of at least one key"),
            Self::TooLittleMemory { bytes, least } => {
                write!(f, "{bytes} bytes are too few for a table, the smallest takes {least}")
            }
            Self::TooMuchMemory { buckets } => write!(f, "no memory for a table of {buckets} buckets of 8 KiB"),
            Self::TooManyTiers => f.write_str("a table has at most 16 tiers, and an adjustable one 15"),
            Self::WordTooNarrow { bits, tiers } => write!(
                f,
                "the quota has too many cells a second for the {bits} bits of a slot's word (tiers: {tiers}): use larger cells or fewer tiers"
            ),
            Self::NotAdjustable => {
                f.write_str("the table's quotas cannot be changed: build it with KeyedBuilder::adjustable()")
            }
            Self::ForeignTier(error) => error.fmt(f),
            Self::Quota(error) => error.fmt(f),
        }
    }
}

impl Error for InvalidTable {}

impl From<InconsistentCapacity> for InvalidTable {
    fn from(error: InconsistentCapacity) -> Self {
        Self::Quota(error)
    }
}

impl From<ForeignTier> for InvalidTable {
    fn from(error: ForeignTier) -> Self {
        Self::ForeignTier(error)
    }
}
