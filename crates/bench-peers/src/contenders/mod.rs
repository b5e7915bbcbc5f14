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

use crate::entry::Entry;
use crate::tables::contender::{KeyAlone, KeyedEntry};
use crate::tables::keys::{Key, KeyKind};
use ::governor::clock::DefaultClock;
use ::governor::state::keyed::DashMapStateStore;
use ratelimit_meter::keyed::KeyHashes;
use ratelimit_meter::{GCRA, KeyedMeter};
use std::hash::RandomState;

/// All contenders, this project's first.
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
        Entry::of::<quota::Pool03>(),
        Entry::of::<quota::Pool02>(),
        Entry::of::<ratelimit::Ratelimiter>(),
        Entry::of::<leaky_bucket::RateLimiter>(),
        Entry::of::<ratelimit_meter_5::Gcra>(),
        Entry::of::<ratelimit_meter_5::LeakyBucket>(),
        Entry::of::<flux_limiter::FluxLimiter>(),
        Entry::of::<tokio_rate_limit::RateLimiter>(),
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

fn any_keyed<K: Key>() -> Vec<KeyedEntry> {
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
