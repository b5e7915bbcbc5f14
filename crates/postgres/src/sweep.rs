//! Forgetting keys that owe nothing.

use crate::call::{Statement, bigint, get, whole};
use crate::store::PostgresStore;
use core::time::Duration;
use ratelimit_meter_store::StoreError;
use tokio::task::JoinHandle;
use tokio_postgres::types::Type;

/// The result of one sweep of some pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// The page to continue from; 0 at the end of the tables.
    pub next_page: u64,
    /// The number of removed keys.
    pub forgotten: u64,
}

/// A background task that sweeps; dropping it ends the task.
#[derive(Debug)]
#[must_use = "a sweeper that is dropped sweeps no more"]
pub struct Sweeper(JoinHandle<()>);

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PostgresStore {
    /// Forgets keys that have owed nothing for a minute, in 256 pages (2 MiB) of the tables from `from_page` on. Waits for no lock, and
    /// takes 10 seconds at most: the deadline of decisions does not apply.
    ///
    /// # Errors
    ///
    /// As for a decision. The same page may be swept again.
    pub async fn sweep(&self, from_page: u64) -> Result<Swept, StoreError> {
        let statement = Statement::new("SELECT next_page, forgotten FROM meter.sweep($1)");
        let statement = statement.with(bigint(from_page), Type::INT8);
        let read = |row: &_| {
            Ok(Swept {
                next_page: whole(get(row, 0)?)?,
                forgotten: whole(get(row, 1)?)?,
            })
        };
        self.run_sweep(&statement, read).await
    }

    /// Starts a task that sweeps 256 pages every `interval`, from page to page and round again; a second suits most loads.
    ///
    /// Any number of processes may sweep. An error ends nothing: the page is swept again after the next `interval`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn sweep_every(&self, interval: Duration) -> Sweeper {
        let store = self.clone();
        Sweeper(tokio::spawn(async move {
            let mut page = 0;
            loop {
                tokio::time::sleep(interval).await;
                if let Ok(swept) = store.sweep(page).await {
                    page = swept.next_page;
                }
            }
        }))
    }
}
