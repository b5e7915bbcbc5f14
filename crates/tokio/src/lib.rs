//! Waiting for a rate meter on tokio: fair, cancellable, without a background task.
//!
//! The core, [`ratelimit_meter`], never waits: it says yes, or from when on it would. This crate adds the waiting. [`Waiting`] does
//! for any of its meters, [`Keyed`] for one of many, and [`RateLimiter`] is a limiter with a bucket of its own that takes the place
//! of the crate `leaky-bucket`'s, call for call.
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
//! # What it guarantees
//!
//! - **Places, not cells.** Who waits holds a place in one queue, and the limit is charged when that place is due: at the first instant
//!   at which its cells conform, once all before it have theirs. The charge is as of that instant, however late the wake-up.
//! - **Fair**, unless built otherwise: strictly first come, first served. A large request is not starved by small ones, and nobody
//!   takes cells while others wait. Unfair, who asks while cells are there takes them; those who wait are served in order still.
//! - **Nothing is lost.** Dropping a future gives its place back at once, or its cells if it was served and not told: those behind move
//!   up. That holds for `select!`, timeouts, aborted tasks and runtimes that shut down.
//! - **Nobody is in charge.** No task runs in the background, and no waiting future has a part in serving others. One that is forgotten,
//!   or never polled again, costs its own cells and delays nobody: those behind it are served at the instants that were theirs when they
//!   came. What they would gain by a leave may come a timer late, if the leave happens outside the forgotten future's runtime: the new
//!   head is woken to set its timer, and if the head does not look, the timer that was set before serves all that are due.
//! - **No more than the limit**, in any window: the laws of [`ratelimit_meter::Decider`], or those of [`RateLimiter`]'s ticks.
//!
//! # Why that holds
//!
//! *Order.* While somebody waits, all that is decided is decided under the lock of the queue, by a function of the time alone
//! (`line.rs`). While nobody does, cells are taken by one exchange of a word: a meter's own, or a [`RateLimiter`]'s count of what is
//! spent, which is closed for as long as somebody waits or holds the lock (`open.rs`), so that no newcomer slips past one who joins.
//! (A meter's word cannot be closed: who asked it before the other joined may be answered after.) Let d(k) be the
//! instant at which place k is charged; d(k + 1) is computed from the limit's state after that charge and from d(k), never from the
//! time at which it was noticed. So the sequence d(1), d(2), ... is the same whoever serves, and as long as nobody leaves it is known
//! when a place is taken: the limit's instant for all cells waited for up to there. That is what [`AcquireError::NotYet`] tells.
//!
//! *Progress.* While anybody of a runtime waits, the queue has a timer in that runtime, set for d(1) as of when it was last set. (There
//! is one for each runtime, so that one that nobody drives holds up only itself.) The timer does not belong to a future: it wakes the
//! queue, which serves every place that is due and sets it again. Threads ([`Waiting::acquire_blocking`]) sleep until their own d(k)
//! instead. *Invariant*: after each operation, the head's runtime has a timer at d(1) or before, or the head has been woken and is about to
//! set it; a thread at the head sleeps no longer than until its own instant, or has been woken. Each operation checks that as it lets
//! the lock go, whatever it did (`queue/mod.rs`, `release`).
//!
//! *Cost.* What is had at once takes no lock while nobody waits, and no allocation. Taking, leaving and serving a place are constant
//! time under the lock; wakers are called and timers set after it is let go.
//! A thousand waiters share one timer.
//!
//! # Time
//!
//! Times are tokio's, so that tests in paused time are exact. Its timers have a grain of 1 ms: who waits wakes at the end of the
//! millisecond in which it is due, never before. That lateness never adds up while somebody else waits in the queue, or while the
//! burst covers a millisecond. Else, when one caller comes back alone each time, what the limit lets through is at least the burst in
//! each millisecond.
//!
//! A runtime is needed only to wait, with its timers enabled; [`Waiting::try_acquire`], [`Waiting::acquire_blocking`] and what is ready at
//! once do without.
//!
//! # What it does not do
//!
//! A task that always finds cells does not yield. A meter's own verbs do not queue: who calls them on a clone of it takes cells past those
//! who wait, whose instants are then later. What is refunded to a meter by its own verbs is noticed by whoever comes by. A strict
//! [`Exponential`](ratelimit_meter::Exponential) counts an acquire that has to wait as a denial.
//!
//! # Features
//!
//! - `tracing`: events at level `TRACE`, of the target `ratelimit_meter_tokio`, with the number of `cells`: one who has to ask in line
//!   `waits`, and then `is served`, or `gives up` when its future is dropped. What is had or refused at once tells nothing, and no
//!   event comes while a lock is held. Off by default.

#![forbid(unsafe_code)]

mod acquire;
mod alarm;
mod blocking;
mod bucket;
mod clock;
mod error;
mod held;
mod keyed;
mod line;
mod metered;
#[cfg(all(test, ratelimit_meter_loom))]
mod models;
mod open;
mod paced;
mod patience;
mod places;
mod queue;
mod rate_limiter;
mod runtime;
#[cfg(all(test, not(ratelimit_meter_loom)))]
mod simulation;
mod source;
mod sync;
mod ticks;
mod waiting;

pub use acquire::{Acquire, AcquireOwned};
pub use bucket::Bucket;
pub use error::{AcquireError, BuildError, InsufficientCapacity, NotYet};
pub use keyed::{Keyed, PerKey, Table};
pub use metered::OfKey;
pub use paced::{PacedSink, PacedStream};
pub use patience::Patience;
pub use rate_limiter::{Builder, RateLimiter};
pub use source::Source;
pub use waiting::Waiting;

/// Tells a subscriber, if the feature is on.
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
