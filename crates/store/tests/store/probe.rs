//! The reference store behind a slow and faulty network, by the paused time of the runtime.

use ratelimit_meter_store::{Ask, AsyncStore, MemoryStore, Micros, Reply, StoreError, Verb};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The fate of calls.
#[derive(Debug, Clone, Default)]
pub(crate) enum Network {
    /// They arrive half of this later, and the reply again.
    #[default]
    Instant,
    Delay(Duration),
    /// Each way takes up to this long.
    Jitter(Duration),
    /// They fail and count nothing.
    Fail(StoreError),
    /// They count, and the reply is lost.
    LoseReply,
    /// Nothing arrives.
    Hang,
}

#[derive(Clone)]
pub(crate) struct Probe {
    memory: MemoryStore,
    shared: Arc<Mutex<ProbeState>>,
}

#[derive(Default)]
struct ProbeState {
    network: Network,
    calls: Vec<(Verb, u64)>,
    longest_key: usize,
}

impl Probe {
    /// A store whose clock is the paused one.
    pub(crate) fn new() -> Self {
        let origin = Instant::now();
        let clock = move || {
            let since = u64::try_from(origin.elapsed().as_micros()).expect("a short test");
            Micros::new(1_700_000_000_000_000 + since)
        };
        Self {
            memory: MemoryStore::with_clock(clock),
            shared: Arc::default(),
        }
    }

    pub(crate) fn with(network: Network) -> Self {
        let probe = Self::new();
        probe.set(network);
        probe
    }

    pub(crate) fn set(&self, network: Network) {
        self.shared.lock().expect("no panic").network = network;
    }

    /// The verbs and cells of all calls since the last time.
    pub(crate) fn take_calls(&self) -> Vec<(Verb, u64)> {
        std::mem::take(&mut self.shared.lock().expect("no panic").calls)
    }

    /// The number of bytes of the longest key so far.
    pub(crate) fn longest_key(&self) -> usize {
        self.shared.lock().expect("no panic").longest_key
    }

    async fn reference(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        AsyncStore::decide(&self.memory, verb, at, asks).await
    }
}

impl AsyncStore for Probe {
    async fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        let network = {
            let mut shared = self.shared.lock().expect("no panic");
            shared.calls.push((verb, asks[0].n));
            let keys = asks.iter().map(|ask| ask.key.len());
            shared.longest_key = keys.fold(shared.longest_key, usize::max);
            shared.network.clone()
        };
        let way = |longest: Duration| longest.mul_f64(fastrand::f64());
        match network {
            Network::Instant => self.reference(verb, at, asks).await,
            Network::Delay(trip) => {
                sleep(trip / 2).await;
                let reply = self.reference(verb, at, asks).await;
                sleep(trip / 2).await;
                reply
            }
            Network::Jitter(longest) => {
                sleep(way(longest)).await;
                let reply = self.reference(verb, at, asks).await;
                sleep(way(longest)).await;
                reply
            }
            Network::Fail(error) => Err(error),
            Network::LoseReply => {
                self.reference(verb, at, asks).await?;
                std::future::pending().await
            }
            Network::Hang => std::future::pending().await,
        }
    }
}
