//! A meter whose limit changes while it is in use.

mod node;
mod pointer;
mod verbs;

use crate::algorithms::Algorithm;
use crate::clock::Clock;
use crate::decider::{Decider, MultiDecider};
use crate::decision::{NegativeMultiDecision, NonConformance};
use crate::error::InconsistentCapacity;
use crate::meter::{Meter, MeterKind};
use crate::metered::{Metered, Refusal, When};
use crate::nanos::{Nanos, TimeLine};
use crate::quota::Quota;
use crate::rule::{Rule, Stepped};
use core::fmt;
use node::Node;
use pointer::{Arc, Current, Mutex};
use std::sync::PoisonError;
use std::time::Instant;

/// A meter whose quota can be set while it is in use, for all clones at once: `Adjustable<GCRA>`, `Adjustable<LeakyBucket>` or
/// `Adjustable<Exponential>`.
///
/// It has the verbs of the [`Meter`] that it is made of, but for reservations. Between two changes it obeys the laws of
/// [`Decider`] that the meter does, but for law 10: its state is a pointer to the current limit and that limit's word. A decision is
/// lock-free as with a plain meter, and costs the reading of that pointer more (1.4 ns to 3 ns with one thread, see
/// [benchmarks](crate::docs::benchmarks)).
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
/// a nanosecond. Times before the change are as always read as of then: the meter is fuller by what drains from then to the change.
///
/// ```
/// use ratelimit_meter::{Adjustable, GCRA, Quota};
///
/// let limit = Adjustable::<GCRA>::from_quota("100/min burst 20".parse()?)?;
/// let worker = std::thread::spawn({
///     let limit = limit.clone(); // shares the state, and the quota
///     move || (0..100).filter(|_| limit.check().is_ok()).count()
/// });
/// // The configuration was edited: what it says is to hold from now on.
/// let reload = |text: &str| -> Result<(), Box<dyn std::error::Error>> {
///     limit.set_quota(text.parse::<Quota>()?)?;
///     Ok(())
/// };
/// reload("600/min burst 50")?;
/// assert!(reload("600/min burst 0").is_err(), "a mistake, and nothing has changed");
/// assert_eq!(limit.quota().map(|quota| quota.to_string()).as_deref(), Some("600/min burst 50"));
/// assert!((20..=22).contains(&worker.join().unwrap()), "no burst by the change");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Adjustable<M: MeterKind> {
    shared: Arc<Shared<M::Algorithm>>,
    clock: M::Clock,
    /// The same for all that the limit ever is.
    time_line: TimeLine,
    counts_refusals: bool,
}

/// What the handles share.
struct Shared<A> {
    current: Current<Node<A>>,
    /// Held by who changes it; no decision asks for it.
    changing: Mutex<()>,
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
    /// is before cells that were admitted, the time from there to them is credited at the new one.
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
        // Who panicked while changing, if that can be, left a current limit all the same.
        let _changing = self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.shared.current.get();
        if current.rule.quota == Some(quota) {
            return Ok(0);
        }
        let rule = current.rule.with_quota(quota)?;
        let (next, unrecorded) = current.succeed(rule, when.exact_position(self));
        // From here on nobody has to go the way past the old one.
        self.shared.current.set(next);
        Ok(unrecorded)
    }

    /// Returns the quota that holds; `None` if it was made of T and tau, and none was set since.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        self.shared.current.with(|node| node.read(|rule, _| rule.quota))
    }
}

/// Goes on from where the meter stands, with its limit, clock and time line. It shares nothing with the meter's clones.
impl<A: Algorithm, C: Clock> From<Meter<A, C>> for Adjustable<Meter<A, C>> {
    fn from(meter: Meter<A, C>) -> Self {
        let (rule, word, clock) = meter.into_parts();
        Self {
            shared: Arc::new(Shared {
                current: Current::new(Arc::new(Node::new(rule, word))),
                changing: Mutex::new(()),
            }),
            clock,
            time_line: rule.time_line,
            counts_refusals: rule.algorithm.counts_refusals(),
        }
    }
}

impl<M: MeterKind> Clone for Adjustable<M> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            clock: self.clock.clone(),
            ..*self
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
        &self.time_line
    }

    #[inline]
    fn counts_refusals(&self) -> bool {
        self.counts_refusals
    }

    #[inline]
    fn read<T>(&self, _at: Nanos, read: impl FnOnce(&Rule<A>, u64) -> T) -> T {
        self.shared.current.with(|node| node.read(read))
    }

    #[inline]
    fn step<T, R: Refusal>(
        &self,
        at: Nanos,
        step: impl Fn(&Rule<A>, u64, u64) -> Result<Stepped<T>, R>,
    ) -> Result<T, R> {
        self.shared.current.with(|node| node.step(at, step))
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
        self.shared
            .current
            .with(|node| node.read(|rule, word| rule.debug(word, &mut f.debug_struct("Adjustable"))))
    }
}
