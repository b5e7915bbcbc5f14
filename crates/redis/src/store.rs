//! The async store over one connection that many tasks share.

use crate::wire::{self, Call, Failure};
use core::fmt;
use core::time::Duration;
use ratelimit_meter_store::{Ask, Micros, Reply, Store, StoreError, Verb};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, RedisError, RedisResult, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// The time to wait before a call is sent again that the server did not run: then twice as long, and so on.
const PAUSE: Duration = Duration::from_millis(2);

/// The number of times a call is sent that the server does not run.
const ATTEMPTS: u32 = 5;

/// A store on Redis 6.2 or later, or Valkey: one script call for each decision, by the server's clock.
///
/// A clone shares the connection. A call is sent again only if the answer says that no script ran (`NOSCRIPT`, `MOVED`, `TRYAGAIN`,
/// `LOADING`, `BUSY`, ...), never after a timeout or a lost connection. If the server says that it is a replica (`READONLY`), as after a
/// failover, the connection is made anew.
pub struct RedisStore<C = ConnectionManager> {
    shared: Arc<Shared<C>>,
}

struct Shared<C> {
    connection: Mutex<C>,
    /// Makes another connection, without waiting for it.
    anew: Option<Box<dyn Fn() -> RedisResult<C> + Send + Sync>>,
}

impl RedisStore {
    /// Returns a store on the server of `client`, over a connection that is made at the first call and again after it was lost.
    ///
    /// # Errors
    ///
    /// The client's, if its parameters are wrong. That the server is down is an error of each call, not of this.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as the client's connection does.
    pub fn new(client: Client) -> RedisResult<Self> {
        let anew = move || {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(0)
                .set_connection_timeout(Some(Duration::from_secs(1)))
                .set_response_timeout(None);
            client.get_connection_manager_lazy(config)
        };
        let shared = Shared {
            connection: Mutex::new(anew()?),
            anew: Some(Box::new(anew)),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Returns a store on the server at `url`, such as `redis://127.0.0.1/`.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new), and if the URL is none.
    pub fn open(url: &str) -> RedisResult<Self> {
        Self::new(Client::open(url)?)
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// Returns a store over a connection that was made elsewhere, such as a `MultiplexedConnection`.
    ///
    /// The connection must not send a command again on its own: a script that ran twice counts twice. For a cluster use the cluster
    /// store of this crate; `ClusterConnection` repeats commands after a lost connection.
    #[must_use]
    pub fn over(connection: C) -> Self {
        let shared = Shared {
            connection: Mutex::new(connection),
            anew: None,
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl<C> Clone for RedisStore<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Store for RedisStore<C> {
    async fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        decide(&*self.shared, verb, at, asks).await
    }
}

impl<C: ConnectionLike + Clone + Send + Sync> SendOnce for Shared<C> {
    async fn send(&self, cmd: &Cmd) -> RedisResult<Value> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        connection.req_packed_command(cmd).await?.extract_error()
    }

    async fn send_elsewhere(&self, cmd: &Cmd, error: RedisError) -> RedisResult<Value> {
        let Some(anew) = &self.anew else { return Err(error) };
        let connection = anew()?;
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
        self.send(cmd).await
    }
}

/// A way to send one command, once.
pub(crate) trait SendOnce: Send + Sync {
    fn send(&self, cmd: &Cmd) -> impl Future<Output = RedisResult<Value>> + Send;

    /// Sends a command to where `error`, the answer of a server that did not run it, points.
    fn send_elsewhere(&self, cmd: &Cmd, error: RedisError) -> impl Future<Output = RedisResult<Value>> + Send;
}

pub(crate) async fn decide(
    connection: &impl SendOnce,
    verb: Verb,
    at: Option<Micros>,
    asks: &[Ask<'_>],
) -> Result<Reply, StoreError> {
    if let Some(fast) = Call::fast(verb, at, asks) {
        let value = exchange(connection, &fast, asks).await?;
        if let Some(reply) = wire::fast_reply(&value, &asks[0])? {
            return Ok(reply);
        }
    }
    let value = exchange(connection, &Call::general(verb, at, asks), asks).await?;
    wire::reply(&value, asks)
}

/// Sends a call by hash, and with its text if the server does not know it; again only if nothing ran.
async fn exchange(connection: &impl SendOnce, call: &Call, asks: &[Ask<'_>]) -> Result<Value, StoreError> {
    let mut cmd = call.by_hash();
    let mut result = connection.send(&cmd).await;
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        result = match wire::failure(error, asks) {
            Failure::NoScript => {
                cmd = call.with_text();
                connection.send(&cmd).await
            }
            Failure::Elsewhere(error) => connection.send_elsewhere(&cmd, error).await,
            Failure::Later(_) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
                connection.send(&cmd).await
            }
            Failure::Final(error) => return Err(error),
        };
    }
    result.map_err(|error| match wire::failure(error, asks) {
        Failure::Elsewhere(error) | Failure::Later(error) => wire::exhausted(&error),
        Failure::Final(error) => error,
        Failure::NoScript => StoreError::Protocol("EVAL was answered by NOSCRIPT".to_owned()),
    })
}
