//! When a queue is due to be looked at: one timer for each runtime that waits, which belongs to the queue.
//!
//! No waiting future owns a timer, so none can stop the others by being forgotten, and a thousand waiters cost one timer. The timer
//! wakes the queue itself, which then serves whoever is due and sets it anew. There is one for each runtime, since one that nobody
//! drives must not hold up another; each is set for the head, whoever that is.
//!
//! A timer is set and polled only by its own runtime's threads, without the queue's lock: it may go off while it is being set, and
//! dropping or firing it runs code of the runtime's.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::runtime::Id;
use tokio::time::Sleep;

/// The longest that a timer is set for; the wheel of tokio's timers is two years around. Then it is set again.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A runtime's timer.
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// Wakes the queue.
    waker: Waker,
}

/// What came of setting a timer.
pub(crate) enum Set {
    /// It will go off.
    Armed,
    /// The instant is past.
    Elapsed,
    /// The runtime is no more.
    Dead,
}

impl Timer {
    /// A timer of the current runtime, not set.
    ///
    /// # Panics
    ///
    /// If there is no runtime, or it has no timers.
    #[track_caller]
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(crate::clock::now().into())),
            waker,
        }
    }

    /// Sets it to go off as soon as `due` is past, in whole milliseconds.
    pub(crate) fn set(&mut self, due: Instant) -> Set {
        let due = crate::clock::now()
            .checked_add(LONGEST)
            .map_or(due, |longest| due.min(longest));
        self.sleep.as_mut().reset(due.into());
        // A runtime that has shut down lets every timer go off at once, and panics if it is polled then.
        if self.sleep.is_elapsed() {
            return if due <= crate::clock::now() {
                Set::Elapsed
            } else {
                Set::Dead
            };
        }
        // A task that has used up its budget would be told to come back, and the timer not be set.
        let mut sleep = tokio::task::unconstrained(self.sleep.as_mut());
        match Pin::new(&mut sleep).poll(&mut Context::from_waker(&self.waker)) {
            std::task::Poll::Ready(()) => Set::Elapsed,
            std::task::Poll::Pending => Set::Armed,
        }
    }
}

/// The timer of one runtime.
struct Alarm {
    runtime: Id,
    /// When it goes off; none if it has.
    at: Option<Instant>,
    /// None while somebody sets it.
    timer: Option<Timer>,
}

/// The timers of all runtimes that wait.
pub(crate) struct Alarms(Vec<Alarm>);

impl Alarms {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    fn of(&mut self, runtime: Id) -> Option<&mut Alarm> {
        self.0.iter_mut().find(|alarm| alarm.runtime == runtime)
    }

    /// Sees to it that the runtime has a timer.
    pub(crate) fn ensure(&mut self, runtime: Id, timer: impl FnOnce() -> Timer) {
        if self.of(runtime).is_none() {
            let timer = Some(timer());
            let at = None;
            self.0.push(Alarm { runtime, at, timer });
        }
    }

    /// Notes that the runtime's timer has gone off. Whether there is one.
    pub(crate) fn rang(&mut self, runtime: Id) -> bool {
        self.of(runtime).is_some_and(|alarm| {
            alarm.at = None;
            true
        })
    }

    /// Takes the runtime's timer to set it for `due`, unless it will go off by then or somebody sets it: they will see it.
    pub(crate) fn take_to_set(&mut self, runtime: Id, due: Instant) -> Option<Timer> {
        let alarm = self.of(runtime)?;
        if alarm.at.is_some_and(|at| at <= due) {
            return None;
        }
        let timer = alarm.timer.take();
        // Whoever sets it finds that it is not what they set, and looks again.
        alarm.at = timer.as_ref().map(|_| due);
        timer
    }

    /// Puts the timer back that was set for `due`. Whether it is to be set for nothing else by now.
    pub(crate) fn put_back(&mut self, runtime: Id, timer: Timer, due: Instant) -> bool {
        self.of(runtime).is_none_or(|alarm| {
            alarm.timer = Some(timer);
            let is_right = alarm.at == Some(due);
            if !is_right {
                alarm.at = None;
            }
            is_right
        })
    }

    /// Takes the runtime's timer away, if it is not being set.
    pub(crate) fn remove(&mut self, runtime: Id) -> Option<Timer> {
        let index = self
            .0
            .iter()
            .position(|alarm| alarm.runtime == runtime && alarm.timer.is_some())?;
        self.0.swap_remove(index).timer
    }

    /// Forgets the timer of a runtime that is no more, which is being set.
    pub(crate) fn forget(&mut self, runtime: Id) {
        self.0.retain(|alarm| alarm.runtime != runtime);
    }
}
