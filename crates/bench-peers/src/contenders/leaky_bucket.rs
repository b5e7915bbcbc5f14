//! leaky-bucket: its `try_acquire`, the call that does not wait, on a fair limiter, which is its default.

use crate::cases::MeterLimit;
use crate::contender::{CheckN, Contender, ContenderKind, Package};
use std::sync::Arc;
use std::time::Duration;

/// Its default interval. It counts in whole milliseconds, so that a faster rate is more tokens an interval.
const REFILL_EVERY: Duration = Duration::from_millis(100);

pub(super) struct LeakyBucketPeer;

impl Contender for LeakyBucketPeer {
    const NAME: &'static str = "leaky-bucket";
    const KIND: ContenderKind = ContenderKind::Peer;
    const PACKAGE: Option<Package> = Some(("leaky-bucket", "1"));
    type Handle = Arc<leaky_bucket::RateLimiter>;

    fn handles(limit: MeterLimit, threads: usize) -> Vec<Self::Handle> {
        let interval = REFILL_EVERY.max(limit.interval);
        let tokens = |n: u128| usize::try_from(n).expect("a burst of 32 bits fits");
        let burst = tokens(limit.burst.get().into());
        let limiter = leaky_bucket::RateLimiter::builder()
            .interval(interval)
            .refill(tokens(interval.as_nanos() / limit.interval.as_nanos()))
            .max(burst)
            .initial(burst)
            .build();
        let limiter = Arc::new(limiter);
        vec![limiter; threads]
    }

    #[inline]
    fn check(limiter: &mut Self::Handle) -> bool {
        limiter.try_acquire(1)
    }

    const CHECK_N: Option<CheckN<Self::Handle>> =
        Some(|limiter, n| limiter.try_acquire(usize::try_from(n.get()).unwrap_or(usize::MAX)));
}
