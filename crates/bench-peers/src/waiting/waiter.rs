//! A limiter that takes part.

use crate::contender::{Kind, Package};
use std::future::Future;

/// The cells a second that they wait for.
pub(super) const RATE: u64 = 1_000_000;

/// The burst: the cells of a millisecond, which is the resolution of all timers.
pub(super) const BURST: u32 = 1000;

/// A limiter with an asynchronous `acquire`.
pub(super) trait Waiter: Send + Sync + 'static {
    const NAME: &'static str;
    const KIND: Kind;
    const PACKAGE: Package;

    /// A limit that is never met.
    fn ample() -> Self;

    /// [`RATE`] cells a second, [`BURST`] at once.
    fn crowded() -> Self;

    /// A cell in an hour, and that is gone.
    fn scarce() -> Self;

    /// Waits for a cell.
    fn acquire(&self) -> impl Future<Output = ()> + Send;
}
