//! The adapter trait of a limiter that waits.

use crate::contender::{ContenderKind, Package};
use std::future::Future;

/// The cells a second that they wait for.
pub(super) const RATE: u64 = 1_000_000;

/// The burst: the cells of a millisecond, which is the resolution of all timers.
pub(super) const BURST: u32 = 1000;

/// A limiter with an asynchronous `acquire`.
pub(super) trait WaitingContender: Send + Sync + 'static {
    const NAME: &'static str;
    const KIND: ContenderKind;
    const PACKAGE: Package;

    /// Returns a limiter that never denies.
    fn ample() -> Self;

    /// Returns a limiter of [`RATE`] cells a second, [`BURST`] at once.
    fn crowded() -> Self;

    /// Returns a limiter of one cell an hour, already spent.
    fn scarce() -> Self;

    /// Waits for a cell.
    fn acquire(&self) -> impl Future<Output = ()> + Send;
}
