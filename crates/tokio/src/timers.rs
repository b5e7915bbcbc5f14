//! The timers of a queue: one for each runtime in which callers wait.
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

use std::time::Instant;

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
