//! A meter whose limit changes while it is in use.

mod node;
mod pointer;
mod snapshot;
mod verbs;

use crate::algorithms::Algorithm;
use crate::cell::Closed;
use crate::clock::Clock;
use crate::decider::{Decider, MultiDecider};
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::error::InconsistentCapacity;
use crate::meter::{Meter, MeterKind};
use crate::metered::{Metered, Refusal, State, When};
use crate::nanos::{Nanos, TimeLine};
use crate::quota::Quota;
use crate::rule::{Rule, Stepped};
use core::fmt;
use node::{Latest, Node};
use pointer::Arc;
use std::time::Instant;

/// A meter whose quota can be set while it is in use, for all clones at once: `Adjustable<GCRA>`, `Adjustable<LeakyBucket>` or
/// `Adjustable<Exponential>`.
///
/// It has the verbs of the [`Meter`] that it is made of, but for reservations. Between two changes it obeys the laws of
/// [`Decider`] that the meter does, but for law 10: its state is a pointer to the current limit and that limit's word.
///
/// # What it costs
///
/// A decision is lock-free as with a plain meter. A handle keeps the limit that held when it was made; as long as that holds, a decision
/// takes as long as a plain meter's (11 ns; 17 for batches of 32). Once the quota was set, handles from before find that out on each
/// decision and read the current limit through a shared pointer: 14 ns more. A new clone has the current limit again, so that a thread to
/// which this matters may now and then replace its handle by a clone of it. See [benchmarks](crate::docs::benchmarks).
///
/// # What stays when the quota changes
///
/// [`set_quota`](Self::set_quota) takes place at one instant, in one order with all decisions. There
///
/// - what was available stays available, cut to the new burst. It is counted in what both quotas count, so a meter of weight 1 that has
///   10 left has 5 left of weight 2;
/// - there is never a burst: where 10 are available, raising the burst from 10 to 100 leaves 10, and the other 90 come at the new rate;
/// - a debt stays the debt of so many cells, to be drained at the new rate;
/// - time before the change was credited at the old rate, time after it is at the new one. So by a time b after a change at a, at most
///   what was available and R (b - a) of the new rate R are admitted.
///
/// Of an [`Exponential`](crate::Exponential) with k and weight w, the burst is w/k (half a cell above the limit), and what is
/// available at a rate of r of the limit L is w/k (1 - r/L); at a rate above the limit, that is a debt.
///
/// What is left is rounded to the strict side, by less than a unit of the new word and two of the old; a unit is less than what drains in
/// a nanosecond. Times before the change are read as of then by the new quota: the meter is fuller by what that drains from then to the
/// change. Law 1 holds across a change, with the larger of both bursts and rates, as long as timestamps do not go back across it.
/// (Where cells come in ticks, the tick in which a quota is set comes whole, at the new rate: each change may add an interval.)
///
/// ```
/// use ratelimit_meter::{Adjustable, GCRA, Quota};
///
/// let limit = Adjustable::<GCRA>::from_quota("100/h burst 20".parse()?)?;
/// let worker = limit.clone(); // for another thread: clones share the state, and the quota
/// // Called whenever the configuration was edited.
/// let reload = |text: &str| -> Result<(), Box<dyn std::error::Error>> {
///     limit.set_quota(text.parse::<Quota>()?)?;
///     Ok(())
/// };
/// worker.check_n(15)?;
/// reload("600/h burst 50")?;
/// assert!(worker.check_n(6).is_err(), "what is available stays: five, not 35");
/// worker.check_n(5)?;
/// assert!(reload("600/h burst none").is_err(), "a mistake, and nothing has changed");
/// assert_eq!(worker.quota().map(|quota| quota.to_string()).as_deref(), Some("600/h burst 50"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Adjustable<M: MeterKind> {
    /// The limit that held when this handle was made.
    node: Arc<Node<M::Algorithm>>,
    latest: Arc<Latest<M::Algorithm>>,
    clock: M::Clock,
}

impl<A: Algorithm> Adjustable<Meter<A>> {
    /// Returns a meter at rest for `quota`.
    ///
    /// # Errors
    ///
    /// As [`Meter::from_quota`].
    pub fn from_quota(quota: Quota) -> Result<Self, InconsistentCapacity> {
        Meter::from_quota(quota).map(Self::from)
    }
}

impl<A: Algorithm, C: Clock> Adjustable<Meter<A, C>> {
    /// Sets the quota now, for all clones at once; returns how many cells of a debt could not be kept.
    ///
    /// That is 0, but for a debt that at the new rate would reach past the end of the meter's time line, as with
    /// [`charge`](Self::charge); it is counted as the quota counts. What is available stays so, see [above](Self). Setting the quota that
    /// is set changes nothing.
    ///
    /// Calls wait for each other, and no decision waits for them: at the change a decision in another thread either went before, or is
    /// made again by the new quota. Allocates.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`], and nothing has changed, if no meter can be made of `quota`.
    pub fn set_quota(&self, quota: Quota) -> Result<u64, InconsistentCapacity> {
        self.set_quota_when(quota, When::Now)
    }

    /// Sets the quota at `at`, for all clones at once; see [`set_quota`](Self::set_quota).
    ///
    /// It holds for whatever is decided after the call, as of any time. `at` tells until when time is credited at the old rate: if it
    /// is before cells that were admitted, the time from there to them is credited at the new one. A time before the last change counts
    /// as that, so that no time is credited twice: after one bogus `at` years ahead the meter denies until then, and a [`reset`](Self::reset)
    /// helps until the next change.
    ///
    /// # Errors
    ///
    /// As [`set_quota`](Self::set_quota).
    ///
    /// ```
    /// use ratelimit_meter::{Adjustable, LeakyBucket};
    /// use std::time::{Duration, Instant};
    ///
    /// let bucket = Adjustable::<LeakyBucket>::from_quota("10/s".parse()?)?;
    /// let now = Instant::now();
    /// bucket.check_n_at(6, now)?;
    /// bucket.set_quota_at("100/s".parse()?, now)?;
    /// assert_eq!(bucket.status_at(now).remaining(), 4); // as it was
    /// assert_eq!(bucket.status_at(now + Duration::from_millis(500)).remaining(), 54);
    /// bucket.set_quota_at("1/s burst 2".parse()?, now)?;
    /// assert_eq!(bucket.status_at(now).remaining(), 2); // cut
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_quota_at(&self, quota: Quota, at: Instant) -> Result<u64, InconsistentCapacity> {
        self.set_quota_when(quota, When::At(at))
    }

    fn set_quota_when(&self, quota: Quota, when: When) -> Result<u64, InconsistentCapacity> {
        self.latest.set(quota, || when.exact_position(self))
    }

    /// Returns the quota that holds; `None` if it was made of T and tau, and none was set since.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        self.on_open(|node| node.word.load().map(|_| node.rule.quota))
    }

    /// Acts on the limit whose word is open.
    #[inline]
    fn on_open<T>(&self, act: impl Fn(&Node<A>) -> Result<T, Closed>) -> T {
        act(&self.node).unwrap_or_else(|Closed| self.latest.on_open(act))
    }
}

/// Goes on from where the meter stands, with its limit, clock and time line. It shares nothing with the meter's clones.
impl<A: Algorithm, C: Clock> From<Meter<A, C>> for Adjustable<Meter<A, C>> {
    fn from(meter: Meter<A, C>) -> Self {
        let (rule, word, clock) = meter.into_parts();
        let node = Arc::new(Node::new(rule, Nanos::BEGINNING, word));
        let latest = Arc::new(Latest::new(node.clone()));
        Self { node, latest, clock }
    }
}

impl<M: MeterKind> Clone for Adjustable<M> {
    fn clone(&self) -> Self {
        Self {
            node: self.latest.get(),
            latest: self.latest.clone(),
            clock: self.clock.clone(),
        }
    }
}

impl<A: Algorithm, C: Clock> Metered for Adjustable<Meter<A, C>> {
    type Algorithm = A;
    type Clock = C;

    #[inline]
    fn clock(&self) -> &C {
        &self.clock
    }

    #[inline]
    fn time_line(&self) -> &TimeLine {
        &self.node.rule.time_line
    }

    fn state(&self) -> State {
        (Arc::as_ptr(&self.latest).cast(), 0)
    }

    #[inline]
    fn counts_refusals(&self) -> bool {
        self.node.rule.algorithm.counts_refusals()
    }

    #[inline]
    fn read<T>(&self, _at: Nanos, read: impl FnOnce(&Rule<A>, u64) -> T) -> T {
        let (rule, word) = self.on_open(|node| node.word.load().map(|word| (node.rule, word)));
        read(&rule, word)
    }

    #[inline]
    fn step<T, R: Refusal>(
        &self,
        at: Nanos,
        step: impl Fn(&Rule<A>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Result<T, R> {
        self.on_open(|node| {
            let now = node.rule.volume(at);
            node.word.update(|word| step(&node.rule, word, now))
        })
    }
}

impl<A: Algorithm, C: Clock> Decider for Adjustable<Meter<A, C>> {
    #[inline]
    fn check_at(&self, at: Instant) -> Result<(), NonConformance> {
        self.check_at(at)
    }

    #[inline]
    fn check(&self) -> Result<(), NonConformance> {
        self.check()
    }
}

impl<A: Algorithm, C: Clock> MultiDecider for Adjustable<Meter<A, C>> {
    #[inline]
    fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        self.check_n_at(n, at)
    }

    #[inline]
    fn check_n(&self, n: u32) -> Result<(), NegativeMultiDecision> {
        self.check_n(n)
    }
}

/// Reads the word once; never locks.
impl<A: Algorithm, C: Clock> fmt::Debug for Adjustable<Meter<A, C>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rule, word) = self.on_open(|node| node.word.load().map(|word| (node.rule, word)));
        rule.debug(word, &mut f.debug_struct("Adjustable"))
    }
}
