//! A meter per key, in memory that is chosen once.
//!
//! [`KeyedMeter`] is the type. This module holds what goes with it: how it is [built](Builder), [what happens when there is no
//! slot](WhenFull), its [hash](KeyHashes) and its [statistics](Stats).

mod bucket;
mod builder;
#[cfg(feature = "dual")]
mod dual;
mod entry;
mod error;
mod hash;
mod limits;
mod line;
mod many;
mod snapshot;
mod state;
mod stats;
mod table;
mod tiers;
mod verbs;

pub use builder::Builder;
#[cfg(feature = "dual")]
pub use dual::KeyedDual;
pub use error::{ForeignTier, InvalidTable, RestoreKeysError};
pub use hash::{KeyHasher, KeyHashes};
pub use stats::Stats;
pub use tiers::Tier;

use crate::algorithms::Algorithm;
use crate::meter::{GCRA, Meter, MeterKind};
use crate::quota::Quota;
use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::marker::PhantomData;
pub use entry::Entry;
use limits::{Latest, Limits};
use line::KeyHash;
use std::sync::{Arc, Mutex};
use table::Table;
use tiers::Family;

/// What to do about a key without a slot when all slots of its bucket belong to other live keys.
///
/// Each is counted ([`Stats`]), never silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Evicts the live key that is idle first, whose debt is forgiven: no new key is denied.
    #[default]
    Forgive,
    /// Denies, with the instant at which the first slot is free: no debt is forgiven. Until then the key's status is that
    /// nothing remains, too. Such a key owes nothing: [`NonConformance::is_table_full`](crate::NonConformance::is_table_full) tells it from one over its limit.
    Deny,
    /// Admits and does not count: no key suffers for another.
    Admit,
}

/// A rate limiter with a meter `M` per key `K`, in a table of fixed size: nothing is allocated, locked, swept or run in the
/// background once it is built.
///
/// A slot is 14 bytes: the 64-bit word of a meter and 48 bits of a keyed hash. No key is stored, so any `Hash` will do, and what a key type
/// borrows as (`&str` for `String`). The slot of an idle key is reused, so the table has to hold the keys that owe something now, not
/// those ever seen, and a client that invents keys cannot exhaust memory.
///
/// ```
/// use ratelimit_meter::{KeyedMeter, Quota};
///
/// // Ten requests a minute for each client, for up to 100,000 clients at once: 2 MB.
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
/// Live keys are those not idle: as many as new keys arrive while one becomes idle, by Little's law. A million new keys a second
/// with one request each at 10/s are live for 0.1 s each: 100,000. With as many live keys as [`with_capacity`](Self::with_capacity) was given,
/// fewer than one decision in 100,000 finds all slots of its key's bucket taken; then [`WhenFull`] applies.
/// A key may take any of the 508 slots of a bucket of 8 KiB, its search begins at one and usually ends in that cache line. A table takes
/// 20 bytes for each key it is meant for, at least 8 KiB. A table that fits a processor's cache is a tenth faster if built for 1.5 times its keys.
/// (An [`Exponential`](crate::Exponential) is idle 32 periods after its last cell.)
///
/// In a table much larger than the caches most of a decision is spent on address translation. On Linux with glibc,
/// `GLIBC_TUNABLES=glibc.malloc.hugetlb=1` in the environment makes the allocator ask for huge pages: among ten million keys a decision then took 225 ns
/// instead of 286 (Intel Sapphire Rapids, 2026-11-28, a table of this layout).
///
/// # Two keys, one meter
///
/// Two keys of one bucket that agree in 48 bits of their hash share a meter; they are never admitted for free. With the default hash a given key does
/// so with one of the 415 others of its bucket with a probability of 1.5e-12, whoever chose them. Among a million live keys some two do with 1 in
/// 1.4 million.
///
/// # Laws
///
/// Each key's decisions obey [`Decider`](crate::Decider)'s laws as a meter of its own would, except for keys that were evicted or admitted
/// for lack of a slot, and with two words about time:
///
/// - A slot's word is shorter than a meter's, so instants that are not whole numbers of nanoseconds may be a few nanoseconds early, and very high rates do not fit:
///   [`WordTooNarrow`](InvalidTable::WordTooNarrow) has the table.
/// - If a decision on a key is earlier than the latest reuse of a slot, or change of a key's tier, in its bucket, and would be denied at its own time, it is
///   made at the time of that. A new key begins then, too. So law 1 holds for instants that are not earlier.
///
/// A denial of a key stores nothing.
///
/// # Threads
///
/// Clones share the table. Decisions are lock-free on every target this crate compiles for; the protocol by which keys move in is in the source
/// of `keyed::bucket`. A conforming decision orders nothing but the meter itself.
pub struct KeyedMeter<K: ?Sized, M: MeterKind = GCRA, S = KeyHashes> {
    shared: Arc<Shared<M::Algorithm>>,
    /// The latest when this handle was made.
    limits: Arc<Limits<M::Algorithm>>,
    hashes: S,
    clock: M::Clock,
    /// In which tier this handle decides; in each key's own if `None`.
    tier: Option<u8>,
    family: Family,
    key: PhantomData<fn(&K)>,
}

/// The meter of one key of a table, which [`KeyedMeter::key`] returns.
pub type Key<'a, M = GCRA> =
    Meter<<M as MeterKind>::Algorithm, &'a <M as MeterKind>::Clock, Entry<'a, <M as MeterKind>::Algorithm>>;

/// A key of a table, hashed and with its tier; [`KeyedMeter::ticket`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket {
    key: KeyHash,
    tier: Option<u8>,
}

/// Does not tell the key, of which only a hash is known.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

/// What the handles of one table share.
#[derive(Debug)]
struct Shared<A> {
    table: Table,
    latest: Latest<A>,
    /// Held by who changes a quota; no decision asks for it.
    changing: Mutex<()>,
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

    /// Returns a table of `bytes` of memory, less what does not make up a bucket of 8 KiB, with `quota` for each key.
    ///
    /// # Errors
    ///
    /// [`InvalidTable`] if `bytes` is less than 8 KiB or more than there are, or the quota makes no meter.
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
        self.limits.tiers()
    }

    /// Returns `true`: the table is made of atomics of at most 64 bits, which are lock-free on every target that has them.
    #[must_use]
    pub const fn is_lock_free() -> bool {
        true
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
        self.meter_of(self.hashed(key), self.tier)
    }

    /// Returns a ticket of `key`, for the same later and elsewhere: 16 bytes that borrow nothing.
    ///
    /// A ticket of a handle [in a tier](Self::in_tier) is of that tier.
    ///
    /// ```
    /// use ratelimit_meter::{KeyedMeter, Quota, keyed::Ticket};
    ///
    /// let clients = KeyedMeter::<str>::with_capacity("10/s".parse::<Quota>()?, 10_000)?;
    /// let ticket: Ticket = clients.ticket("alice"); // hashed once, say when the client connects
    /// let answers: Vec<_> = (0..11).map(|_| clients.redeem(ticket).check().is_ok()).collect();
    /// assert_eq!(answers.iter().filter(|ok| **ok).count(), 10);
    /// assert!(clients.check("alice").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn ticket<Q: Hash + ?Sized>(&self, key: &Q) -> Ticket
    where
        K: Borrow<Q>,
    {
        Ticket {
            key: self.hashed(key),
            tier: self.tier,
        }
    }

    /// The key as the table knows it.
    #[inline]
    fn hashed<Q: Hash + ?Sized>(&self, key: &Q) -> KeyHash {
        KeyHash(hash::spread(self.hashes.hash_one(key)))
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedMeter<K, M, S> {
    /// Returns the meter of the key whose ticket this is.
    ///
    /// A ticket is of the table that issued it and its clones. In another table it is some key's.
    #[inline]
    pub fn redeem(&self, ticket: Ticket) -> Key<'_, M> {
        let tier = ticket.tier.filter(|tier| usize::from(*tier) < self.tiers());
        self.meter_of(ticket.key, tier)
    }

    #[inline]
    fn meter_of(&self, key: KeyHash, tier: Option<u8>) -> Key<'_, M> {
        Meter::on(self.entry(key, tier), &self.clock)
    }

    #[inline]
    fn entry(&self, key: KeyHash, tier: Option<u8>) -> Entry<'_, M::Algorithm> {
        Entry::new(&self.shared, &self.limits, key, tier)
    }
}

impl<K: ?Sized, M: MeterKind, S: Clone> Clone for KeyedMeter<K, M, S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            limits: self.shared.latest.get(),
            hashes: self.hashes.clone(),
            clock: self.clock.clone(),
            tier: self.tier,
            family: self.family,
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
            .field("when_full", &self.limits.when_full)
            .finish_non_exhaustive()
    }
}
