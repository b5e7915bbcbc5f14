//! What a queue waits for.

use crate::error::{AcquireError, InsufficientCapacity};
use std::time::Instant;

/// What can be waited for: a [`Meter`](ratelimit_meter::Meter) of any kind, or the [`Bucket`](crate::Bucket) of a
/// [`RateLimiter`](crate::RateLimiter). It is not to be implemented elsewhere.
pub trait Source: Send + Sync + Sized + 'static {
    /// What is awaited of an acquire: nothing where it always succeeds in the end.
    type Outcome;

    /// Why some number of cells can never be had.
    #[doc(hidden)]
    type Never: Into<AcquireError>;

    /// What the lock of the queue guards beside the queue.
    #[doc(hidden)]
    type State: Send;

    #[doc(hidden)]
    fn outcome(result: Result<(), Self::Never>) -> Self::Outcome;

    #[doc(hidden)]
    fn state(&self) -> Self::State;

    /// Refuses to queue for more than can ever be had.
    #[doc(hidden)]
    fn queueable(&self, n: u32, at: Instant) -> Result<(), Self::Never>;

    /// Refuses more than can ever be had at one instant.
    #[doc(hidden)]
    fn at_once(&self, n: u32, at: Instant) -> Result<(), InsufficientCapacity>;

    /// Sees to it that nobody takes cells without the lock, which is held, before it is opened.
    #[doc(hidden)]
    fn close(&self, _: &mut Self::State) {}

    /// Lets cells be taken without the lock again: nobody waits. It is open to begin with.
    #[doc(hidden)]
    fn open(&self, _: &Self::State) {}

    /// Takes `n` cells now, without the lock; `false` if that is not possible, for whatever reason.
    #[doc(hidden)]
    fn take_unlocked(&self, n: u32) -> bool;

    /// Takes `n` cells for one who does not wait, or tells when the next part of them is due. `queued` tells if others wait.
    #[doc(hidden)]
    fn take(&self, state: &mut Self::State, n: u32, at: Instant, queued: bool) -> Result<(), Instant>;

    /// When the next part of what the head misses is due, at `from` or later.
    #[doc(hidden)]
    fn due(&self, state: &Self::State, missing: u32, from: Instant) -> Instant;

    /// Whether that is now, though it was to be later: somebody has given cells back.
    #[doc(hidden)]
    fn is_sooner(&self, missing: u32, now: Instant) -> bool;

    /// Takes for the head what is due at `from` or later, and by `now`, at its instant; or tells when it is due.
    #[doc(hidden)]
    fn serve(&self, state: &mut Self::State, missing: u32, from: Instant, now: Instant) -> Result<Part, Instant>;

    /// When `cells` in all will have been had, if the head, which misses `first` of them, has its next part at `due`.
    #[doc(hidden)]
    fn plan(&self, state: &Self::State, first: u32, due: Instant, cells: u64) -> Instant;

    /// Takes back `n` cells that were had and not used.
    #[doc(hidden)]
    fn give_back(&self, state: &mut Self::State, n: u32, at: Instant);
}

/// Cells that the head has got.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub cells: u32,
    /// When they were due, or before: the next are not due earlier.
    pub at: Instant,
}

/// An instant that never comes.
pub(crate) fn never(from: Instant) -> Instant {
    const YEAR: u64 = 31_557_600;
    let years = |years| from.checked_add(std::time::Duration::from_secs(years * YEAR));
    years(200).or_else(|| years(20)).unwrap_or(from)
}
