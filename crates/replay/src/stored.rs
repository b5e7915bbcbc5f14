//! The meters of all keys of one limit, in a store that other processes can use: Redis or Valkey.
//!
//! Each request is one call, decided at the time of the traffic and not by the server's clock. So the store makes the decisions that a meter of this
//! process makes, to the microsecond. Keys are numbers, in the order in which the traffic names them, under a prefix that no other run has. The store
//! forgets a key when it has been idle for an hour.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ratelimit_meter_redis::RedisBlockingStore;
use ratelimit_meter_store::{Ask, Average, BlockingStore, InvalidQuota, Micros, StoreError, StoreLimit, Units, Verb};

use crate::event::Event;
use crate::quotas::{AlgorithmName, Quotas};
use crate::verdict::EventVerdict;

/// Longest time for the server to connect, and to answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// A store, and the names under which this run keeps its meters there.
#[derive(Clone)]
pub struct RunStore {
    store: Rc<dyn BlockingStore>,
    prefix: Rc<str>,
    /// The number of limits so far. Each has keys of its own.
    limits: Rc<Cell<u32>>,
}

impl fmt::Debug for RunStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunStore")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl RunStore {
    /// Opens the store at a URL such as `redis://127.0.0.1:6379/0`. Connects when the first request is decided.
    ///
    /// # Errors
    ///
    /// A message, if the URL is invalid.
    pub fn open(url: &str) -> Result<Self, String> {
        let store = RedisBlockingStore::open(url, DEADLINE);
        store.map(Self::over).map_err(|error| error.to_string())
    }

    /// Uses any store.
    #[must_use]
    pub fn over(store: impl BlockingStore) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let prefix = format!("meter-replay:{:x}-{:x}", now.as_nanos(), std::process::id());
        Self {
            store: Rc::new(store),
            prefix: prefix.into(),
            limits: Rc::default(),
        }
    }
}

/// A limit whose meters are in a store.
#[derive(Debug, Clone)]
pub(crate) struct StoredLimit {
    store: RunStore,
    limits: Vec<StoreLimit>,
}

impl StoredLimit {
    pub(crate) fn new(store: &RunStore, quotas: Quotas, algorithm: AlgorithmName) -> Result<Self, InvalidQuota> {
        let quotas = match quotas {
            Quotas::One(quota) => vec![quota],
            Quotas::Two(quotas) => vec![quotas.first(), quotas.second()],
        };
        let limit = |quota| match algorithm {
            AlgorithmName::Gcra | AlgorithmName::LeakyBucket => Units::of(quota).map(StoreLimit::Bucket),
            AlgorithmName::Exponential => Average::of(quota).map(StoreLimit::Average),
        };
        Ok(Self {
            store: store.clone(),
            limits: quotas.into_iter().map(limit).collect::<Result<_, _>>()?,
        })
    }

    /// Returns idle meters for all keys.
    pub(crate) fn meters(&self) -> StoredMeters {
        let number = self.store.limits.get();
        self.store.limits.set(number + 1);
        StoredMeters {
            store: Rc::clone(&self.store.store),
            limits: self.limits.clone(),
            prefix: format!("{}:{number}", self.store.prefix),
        }
    }
}

/// The meters of all keys.
pub(crate) struct StoredMeters {
    store: Rc<dyn BlockingStore>,
    limits: Vec<StoreLimit>,
    prefix: String,
}

impl StoredMeters {
    pub(crate) fn check(&self, event: &Event) -> Result<EventVerdict, StoreError> {
        if event.cost == 0 {
            return Ok(EventVerdict::Admitted);
        }
        let at = u64::try_from(event.time).ok().and_then(|ns| Micros::new(ns / 1000));
        let at = at.ok_or(StoreError::WrongTime)?;
        // The key of one subject's limits has one hash tag, so one slot of a cluster.
        let key = |i| format!("{}:{{{}}}:{i}", self.prefix, event.key.index());
        let keys: Vec<String> = (0..self.limits.len()).map(key).collect();
        let pairs = keys.iter().zip(&self.limits);
        let asks = pairs.map(|(key, limit)| Ask {
            key,
            limit,
            n: event.cost,
        });
        let asks: Vec<_> = asks.collect();
        let reply = self.store.decide(Verb::Check, Some(at), &asks)?;
        let n = u32::try_from(event.cost).unwrap_or(u32::MAX);
        Ok(match reply.cells {
            None => EventVerdict::Never,
            Some(0) => {
                let states = self.limits.iter().zip(&reply.states);
                let waits = states.filter_map(|(limit, state)| limit.until(*state, reply.clock, n));
                EventVerdict::Denied(waits.max().unwrap_or_default())
            }
            Some(_) => EventVerdict::Admitted,
        })
    }
}
