//! Tokio.

use super::Set;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
pub(crate) use tokio::runtime::Id;
use tokio::time::Sleep;

/// The longest that a timer is set for; the wheel of tokio's timers is two years around. Then it is set again.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Now.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The runtime that polls.
///
/// # Panics
///
/// If there is none.
#[track_caller]
pub(crate) fn current() -> Id {
    tokio::runtime::Handle::current().id()
}

/// The runtime of this thread, if it is of one.
pub(crate) fn try_current() -> Option<Id> {
    tokio::runtime::Handle::try_current().ok().map(|handle| handle.id())
}

/// A runtime's timer, which wakes a queue.
///
/// It is set only by its own runtime's threads. What it wakes may be called while it is set, or dropped.
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    waker: Waker,
}

impl Timer {
    /// A timer of the current runtime, not set.
    ///
    /// # Panics
    ///
    /// If there is no runtime, or it has no timers.
    #[track_caller]
    pub(crate) fn new(waker: Waker) -> Self {
        let sleep = Box::pin(tokio::time::sleep_until(now().into()));
        Self { sleep, waker }
    }

    /// Sets it to go off as soon as `due` is past, in whole milliseconds.
    pub(crate) fn set(&mut self, due: Instant) -> Set {
        let due = now().checked_add(LONGEST).map_or(due, |longest| due.min(longest));
        self.sleep.as_mut().reset(due.into());
        // A runtime that has shut down lets every timer go off at once, and panics if it is polled then.
        if self.sleep.is_elapsed() {
            return if due <= now() { Set::Elapsed } else { Set::Dead };
        }
        // A task that has used up its budget would be told to come back, and the timer not be set.
        let mut sleep = tokio::task::unconstrained(self.sleep.as_mut());
        match Pin::new(&mut sleep).poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(()) => Set::Elapsed,
            Poll::Pending => Set::Armed,
        }
    }
}
