//! A table as a whole: the parts that its handles share, the changes of its quotas, and reports on all its keys (the statistics, and the keys that
//! owe most).

use super::bucket::HashBucket;
use super::builder::KEYS_A_BUCKET;
use super::hash::KeyHash;
use super::limits::{LatestLimits, Limits};
use super::slot::{AtomicU64, Ordering};
use super::{ForeignTier, KeyedMeter, Tier};
use crate::clock::{Clock, When};
use crate::meter::MeterKind;
use crate::outcome::Status;
use crate::quota::Quota;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Reverse;
use core::hash::{BuildHasher, Hash};
#[cfg(feature = "std")]
use {
    super::builder::InvalidTable,
    crate::algorithm::Algorithm,
    crate::schedule::Schedule,
    crate::units::Nanos,
    std::sync::{Mutex, PoisonError},
};

/// A table, which all its handles share.
#[derive(Debug)]
pub(super) struct Table<A> {
    pub(super) buckets: Box<[HashBucket]>,
    pub(super) tallies: Tallies,
    /// The tiers, in the order of their numbers.
    pub(super) tiers: Box<[Tier]>,
    #[cfg(feature = "std")]
    pub(super) is_adjustable: bool,
    pub(super) latest: LatestLimits<A>,
    /// Held by a thread that changes a quota; decisions do not use it.
    #[cfg(feature = "std")]
    pub(super) changing: Mutex<()>,
}

/// The number of buckets that a second-level cache may hold: those of 1 MiB.
const LARGE: usize = 128;

impl<A> Table<A> {
    /// Returns whether the table is too large for the second-level cache of most processors.
    #[inline]
    pub(super) fn is_large(&self) -> bool {
        self.buckets.len() > LARGE
    }

    /// Begins to fetch the home of the key with this hash, if the table is [large](Self::is_large).
    ///
    /// Call it before the clock is read. A load would wait for the exchange of the last decision, and would delay the reading of the clock. A prefetch
    /// does neither. On an Intel processor, a key among a million takes 125 ns instead of 190.
    #[inline]
    pub(super) fn fetch(&self, hash: u64) {
        if self.is_large() {
            let key = KeyHash::spread(hash);
            self.bucket(key).lines[key.home()].fetch();
        }
    }

    /// Returns the bucket of a key.
    #[inline]
    pub(super) fn bucket(&self, key: KeyHash) -> &HashBucket {
        &self.buckets[key.bucket_of(self.buckets.len())]
    }

    pub(super) fn slots(&self) -> usize {
        self.buckets.len() * HashBucket::SLOTS
    }
}

/// Counts of the events in which a key found its bucket full, and was denied or admitted uncounted. (Each bucket counts its own evictions.)
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tallies {
    pub(super) denied: AtomicU64,
    pub(super) admitted: AtomicU64,
}

impl Tallies {
    pub(super) fn count(tally: &AtomicU64) {
        // ORDERING: relaxed. A count of events, which orders nothing.
        tally.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes back an event that was counted.
    pub(super) fn uncount(tally: &AtomicU64) {
        // ORDERING: relaxed, as in `count`.
        tally.fetch_sub(1, Ordering::Relaxed);
    }
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

    /// Sets the quota of a tier now, for all handles at once.
    ///
    /// Each key keeps its available cells and its debt, as with [`Adjustable`](crate::Adjustable): time until now is credited at the old rate. The
    /// change gives no key a burst, not even a key without a slot, which counts as idle by the former quota. A debt that would reach past the end of
    /// the table's time line is cut to the end. Setting the quota that is already set changes nothing.
    ///
    /// No decision waits for a change. Changes wait for each other, and each goes through the whole table: about 40 ms for a million keys with debt. A handle
    /// that was made before a change takes about 10 ns longer for each decision after it. The first such decision of a thread allocates once. A clone
    /// of that handle does neither.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`], and nothing has changed, if the table was not built [adjustable](super::KeyedBuilder::adjustable), the quota is invalid, or
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
    /// A table keeps no keys, only parts of their hashes. A table has a bucket for every 415 keys. With b buckets, two keys have the same number, and
    /// share a slot, with a probability of 2^-48 / b.
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
