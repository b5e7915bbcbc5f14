//! The contenders, one file a crate.

mod flux_limiter;
mod governor;
mod leaky_bucket;
mod lease;
mod ours;
mod quota;
mod ratelimit;
mod ratelimit_meter_5;
mod tokio_rate_limit;

use crate::entry::MeterEntry;
use crate::tables::contender::{KeyAlone, KeyedEntry};
use crate::tables::keys::{KeyKind, NumberedKey};
use ::governor::clock::DefaultClock;
use ::governor::state::keyed::DashMapStateStore;
use ratelimit_meter::keyed::KeyHashes;
use ratelimit_meter::{GCRA, KeyedMeter};
use std::hash::RandomState;

/// All contenders, this project's first.
pub(crate) fn entries() -> Vec<MeterEntry> {
    vec![
        MeterEntry::of::<ours::Gcra>(),
        MeterEntry::of::<ours::Bucket>(),
        MeterEntry::of::<ours::Average>(),
        MeterEntry::of::<ours::AdjustableGcra>(),
        MeterEntry::of::<ours::Adjusted>(),
        MeterEntry::of::<ours::Peek>(),
        MeterEntry::of::<ours::Take>(),
        MeterEntry::of::<ours::Pair>(),
        MeterEntry::of::<lease::OurLease>(),
        MeterEntry::of::<governor::Governor>(),
        MeterEntry::of::<quota::Pool03>(),
        MeterEntry::of::<quota::Pool02>(),
        MeterEntry::of::<ratelimit::Ratelimiter>(),
        MeterEntry::of::<leaky_bucket::LeakyBucketPeer>(),
        MeterEntry::of::<ratelimit_meter_5::Gcra>(),
        MeterEntry::of::<ratelimit_meter_5::LeakyBucket>(),
        MeterEntry::of::<flux_limiter::FluxLimiter>(),
        MeterEntry::of::<tokio_rate_limit::TokioRateLimitPeer>(),
    ]
}

/// The contenders that have a meter for each key of that kind.
pub(crate) fn keyed(kind: KeyKind) -> Vec<KeyedEntry> {
    match kind {
        KeyKind::Text => {
            let only_text = KeyedEntry::of::<String, ::tokio_rate_limit::RateLimiter>();
            [any_keyed::<String>(), vec![only_text]].concat()
        }
        KeyKind::Number => any_keyed::<u64>(),
    }
}

fn any_keyed<K: NumberedKey>() -> Vec<KeyedEntry> {
    vec![
        KeyedEntry::of::<K, KeyedMeter<K, GCRA, KeyHashes>>(),
        KeyedEntry::of::<K, KeyedMeter<K, GCRA, RandomState>>().by_choice(),
        KeyedEntry::of::<K, KeyedMeter<K, GCRA, ahash::RandomState>>().by_choice(),
        KeyedEntry::of::<K, ::governor::RateLimiter<K, DashMapStateStore<K, RandomState>, DefaultClock>>(),
        KeyedEntry::of::<K, ::governor::RateLimiter<K, DashMapStateStore<K, ahash::RandomState>, DefaultClock>>()
            .by_choice(),
        KeyedEntry::of::<K, ::quota_03::QuotaPool<K>>(),
        KeyedEntry::of::<K, ::quota_02::QuotaPool<K>>(),
        KeyedEntry::of::<K, ::flux_limiter::FluxLimiter<K>>(),
        KeyedEntry::of::<K, KeyAlone>(),
    ]
}
