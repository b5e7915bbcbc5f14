//! Two limits for each key, all or nothing.

use super::{InvalidTable, KeyHashes, KeyedBuilder, KeyedMeter, WhenFull};
use crate::algorithm::Algorithm;
use crate::algorithms::GCRA;
use crate::clock::{Clock, act_now};
use crate::dual::{DualNonConformance, NegativeDualDecision, RefusedBy};
use crate::meter::{Meter, MeterKind};
use crate::outcome::{NegativeMultiDecision, NonConformance, Status};
use crate::quota::DualQuota;
use crate::store::Store as _;
use crate::time::{self, Instant};
use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher, Hash};

/// A rate limiter with two limits per key, such as `10/s & 1000/h` for each client. A request is admitted by both limits, or counted by neither.
///
/// Each limit has its own table, and one hash finds the key in both. So it takes twice the memory and twice the time of a [`KeyedMeter`].
///
/// ```
/// use ratelimit_meter::{RefusedBy, keyed::KeyedDual};
///
/// let clients = KeyedDual::<str>::with_capacity("10/s & 100/h".parse()?, 10_000)?;
/// let served = (0..200).filter(|_| clients.check("alice").is_ok()).count();
/// assert!((10..20).contains(&served));
/// assert_eq!(clients.check("alice").unwrap_err().refused_by(), RefusedBy::First);
/// assert!(clients.check("bob").is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Why two tables
///
/// One exchange decides on 64 bits, and two words of a meter do not fit into them. Each word would have 31 bits, less its version: too few for a time
/// in nanoseconds over hours. [`Dual`](crate::Dual) exchanges 128 bits, which is not lock-free on every target, as a table has to be.
///
/// # Laws
///
/// Each limit admits no more than its own law allows, under any interleaving. A decision looks at both limits first, so a denial counts nothing. If
/// both have room, the first limit counts the cells and then the second. Another thread may take the second limit's last cells between the look and
/// the charge. Then the first limit gets its cells back, as with [`Reservation::cancel`](crate::Reservation::cancel). A strict
/// average whose cells another thread took counts that denial; its companion counts none.
///
/// *Invariant*: giving back never makes the first limit admit more than it allows. *Proof*: the cells given back were not admitted, and no drained
/// part of them is given back (see [`cancel`](crate::Reservation::cancel)).
///
/// Until the cells are given back, the first limit may deny other threads for lack of them. (If the caller gives the time of the decision, the cells
/// are given back at that time.)
///
/// With [`WhenFull::Forgive`] and [`WhenFull::Admit`], a key may be evicted from one table and not from the other.
pub struct KeyedDual<K: ?Sized, M: MeterKind = GCRA, S = KeyHashes> {
    first: KeyedMeter<K, M, S>,
    second: KeyedMeter<K, M, S>,
}

impl<K: ?Sized, A: Algorithm> KeyedDual<K, Meter<A>> {
    /// Returns two tables for `keys` live keys, each with both quotas.
    ///
    /// # Errors
    ///
    /// As [`KeyedMeter::with_capacity`].
    pub fn with_capacity(quotas: DualQuota, keys: usize) -> Result<Self, InvalidTable> {
        let [first, second] = [quotas.first(), quotas.second()];
        Self::new(
            Meter::from_quota(first)?,
            Meter::from_quota(second)?,
            WhenFull::default(),
            keys,
        )
    }
}

impl<K: ?Sized, A: Algorithm, C: Clock> KeyedDual<K, Meter<A, C>> {
    /// Returns two tables for `keys` live keys, with meters like these; both use the clock of `first`.
    ///
    /// # Errors
    ///
    /// As [`KeyedMeter::with_capacity`].
    pub fn new(
        first: Meter<A, C>,
        second: Meter<A, C>,
        when_full: WhenFull,
        keys: usize,
    ) -> Result<Self, InvalidTable> {
        Self::with_hashes(first, second, KeyHashes::random(), when_full, keys)
    }
}

impl<K: ?Sized, A: Algorithm, C: Clock, S: Clone> KeyedDual<K, Meter<A, C>, S> {
    /// Returns two tables for `keys` live keys, with meters like these and a hash of keys; both use the clock of `first`.
    ///
    /// With the same seed in the next process, the debts outlive a restart: each table has its own snapshot.
    ///
    /// # Errors
    ///
    /// As [`KeyedMeter::with_capacity`].
    ///
    /// ```
    /// use ratelimit_meter::keyed::{KeyHashes, KeyedDual, WhenFull};
    /// use ratelimit_meter::{DualQuota, GCRA};
    ///
    /// let tables = || -> Result<KeyedDual<str>, Box<dyn std::error::Error>> {
    ///     let quotas: DualQuota = "10/s & 3/h".parse()?;
    ///     let [first, second] = [GCRA::from_quota(quotas.first())?, GCRA::from_quota(quotas.second())?];
    ///     let hashes = KeyHashes::with_seed([2024, 11, 28]); // from the configuration
    ///     Ok(KeyedDual::with_hashes(first, second, hashes, WhenFull::Forgive, 1000)?)
    /// };
    /// let before = tables()?;
    /// assert!((0..3).all(|_| before.check("alice").is_ok()));
    /// let mut files = [Vec::new(), Vec::new()];
    /// before.first().snapshot_to(&mut files[0])?;
    /// before.second().snapshot_to(&mut files[1])?;
    ///
    /// let after = tables()?; // in the next process
    /// after.first().restore_from(&files[0][..])?;
    /// after.second().restore_from(&files[1][..])?;
    /// assert!(after.check("alice").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_hashes(
        first: Meter<A, C>,
        second: Meter<A, C>,
        hashes: S,
        when_full: WhenFull,
        keys: usize,
    ) -> Result<Self, InvalidTable> {
        let second = second.with_clock(first.clock().clone());
        let table = |like, hashes| {
            KeyedBuilder::with_hashes(like, hashes)
                .when_full(when_full)
                .with_capacity(keys)
        };
        Ok(Self {
            first: table(first, hashes.clone())?,
            second: table(second, hashes)?,
        })
    }
}

impl<K: ?Sized, M: MeterKind, S> KeyedDual<K, M, S> {
    /// Returns the table of the first limit, for its statistics, its snapshots, and decisions by that limit alone.
    #[must_use]
    pub const fn first(&self) -> &KeyedMeter<K, M, S> {
        &self.first
    }

    /// Returns the table of the second limit.
    #[must_use]
    pub const fn second(&self) -> &KeyedMeter<K, M, S> {
        &self.second
    }
}

impl<K: ?Sized, M: MeterKind, S: BuildHasher> KeyedDual<K, M, S> {
    /// Decides one cell of `key` now, and counts it by both limits if it conforms to both.
    ///
    /// # Errors
    ///
    /// [`DualNonConformance`], which holds the limit that denied, and the instant from which both would admit.
    pub fn check<Q: Hash + ?Sized>(&self, key: &Q) -> Result<(), DualNonConformance>
    where
        K: Borrow<Q>,
    {
        let exactly_now = || self.first.clock.now_exactly();
        let decide = |at| single(at, self.decide(key, [1, 1], at, exactly_now));
        // A denial that counts must not be tried twice: another thread may take the last cells between the look and the charge. Denials for lack of a
        // slot count in the statistics.
        let counts_missing_slots = self.first.limits.when_full == WhenFull::Deny;
        if counts_missing_slots || self.first.counts_denials() || self.second.counts_denials() {
            return decide(exactly_now());
        }
        let now = self.first.clock.now();
        act_now(now, exactly_now, decide, |denied| {
            denied.earliest_possible() <= time::after(now, <M::Clock as Clock>::LAG_NS)
        })
    }

    /// Decides one cell of `key` at `at`; see [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn check_at<Q: Hash + ?Sized>(&self, key: &Q, at: Instant) -> Result<(), DualNonConformance>
    where
        K: Borrow<Q>,
    {
        single(at, self.check_each_at(key, [1, 1], at))
    }

    /// Decides `n` cells of the first and of the second limit for `key` at `at`, and counts all of them if all conform.
    ///
    /// # Errors
    ///
    /// [`NegativeDualDecision`]. It holds the limit that denied and the instant from which both would admit, or reports that the cells exceed a burst.
    pub fn check_each_at<Q: Hash + ?Sized>(&self, key: &Q, n: [u32; 2], at: Instant) -> Result<(), NegativeDualDecision>
    where
        K: Borrow<Q>,
    {
        self.decide(key, n, at, || at)
    }

    /// Decides at `at`. If cells must be given back, gives them back at the later time that `now` returns.
    fn decide<Q: Hash + ?Sized>(
        &self,
        key: &Q,
        n: [u32; 2],
        at: Instant,
        now: impl Fn() -> Instant,
    ) -> Result<(), NegativeDualDecision>
    where
        K: Borrow<Q>,
    {
        let ticket = self.first.ticket(key);
        let meters = [self.first.redeem(ticket), self.second.redeem(ticket)];
        let look = |index: usize| {
            let looked = meters[index].peek_n_at(n[index], at);
            if let Err(NegativeMultiDecision::BatchNonConforming(_, denial)) = looked {
                if denial.is_table_full() {
                    meters[index].store().count_missing_slot();
                }
            }
            looked
        };
        let denied = |[first, second]: [Result<(), NegativeMultiDecision>; 2]| both(n, first, second);
        denied([look(0), look(1)])?;
        if let Err(lost) = meters[0].check_n_at(n[0], at) {
            return denied([Err(lost), look(1)]);
        }
        let Err(lost) = meters[1].check_n_at(n[1], at) else {
            return Ok(());
        };
        meters[0].give_back(n[0], at, now());
        denied([look(0), Err(lost)])
    }

    /// Returns the key's status by each limit now.
    #[must_use]
    pub fn status<Q: Hash + ?Sized>(&self, key: &Q) -> [Status; 2]
    where
        K: Borrow<Q>,
    {
        self.status_at(key, self.first.clock.now())
    }

    /// Returns the key's status by each limit at `at`.
    #[must_use]
    pub fn status_at<Q: Hash + ?Sized>(&self, key: &Q, at: Instant) -> [Status; 2]
    where
        K: Borrow<Q>,
    {
        let ticket = self.first.ticket(key);
        [&self.first, &self.second].map(|table| table.redeem(ticket).status_at(at))
    }
}

/// Converts the decision on one cell of each limit.
fn single(at: Instant, decided: Result<(), NegativeDualDecision>) -> Result<(), DualNonConformance> {
    decided.map_err(|denied| match denied {
        NegativeDualDecision::BatchNonConforming(_, denied) => denied,
        // One cell fits every burst, so this does not happen.
        NegativeDualDecision::InsufficientCapacity(_, by) => DualNonConformance::new(NonConformance::at(at), by),
    })
}

/// Combines the decisions of both limits.
fn both(
    n: [u32; 2],
    first: Result<(), NegativeMultiDecision>,
    second: Result<(), NegativeMultiDecision>,
) -> Result<(), NegativeDualDecision> {
    use NegativeMultiDecision::{BatchNonConforming, InsufficientCapacity};
    let Some(by) = RefusedBy::of(first.is_err(), second.is_err()) else {
        return Ok(());
    };
    let is_never = |decided: &Result<(), _>| matches!(decided, Err(InsufficientCapacity(_)));
    if let Some(by) = RefusedBy::of(is_never(&first), is_never(&second)) {
        return Err(NegativeDualDecision::InsufficientCapacity(n, by));
    }
    let denials = [first, second].into_iter().filter_map(|decided| match decided {
        Err(BatchNonConforming(_, denied)) => Some(denied),
        _ => None,
    });
    match denials.max_by_key(NonConformance::earliest_possible) {
        Some(later) => Err(NegativeDualDecision::BatchNonConforming(
            n,
            DualNonConformance::new(later, by),
        )),
        None => Ok(()),
    }
}

impl<K: ?Sized, M: MeterKind, S: Clone> Clone for KeyedDual<K, M, S> {
    fn clone(&self) -> Self {
        Self {
            first: self.first.clone(),
            second: self.second.clone(),
        }
    }
}

/// Does not read the tables, which are large.
impl<K: ?Sized, M: MeterKind, S> fmt::Debug for KeyedDual<K, M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedDual")
            .field("first", &self.first)
            .field("second", &self.second)
            .finish()
    }
}
