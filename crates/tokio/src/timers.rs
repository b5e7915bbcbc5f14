//! Tokio's time, and the timers of a queue: one for each runtime in which callers wait.
//!
//! No waiting future owns a timer, so no future can stop the others by being forgotten, and a thousand waiters cost one timer. The timer wakes the
//! queue itself, which then serves the waiters that are due and sets the timer again. There is one timer for each runtime, because a runtime that is
//! not driven must not hold up another runtime. Each timer is set for the head, whichever runtime the head belongs to.
//!
//! A timer is set, and dropped, without the queue's lock: it may go off while it is being set, and it takes locks of the runtime. Meanwhile it is
//! missing here, and a caller that needs it earlier only records that. The caller that sets the timer then checks once more.
//!
//! Under test the runtimes are those of `model.rs`, in which time moves only when the test moves it.

#[cfg(any(test, ratelimit_meter_loom))]
mod model;

#[cfg(test)]
pub(crate) use model::driver;
#[cfg(any(test, ratelimit_meter_loom))]
pub(crate) use model::{Id, Timer, current, now, try_current};
#[cfg(not(any(test, ratelimit_meter_loom)))]
pub(crate) use real::{Id, Timer, current, now, try_current};

use ratelimit_meter::clock::{Clock, DefaultClock};
use std::time::Instant;

/// The clock of tokio, which tests may pause, for meters with waiters.
///
/// Meters with another clock can be waited for, too, because the waiting types decide at tokio's time. But such a meter was made at the wall clock's
/// time, which in a test with paused time is later than tokio's. So ticks and [`with_available`](ratelimit_meter::Meter::with_available) count from
/// the wall clock's time. A meter with this clock counts from tokio's time.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota};
/// use ratelimit_meter_tokio::{TokioClock, Waiting};
/// use tokio::time::{Duration, Instant, advance};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// advance(Duration::from_secs(60)).await;
/// let meter = GCRA::from_quota("10/s".parse::<Quota>()?)?.with_clock(TokioClock).with_available(0)?;
/// let (limiter, start) = (Waiting::new(meter), Instant::now());
/// limiter.acquire(1).await?;
/// assert_eq!(start.elapsed(), Duration::from_millis(100));
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

/// Returns the time now, or at most 5 us before. It is for a caller that would take cells. If the caller could have taken them in those 5 us, it is
/// served a moment later.
pub(crate) fn now_or_just_before() -> Instant {
    if CAN_BE_PAUSED || cfg!(ratelimit_meter_loom) {
        now()
    } else {
        DefaultClock.now()
    }
}

/// An instant from which whole nanoseconds are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) at: Instant,
    /// The same instant by the core's default clock.
    since_origin: u64,
}

impl Beginning {
    pub(crate) fn now() -> Self {
        let at = now();
        let since_origin = DefaultClock.from_origin_until(at);
        Self { at, since_origin }
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
            DefaultClock.since_origin().saturating_sub(self.since_origin)
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

/// Whether tokio's clock can be paused in this build.
///
/// If it cannot, tokio's clock is the system's. Then the core's default clock, which has the same time at a third of the cost and is at most 5 us
/// late, is used wherever 5 us do not matter.
pub(crate) const CAN_BE_PAUSED: bool = {
    // Shadows the function above, if tokio has this function.
    #[allow(unused_imports, reason = "not in a build without it")]
    use tokio::time::*;
    const fn answer<A: Answer>(_: &fn() -> A) -> bool {
        A::CAN_BE_PAUSED
    }
    answer(&(pause as fn() -> _))
};

trait Answer {
    const CAN_BE_PAUSED: bool;
}

impl Answer for CannotBePaused {
    const CAN_BE_PAUSED: bool = false;
}

impl Answer for () {
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

    /// Returns the time of tokio's clock: that of this thread's runtime, or the system's.
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
    /// The instant at which the timer goes off; `None` if it has gone off.
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

    /// Returns whether the runtime's timer goes off at `due` or before. Also `true` if a caller is setting the timer, because that caller will check
    /// `due` again.
    pub(crate) fn rings_by(&mut self, runtime: Id, due: Instant) -> bool {
        self.of(runtime).is_some_and(|alarm| {
            let is_in_time = alarm.at.is_some_and(|at| at <= due);
            if !is_in_time && alarm.timer.is_none() {
                // The caller that sets the timer finds that `at` is not the instant that it set, and checks again.
                alarm.at = None;
            }
            is_in_time || alarm.timer.is_none()
        })
    }

    /// Takes the runtime's timer to set it for `due`. `None` if it will go off by then, or if another caller is setting it and will check `due`
    /// again.
    pub(crate) fn take_to_set(&mut self, runtime: Id, due: Instant) -> Option<Timer> {
        let alarm = self.of(runtime)?;
        if alarm.at.is_some_and(|at| at <= due) {
            return None;
        }
        let timer = alarm.timer.take();
        // A caller that is setting the timer finds that `at` is not the instant that it set, and checks again.
        alarm.at = timer.as_ref().map(|_| due);
        timer
    }

    /// Puts back the timer that was set for `due`, or leaves it if the runtime is forgotten. Returns whether no other instant was requested
    /// meanwhile.
    pub(crate) fn put_back(&mut self, runtime: Id, timer: &mut Option<Timer>, due: Instant) -> bool {
        self.of(runtime).is_none_or(|alarm| {
            alarm.timer = timer.take();
            let is_right = alarm.at == Some(due);
            if !is_right {
                alarm.at = None;
            }
            is_right
        })
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
