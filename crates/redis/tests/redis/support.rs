//! A blocking face for the async store, and limits by their text.

use ratelimit_meter_redis::RedisStore;
use ratelimit_meter_store::{Ask, AsyncStore, BlockingStore, Micros, Reply, StoreError, StoreLimit, Units, Verb};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Longer than any loaded machine takes for a call on loopback.
pub(crate) const PATIENT: Duration = Duration::from_secs(120);

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
        let this = Self::unconnected(url);
        this.runtime.block_on(until_connected(&this.store));
        this
    }

    pub(crate) fn unconnected(url: &str) -> Self {
        let runtime = runtime();
        let store = RedisStore::open(url).expect("a URL");
        Self { runtime, store }
    }
}

/// A store that has connected, or whose server answers by an error. The store waits for a connection for a second, which a loaded machine may exceed.
pub(crate) async fn connected(url: &str) -> RedisStore {
    let store = RedisStore::open(url).expect("a URL");
    until_connected(&store).await;
    store
}

/// Peeks until connecting takes no longer than the store waits.
pub(crate) async fn until_connected(store: &impl AsyncStore) {
    let _ = first_answer(store).await;
}

/// Peeks until connecting takes no longer than the store waits, and returns that answer.
pub(crate) async fn first_answer(store: &impl AsyncStore) -> Result<Reply, StoreError> {
    let (limit, _) = bucket("1/d");
    let ask = [Ask {
        key: "connects",
        limit: &limit,
        n: 1,
    }];
    let answer = async {
        loop {
            match store.decide(Verb::Peek, None, &ask).await {
                Err(error) if error.to_string().contains("no answer") => {}
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(PATIENT, answer).await.expect("a connection")
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
