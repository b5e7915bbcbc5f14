//! The reference store against the exact oracles.

use ratelimit_meter_store::MemoryStore;
use ratelimit_meter_store_check::{Plan, check};

#[test]
fn memory_store_decides_like_the_exact_oracles() {
    check(&MemoryStore::new(), Plan::from_env());
}
