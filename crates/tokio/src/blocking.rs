//! Waiting with a thread.

use crate::queue::{Queue, Waiter};
use crate::source::Source;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Parks the thread until it has `n` cells of the queue.
///
/// Each thread sleeps until the instant that it was told, which is as exact as the platform's sleep, and serves whoever is due by then;
/// it is woken before if it is served, or moves up.
pub(crate) fn acquire<S: Source>(queue: &Queue<S>, n: u32) -> S::Outcome {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let waiter = Waiter::Thread(&waker);
    let place = match queue.join::<S::Never>(n, waiter, |_| Ok(())) {
        Ok(Some(place)) => place,
        Ok(None) => return S::outcome(Ok(())),
        Err(never) => return S::outcome(Err(never)),
    };
    while let Err(until) = queue.poll(place, waiter) {
        match until {
            Some(until) => thread::park_timeout(until.saturating_duration_since(crate::clock::now())),
            None => thread::park(),
        }
    }
    crate::trace!(cells = n, "is served");
    S::outcome(Ok(()))
}
