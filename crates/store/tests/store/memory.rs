//! The reference store against the exact oracles.

use ratelimit_meter_store::{Ask, BlockingStore, MemoryStore, Micros, StoreLimit, Units, Verb};
use ratelimit_meter_store_check::{Plan, check};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn memory_store_decides_like_the_exact_oracles() {
    check(&MemoryStore::new(), Plan::from_env());
}

const START: u64 = 1_700_000_000_000_000;

fn limit(quota: &str) -> StoreLimit {
    StoreLimit::Bucket(Units::of(quota.parse().unwrap()).unwrap())
}

#[test]
fn entries_of_idle_keys_are_removed() {
    let time = Arc::new(AtomicU64::new(START));
    let clock = Arc::clone(&time);
    let store = MemoryStore::with_clock(move || Micros::new(clock.load(Ordering::Relaxed)));
    let (limit, mut most) = (limit("10/s"), 0);
    for key in 0..5_000 {
        time.fetch_add(1_000_000, Ordering::Relaxed);
        let (key, limit, n) = (&*key.to_string(), &limit, 1);
        BlockingStore::decide(&store, Verb::Check, None, &[Ask { key, limit, n }]).unwrap();
        most = most.max(store.len());
    }
    assert!((2..=1_025).contains(&most), "{most} entries");
}

#[test]
fn charge_records_as_much_as_fits() {
    let store = MemoryStore::with_clock(|| Micros::new(START));
    let limit = limit("10/s");
    let charge = |n| {
        let (key, limit) = ("a", &limit);
        let reply = BlockingStore::decide(&store, Verb::Charge, None, &[Ask { key, limit, n }]);
        reply.unwrap().cells
    };
    // A cell drains in 100,000 us, and the last time is 2^53 - 1 us.
    let most = ((1 << 53) - 1 - START) / 100_000;
    assert_eq!([7, u64::MAX, 1].map(charge), [Some(7), Some(most - 7), Some(0)]);
}
