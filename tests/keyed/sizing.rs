//! The probability that a decision meets a full neighbourhood, in a table made for the number of live keys.

use crate::support::exponential::Seeded;
use crate::support::keyed::{builder, hashes};
use crate::support::limit::Limit;
use crate::support::subject::{gcra, leaky_bucket};
use crate::support::time::SECOND;
use ratelimit_meter::KeyedMeter;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::keyed::WhenFull;
use ratelimit_meter::{GCRA, LeakyBucket};
use std::hash::Hash;
use std::time::Duration;

/// Fills tables for `n` keys with `n` live keys and decides on each, under `seeds` seeds: how many of the decisions were denied for lack
/// of a slot, and how many there were.
fn filled<K: Hash>(n: u64, seeds: u64, key: impl Fn(u64, u64) -> K) -> (u64, u64) {
    let clock = ManualClock::new();
    let denied = (0..seeds).map(|seed| {
        let like = builder(gcra(&Limit::new(1, 3600 * SECOND)), &clock, WhenFull::Deny);
        let table = like.hashes(hashes(seed)).with_capacity(usize::try_from(n).unwrap());
        let keys: KeyedMeter<K, GCRA<ManualClock>> = table.unwrap();
        for number in 0..n {
            // Each asks once, so it is denied only if there is no slot.
            let _ = keys.check(&key(seed, number));
        }
        let stats = keys.stats();
        assert_eq!(stats.live as u64 + stats.denied, n);
        stats.denied
    });
    (denied.sum(), seeds * n)
}

fn assert_fewer_than_1_in_100_000((full, decisions): (u64, u64), what: &str) {
    assert!(full * 100_000 < decisions.max(100_000), "{what}: {full} of {decisions}");
}

#[test]
fn few_keys_never_meet_a_full_neighbourhood() {
    for n in [1, 32, 33, 60] {
        let (full, _) = filled(n, 300, |_, number| number);
        assert_eq!(full, 0, "{n} keys");
    }
}

#[test]
fn a_thousand_keys_rarely_overflow() {
    assert_fewer_than_1_in_100_000(filled(1000, 100, |_, number| number), "in sequence");
}

#[test]
fn sequential_keys_rarely_overflow() {
    assert_fewer_than_1_in_100_000(filled(100_000, 2, |_, number| number), "in sequence");
    assert_fewer_than_1_in_100_000(filled(100_000, 2, |_, number| number << 32), "in the upper half");
}

#[test]
fn random_keys_rarely_overflow() {
    assert_fewer_than_1_in_100_000(
        filled(100_000, 2, |seed, number| Seeded(seed << 40 | number).number()),
        "random",
    );
}

#[test]
fn texts_with_a_common_start_rarely_overflow() {
    let path = |_, number| format!("/api/v1/users/{number}");
    assert_fewer_than_1_in_100_000(filled(100_000, 2, path), "paths");
    let address = |_, n: u64| format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    assert_fewer_than_1_in_100_000(filled(100_000, 2, address), "addresses");
}

/// New keys only, with as many live keys all the time as the table was made for. A new key sees as many keys in its bucket as there are on average
/// over time (Poisson). Such a bucket is full more often than a bucket that is filled once.
#[test]
fn few_new_keys_meet_a_full_neighbourhood() {
    let (clock, live) = (ManualClock::new(), 10_000_u32);
    let like = builder(leaky_bucket(&Limit::per_second(1)), &clock, WhenFull::Admit);
    let keys: KeyedMeter<u32, LeakyBucket<ManualClock>> = like.with_capacity(10_000).unwrap();
    let start = clock.now();
    for new in 0..10 * live {
        assert!(keys.check_at(&new, start + Duration::from_nanos(100_000) * new).is_ok());
    }
    let stats = keys.stats_at(start + Duration::from_secs(10));
    assert!(stats.live >= 9_990 && stats.live <= 10_000, "{stats:?}");
    assert!(stats.admitted <= 10, "{stats:?}");
}
