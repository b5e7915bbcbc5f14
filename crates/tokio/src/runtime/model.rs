//! One runtime for loom's models: time stands still until a model moves it, and timers go off when a model drives them.

use super::Set;
use loom::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

/// There is but one.
pub(crate) type Id = u8;

loom::lazy_static! {
    /// The milliseconds that have passed. No modelled atomic: a clock is not what is checked.
    static ref NOW: AtomicU64 = AtomicU64::new(0);

    /// When each timer goes off, and what it wakes then.
    static ref TIMERS: Mutex<Vec<Option<(Instant, Waker)>>> = Mutex::new(Vec::new());
}

pub(crate) fn now() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now) + Duration::from_millis(NOW.load(Ordering::SeqCst))
}

pub(crate) const fn current() -> Id {
    0
}

/// A timer, which wakes a queue.
pub(crate) struct Timer {
    index: usize,
    waker: Waker,
}

impl Timer {
    pub(crate) fn new(waker: Waker) -> Self {
        let mut timers = TIMERS.lock().unwrap();
        timers.push(None);
        let index = timers.len() - 1;
        Self { index, waker }
    }

    pub(crate) fn set(&mut self, due: Instant) -> Set {
        if due <= now() {
            return Set::Elapsed;
        }
        TIMERS.lock().unwrap()[self.index] = Some((due, self.waker.clone()));
        Set::Armed
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let unset = TIMERS.lock().unwrap()[self.index].take();
        drop(unset);
    }
}

/// What drives the runtime.
#[cfg(test)]
pub(crate) mod driver {
    use super::{NOW, Ordering, TIMERS, now};

    /// Sets the time, in milliseconds since the beginning.
    pub(crate) fn set_time(ms: u64) {
        NOW.store(ms, Ordering::SeqCst);
    }

    /// Lets go off the timers whose time has come.
    pub(crate) fn turn() {
        let mut due = Vec::new();
        for timer in TIMERS.lock().unwrap().iter_mut() {
            due.extend(timer.take_if(|(at, _)| *at <= now()));
        }
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }
}
