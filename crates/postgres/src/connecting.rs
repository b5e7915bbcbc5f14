//! Connections that are made for a call and outlast it.

use core::time::Duration;
use deadpool_postgres::{Object, Pool, PoolError, Timeouts};

/// The time for which a connection is made at most, after its caller has left.
const PATIENCE: Duration = Duration::from_secs(5);

/// Returns an idle connection of the pool, or makes one. If the caller leaves meanwhile, a task makes one for the calls to come. Without it, no call would
/// be answered while connecting takes longer than the deadline of a call.
pub(crate) async fn connection(pool: &Pool) -> Result<Object, PoolError> {
    let mut connecting = Connecting { pool, is_dropped: true };
    let got = pool.get().await;
    connecting.is_dropped = false;
    got
}

struct Connecting<'a> {
    pool: &'a Pool,
    is_dropped: bool,
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        let status = self.pool.status();
        if !self.is_dropped || status.size == status.max_size {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let pool = self.pool.clone();
            runtime.spawn(async move {
                // Without waiting: if as many connections are being made as the pool may have, none is missing.
                let limits = Timeouts {
                    wait: Some(Duration::ZERO),
                    ..Timeouts::default()
                };
                // The next call meets the same error.
                let _ = tokio::time::timeout(PATIENCE, pool.timeout_get(&limits)).await;
            });
        }
    }
}
