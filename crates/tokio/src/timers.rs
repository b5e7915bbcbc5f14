//! Tokio's time, and the timers of a queue: one for each runtime in which callers wait.
//!
//! No waiting future owns a timer. So a forgotten future stops no other, and a thousand waiters cost one timer. The timer wakes the
//! queue itself, which then serves the waiters that are due and sets the timer again. There is one timer for each runtime, because a runtime that is
//! not driven must not hold up another runtime. Each timer is set for the head, whichever runtime the head belongs to.
//!
//! A timer is set, and dropped, without the queue's lock: it may go off while it is being set, and it takes locks of the runtime. Meanwhile it is
//! missing here, and other callers leave it alone. The caller that sets it then checks whether it still goes off in time.
//!
//! Under test the runtimes come from `model.rs`, in which time moves only when the test moves it.

#[cfg(any(test, ratelimit_meter_loom))]
mod model;

#[cfg(test)]
pub(crate) use model::driver;
#[cfg(any(test, ratelimit_meter_loom))]
pub(crate) use model::{Id, Timer, current, now, try_current};
#[cfg(not(any(test, ratelimit_meter_loom)))]
pub(crate) use real::{Id, Timer, current, now, try_current};

use ratelimit_meter::clock::{Clock, DefaultClock};
use ratelimit_meter::time;
use std::time::Instant;

/// The clock of tokio, which tests may pause, for meters with waiters.
///
/// The waiting types decide at tokio's time, with any clock of the meter. Tokio's time is enough for most meters. But ticks and
/// [`with_available`](ratelimit_meter::Meter::with_available) count from the time at which the meter was made, by its own clock. In paused time, that
/// differs from tokio's time.
///
/// - A meter with this clock counts from tokio's time. So do its own methods: `meter.check()` follows `sleep` and `advance`.
/// - A meter with the default clock counts as made when its limiter is made ([`Waiting::new`](crate::Waiting::new),
///   [`Keyed::of_table`](crate::Keyed::of_table)), if that happens in paused time. For `with_available`, that holds only if no cell was taken before.
///   Its own methods go on by the system's clock.
/// - A meter with any other clock, and a meter that the function of [`Keyed::new`](crate::Keyed::new) returns, count from their own clock's time.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota};
/// use ratelimit_meter_tokio::{TokioClock, Waiting};
/// use tokio::time::{Duration, Instant, advance};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let meter = GCRA::from_quota("10/s".parse::<Quota>()?)?.with_clock(TokioClock).with_available(0)?;
/// let limiter = Waiting::new(meter.clone());
/// let start = Instant::now();
/// limiter.acquire(1).await?;
/// assert_eq!(start.elapsed(), Duration::from_millis(100));
/// advance(Duration::from_millis(500)).await;
/// assert_eq!(meter.status().remaining(), 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        now()
    }
}

/// The shift from tokio's time to the time of a limit. It is zero, unless the limit was made by the system's clock and tokio's clock is another.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Shift {
    /// An instant of the limit's time, and the same instant of tokio's time.
    limit: Instant,
    tokio: Instant,
}

impl Shift {
    /// Makes tokio's present time the instant from which the cells of a limit count, if tokio's clock is not the system's.
    pub(crate) fn of(began: Option<Instant>) -> Self {
        let (before, tokio, after) = (Instant::now(), now(), Instant::now());
        let is_system = before <= tokio && tokio <= after;
        let limit = began.filter(|_| CAN_BE_PAUSED && !is_system).unwrap_or(tokio);
        Self { limit, tokio }
    }

    /// Returns the limit's time now.
    pub(crate) fn now(self) -> Instant {
        self.of_tokio(now())
    }

    /// Returns the limit's time now, or at most 5 us before. It is for a caller that would take cells. If the caller could have taken them in those
    /// 5 us, it is served a moment later.
    pub(crate) fn now_or_just_before(self) -> Instant {
        if CAN_BE_PAUSED || cfg!(ratelimit_meter_loom) {
            self.now()
        } else {
            DefaultClock.now()
        }
    }

    /// Converts an instant of tokio's time to the limit's time.
    fn of_tokio(self, at: Instant) -> Instant {
        moved(at, self.tokio, self.limit)
    }

    /// Converts an instant of the limit's time to tokio's time.
    pub(crate) fn to_tokio(self, at: Instant) -> Instant {
        moved(at, self.limit, self.tokio)
    }
}

/// Moves an instant by the time from `from` to `to`.
fn moved(at: Instant, from: Instant, to: Instant) -> Instant {
    let moved = if from <= to {
        at.checked_add(to - from)
    } else {
        at.checked_sub(from - to)
    };
    moved.unwrap_or(at)
}

/// An instant from which whole nanoseconds are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) at: Instant,
    /// The same instant by the core's default clock.
    since_epoch: u64,
}

impl Beginning {
    pub(crate) fn now() -> Self {
        let at = now();
        let since_epoch = time::since_epoch(at);
        Self { at, since_epoch }
    }

    /// Returns the time from the beginning until `at`, or zero if `at` is earlier.
    pub(crate) fn until(self, at: Instant) -> u64 {
        let passed = at.saturating_duration_since(self.at);
        u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns the time from the beginning until [`now_or_just_before`].
    #[inline]
    pub(crate) fn elapsed(self) -> u64 {
        if CAN_BE_PAUSED || cfg!(ratelimit_meter_loom) {
            self.until(now())
        } else {
            DefaultClock.since_epoch().saturating_sub(self.since_epoch)
        }
    }
}

/// The result of [`pause`] if tokio has no function of that name.
pub(crate) struct CannotBePaused;

/// Replaces tokio's `pause` in a build without its feature `test-util`.
#[allow(dead_code, reason = "unless it is shadowed")]
fn pause() -> CannotBePaused {
    CannotBePaused
}

/// True if tokio's clock can be paused in this build.
///
/// If it cannot, tokio's clock is the system's. Then the core's default clock is used wherever 5 us do not matter: it has the same time at a third of
/// the cost, and is at most 5 us late.
pub(crate) const CAN_BE_PAUSED: bool = {
    // Shadows the function above, if tokio has this function.
    #[allow(unused_imports, reason = "not in a build without it")]
    use tokio::time::*;
    const fn can_be_paused<R: PauseResult>(_: &fn() -> R) -> bool {
        R::CAN_BE_PAUSED
    }
    can_be_paused(&(pause as fn() -> _))
};

/// A result of `pause`, which shows whose function it is.
trait PauseResult {
    const CAN_BE_PAUSED: bool;
}

impl PauseResult for CannotBePaused {
    const CAN_BE_PAUSED: bool = false;
}

impl PauseResult for () {
    const CAN_BE_PAUSED: bool = true;
}

/// The result of setting a timer.
#[cfg_attr(
    any(test, ratelimit_meter_loom),
    allow(dead_code, reason = "no runtime of a model ends")
)]
pub(crate) enum Set {
    /// The timer will go off.
    Armed,
    /// The instant is past.
    Elapsed,
    /// The runtime has shut down.
    Dead,
}

#[cfg(not(any(test, ratelimit_meter_loom)))]
mod real {
    use super::Set;
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant};
    pub(crate) use tokio::runtime::Id;
    use tokio::time::Sleep;

    /// The longest time for which a timer is set, because the wheel of tokio's timers spans two years. When it goes off, it is set again.
    const LONGEST: Duration = Duration::from_secs(365 * 86_400);

    /// Returns the time of tokio's clock: the clock of this thread's runtime, or the system's.
    pub(crate) fn now() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    /// Returns the runtime that polls.
    ///
    /// # Panics
    ///
    /// Panics if there is none.
    #[track_caller]
    pub(crate) fn current() -> Id {
        tokio::runtime::Handle::current().id()
    }

    /// Returns the runtime of this thread, if it belongs to one.
    pub(crate) fn try_current() -> Option<Id> {
        tokio::runtime::Handle::try_current().ok().map(|handle| handle.id())
    }

    /// A runtime's timer, which wakes a queue.
    ///
    /// Only threads of its own runtime may set it. The waker may be called while the timer is set or dropped.
    pub(crate) struct Timer {
        sleep: Pin<Box<Sleep>>,
        waker: Waker,
    }

    impl Timer {
        /// Returns a timer of the current runtime, not set.
        ///
        /// # Panics
        ///
        /// Panics if there is no runtime, or the runtime has no timers.
        #[track_caller]
        pub(crate) fn new(waker: Waker) -> Self {
            let sleep = Box::pin(tokio::time::sleep_until(now().into()));
            Self { sleep, waker }
        }

        /// Sets the timer to go off as soon as `due` is past, in whole milliseconds.
        pub(crate) fn set(&mut self, due: Instant) -> Set {
            let due = now().checked_add(LONGEST).map_or(due, |longest| due.min(longest));
            self.sleep.as_mut().reset(due.into());
            // After a runtime has shut down, each of its timers is elapsed, and a timer that is polled then panics.
            if self.sleep.is_elapsed() {
                return if due <= now() { Set::Elapsed } else { Set::Dead };
            }
            // If the task has used up its budget, the poll would return early, and the timer would not be set.
            let mut sleep = tokio::task::unconstrained(self.sleep.as_mut());
            match Pin::new(&mut sleep).poll(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(()) => Set::Elapsed,
                Poll::Pending => Set::Armed,
            }
        }
    }
}

/// The timer of one runtime.
struct Alarm {
    runtime: Id,
    /// The instant for which the timer is set, or is being set; `None` if it has gone off since.
    at: Option<Instant>,
    /// The timer; `None` while a caller sets it.
    timer: Option<Timer>,
}

/// The timers of all runtimes in which callers wait.
pub(crate) struct Timers(Vec<Alarm>);

impl Timers {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    fn of(&mut self, runtime: Id) -> Option<&mut Alarm> {
        self.0.iter_mut().find(|alarm| alarm.runtime == runtime)
    }

    pub(crate) fn has(&mut self, runtime: Id) -> bool {
        self.of(runtime).is_some()
    }

    /// Makes the runtime's timer, if there is none.
    pub(crate) fn ensure(&mut self, runtime: Id, timer: impl FnOnce() -> Timer) {
        if self.of(runtime).is_none() {
            let timer = Some(timer());
            let at = None;
            self.0.push(Alarm { runtime, at, timer });
        }
    }

    /// Records that the runtime's timer has gone off. Returns whether there is a timer.
    pub(crate) fn rang(&mut self, runtime: Id) -> bool {
        self.of(runtime).is_some_and(|alarm| {
            alarm.at = None;
            true
        })
    }

    /// Returns whether the runtime's timer goes off at `due` or before. Also `true` if a caller is setting the timer, because that caller will then
    /// ask this again.
    pub(crate) fn rings_by(&mut self, runtime: Id, due: Instant) -> bool {
        self.of(runtime)
            .is_some_and(|alarm| alarm.timer.is_none() || alarm.at.is_some_and(|at| at <= due))
    }

    /// Takes the runtime's timer to set it for `due`. `None` if it will go off by then, or if another caller is setting it.
    pub(crate) fn take_to_set(&mut self, runtime: Id, due: Instant) -> Option<Timer> {
        let alarm = self.of(runtime)?;
        if alarm.at.is_some_and(|at| at <= due) {
            return None;
        }
        let timer = alarm.timer.take()?;
        alarm.at = Some(due);
        Some(timer)
    }

    /// Puts back the timer after it was set.
    pub(crate) fn put_back(&mut self, runtime: Id, timer: Timer) {
        if let Some(alarm) = self.of(runtime) {
            alarm.timer = Some(timer);
        }
    }

    /// Removes the runtime's timer, unless a caller is setting it.
    pub(crate) fn remove(&mut self, runtime: Id) -> Option<Timer> {
        let is_idle = |alarm: &Alarm| alarm.runtime == runtime && alarm.timer.is_some();
        let index = self.0.iter().position(is_idle)?;
        self.0.swap_remove(index).timer
    }

    /// Forgets the timer of a runtime that has shut down, while the timer is being set.
    pub(crate) fn forget(&mut self, runtime: Id) {
        self.0.retain(|alarm| alarm.runtime != runtime);
    }
}
