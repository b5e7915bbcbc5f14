//! The reference store: a map in this process, with the integers of the other stores.

use crate::error::StoreError;
use crate::step::{self, Stored, TimeSource, Write};
use crate::store::{Ask, AsyncStore, BlockingStore, Reply, Verb};
use crate::time::Micros;
use core::fmt;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The time for which idle keys of callers' times are kept: a caller whose clock is behind must not find a key idle too early.
const CALLERS_MARGIN_US: u64 = 3_600_000_000;

/// A store in the memory of this process: for tests of code that uses a store, and the reference of the other stores.
///
/// Clones share their states. A key costs its text and about 100 bytes. Idle keys are removed each time the number of keys has doubled. A limit for
/// one process alone is better kept by `ratelimit_meter::KeyedMeter`.
#[derive(Clone)]
pub struct MemoryStore {
    keys: Arc<Mutex<KeyMap>>,
    clock: Arc<dyn Fn() -> Option<Micros> + Send + Sync>,
}

#[derive(Debug, Default)]
struct KeyMap {
    entries: HashMap<Box<str>, ExpiringState>,
    /// The number of keys above which idle keys are removed.
    sweep_above: usize,
}

#[derive(Debug, Clone, Copy)]
struct ExpiringState {
    stored: Stored,
    /// The time, by the clock of the store, from which the key is idle.
    expires_us: u64,
}

impl MemoryStore {
    /// Returns a store without keys whose clock is the system's.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(|| Micros::from_system_time(SystemTime::now()))
    }

    /// Returns a store without keys that reads its time from `clock`; `None` fails the call with [`StoreError::WrongTime`].
    ///
    /// In a test, tokio's clock may be paused, so that the test waits for nothing. A `SharedMeter` remembers denials by that clock, so let the store
    /// read it, too:
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// use ratelimit_meter_store::{MemoryStore, Micros, SharedMeter};
    /// use std::time::{Duration, SystemTime};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (start, wall) = (tokio::time::Instant::now(), SystemTime::now());
    /// let store = MemoryStore::with_clock(move || Micros::from_system_time(wall + start.elapsed()));
    /// let clients = SharedMeter::builder("api", "10/min".parse()?).build(store)?;
    /// for _ in 0..10 {
    ///     assert!(clients.check("alice").await?.is_admitted());
    /// }
    /// assert!(!clients.check("alice").await?.is_admitted());
    /// tokio::time::sleep(Duration::from_secs(6)).await; // at once, in paused time
    /// assert!(clients.check("alice").await?.is_admitted());
    /// # Ok(())
    /// # }
    /// # main().expect("a test");
    /// # }
    /// ```
    #[must_use]
    pub fn with_clock(clock: impl Fn() -> Option<Micros> + Send + Sync + 'static) -> Self {
        Self {
            keys: Arc::default(),
            clock: Arc::new(clock),
        }
    }

    /// Returns the number of keys that are kept; some of them may be idle.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.lock().entries.len()
    }

    /// Returns `true` if no key is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn step(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        // One lock for the reading of the clock and the step: clocks of replies are in the order of the steps.
        let mut keys = self.keys.lock();
        let clock = (self.clock)().ok_or(StoreError::WrongTime)?;
        let (source, now) = match at {
            Some(at) => (TimeSource::Caller, at),
            None => (TimeSource::Store, clock),
        };
        let stored: Vec<_> = asks.iter().map(|ask| keys.get(ask.key, clock)).collect();
        let (reply, writes) = step::decide(verb, source, now, asks, &stored)?;
        for (ask, write) in asks.iter().zip(writes) {
            match write {
                Some(Write::Set(stored, rest_us)) => {
                    let margin_us = if source == TimeSource::Caller {
                        CALLERS_MARGIN_US
                    } else {
                        0
                    };
                    let expires_us = clock.get().saturating_add(rest_us).saturating_add(margin_us);
                    keys.set(ask.key, ExpiringState { stored, expires_us }, clock);
                }
                Some(Write::Delete) => {
                    keys.entries.remove(ask.key);
                }
                None => {}
            }
        }
        Ok(reply)
    }
}

impl KeyMap {
    fn get(&self, key: &str, clock: Micros) -> Option<Stored> {
        let entry = self.entries.get(key)?;
        (clock.get() < entry.expires_us).then_some(entry.stored)
    }

    fn set(&mut self, key: &str, entry: ExpiringState, clock: Micros) {
        match self.entries.get_mut(key) {
            Some(known) => *known = entry,
            None => {
                self.entries.insert(key.into(), entry);
            }
        }
        if self.entries.len() > self.sweep_above {
            self.entries.retain(|_, entry| clock.get() < entry.expires_us);
            self.sweep_above = (2 * self.entries.len()).max(1024);
        }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The lock is not held while the caller's writer runs.
        let keys = self.keys.try_lock().map(|keys| keys.entries.len());
        let mut fields = f.debug_struct("MemoryStore");
        match keys {
            Some(keys) => fields.field("keys", &keys),
            None => fields.field("keys", &format_args!("<locked>")),
        };
        fields.finish_non_exhaustive()
    }
}

impl BlockingStore for MemoryStore {
    fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        self.step(verb, at, asks)
    }
}

impl AsyncStore for MemoryStore {
    async fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        self.step(verb, at, asks)
    }
}
