//! Waiting for one meter of many, by key.

use crate::acquire::{Acquire, Wait};
use crate::error::AcquireError;
use crate::metered::OfKey;
use crate::patience::{self, Patience};
use crate::queue::Queue;
use crate::source::Source;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use parking_lot::Mutex;
use ratelimit_meter::{KeyedMeter, MeterKind};
use std::collections::HashMap;
use std::sync::Arc;

/// Leads to the meter of a key: a function from keys to handles does.
///
/// What it returns for one key, each time, must share one state, as clones of a [`Meter`](ratelimit_meter::Meter) do.
pub trait PerKey<K>: Send + Sync {
    /// The meter of a key.
    type Meter: Source;

    /// Returns the meter of `key`.
    fn meter(&self, key: &K) -> Self::Meter;
}

impl<K, S, F> PerKey<K> for F
where
    S: Source,
    F: Fn(&K) -> S + Send + Sync,
{
    type Meter = S;

    fn meter(&self, key: &K) -> S {
        self(key)
    }
}

/// Leads to the meter that a table has for a key; see [`Keyed::of_table`].
#[derive(Debug)]
pub struct Table<K, M: MeterKind, S>(KeyedMeter<K, M, S>);

impl<K, M, S> PerKey<K> for Table<K, M, S>
where
    K: Hash + Clone + Send + Sync + 'static,
    M: MeterKind<Clock: 'static, Algorithm: 'static> + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    type Meter = OfKey<K, M, S>;

    fn meter(&self, key: &K) -> Self::Meter {
        OfKey {
            table: self.0.clone(),
            key: key.clone(),
        }
    }
}

/// Adds waiting to meters of keys: first come, first served, for each key.
///
/// A key has state here only while somebody waits for its cells. (One that forgets its future keeps it.)
///
/// ```
/// use ratelimit_meter::{GCRA, Quota};
/// use ratelimit_meter_tokio::Keyed;
/// use std::collections::HashMap;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let quota: Quota = "10/s burst 1".parse()?;
/// let tenants = HashMap::from([("red", GCRA::from_quota(quota)?), ("blue", GCRA::from_quota(quota)?)]);
/// let limiter = Keyed::new(move |tenant: &&str| tenants[tenant].clone());
/// let start = tokio::time::Instant::now();
/// for _ in 0..3 {
///     limiter.acquire_key(&"red", 1).await?;
///     limiter.acquire_key(&"blue", 1).await?;
/// }
/// assert_eq!(start.elapsed().as_millis(), 200);
/// # Ok(())
/// # }
/// ```
pub struct Keyed<K, P: PerKey<K>> {
    meters: P,
    queues: Mutex<HashMap<K, Entry<P::Meter>>>,
}

/// The queue of a key for which somebody waits.
struct Entry<S: Source> {
    queue: Arc<Queue<S>>,
    /// How many wait, or are about to.
    members: usize,
}

/// One who waits for cells of a key.
struct Member<'a, K: Eq + Hash, P: PerKey<K>> {
    keyed: &'a Keyed<K, P>,
    key: &'a K,
    queue: Arc<Queue<P::Meter>>,
}

impl<K, M, S> Keyed<K, Table<K, M, S>>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    M: MeterKind<Clock: 'static, Algorithm: 'static> + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// Returns a fair limiter of the meters in a table.
    ///
    /// ```
    /// use ratelimit_meter::{KeyedMeter, Quota};
    /// use ratelimit_meter_tokio::Keyed;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clients = KeyedMeter::<String>::with_capacity("10/s burst 1".parse::<Quota>()?, 10_000)?;
    /// let limiter = Keyed::of_table(clients.clone());
    /// let start = tokio::time::Instant::now();
    /// for _ in 0..3 {
    ///     limiter.acquire_key(&"alice".to_owned(), 1).await?;
    /// }
    /// assert_eq!(start.elapsed().as_millis(), 200);
    /// # Ok(())
    /// # }
    /// ```
    pub fn of_table(table: KeyedMeter<K, M, S>) -> Self {
        Self::new(Table(table))
    }
}

impl<K, P> Keyed<K, P>
where
    K: Eq + Hash + Clone,
    P: PerKey<K>,
{
    /// Returns a fair limiter of these meters.
    pub fn new(meters: P) -> Self {
        let queues = Mutex::new(HashMap::new());
        Self { meters, queues }
    }

    /// Returns how many keys somebody waits for.
    #[must_use]
    pub fn waited_for(&self) -> usize {
        self.queues.lock().len()
    }

    /// Waits for `n` cells of `key`; see [`Waiting::acquire`](crate::Waiting::acquire).
    ///
    /// Takes a lock on all keys that are waited for, for as long as it takes to find one.
    ///
    /// # Errors
    ///
    /// Of a meter, [`InsufficientCapacity`](crate::InsufficientCapacity) if `n` is above its burst.
    pub async fn acquire_key(&self, key: &K, n: u32) -> <P::Meter as Source>::Outcome {
        match self.join(key, n) {
            None => P::Meter::outcome(Ok(())),
            Some(member) => Acquire(Wait::new(&*member.queue, n)).await,
        }
    }

    /// Waits for `n` cells of `key`, with so much patience; see [`Waiting::acquire_with`](crate::Waiting::acquire_with).
    ///
    /// # Errors
    ///
    /// As that.
    pub async fn acquire_key_with(&self, key: &K, n: u32, patience: Patience) -> Result<(), AcquireError> {
        match self.join(key, n) {
            None => Ok(()),
            Some(member) => patience::acquire(&member.queue, n, patience).await,
        }
    }

    /// Takes `n` cells of `key` if they are there and nobody waits for some.
    ///
    /// # Errors
    ///
    /// As [`Waiting::try_acquire`](crate::Waiting::try_acquire).
    pub fn try_acquire_key(&self, key: &K, n: u32) -> Result<(), AcquireError> {
        self.join(key, n).map_or(Ok(()), |member| member.queue.take(n))
    }

    /// Takes `n` cells, if nobody waits for the key; or becomes one of those who do.
    fn join<'a>(&'a self, key: &'a K, n: u32) -> Option<Member<'a, K, P>> {
        if let Some(entry) = self.queues.lock().get_mut(key) {
            return Some(self.member(key, entry));
        }
        let meter = self.meters.meter(key);
        if n == 0 || meter.take_unlocked(n) {
            return None;
        }
        let mut queues = self.queues.lock();
        let entry = queues.entry(key.clone()).or_insert_with(|| Entry {
            queue: Queue::new(meter, true),
            members: 0,
        });
        Some(self.member(key, entry))
    }

    fn member<'a>(&'a self, key: &'a K, entry: &mut Entry<P::Meter>) -> Member<'a, K, P> {
        entry.members += 1;
        Member {
            keyed: self,
            key,
            queue: Arc::clone(&entry.queue),
        }
    }
}

/// The last to leave closes the queue.
impl<K: Eq + Hash, P: PerKey<K>> Drop for Member<'_, K, P> {
    fn drop(&mut self) {
        let mut queues = self.keyed.queues.lock();
        let Some(entry) = queues.get_mut(self.key) else {
            return;
        };
        entry.members -= 1;
        if entry.members == 0 {
            let closed = queues.remove(self.key);
            drop(queues);
            drop(closed);
        }
    }
}

impl<K, P: PerKey<K>> fmt::Debug for Keyed<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}
