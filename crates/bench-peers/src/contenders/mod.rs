//! The contenders, one file a crate.

mod flux_limiter;
mod governor;
mod leaky_bucket;
mod lease;
mod ours;
mod quota_02;
mod quota_03;
mod ratelimit;
mod ratelimit_meter_5;
mod tokio_rate_limit;

use crate::contender::Entry;

/// All of them, this project's first.
pub(crate) fn entries() -> Vec<Entry> {
    vec![
        Entry::of::<ours::Gcra>(),
        Entry::of::<ours::Bucket>(),
        Entry::of::<ours::Average>(),
        Entry::of::<ours::AdjustableGcra>(),
        Entry::of::<ours::Adjusted>(),
        Entry::of::<ours::Peek>(),
        Entry::of::<ours::Take>(),
        Entry::of::<ours::Pair>(),
        Entry::of::<lease::Lease>(),
        Entry::of::<governor::Governor>(),
        Entry::of::<quota_03::Pool>(),
        Entry::of::<quota_02::Pool>(),
        Entry::of::<ratelimit::Ratelimiter>(),
        Entry::of::<leaky_bucket::RateLimiter>(),
        Entry::of::<ratelimit_meter_5::Gcra>(),
        Entry::of::<ratelimit_meter_5::LeakyBucket>(),
        Entry::of::<flux_limiter::FluxLimiter>(),
        Entry::of::<tokio_rate_limit::RateLimiter>(),
    ]
}
