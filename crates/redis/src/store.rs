//! The async store over one connection that many tasks share.

use crate::wire::{self, Call, Failure};
use core::fmt;
use core::time::Duration;
use ratelimit_meter_store::{Ask, Micros, Reply, Store, StoreError, Verb};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, RedisError, RedisResult, Value};

/// How long to wait before a call is sent again that the server did not run: then twice as long, and so on.
const PAUSE: Duration = Duration::from_millis(2);

/// How often a call is sent that the server does not run.
const ATTEMPTS: u32 = 5;

/// A store on Redis 6.2 or later, or Valkey: one script call for each decision, by the server's clock.
///
/// A clone shares the connection. A call is sent again only if the answer says that no script ran (`NOSCRIPT`, `MOVED`, `TRYAGAIN`,
/// `LOADING`, `BUSY`, ...), never after a timeout or a lost connection.
#[derive(Clone)]
pub struct RedisStore<C = ConnectionManager> {
    connection: C,
}

impl RedisStore {
    /// Returns a store on the server of `client`, over a connection that is made at the first call and again after it was lost.
    ///
    /// # Errors
    ///
    /// The client's, if its parameters are wrong. That the server is down is an error of each call, not of this.
    pub fn new(client: &Client) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(None);
        Ok(Self::over(client.get_connection_manager_lazy(config)?))
    }

    /// Returns a store on the server at `url`, such as `redis://127.0.0.1/`.
    ///
    /// # Errors
    ///
    /// As of [`new`](Self::new), and if the URL is none.
    pub fn open(url: &str) -> RedisResult<Self> {
        Self::new(&Client::open(url)?)
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// Returns a store over a connection that was made elsewhere, such as a `MultiplexedConnection`.
    ///
    /// The connection must not send a command again on its own: a script that ran twice counts twice. For a cluster use the cluster
    /// store of this crate; `ClusterConnection` repeats commands after a lost connection.
    #[must_use]
    pub const fn over(connection: C) -> Self {
        Self { connection }
    }
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Store for RedisStore<C> {
    async fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        decide(&Single(self.connection.clone()), verb, at, asks).await
    }
}

/// A way to send one command, once.
pub(crate) trait Send1: Send + Sync {
    fn send(&self, cmd: &Cmd) -> impl Future<Output = RedisResult<Value>> + Send;

    /// Sends a command again that a server did not run, where `error` says to.
    fn redirect(&self, cmd: &Cmd, error: &RedisError) -> impl Future<Output = RedisResult<Value>> + Send;
}

struct Single<C>(C);

impl<C: ConnectionLike + Clone + Send + Sync> Send1 for Single<C> {
    async fn send(&self, cmd: &Cmd) -> RedisResult<Value> {
        let value = self.0.clone().req_packed_command(cmd).await?;
        value.extract_error()
    }

    async fn redirect(&self, cmd: &Cmd, _error: &RedisError) -> RedisResult<Value> {
        self.send(cmd).await
    }
}

pub(crate) async fn decide(
    connection: &impl Send1,
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
async fn exchange(connection: &impl Send1, call: &Call, asks: &[Ask<'_>]) -> Result<Value, StoreError> {
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
            Failure::Again(error) if error.redirect_node().is_some() => connection.redirect(&cmd, &error).await,
            Failure::Again(_) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
                connection.send(&cmd).await
            }
            Failure::Final(error) => return Err(error),
        };
    }
    result.map_err(|error| match wire::failure(error, asks) {
        Failure::Again(error) => wire::exhausted(&error),
        Failure::Final(error) => error,
        Failure::NoScript => StoreError::Protocol("EVAL was answered by NOSCRIPT".to_owned()),
    })
}
