//! The handle of a limit that callers can wait for, and the futures and threads that wait.

use crate::bucket::Bucket;
use crate::clock::{CAN_BE_PAUSED, Shift, now};
use crate::error::AcquireError;
use crate::shared::{Caller, Look, Outlook, SharedQueue};
use crate::source::{CellCount, Source, Waitable};
use crate::wait_queue::QueueTicket;
use core::fmt;
use core::ops::Deref;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};
use tokio::task::coop::poll_proceed;

/// Adds waiting to a meter of the core, or, as a [`RateLimiter`](crate::RateLimiter), to a bucket of its own.
///
/// It is a handle: clones share one queue. It can wait for any [`Meter`](ratelimit_meter::Meter), [`Adjustable`](ratelimit_meter::Adjustable) or
/// [`Dual`](ratelimit_meter::Dual). Clones of the meter itself stay usable beside the queue, without queueing.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota};
/// use ratelimit_meter_tokio::Waiting;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter: Waiting<GCRA> = Waiting::new(GCRA::from_quota("50/s burst 10".parse::<Quota>()?)?);
/// let start = tokio::time::Instant::now();
/// limiter.acquire(10).await?; // at once
/// limiter.acquire(5).await?; // in 100 ms
/// assert_eq!(start.elapsed().as_millis(), 100);
/// # Ok(())
/// # }
/// ```
///
/// # Changes to the meter
///
/// If a [`refund`](Self::refund), a [`reset`](Self::reset) or another [`change`](Self::change) is made through this handle, it at once wakes the
/// waiters that can be served. A change through a plain clone of the meter is noticed within one poll interval. The interval is a second or, if
/// longer, a sixteenth of the time that the head has waited. A caller that acquires or tries meanwhile notices the change, too.
///
/// If a server asks callers to wait (`Retry-After`), take all cells that would conform by then: the next cell conforms at that instant or later, and
/// no later than one emission interval after it. (If cells come back in ticks, round that end up to a tick.) A second answer with the same instant
/// changes nothing. (For a key of a [`Keyed`](crate::Keyed), do the same with the key of the table, and call
/// [`refresh_key`](crate::Keyed::refresh_key).)
///
/// ```
/// use ratelimit_meter::{GCRA, Quota};
/// use ratelimit_meter_tokio::{TokioClock, Waiting};
/// use std::time::Duration;
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let meter = GCRA::from_quota("50/s".parse::<Quota>()?)?.with_clock(TokioClock);
/// let limiter = Waiting::new(meter);
/// let start = Instant::now();
/// let until = start + Duration::from_secs(2); // Retry-After: 2
/// for _task in 0..3 {
///     let _taken = limiter.change(|meter| meter.check_up_to_at(u32::MAX, until.into_std()));
/// }
/// limiter.acquire(1).await?;
/// assert_eq!(start.elapsed(), Duration::from_millis(2020));
/// # Ok(())
/// # }
/// ```
///
/// If a burst is lowered below the cells of a waiter, that waiter is denied when it becomes the head: its acquire returns
/// [`InsufficientCapacity`](crate::InsufficientCapacity), and the waiters behind it move up.
pub struct Waiting<S: Source> {
    pub(crate) queue: Arc<SharedQueue<S>>,
}

impl<M: Waitable> Waiting<M> {
    /// Returns a fair limiter: callers are served in the order in which they come, and no caller takes cells while another waits.
    ///
    /// It decides at tokio's time, whichever clock the meter has. In paused time, a meter on the default clock counts as made now; see
    /// [`TokioClock`](crate::TokioClock).
    #[must_use]
    pub fn new(meter: M) -> Self {
        Self::with_fairness(meter, true)
    }

    /// Returns an unfair limiter: a caller that finds cells takes them, even if other callers wait. The waiters are served in order.
    #[must_use]
    pub fn unfair(meter: M) -> Self {
        Self::with_fairness(meter, false)
    }

    /// Returns the meter.
    #[must_use]
    pub fn meter(&self) -> &M {
        &self.queue.source
    }

    /// Changes the meter, serves the waiters that can be served then, and wakes the head if it is due earlier. Waiters that were due before the change
    /// are served first.
    ///
    /// ```
    /// use ratelimit_meter::{Adjustable, GCRA};
    /// use ratelimit_meter_tokio::Waiting;
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let limiter = Waiting::new(Adjustable::<GCRA>::from_quota("1/h".parse()?)?);
    /// limiter.acquire(1).await?;
    /// let raise = async {
    ///     tokio::time::sleep(Duration::from_secs(1)).await;
    ///     limiter.change(|meter| meter.set_quota("10/s".parse().expect("a quota")))
    /// };
    /// let start = tokio::time::Instant::now();
    /// let (waited, raised) = tokio::join!(limiter.acquire(1), raise);
    /// waited?;
    /// raised?;
    /// assert!(start.elapsed() < Duration::from_secs(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn change<T>(&self, change: impl FnOnce(&M) -> T) -> T {
        self.queue.change_source(change)
    }

    /// Makes the meter idle, and serves the waiters that can be served then.
    pub fn reset(&self) {
        self.change(Waitable::make_idle);
    }
}

impl<S: Source> Waiting<S> {
    /// The bound of a new queue; see [`set_catch_up`](Self::set_catch_up).
    pub const DEFAULT_CATCH_UP: Duration = Duration::from_millis(10);

    pub(crate) fn with_fairness(source: S, fair: bool) -> Self {
        let shift = Shift::of(source.began());
        Self {
            queue: SharedQueue::new(source, fair, Self::DEFAULT_CATCH_UP, shift),
        }
    }

    /// Sets the maximum lateness of wake-ups that the queue makes up for, [`DEFAULT_CATCH_UP`](Self::DEFAULT_CATCH_UP) at first.
    ///
    /// A waiter is charged at its due instant, even if its wake-up is late, so that late timers cost no throughput. Without a bound, a task that blocks
    /// the runtime for two seconds would release the cells of two seconds in one burst. So a waiter is charged at most this bound before it is woken.
    /// Then, in every window of length w, the waiters that are woken have at most burst + rate * (w + bound) cells. The bound is on wake-ups, not on
    /// polls. Tasks that are woken just before their runtime is blocked, or by another thread meanwhile, resume together when that runtime runs again.
    ///
    /// The default of 10 ms is ten times the grain of tokio's timers. It covers the lateness of a healthy runtime; a longer stall is not made up for.
    /// [`Duration::MAX`] makes up for any stall. Zero bounds wake-ups by burst + rate * w, and costs throughput if the burst does not cover a
    /// millisecond.
    pub fn set_catch_up(&self, bound: Duration) {
        self.queue.set_catch_up(bound);
    }

    /// Waits for `n` cells.
    ///
    /// `n = 0` returns at once. If `n` is more than the limiter can hold, a [`RateLimiter`](crate::RateLimiter) serves it in parts, over several
    /// intervals; a meter denies it.
    ///
    /// Lock-free if there are cells and no caller waits, except for a strict average; otherwise constant time under the lock. A loop of acquires that
    /// are ready yields to the runtime when the task has used up its cooperative budget.
    ///
    /// # Errors
    ///
    /// For a meter, [`InsufficientCapacity`](crate::InsufficientCapacity) if `n` is above its burst, or its time line of 36.5 years ends before the
    /// cells come. So too if a change of the meter makes this so during the wait.
    ///
    /// # Panics
    ///
    /// Panics if `n` is negative. The future panics if it has to wait and is polled outside a tokio runtime with timers. It also panics if it is
    /// polled again after it was ready.
    pub fn acquire(&self, n: impl CellCount) -> Acquire<'_, S> {
        Acquire(Wait::new(&self.queue, n.count()))
    }

    /// Waits for one cell; see [`acquire`](Self::acquire).
    pub fn acquire_one(&self) -> Acquire<'_, S> {
        self.acquire(1_u8)
    }

    /// Waits for `n` cells with a future that owns a handle of the limiter; see [`acquire`](Self::acquire).
    ///
    /// ```
    /// use ratelimit_meter_tokio::RateLimiter;
    /// use std::sync::Arc;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let limiter = Arc::new(RateLimiter::builder().build());
    /// tokio::spawn(limiter.clone().acquire_owned(3)).await.unwrap();
    /// # }
    /// ```
    pub fn acquire_owned(&self, n: impl CellCount) -> AcquireOwned<S> {
        AcquireOwned(Wait::new(Arc::clone(&self.queue), n.count()))
    }

    /// Waits for `n` cells on this thread, in the same queue as all other callers. Do not call it in async code, because it blocks the thread.
    ///
    /// The thread sleeps until its instant, as exactly as the platform's sleep allows, and serves the waiters that are due by then. Behind tasks, one of
    /// the waiting threads also wakes in between, in case the tasks' runtimes are not driven.
    ///
    /// A runtime that shuts down waits for its blocking threads. To bound such a wait, use [`acquire_blocking_with`](Self::acquire_blocking_with).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// Panics if tokio's clock is paused and does not move for two seconds. This happens in `spawn_blocking` of a runtime with paused time, which
    /// does not advance by itself while a thread blocks. Advance the time from the test, or use [`acquire`](Self::acquire).
    ///
    /// ```
    /// use ratelimit_meter_tokio::RateLimiter;
    /// use std::time::Duration;
    ///
    /// let limiter = RateLimiter::builder().interval(Duration::from_millis(1)).build();
    /// std::thread::spawn(move || limiter.acquire_blocking(2)).join().unwrap();
    /// ```
    pub fn acquire_blocking(&self, n: impl CellCount) -> S::Outcome {
        let blocked = block_on::<S, S::Never>(&self.queue, n.count(), None, |_| Ok(()));
        S::outcome(blocked.map(drop))
    }

    /// Takes `n` cells if they are there and, for a fair limiter, no caller waits. Lock-free under the same conditions as [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`AcquireError`], and no cells were taken. It holds the instant from which the cells could be taken, behind all waiters; or reports that so
    /// many cells never come at once.
    pub fn try_acquire(&self, n: impl CellCount) -> Result<(), AcquireError> {
        self.queue.take(n.count())
    }

    /// Takes as many of `n` cells as are there, and returns their number. For a fair limiter, that is zero if other callers wait.
    ///
    /// ```
    /// use ratelimit_meter_tokio::RateLimiter;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let limiter = RateLimiter::builder().initial(7).build();
    /// assert_eq!([limiter.try_acquire_up_to(5), limiter.try_acquire_up_to(5)], [5, 2]);
    /// # }
    /// ```
    #[must_use = "it is the number of cells that were taken"]
    pub fn try_acquire_up_to<N: CellCount>(&self, n: N) -> N {
        N::from_count(self.queue.take_up_to(n.count()))
    }

    /// Gives back `n` cells that were taken and not used, and serves the waiters that can be served with them. A meter takes back at most its debt,
    /// and a bucket at most the cells for which it has room, unless callers wait for more.
    ///
    /// ```
    /// use ratelimit_meter_tokio::RateLimiter;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let limiter = RateLimiter::builder().initial(5).build();
    /// limiter.acquire(5).await;
    /// limiter.refund(2);
    /// limiter.acquire(2).await; // at once
    /// # }
    /// ```
    pub fn refund(&self, n: impl CellCount) {
        self.queue.give_back(n.count());
    }

    /// Returns whether callers are served in the order in which they come.
    #[must_use]
    pub fn is_fair(&self) -> bool {
        self.queue.fair
    }

    /// Returns the number of waiters.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.look(|queue, _, _| queue.waiting())
    }
}

impl<S: Source> Clone for Waiting<S> {
    fn clone(&self) -> Self {
        let queue = Arc::clone(&self.queue);
        Self { queue }
    }
}

impl<S: Source + fmt::Debug> fmt::Debug for Waiting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("source", &self.queue.source)
            .field("fair", &self.queue.fair)
            .field("waiting", &self.queue.waiting())
            .finish_non_exhaustive()
    }
}

/// The wait for `n` cells of the queue that `Q` leads to.
pub(crate) struct Wait<Q, S>
where
    Q: Deref<Target = SharedQueue<S>>,
    S: Source,
{
    queue: Q,
    n: u64,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Not polled yet.
    Idle,
    /// In the queue; or served, and not polled since.
    Queued(QueueTicket),
    /// Ready.
    Done,
}

impl<Q, S> Wait<Q, S>
where
    Q: Deref<Target = SharedQueue<S>>,
    S: Source,
{
    pub(crate) const fn new(queue: Q, n: u64) -> Self {
        let stage = Stage::Idle;
        Self { queue, n, stage }
    }

    /// Returns whether the wait holds a place in the queue.
    pub(crate) const fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued(_))
    }

    #[inline]
    pub(crate) fn poll<E>(
        &mut self,
        cx: &mut Context<'_>,
        may_wait: impl FnOnce(&mut Outlook<'_, S>) -> Result<(), E>,
    ) -> Poll<Result<(), E>>
    where
        S::Never: Into<E>,
    {
        // A task that always finds cells has to let other tasks run, too. No cells are taken before that.
        let coop = ready!(poll_proceed(cx));
        let caller = Caller::Task(cx.waker());
        let outcome = match self.stage {
            Stage::Done => panic!("an acquire was polled after it was ready: call it again for more cells"),
            Stage::Idle => match self.queue.join(self.n, caller, may_wait) {
                Ok(Some(ticket)) => {
                    self.stage = Stage::Queued(ticket);
                    return Poll::Pending;
                }
                Ok(None) => Ok(()),
                Err(denied) => Err(denied),
            },
            Stage::Queued(ticket) => match self.queue.poll(ticket, self.n, caller) {
                Look::Waits(_) => return Poll::Pending,
                Look::Served => {
                    crate::trace!(cells = self.n, "is served");
                    Ok(())
                }
                Look::Over(never) => Err(never.into()),
            },
        };
        coop.made_progress();
        self.stage = Stage::Done;
        Poll::Ready(outcome)
    }

    #[inline]
    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<S::Outcome> {
        self.poll::<S::Never>(cx, |_| Ok(())).map(S::outcome)
    }
}

/// Gives the place to the waiters behind it; or gives back the cells, if they came and no poll returned them.
impl<Q, S> Drop for Wait<Q, S>
where
    Q: Deref<Target = SharedQueue<S>>,
    S: Source,
{
    fn drop(&mut self) {
        if let Stage::Queued(ticket) = self.stage {
            self.queue.leave(ticket, self.n);
        }
    }
}

/// The future of [`Waiting::acquire`].
///
/// It asks for the cells when it is first polled, and holds a place in the queue from then on. Dropping it gives the place back. Forgetting it costs
/// the cells that it waits for, and delays no other waiter. Polling it after it was ready panics.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<'a, S: Source = Bucket>(pub(crate) Wait<&'a SharedQueue<S>, S>);

/// The future of [`Waiting::acquire_owned`]: as [`Acquire`], except that it owns a handle of the limiter.
#[must_use = "futures do nothing unless polled"]
pub struct AcquireOwned<S: Source = Bucket>(pub(crate) Wait<Arc<SharedQueue<S>>, S>);

impl<S: Source> Unpin for Acquire<'_, S> {}
impl<S: Source> Unpin for AcquireOwned<S> {}

impl<S: Source> Future for Acquire<'_, S> {
    type Output = S::Outcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Outcome> {
        self.0.poll_outcome(cx)
    }
}

impl<S: Source> Future for AcquireOwned<S> {
    type Output = S::Outcome;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Outcome> {
        self.0.poll_outcome(cx)
    }
}

impl<S: Source> fmt::Debug for Acquire<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("cells", &self.0.n)
            .field("stage", &self.0.stage)
            .finish_non_exhaustive()
    }
}

impl<S: Source> fmt::Debug for AcquireOwned<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireOwned")
            .field("cells", &self.0.n)
            .field("stage", &self.0.stage)
            .finish_non_exhaustive()
    }
}

/// Cells that are given back if this value is dropped before they are used.
pub(crate) struct Held<Q, S>
where
    Q: Deref<Target = SharedQueue<S>>,
    S: Source,
{
    queue: Q,
    n: u64,
}

impl<Q, S> Held<Q, S>
where
    Q: Deref<Target = SharedQueue<S>>,
    S: Source,
{
    pub(crate) const fn new(queue: Q, n: u64) -> Self {
        Self { queue, n }
    }

    /// Marks the cells as used.
    pub(crate) fn use_up(mut self) {
        self.n = 0;
    }
}

impl<Q, S> Drop for Held<Q, S>
where
    Q: Deref<Target = SharedQueue<S>>,
    S: Source,
{
    fn drop(&mut self) {
        if self.n > 0 {
            self.queue.give_back(self.n);
        }
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The end of a thread's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// The cells were there.
    NotAtAll,
    /// The thread has waited for its cells.
    UntilServed,
    /// The time is over, and the place is given back.
    UntilOver,
}

/// Parks the thread until it has `n` cells of the queue, or until `end`.
pub(crate) fn block_on<S: Source, E>(
    queue: &SharedQueue<S>,
    n: u64,
    end: Option<Instant>,
    may_wait: impl FnOnce(&mut Outlook<'_, S>) -> Result<(), E>,
) -> Result<Blocked, E>
where
    S::Never: Into<E>,
{
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let caller = Caller::Thread(&waker);
    let Some(ticket) = queue.join(n, caller, may_wait)? else {
        return Ok(Blocked::NotAtAll);
    };
    let mut stopwatch = Stopwatch::start();
    loop {
        // Before the look, so that cells that come at the end are not missed.
        let is_over = end.is_some_and(|end| end <= now());
        let until = match queue.poll(ticket, n, caller) {
            Look::Served => {
                crate::trace!(cells = n, "is served");
                return Ok(Blocked::UntilServed);
            }
            Look::Over(never) => return Err(never.into()),
            Look::Waits(until) => until.into_iter().chain(end).min(),
        };
        if is_over {
            queue.leave(ticket, n);
            return Ok(Blocked::UntilOver);
        }
        let Some(until) = until else {
            thread::park();
            continue;
        };
        let left = until.saturating_duration_since(now());
        if !CAN_BE_PAUSED {
            thread::park_timeout(left);
            continue;
        }
        thread::park_timeout(left.min(Stopwatch::LONGEST));
        if stopwatch.is_paused() {
            queue.leave(ticket, n);
            panic!(
                "acquire_blocking waits for tokio's clock, which is paused and does not move while a thread blocks: advance it \
                 from the test, or use acquire().await"
            );
        }
    }
}

/// Detects that tokio's clock stands still while the system's clock goes on.
struct Stopwatch {
    real: Instant,
    tokio: Instant,
}

impl Stopwatch {
    /// The maximum time for which a paused clock may stand still before the wait panics.
    const LONGEST: Duration = Duration::from_secs(2);

    fn start() -> Self {
        Self {
            real: Instant::now(),
            tokio: now(),
        }
    }

    fn is_paused(&mut self) -> bool {
        if now() != self.tokio {
            *self = Self::start();
        }
        self.real.elapsed() >= Self::LONGEST
    }
}
