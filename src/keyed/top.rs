//! The keys that owe most.

use super::bucket::Bucket;
use super::{KeyHash, KeyedMeter, Limits};
use crate::clock::Clock;
use crate::meter::MeterKind;
use crate::outcome::Status;
use crate::time::Instant;
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Reverse;
use core::hash::{BuildHasher, Hash};

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
        let (key, buckets) = (self.hashed(key), self.shared.table.buckets().len());
        number(key.id(), key.bucket_of(buckets), buckets)
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    /// Returns the `n` keys whose debts take longest to drain, the longest first. Live keys only, so there may be fewer.
    ///
    /// Reads the whole table, as [`stats`](Self::stats) does: a millisecond for some hundred thousand keys, and the logarithm of `n` for each live key.
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
        let buckets = self.shared.table.buckets();
        let longest = |limits: &Limits<M::Algorithm>| {
            // The smallest of the largest is on top.
            let mut longest = BinaryHeap::new();
            for (index, bucket) in buckets.iter().enumerate() {
                for (id, state) in Bucket::residents(bucket) {
                    if limits.is_live(state, position)? {
                        longest.push(Reverse((limits.idle_from(state)?, number(id, index, buckets.len()))));
                    }
                    if longest.len() > n {
                        longest.pop();
                    }
                }
            }
            Ok(longest.into_sorted_vec())
        };
        let longest = self.shared.latest.act(longest);
        let debtor = |Reverse((_, id))| Debtor {
            id,
            status: self.meter_of(KeyHash(id), None).status_at(at),
        };
        longest.into_iter().map(debtor).collect()
    }
}

/// Returns the lowest hash of a key with this id in this bucket. Every key that the table cannot distinguish from it has the same.
fn number(id: u64, bucket: usize, buckets: usize) -> u64 {
    // The id is that of a key in the bucket, so there is one.
    KeyHash::with_id(id, bucket as u64, buckets).map_or(id, |key| key.0)
}
