//! A meter per key, in memory that is chosen once.
//!
//! [`KeyedMeter`] is the type. This module holds what goes with it: how it is [built](Builder), [what happens when there is no
//! slot](WhenFull), its [hash](KeyHashes) and its [statistics](Stats).

mod bucket;
mod builder;
mod entry;
mod error;
mod hasher;
mod key;
mod many;
mod reach;
mod slot;
mod snapshot;
mod stats;
mod table;
mod tiers;
mod verbs;

pub use builder::Builder;
pub use error::{InvalidTable, NegativeTierDecision, NoSuchTier, RestoreKeysError};
pub use hasher::{KeyHasher, KeyHashes};
pub use stats::Stats;

use crate::algorithms::Algorithm;
use crate::meter::{GCRA, Meter, MeterKind};
use crate::quota::Quota;
use crate::schedule::Schedule;
use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::marker::PhantomData;
pub use entry::Entry;
use std::sync::Arc;
use table::Table;

/// What to do about a key that is not there when all slots it might take are live others'.
///
/// Each is counted ([`Stats`]), never silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Forgives what the key that is nearest to rest still owes, and takes its slot: no new key is turned away.
    #[default]
    Forgive,
    /// Denies, with the instant at which the nearest is at rest: nobody is forgiven anything. Until then the key's status is that
    /// nothing remains, too. Such a key owes nothing: [`contains`](KeyedMeter::contains) tells it from one over its limit.
    Deny,
    /// Admits and forgets: no key suffers for another.
    Admit,
}

/// A meter per key `K`, each as a meter `M` would be, in a table of fixed size: nothing is allocated, locked, swept or run in the
/// background once it is built.
///
/// A slot is 16 bytes: 64 bits of a keyed hash and of what goes with it, and the word of a meter. No key is stored, so any `Hash` will do,
/// and what a key type borrows as (`&str` for `String`). A meter at rest is as good as none, so its slot is free for the next key: the
/// table has to hold the keys that owe something now, not those ever seen.
///
/// ```
/// use ratelimit_meter::{KeyedMeter, Quota};
///
/// // Ten requests a minute for each client, for up to 100,000 clients at once: 3 MB.
/// let clients = KeyedMeter::<String>::with_capacity("10/min".parse::<Quota>()?, 100_000)?;
/// for _ in 0..10 {
///     clients.check("192.0.2.1")?;
/// }
/// assert!(clients.check("192.0.2.1").is_err());
/// assert!(clients.check("192.0.2.2").is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # How large
///
/// Live keys are those not at rest: as many as new keys arrive while one takes to rest, by Little's law. A million new keys a second
/// with one request each at 10/s are live for 0.1 s each: 100,000. With as many live keys as [`with_capacity`](Self::with_capacity) was told,
/// fewer than one decision in 100,000 finds all the slots its key may take live others'; then [`WhenFull`] says what is done.
/// A key may take any of the 60 slots of a bucket of 1 KiB, its search begins at one and usually ends in that cache line. A table takes
/// 32 bytes for each key it is meant for. (An [`Exponential`](crate::Exponential) is at rest 32 periods after its last cell.)
///
/// # Two keys, one meter
///
/// Two keys that agree in 59 bits of their hash share a meter; they are never let through for free. With the default hash two given
/// texts of n bytes do with a probability of about (n + 20) / 2^61 at most, whoever chose them. Among a million live keys of 15 bytes any
/// two do with 1 in 130,000 at most, and with 1 in a million if nobody chose them for that.
///
/// # Laws
///
/// Each key's decisions obey [`Decider`](crate::Decider)'s laws as a meter of its own would, but for keys that were forgiven or admitted for
/// want of a slot, and with one word about time: a decision on a key that is earlier than the latest reuse of a slot, or change of a key's
/// tier, in its bucket is made as of that if it would be denied as of its own, and a new key comes in as of that. So law 1 holds for instants
/// that are not earlier than that. A denial of a key stores nothing.
///
/// # Threads
///
/// Clones share the table. Decisions are lock-free where [`is_lock_free`](Self::is_lock_free) (an exchange of 128 bits); the protocol by
/// which keys move in is in the source of `keyed::bucket`. A conforming decision orders nothing but the meter itself.
pub struct KeyedMeter<K: ?Sized, M: MeterKind = GCRA, S = KeyHashes> {
    shared: Arc<Shared<M::Algorithm>>,
    hashes: S,
    clock: M::Clock,
    /// In which tier this handle decides; in each key's own if `None`.
    tier: Option<u8>,
    key: PhantomData<fn(&K)>,
}

/// The meter of one key of a table, which [`KeyedMeter::key`] returns.
pub type Key<'a, M = GCRA> =
    Meter<<M as MeterKind>::Algorithm, &'a <M as MeterKind>::Clock, Entry<'a, <M as MeterKind>::Algorithm>>;

/// What the handles of one table share.
#[derive(Debug)]
struct Shared<A> {
    table: Table,
    tiers: Box<[Schedule<A>]>,
    when_full: WhenFull,
}

impl<K: ?Sized, A: Algorithm> KeyedMeter<K, Meter<A>> {
    /// Returns a table for `keys` live keys, each with `quota`.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if `keys` is zero, memory does not suffice, or the quota makes no meter.
    pub fn with_capacity(quota: Quota, keys: usize) -> Result<Self, InvalidTable> {
        Builder::new(Meter::from_quota(quota)?).with_capacity(keys)
    }

    /// Returns a table of `bytes` of memory, less what does not make up a bucket of 1 KiB, with `quota` for each key.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if `bytes` is less than 1 KiB or more than there are, or the quota makes no meter.
    ///
    /// ```
    /// use ratelimit_meter::{KeyedMeter, LeakyBucket, Quota};
    /// use std::net::IpAddr;
    ///
    /// let sources = KeyedMeter::<IpAddr, LeakyBucket>::with_memory("100/s".parse::<Quota>()?, 64 << 20)?;
    /// assert!(sources.capacity() > 2_000_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_memory(quota: Quota, bytes: usize) -> Result<Self, InvalidTable> {
        Builder::new(Meter::from_quota(quota)?).with_memory(bytes)
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    /// Returns how many live keys the table is meant for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.table.capacity()
    }

    /// Returns how much memory the table takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.shared.table.memory()
    }

    /// Returns how many tiers there are, at least one.
    #[must_use]
    pub fn tiers(&self) -> usize {
        self.shared.tiers.len()
    }

    /// Returns whether no lock is behind the exchanges of 128 bits on this machine: `cmpxchg16b`, `casp` and the like, found out at run
    /// time. Without, each exchange is done under one of a few locks of the process.
    #[must_use]
    pub fn is_lock_free() -> bool {
        slot::is_lock_free()
    }
}

impl<K: ?Sized, M: MeterKind, S: BuildHasher> KeyedMeter<K, M, S> {
    /// Returns the meter of `key`, which has every verb of a [`Meter`]. It borrows the table, not the key.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, KeyedMeter, Quota, check_all};
    ///
    /// let clients = KeyedMeter::<str>::with_capacity("10/s".parse::<Quota>()?, 10_000)?;
    /// let taken = clients.key("alice").take(3);
    /// assert_eq!(taken.status().remaining(), 7);
    ///
    /// // Beside another meter, all or nothing:
    /// let service = GCRA::from_quota("1000/s".parse::<Quota>()?)?;
    /// let allow = |client| check_all(&[(&clients.key(client), 1), (&service, 1)]);
    /// assert!((0..7).all(|_| allow("alice").is_ok()));
    /// assert!(allow("alice").is_err()); // the service's meter has not counted it
    /// assert!(allow("bob").is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn key<Q: Hash + ?Sized>(&self, key: &Q) -> Key<'_, M>
    where
        K: Borrow<Q>,
    {
        let key = Table::key(self.hashes.hash_one(key));
        Meter::on(Entry::new(&self.shared, key, self.tier), &self.clock)
    }
}

impl<K: ?Sized, M: MeterKind, S: Clone> Clone for KeyedMeter<K, M, S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            hashes: self.hashes.clone(),
            clock: self.clock.clone(),
            tier: self.tier,
            key: PhantomData,
        }
    }
}

/// Does not read the table, which is large.
impl<K: ?Sized, M: MeterKind, S> fmt::Debug for KeyedMeter<K, M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedMeter")
            .field("capacity", &self.capacity())
            .field("tiers", &self.tiers())
            .field("when_full", &self.shared.when_full)
            .finish_non_exhaustive()
    }
}
