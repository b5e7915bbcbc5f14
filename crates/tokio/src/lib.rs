//! Waits for a rate limiter on tokio: first come, first served, cancellable, without a background task.
//!
//! The core, [`ratelimit_meter`], never waits: it admits a cell, or returns the instant from which it would. This crate adds the waiting. [`Waiting`]
//! waits for any meter of the core, and [`Keyed`] for one meter of many. [`RateLimiter`] has a bucket of its own and is a drop-in replacement for
//! `leaky-bucket`'s.
//!
//! ```
//! use ratelimit_meter_tokio::RateLimiter;
//! use std::time::Duration;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let limiter = RateLimiter::builder().initial(10).interval(Duration::from_millis(100)).build();
//! let start = tokio::time::Instant::now();
//! limiter.acquire(10).await; // ten are there
//! limiter.acquire(3).await; // three more come, one every 100 ms
//! assert_eq!(start.elapsed().as_millis(), 300);
//! # }
//! ```
//!
//! # Guarantees
//!
//! - **Places, not cells.** A waiter holds a place in one queue. The limit is charged when that place is due: at the first instant at which the
//!   waiter's cells conform, after all waiters before it have their cells. The charge is made at that instant, even if the wake-up is late.
//! - **Fair**, unless built otherwise: strictly first come, first served. Small requests do not starve a large one, and no caller takes cells while
//!   another waits. An unfair limiter lets a caller take cells that are there; its waiters are still served in order.
//! - **Exact plans.** The instant of [`NotYet`](AcquireError::NotYet) is computed on a copy of the meter, with its ticks, weights and averages. A
//!   [`Patience`] that cannot be kept is denied at once. One that is accepted is kept, unless a caller takes cells past the queue, or a stall is longer
//!   than the bound of [`set_catch_up`](Waiting::set_catch_up).
//! - **Nothing is lost.** If a future is dropped, its place is given back at once, or its cells if they had come and no poll returned them. The
//!   waiters behind it move up. That holds for `select!`, timeouts, aborted tasks and runtimes that shut down.
//! - **No coordinator.** There is no background task, and no waiting future drives another. If a future is forgotten, or never polled again, it
//!   costs its own cells and delays no other waiter. The waiters behind it are served at the instants computed when they joined. If a waiter
//!   leaves outside the forgotten future's runtime, the waiters behind may move up only when a timer that is already set goes off.
//! - **No more than the limit**, in any window: the laws of [`ratelimit_meter::Decider`], or those of [`Bucket`]. They hold for the instants of
//!   charges. Wake-ups may be late by the grain of a timer, and after a stall by no more than [`set_catch_up`](Waiting::set_catch_up) allows.
//!
//! # Why that holds
//!
//! *Order.* While a caller waits, all decisions are made under the lock of the queue, by a function of the time alone (`wait_queue.rs`). While no
//! caller waits, cells are taken by one exchange of a word: a meter's own, or the count of a [`RateLimiter`]'s bucket. That count is closed while a
//! caller waits or holds the lock, so that no newcomer takes cells before a caller that joins. (A meter's word cannot be closed. So a caller that
//! asked the meter before another caller joined may get its answer after that.)
//!
//! Let d(k) be the instant at which place k is charged. d(k + 1) is computed from the limit's state after that charge, never from the time at which
//! the charge was noticed. So the sequence d(1), d(2), ... does not depend on the serving thread. As long as no waiter leaves, each instant is known
//! when a place is taken.
//!
//! *Progress.* While a caller of a runtime waits, the queue has a timer in that runtime. (There is one for each runtime, so that a runtime that is
//! not driven holds up only itself.) The timer belongs to no future. It wakes the queue, which serves every due place and sets the timer again.
//! Threads ([`Waiting::acquire_blocking`]) sleep by themselves. One of them also wakes half of the catch-up bound after d(1). So the
//! tasks ahead of it are charged in time even if their runtimes are not driven.
//!
//! *Invariant*: after each operation, one of three holds. The head's runtime has a timer at d(1) or before, the head's thread wakes by then, or the
//! woken head is about to look. Each operation checks that when it releases the lock (`shared.rs`, `release`).
//!
//! *Cost.* If there are cells and no caller waits, taking them needs no lock and no allocation. Taking, leaving and serving a place take constant
//! time under the lock; a plan visits each waiter once. Wakers are called and timers are set after the lock is released. A thousand waiters share one
//! timer.
//!
//! # Time
//!
//! Times are tokio's, so that tests in paused time are exact; [`TokioClock`] is that clock for meters. Tokio's timers have a grain of 1 ms: a waiter
//! wakes at the end of the millisecond in which it is due, never before. That lateness never adds up while another caller waits, or while the burst
//! covers a millisecond. If a single caller comes back alone each time, it gets at least the burst in each millisecond.
//!
//! After a stall, when a task has blocked the runtime, many waiters are due at once. The queue makes up for at most 10 ms of lateness. So a stall of
//! two seconds does not release two seconds' cells in one burst. [`Waiting::set_catch_up`] changes that bound.
//!
//! In a test with paused time, `tokio::time::sleep` stops at the instant of each waiter. `tokio::time::advance` jumps over these instants, which is a
//! stall. So after a jump of a second, waiters are served as after a stall of a second. To serve all waiters that are due, use `sleep`, or set
//! the bound to [`Duration::MAX`](std::time::Duration::MAX).
//!
//! Waiting needs a runtime with timers. [`Waiting::try_acquire`], [`Waiting::acquire_blocking`] and an acquire that is ready at once need none.
//!
//! # Limitations
//!
//! - A meter's own methods do not queue. If a caller uses them on a clone, it takes cells before the waiters, whose instants are then later.
//! - A change through such a clone (a refund, a reset, a raised quota) is noticed within one poll interval, see
//!   [`Waiting`](Waiting#changes-to-the-meter).
//! - A strict [`Exponential`](ratelimit_meter::Exponential) counts an acquire that finds neither its cells nor another waiter as a denial, once.
//! - If a future is dropped long after its cells came, the meter gets them back then, as by [`Waiting::refund`]. So another caller may use them at
//!   that instant, in addition to the cells that have come since. Poll such futures, or drop them soon.
//!
//! # Features
//!
//! - `tracing`: events at level `TRACE`, of the target `ratelimit_meter_tokio`, with the number of `cells`. A caller that does not find its cells
//!   `waits`, and then `is served`, or `gives up` when its future is dropped. Cells that are taken or denied at once emit no event, and no event is
//!   emitted while a lock is held. Off by default.

#![forbid(unsafe_code)]

mod bucket;
mod clock;
mod error;
mod keyed;
#[cfg(all(test, ratelimit_meter_loom))]
mod models;
mod options;
mod paced;
mod rate_limiter;
mod shared;
#[cfg(all(test, not(ratelimit_meter_loom)))]
mod simulation;
mod source;
mod sync;
mod timers;
mod wait_queue;
mod waiting;

pub use bucket::Bucket;
pub use clock::TokioClock;
pub use error::{AcquireError, InsufficientCapacity, InvalidRateLimiter, NotYet};
pub use keyed::{Keyed, MeterMap, TableKeys};
pub use options::Patience;
pub use paced::{PacedSink, PacedStream};
pub use rate_limiter::{RateLimiter, RateLimiterBuilder};
pub use source::{CellCount, KeyOf, Source, Waitable};
pub use waiting::{Acquire, AcquireOwned, Waiting};

/// Emits an event, if the feature is on.
macro_rules! trace {
    ($($event:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::trace!(target: "ratelimit_meter_tokio", $($event)*);
    };
}
use trace;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
