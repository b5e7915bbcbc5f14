//! A blocking face for the async store, and limits by their text.

use ratelimit_meter_redis::RedisStore;
use ratelimit_meter_store::{Ask, AsyncStore, BlockingStore, Micros, Reply, StoreError, StoreLimit, Units, Verb};
use tokio::runtime::Runtime;

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The async store, called by blocking.
pub(crate) struct OnRuntime {
    pub(crate) runtime: Runtime,
    pub(crate) store: RedisStore,
}

impl OnRuntime {
    pub(crate) fn new(url: &str) -> Self {
        let runtime = runtime();
        let store = runtime.block_on(async { RedisStore::open(url) }).expect("a store");
        Self { runtime, store }
    }
}

impl BlockingStore for OnRuntime {
    fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        self.runtime.block_on(self.store.decide(verb, at, asks))
    }
}

pub(crate) fn bucket(quota: &str) -> (StoreLimit, Units) {
    let units = Units::of(quota.parse().expect("a quota")).expect("a quota that a store can keep");
    (StoreLimit::Bucket(units), units)
}
