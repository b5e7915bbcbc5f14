//! The store for threads that may block.

use crate::call::Call;
use crate::store::PostgresStore;
use crate::sweep::{Sweeper, Swept};
use core::fmt;
use core::time::Duration;
use ratelimit_meter_store::{Ask, BlockingStore, Micros, Reply, StoreError, Verb};
use std::io;
use std::sync::mpsc;
use tokio::runtime::{Builder, Runtime};

/// A [`PostgresStore`] for threads that may block, with the same deadline.
///
/// The store has a thread that drives its connections (a call of the crate `postgres` cannot be given a deadline). The store may be called
/// from any thread, and blocks that thread, even a thread of an async runtime.
pub struct BlockingPostgresStore {
    store: PostgresStore,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl BlockingPostgresStore {
    /// Returns a store that makes its calls on `store`, which must not be used from another runtime.
    ///
    /// # Errors
    ///
    /// The system's error, if it has no thread for the connections.
    pub fn new(store: PostgresStore) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ratelimit-meter-postgres")
            .enable_all()
            .build()?;
        Ok(Self {
            store,
            runtime: Some(runtime),
        })
    }

    /// Creates or upgrades the functions: see [`PostgresStore::install`].
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::install`].
    pub fn install(&self) -> Result<(), StoreError> {
        let store = self.store.clone();
        self.wait_for(async move { store.install().await })
    }

    /// Forgets keys that have owed nothing for a minute: see [`PostgresStore::sweep`].
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::sweep`].
    pub fn sweep(&self, from_page: u64) -> Result<Swept, StoreError> {
        let store = self.store.clone();
        self.wait_for(async move { store.sweep(from_page).await })
    }

    /// Starts sweeping in the background: see [`PostgresStore::sweep_every`].
    pub fn sweep_every(&self, interval: Duration) -> Sweeper {
        let _entered = self.runtime.as_ref().map(Runtime::enter);
        self.store.sweep_every(interval)
    }

    /// Runs a future on the thread of the connections. (`block_on` would panic in an async context.)
    fn wait_for<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                // Fails only if the caller is gone.
                let _ = sender.send(future.await);
            });
        }
        let ended = || StoreError::Disconnected("the thread of the connections ended".into());
        receiver.recv().unwrap_or_else(|_| Err(ended()))
    }
}

impl BlockingStore for BlockingPostgresStore {
    fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        let (store, call) = (self.store.clone(), Call::of(verb, at, asks));
        self.wait_for(async move { store.run(&call.statement, |row| call.reply(row)).await })
    }
}

impl Drop for BlockingPostgresStore {
    fn drop(&mut self) {
        // The plain drop of a runtime would panic in an async context.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for BlockingPostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlockingPostgresStore").field(&self.store).finish()
    }
}
