//! Waiting by key, for one meter of many.

use crate::clock::Shift;
use crate::error::AcquireError;
use crate::options::{self, Patience};
use crate::shared::SharedQueue;
use crate::source::{CellCount, KeyOf, Source, Waitable, has_default_clock};
use crate::waiting::{Acquire, Wait, Waiting};
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::marker::PhantomData;
use parking_lot::Mutex;
use ratelimit_meter::keyed::KeyHashes;
use ratelimit_meter::{GCRA, KeyedMeter, MeterKind};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::task::coop::poll_proceed;

/// A map from keys to meters. A function from keys to meter handles implements it.
///
/// All meters that it returns for one key must share one state, as clones of a [`Meter`](ratelimit_meter::Meter) do.
pub trait MeterMap<K>: Send + Sync {
    /// The type of the meter of a key.
    type Meter: Source;

    /// Returns the meter of `key`.
    fn meter(&self, key: &K) -> Self::Meter;

    /// Writes the limits of all keys, for Debug output of a [`Keyed`]; by default the name of this type.
    ///
    /// # Errors
    ///
    /// The errors of the formatter.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::any::type_name::<Self>())
    }
}

impl<K, S, F> MeterMap<K> for F
where
    S: Source,
    F: Fn(&K) -> S + Send + Sync,
{
    type Meter = S;

    fn meter(&self, key: &K) -> S {
        self(key)
    }
}

/// A map from a key to its meter in a table; see [`Keyed::of_table`].
pub struct TableKeys<K, M: MeterKind = GCRA, H = KeyHashes>(KeyedMeter<K, M, H>);

impl<K, M, H> MeterMap<K> for TableKeys<K, M, H>
where
    K: Hash + Clone + Send + Sync + 'static,
    M: MeterKind<Clock: 'static, Algorithm: 'static> + 'static,
    H: BuildHasher + Clone + Send + Sync + 'static,
{
    type Meter = KeyOf<K, M, H>;

    fn meter(&self, key: &K) -> Self::Meter {
        KeyOf {
            table: self.0.clone(),
            key: key.clone(),
        }
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<K, M: MeterKind, H> fmt::Debug for TableKeys<K, M, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TableKeys").field(&self.0).finish()
    }
}

/// Adds waiting to the meters of keys: first come, first served, for each key.
///
/// A key has a queue only while a caller waits for its cells. (The queue of a forgotten future stays.) Tasks share it in an [`Arc`]. For a
/// `KeyedMeter<String>`, its type in a struct is `Keyed<String>`.
///
/// If the keys of a table have different [tiers](KeyedMeter::in_tier), make a limiter for each tier: `Keyed::of_table(table.in_tier(paid)?)`. Then wait
/// with the limiter of the key's tier. For two limits of each key, make a limiter for each table of a
/// [`KeyedDual`](ratelimit_meter::keyed::KeyedDual). Then wait for the faster limit first and for the slower limit afterwards.
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
pub struct Keyed<K, P: MeterMap<K> = TableKeys<K>> {
    meters: P,
    catch_up: Duration,
    shift: Shift,
    queues: Mutex<HashMap<K, KeyQueue<P::Meter>>>,
}

/// The queue of a key for which callers wait.
struct KeyQueue<S: Source> {
    queue: Arc<SharedQueue<S>>,
    /// The number of callers that wait or are about to wait.
    members: usize,
}

/// A caller that waits for cells of a key.
struct Membership<'a, K: Eq + Hash, P: MeterMap<K>> {
    keyed: &'a Keyed<K, P>,
    key: &'a K,
    queue: Arc<SharedQueue<P::Meter>>,
}

impl<K, M, H> Keyed<K, TableKeys<K, M, H>>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    M: MeterKind<Clock: 'static, Algorithm: 'static> + 'static,
    H: BuildHasher + Clone + Send + Sync + 'static,
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
    pub fn of_table(table: KeyedMeter<K, M, H>) -> Self {
        // All keys of a table count from the same instant.
        let shift = Shift::of(table.began().filter(|_| has_default_clock::<M::Clock>()));
        Self {
            shift,
            ..Self::new(TableKeys(table))
        }
    }
}

impl<K, P> Keyed<K, P>
where
    K: Eq + Hash + Clone,
    P: MeterMap<K>,
{
    /// Returns a fair limiter of these meters.
    pub fn new(meters: P) -> Self {
        Self {
            meters,
            catch_up: Waiting::<P::Meter>::DEFAULT_CATCH_UP,
            shift: Shift::of(None),
            queues: Mutex::new(HashMap::new()),
        }
    }

    /// Sets the longest lateness that a serve makes up for, for each key; see [`Waiting::set_catch_up`].
    #[must_use]
    pub fn with_catch_up(mut self, bound: Duration) -> Self {
        self.catch_up = bound;
        self
    }

    /// Returns the number of keys for which callers wait.
    #[must_use]
    pub fn waited_for(&self) -> usize {
        self.queues.lock().len()
    }

    /// Returns the number of callers that wait for cells of `key`.
    #[must_use]
    pub fn waiting_for(&self, key: &K) -> usize {
        let queues = self.queues.lock();
        queues.get(key).map_or(0, |entry| entry.queue.waiting())
    }

    /// Waits for `n` cells of `key`; see [`Waiting::acquire`].
    ///
    /// Takes a lock on the set of keys for which callers wait, for the time of one lookup.
    ///
    /// # Errors
    ///
    /// For a meter, [`InsufficientCapacity`](crate::InsufficientCapacity) if `n` is above its burst, or its time line of 36.5 years ends before the
    /// cells come.
    pub async fn acquire_key(&self, key: &K, n: impl CellCount) -> <P::Meter as Source>::Outcome {
        let n = n.count();
        match self.join(key, n).await {
            None => P::Meter::outcome(Ok(())),
            Some(member) => Acquire(Wait::new(&*member.queue, n)).await,
        }
    }

    /// Waits for `n` cells of `key`, within the bounds of `patience`; see [`Waiting::acquire_with`].
    ///
    /// # Errors
    ///
    /// As [`Waiting::acquire_with`].
    pub async fn acquire_key_with(&self, key: &K, n: impl CellCount, patience: Patience) -> Result<(), AcquireError> {
        let n = n.count();
        if n > 0 && patience.has_passed() {
            return Err(AcquireError::DeadlinePassed);
        }
        match self.join(key, n).await {
            None => Ok(()),
            Some(member) => options::acquire_with(&member.queue, n, patience).await,
        }
    }

    /// Takes `n` cells of `key` if they are there and no caller waits for that key.
    ///
    /// # Errors
    ///
    /// As [`Waiting::try_acquire`].
    pub fn try_acquire_key(&self, key: &K, n: impl CellCount) -> Result<(), AcquireError> {
        let n = n.count();
        self.take_or_join(key, n).map_or(Ok(()), |member| member.queue.take(n))
    }

    /// Takes as many of `n` cells of `key` as are there, and returns their number: zero if other callers wait for that key.
    #[must_use = "it is the number of cells that were taken"]
    pub fn try_acquire_key_up_to<N: CellCount>(&self, key: &K, n: N) -> N {
        let count = n.count();
        let taken = self
            .take_or_join(key, count)
            .map_or(count, |member| member.queue.take_up_to(count));
        N::from_count(taken)
    }

    /// Gives back `n` cells of `key` that were taken and not used, and serves the waiters that can be served with them.
    pub fn refund_key(&self, key: &K, n: impl CellCount) {
        self.with_queue(key, |queue| queue.give_back(n.count()));
    }

    /// Serves the waiters of a key after its meter was changed elsewhere, by a clone or through the table. Without this call the change is noticed
    /// within one poll interval; see [`Waiting`](Waiting#changes-to-the-meter).
    pub fn refresh_key(&self, key: &K) {
        if let Some(member) = self.member_of(key) {
            member.queue.refresh();
        }
    }

    /// Takes `n` cells, if no caller waits for the key; otherwise joins the callers that wait.
    async fn join<'a>(&'a self, key: &'a K, n: u64) -> Option<Membership<'a, K, P>> {
        // A task that always finds cells has to let other tasks run, too. No cells are taken before that.
        poll_fn(|cx| {
            let coop = ready!(poll_proceed(cx));
            let member = self.take_or_join(key, n);
            if member.is_none() {
                coop.made_progress();
            }
            Poll::Ready(member)
        })
        .await
    }

    fn take_or_join<'a>(&'a self, key: &'a K, n: u64) -> Option<Membership<'a, K, P>> {
        if let Some(member) = self.member_of(key) {
            return Some(member);
        }
        let meter = self.meters.meter(key);
        if n == 0 || meter.take_unlocked(n, self.shift) {
            return None;
        }
        let mut queues = self.queues.lock();
        let entry = queues.entry(key.clone()).or_insert_with(|| KeyQueue {
            queue: self.queue_for(meter),
            members: 0,
        });
        Some(self.member(key, entry))
    }

    /// Calls `f` on the queue of a key, or on a temporary queue if no caller waits.
    fn with_queue(&self, key: &K, f: impl FnOnce(&SharedQueue<P::Meter>)) {
        match self.member_of(key) {
            Some(member) => f(&member.queue),
            None => {
                f(&self.queue_for(self.meters.meter(key)));
                // A caller that joined in between decided on the meter before the change. A later caller finds the changed meter.
                self.refresh_key(key);
            }
        }
    }

    fn queue_for(&self, meter: P::Meter) -> Arc<SharedQueue<P::Meter>> {
        SharedQueue::new(meter, true, self.catch_up, self.shift)
    }

    fn member_of<'a>(&'a self, key: &'a K) -> Option<Membership<'a, K, P>> {
        let mut queues = self.queues.lock();
        let entry = queues.get_mut(key)?;
        Some(self.member(key, entry))
    }

    fn member<'a>(&'a self, key: &'a K, entry: &mut KeyQueue<P::Meter>) -> Membership<'a, K, P> {
        entry.members += 1;
        Membership {
            keyed: self,
            key,
            queue: Arc::clone(&entry.queue),
        }
    }
}

impl<K, P> Keyed<K, P>
where
    K: Eq + Hash + Clone,
    P: MeterMap<K, Meter: Waitable>,
{
    /// Makes the meter of `key` idle, and serves the waiters that can be served then.
    pub fn reset_key(&self, key: &K) {
        self.with_queue(key, |queue| queue.change_source(Waitable::make_idle));
    }
}

/// The number of keys above which the map gives memory back.
const LARGE: usize = 64;

/// Removes the queue when the last caller leaves.
impl<K: Eq + Hash, P: MeterMap<K>> Drop for Membership<'_, K, P> {
    fn drop(&mut self) {
        let mut queues = self.keyed.queues.lock();
        let Some(entry) = queues.get_mut(self.key) else {
            return;
        };
        entry.members -= 1;
        if entry.members == 0 {
            let closed = queues.remove(self.key);
            // Each shrinking moves a quarter of the keys that have left since the last shrinking, so the cost is constant for each key.
            if queues.capacity() > LARGE && queues.len() < queues.capacity() / 8 {
                let kept = queues.len() * 2;
                queues.shrink_to(kept.max(LARGE / 2));
            }
            drop(queues);
            drop(closed);
        }
    }
}

/// Debug output of a map of meters.
struct MapDebug<'a, K, P>(&'a P, PhantomData<fn(&K)>);

impl<K, P: MeterMap<K>> fmt::Debug for MapDebug<'_, K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f)
    }
}

impl<K, P: MeterMap<K>> fmt::Debug for Keyed<K, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The lock is not held while the caller's writer runs.
        let waited_for = self.queues.try_lock().map(|queues| queues.len());
        let mut fields = f.debug_struct("Keyed");
        fields.field("meters", &MapDebug(&self.meters, PhantomData));
        match waited_for {
            Some(keys) => fields.field("waited_for", &keys),
            None => fields.field("waited_for", &format_args!("<locked>")),
        };
        fields.finish_non_exhaustive()
    }
}

#[cfg(all(test, not(ratelimit_meter_loom)))]
mod tests {
    use super::Keyed;
    use ratelimit_meter::GCRA;

    #[test]
    fn memory_of_keys_returns_when_they_have_left() {
        let spent = GCRA::from_quota("1/h".parse().expect("a quota")).expect("a limit");
        let keyed = Keyed::new(move |_: &u32| spent.clone());
        assert!(keyed.try_acquire_key(&0, 1).is_ok());
        let keys: Vec<u32> = (0..10_000).collect();
        for _ in 0..2 {
            let mut members: Vec<_> = keys.iter().map(|key| keyed.take_or_join(key, 1)).collect();
            assert!(members.iter().all(Option::is_some));
            assert!(keyed.queues.lock().capacity() >= 10_000);
            while members.pop().is_some() {
                let queues = keyed.queues.lock();
                assert!(queues.capacity() <= 16 * queues.len().max(super::LARGE / 2));
            }
            assert_eq!(keyed.waited_for(), 0);
        }
    }
}
