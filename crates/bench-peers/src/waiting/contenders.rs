//! The contenders that wait, each by the fastest way in its documentation, with defaults.

use super::WaitingEntry;
use super::contender::{BURST, RATE, WaitingContender};
use super::measure;
use crate::contender::{ContenderKind, Package};
use core::num::NonZeroU32;
use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tokio::Waiting;
use std::future::Future;
use std::time::Duration;

impl WaitingEntry {
    const fn of<W: WaitingContender>() -> Self {
        Self {
            name: W::NAME,
            kind: W::KIND,
            package: W::PACKAGE,
            ready_ns: measure::ready_ns::<W>,
            crowd: measure::crowd::<W>,
            bytes: measure::bytes::<W>,
        }
    }
}

pub(super) fn entries() -> Vec<WaitingEntry> {
    vec![
        WaitingEntry::of::<WaitingGcra>(),
        WaitingEntry::of::<ratelimit_meter_tokio::RateLimiter>(),
        WaitingEntry::of::<leaky_bucket::RateLimiter>(),
        WaitingEntry::of::<governor::DefaultDirectRateLimiter>(),
    ]
}

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const AMPLE: u32 = 1_000_000_000;

fn cells(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).expect("no limit is of nothing")
}

/// The cells of a millisecond.
const fn per_millisecond() -> u64 {
    RATE / 1000
}

/// A GCRA with waiting.
struct WaitingGcra(Waiting<GCRA>);

impl WaitingGcra {
    fn of(quota: Quota) -> Self {
        Self(Waiting::new(GCRA::from_quota(quota).expect("a sound quota")))
    }
}

impl WaitingContender for WaitingGcra {
    const NAME: &'static str = "ours: Waiting<GCRA>";
    const KIND: ContenderKind = ContenderKind::Ours;
    const PACKAGE: Package = ("ratelimit_meter_tokio", "0");

    fn ample() -> Self {
        Self::of(Quota::per_second(cells(AMPLE)))
    }

    fn crowded() -> Self {
        let rate = u32::try_from(RATE).expect("the rate fits");
        Self::of(Quota::per_second(cells(rate)).allow_burst(cells(BURST)))
    }

    fn scarce() -> Self {
        let spent = Self::of(Quota::new(cells(1), HOUR).expect("a sound quota"));
        assert!(spent.0.try_acquire(1).is_ok());
        spent
    }

    async fn acquire(&self) {
        self.0.acquire(1).await.expect("one is never too many");
    }
}

impl WaitingContender for ratelimit_meter_tokio::RateLimiter {
    const NAME: &'static str = "ours: RateLimiter";
    const KIND: ContenderKind = ContenderKind::Ours;
    const PACKAGE: Package = ("ratelimit_meter_tokio", "0");

    fn ample() -> Self {
        let mut builder = Self::builder();
        builder.max(AMPLE).initial(AMPLE).refill(AMPLE / 10).build()
    }

    fn crowded() -> Self {
        let refill = u32::try_from(per_millisecond()).expect("the rate fits");
        Self::builder().refill(refill).interval(MILLISECOND).max(BURST).build()
    }

    fn scarce() -> Self {
        Self::builder().interval(HOUR).build()
    }

    fn acquire(&self) -> impl Future<Output = ()> + Send {
        self.acquire(1)
    }
}

impl WaitingContender for leaky_bucket::RateLimiter {
    const NAME: &'static str = "leaky-bucket";
    const KIND: ContenderKind = ContenderKind::Peer;
    const PACKAGE: Package = ("leaky-bucket", "1");

    fn ample() -> Self {
        let ample = usize::try_from(AMPLE).expect("32 bits fit");
        Self::builder().max(ample).initial(ample).refill(ample / 10).build()
    }

    fn crowded() -> Self {
        let refill = usize::try_from(per_millisecond()).expect("the rate fits");
        let burst = usize::try_from(BURST).expect("32 bits fit");
        Self::builder().refill(refill).interval(MILLISECOND).max(burst).build()
    }

    fn scarce() -> Self {
        Self::builder().interval(HOUR).build()
    }

    fn acquire(&self) -> impl Future<Output = ()> + Send {
        self.acquire(1)
    }
}

impl WaitingContender for governor::DefaultDirectRateLimiter {
    const NAME: &'static str = "governor: until_ready";
    const KIND: ContenderKind = ContenderKind::Peer;
    const PACKAGE: Package = ("governor", "0.10");

    fn ample() -> Self {
        Self::direct(governor::Quota::per_second(cells(AMPLE)))
    }

    fn crowded() -> Self {
        let rate = u32::try_from(RATE).expect("the rate fits");
        Self::direct(governor::Quota::per_second(cells(rate)).allow_burst(cells(BURST)))
    }

    fn scarce() -> Self {
        let quota = governor::Quota::with_period(HOUR).expect("an hour is a period");
        let spent = Self::direct(quota);
        assert!(spent.check().is_ok());
        spent
    }

    async fn acquire(&self) {
        self.until_ready().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions;

    #[test]
    fn contenders_are_locked_and_serve_available_cells_immediately() {
        for entry in entries() {
            assert!(versions::of(entry.package).is_some(), "{:?}", entry.package);
            assert!((entry.ready_ns)() < 1e6, "{} waits", entry.name);
        }
    }
}
