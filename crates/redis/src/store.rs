//! The async store over one connection that many tasks share.

use crate::failure::{self, ScriptFailure};
use crate::runtime::RuntimeMark;
use crate::tcp;
use crate::wire::{self, ScriptCall};
use core::fmt;
use core::time::Duration;
use ratelimit_meter_store::{Ask, AsyncStore, Micros, Reply, StoreError, Verb};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Arg, Client, Cmd, RedisError, RedisResult, Value};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The time to wait before a call is sent again that the server did not run: then twice as long, and so on.
const PAUSE: Duration = Duration::from_millis(2);

/// The number of times a call is sent that the server does not run.
const ATTEMPTS: u32 = 5;

/// The time without any answer after which a connection is left. A server that vanished without a word, as with its machine, would otherwise be waited
/// for until the system gives up, 15 minutes or more.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// The time without any answer after which a connection is tried before a script is sent over it. Servers (`timeout`), proxies and firewalls close idle
/// connections. The client notices at its next command and connects again, but a script is never sent twice.
pub(crate) const IDLE: Duration = Duration::from_secs(5);

/// The longest time for a decision. The client may lose a call if the connection ends while the call is sent. A caller without a deadline would then wait
/// for ever.
pub(crate) const LONGEST: Duration = Duration::from_secs(10);

/// A store on Redis 6.2 or later, or Valkey: one script call for each decision, by the server's clock.
///
/// A clone shares the connection. A call is sent again only after an answer by which no script ran: `NOSCRIPT`, `MOVED`, `TRYAGAIN`, `LOADING`,
/// `BUSY` and others like these. It is never sent again after a timeout or a lost connection. If the server is a replica (`READONLY`), as after a
/// failover, the connection is made again, once a second at most. So it is if callers left two calls without an answer that were sent a second or more
/// apart, and nothing was answered in between. A connection is tried by `GET` first if it is new, or was idle for 5 seconds, because the server may have
/// closed it. If that fails, the call is not sent.
///
/// A decision takes 10 seconds at most, with all attempts, and is [`StoreError::TimedOut`] then.
pub struct RedisStore<C = ConnectionManager> {
    shared: Arc<Connector<C>>,
}

struct Connector<C> {
    current: Mutex<CurrentConnection<C>>,
    /// Makes a connection, without waiting for it.
    anew: Option<Box<dyn Fn() -> RedisResult<C> + Send + Sync>>,
}

struct CurrentConnection<C> {
    /// `None` until the first call, because a connection is made in the runtime of its caller.
    connection: Option<C>,
    /// The runtime of a connection that this store made.
    runtime: Option<RuntimeMark>,
    /// The number of connections that were left.
    generation: u64,
    /// When the first call was sent that was left without an answer, if none was answered since.
    silent_since: Option<Instant>,
    /// The time of the last answer; `None` if the next call may have to connect.
    answered: Option<Instant>,
    /// When a connection was last left because its server is a replica, or did not accept it.
    rejected: Option<Instant>,
}

impl RedisStore {
    /// Returns a store on the server of `client`, over a connection that is made at the first call and again after it was lost.
    ///
    /// The tokio runtime of its first call carries the connection. After the end of that runtime the next call connects in its own.
    ///
    /// Set `TCP_NODELAY` in the client (`ConnectionInfo::set_tcp_settings`), as [`open`](Self::open) does. Without it the system holds a call back until
    /// the server has acknowledged the calls before it on the same connection.
    #[must_use]
    pub fn new(client: Client) -> Self {
        let anew = move || {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(0)
                .set_connection_timeout(Some(Duration::from_secs(1)))
                .set_response_timeout(None);
            client.get_connection_manager_lazy(config)
        };
        let shared = Connector {
            current: Mutex::new(CurrentConnection::of(None)),
            anew: Some(Box::new(anew)),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns a store on the server at `url`, such as `redis://127.0.0.1/`.
    ///
    /// The connection has `TCP_NODELAY`, and TCP keepalive after 30 seconds. A client for [`new`](Self::new) has settings of its own.
    ///
    /// # Errors
    ///
    /// The client's error, if the URL is wrong. If the server is down, this call succeeds and each decision fails.
    pub fn open(url: &str) -> RedisResult<Self> {
        Ok(Self::new(tcp::client(url)?))
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisStore<C> {
    /// Returns a store over a connection that was made elsewhere, such as a `MultiplexedConnection`.
    ///
    /// The connection must not send a command again on its own: a script that ran twice counts twice. For a cluster use the cluster
    /// store of this crate; `ClusterConnection` repeats commands after a lost connection.
    ///
    /// This store never makes a connection. If the given one is lost and does not connect again on its own, each later call fails with
    /// [`StoreError::Unreachable`]: that holds for a `MultiplexedConnection`, not for a `ConnectionManager`. If its server became a replica, each
    /// admission fails so, too. A store made by [`new`](Self::new) connects again in both cases.
    #[must_use]
    pub fn over(connection: C) -> Self {
        let shared = Connector {
            current: Mutex::new(CurrentConnection::of(Some(connection))),
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

impl<C: ConnectionLike + Clone + Send + Sync + 'static> AsyncStore for RedisStore<C> {
    async fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        let attempts = Attempts {
            shared: &self.shared,
            generation: AtomicU64::new(0),
        };
        decide(&attempts, verb, at, asks).await
    }
}

impl<C> CurrentConnection<C> {
    const fn of(connection: Option<C>) -> Self {
        Self {
            connection,
            runtime: None,
            generation: 0,
            silent_since: None,
            answered: None,
            rejected: None,
        }
    }

    /// Leaves the connection: the next call makes another.
    fn leave(&mut self) {
        *self = Self {
            generation: self.generation + 1,
            rejected: self.rejected,
            ..Self::of(None)
        };
    }

    /// Leaves the connection of the generation `left`, whose server is a replica or did not accept it. Returns `false` if it is not left: that happens at
    /// most once in [`SILENCE`], as a name may lead to the replica until long after the failover.
    fn leave_rejected(&mut self, left: u64, now: Instant) -> bool {
        if left != self.generation {
            // Another call has left it.
            return true;
        }
        let is_late = |at| now.saturating_duration_since(at) >= SILENCE;
        let leaves = self.rejected.is_none_or(is_late);
        if leaves {
            self.rejected = Some(now);
            self.leave();
        }
        leaves
    }
}

impl<C> Connector<C> {
    fn current(&self) -> MutexGuard<'_, CurrentConnection<C>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was sent. If it is dropped before its end, the connection may be dead.
struct SentCall<'a, C> {
    shared: &'a Connector<C>,
    generation: u64,
    sent: Instant,
    end: Option<SentEnd>,
}

/// The end of a call that was sent.
#[derive(Clone, Copy)]
enum SentEnd {
    Answered,
    /// The connection was lost or could not be made. The client connects again.
    Lost,
    /// The server did not accept the connection. The client does not connect again.
    Rejected,
}

impl<C> Drop for SentCall<'_, C> {
    fn drop(&mut self) {
        let mut current = self.shared.current();
        if current.generation != self.generation {
            return;
        }
        let Some(end) = self.end else {
            match current.silent_since {
                None => current.silent_since = Some(self.sent),
                Some(since) if self.sent.saturating_duration_since(since) < SILENCE => {}
                Some(_) if self.shared.anew.is_some() => current.leave(),
                Some(_) => {}
            }
            return;
        };
        current.silent_since = None;
        current.answered = matches!(end, SentEnd::Answered).then(Instant::now);
        if matches!(end, SentEnd::Rejected) && self.shared.anew.is_some() {
            current.leave_rejected(self.generation, Instant::now());
        }
    }
}

impl<C: Clone> Connector<C> {
    /// Returns the current connection and its generation.
    fn connection(&self) -> RedisResult<(C, u64)> {
        let mut current = self.current();
        if current.runtime.as_ref().is_some_and(RuntimeMark::has_ended) {
            current.leave();
        }
        let connection = match (&current.connection, &self.anew) {
            (Some(connection), _) => connection.clone(),
            (None, Some(anew)) => {
                let connection = anew()?;
                current.runtime = Some(RuntimeMark::current());
                current.connection.insert(connection).clone()
            }
            (None, None) => return Err((redis::ErrorKind::Client, "no connection").into()),
        };
        Ok((connection, current.generation))
    }
}

/// The attempts of one call, which know the generation of the connection that the last took.
struct Attempts<'a, C> {
    shared: &'a Connector<C>,
    generation: AtomicU64,
}

impl<C: ConnectionLike + Clone + Send + Sync> SendOnce for Attempts<'_, C> {
    async fn send(&self, cmd: &Cmd) -> RedisResult<Value> {
        self.until_connected(cmd).await?;
        self.send_now(cmd).await
    }

    /// Over another connection: the server of this one is a replica now.
    async fn send_elsewhere(&self, cmd: &Cmd, error: RedisError) -> RedisResult<Value> {
        if self.shared.anew.is_none() {
            return Err(error);
        }
        // ORDERING: relaxed, of one task after the other.
        let left = self.generation.load(Ordering::Relaxed);
        if !self.shared.current().leave_rejected(left, Instant::now()) {
            return Err(error);
        }
        self.send(cmd).await
    }
}

impl<C: ConnectionLike + Clone + Send + Sync> Attempts<'_, C> {
    /// Reads the first key of the script's call `cmd`, if the connection was [`IDLE`] or may not be there: its error is one of connecting. A proxy that
    /// passes scripts passes `GET` too.
    async fn until_connected(&self, cmd: &Cmd) -> RedisResult<()> {
        let answered = || self.shared.current().answered;
        let is_idle = is_idle(answered());
        if answered().is_some() && !is_idle {
            return Ok(());
        }
        let mut get = redis::cmd("GET");
        if let Some(Arg::Simple(key)) = cmd.args_iter().nth(3) {
            get.arg(key);
        }
        if is_idle {
            // If it fails, the client connects again.
            let _ = self.send_now(&get).await;
        }
        if answered().is_some() {
            return Ok(());
        }
        match self.send_now(&get).await {
            Err(error) if answered().is_none() => Err(failure::of_connecting(error)),
            // A server that answers by an error is there. The script may have another answer.
            _ => Ok(()),
        }
    }

    async fn send_now(&self, cmd: &Cmd) -> RedisResult<Value> {
        let (mut connection, generation) = self.shared.connection()?;
        // ORDERING: relaxed, of one task after the other.
        self.generation.store(generation, Ordering::Relaxed);
        let mut call = SentCall {
            shared: self.shared,
            generation,
            sent: Instant::now(),
            end: None,
        };
        let answer = connection.req_packed_command(cmd).await;
        // An error of the command is a value, until it is extracted.
        call.end = Some(match &answer {
            Ok(_) => SentEnd::Answered,
            Err(error) if error.is_io_error() => SentEnd::Lost,
            Err(_) => SentEnd::Rejected,
        });
        drop(call);
        answer?.extract_error()
    }
}

/// A way to send one command, once.
pub(crate) trait SendOnce: Send + Sync {
    fn send(&self, cmd: &Cmd) -> impl Future<Output = RedisResult<Value>> + Send;

    /// Sends a command to where `error`, the answer of a server that did not run it, points.
    fn send_elsewhere(&self, cmd: &Cmd, error: RedisError) -> impl Future<Output = RedisResult<Value>> + Send;
}

/// Returns `true` if the last answer came [`IDLE`] or longer ago.
pub(crate) fn is_idle(answered: Option<Instant>) -> bool {
    answered.is_some_and(|answered| answered.elapsed() >= IDLE)
}

/// Decides within [`LONGEST`].
pub(crate) async fn decide(
    connection: &impl SendOnce,
    verb: Verb,
    at: Option<Micros>,
    asks: &[Ask<'_>],
) -> Result<Reply, StoreError> {
    let decided = tokio::time::timeout(LONGEST, decide_by_scripts(connection, verb, at, asks)).await;
    decided.unwrap_or(Err(StoreError::TimedOut))
}

async fn decide_by_scripts(
    connection: &impl SendOnce,
    verb: Verb,
    at: Option<Micros>,
    asks: &[Ask<'_>],
) -> Result<Reply, StoreError> {
    if let Some(fast) = ScriptCall::fast(verb, at, asks) {
        let value = exchange(connection, &fast, asks).await?;
        if let Some(reply) = wire::fast_reply(&value, &asks[0])? {
            return Ok(reply);
        }
    }
    let value = exchange(connection, &ScriptCall::general(verb, at, asks), asks).await?;
    wire::reply(&value, asks)
}

/// Sends a call by hash, and with its text if the server does not know it; again only if nothing ran.
async fn exchange(connection: &impl SendOnce, call: &ScriptCall, asks: &[Ask<'_>]) -> Result<Value, StoreError> {
    let mut cmd = call.by_hash();
    let mut result = connection.send(&cmd).await;
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        result = match failure::failure(error, asks) {
            ScriptFailure::NoScript => {
                cmd = call.with_text();
                connection.send(&cmd).await
            }
            ScriptFailure::Elsewhere(error) => connection.send_elsewhere(&cmd, error).await,
            ScriptFailure::Later(_) => {
                tokio::time::sleep(pause).await;
                pause *= 2;
                connection.send(&cmd).await
            }
            ScriptFailure::Final(error) => return Err(error),
        };
    }
    result.map_err(|error| match failure::failure(error, asks) {
        ScriptFailure::Elsewhere(error) | ScriptFailure::Later(error) => failure::exhausted(&error),
        ScriptFailure::Final(error) => error,
        ScriptFailure::NoScript => StoreError::Protocol("EVAL was answered by NOSCRIPT".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratelimit_meter_store::{StoreLimit, Units};
    use ratelimit_meter_store_check::server::Server;
    use redis::AsyncConnectionConfig;

    #[test]
    fn replica_is_left_once_a_second() {
        let (mut current, now) = (CurrentConnection::of(Some(())), Instant::now());
        assert!(current.leave_rejected(0, now) && current.connection.is_none());
        assert!(current.leave_rejected(0, now), "another call in flight goes on too");
        let almost = now + SILENCE - Duration::from_nanos(1);
        assert!(!current.leave_rejected(1, almost));
        assert!(current.leave_rejected(1, now + SILENCE));
        assert!(!current.leave_rejected(2, now + SILENCE));
    }

    /// As with the setting `timeout` of the server, or with the idle timeout of a proxy.
    #[test]
    fn connection_closed_while_idle_fails_no_call() {
        let Some(server) = Server::start(&[]) else { return };
        let store = RedisStore::open(&server.url()).unwrap();
        let limit = StoreLimit::Bucket(Units::of("10/d".parse().unwrap()).unwrap());
        let asks = [Ask {
            key: "k",
            limit: &limit,
            n: 1,
        }];
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.enable_all().build().unwrap();
        let check = || runtime.block_on(store.decide(Verb::Check, None, &asks));
        for left in (6..10).rev() {
            let reply = check().unwrap();
            assert_eq!(limit.remaining(reply.states[0], reply.clock), left);
            assert!(server.command(&["CLIENT", "KILL", "TYPE", "normal"]).is_ok());
            let mut current = store.shared.current();
            current.answered = current.answered.and_then(|answered| answered.checked_sub(IDLE));
        }
    }
    /// A `MultiplexedConnection` does not connect again.
    #[test]
    fn lost_connection_of_the_caller_is_unreachable() {
        let Some(server) = Server::start(&[]) else { return };
        let limit = StoreLimit::Bucket(Units::of("10/d".parse().unwrap()).unwrap());
        let asks = [Ask {
            key: "k",
            limit: &limit,
            n: 1,
        }];
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(async {
            let client = tcp::client(&server.url()).unwrap();
            let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
            let store = RedisStore::over(connection.unwrap());
            let check = || store.decide(Verb::Check, None, &asks);
            assert_eq!(check().await.unwrap().cells, Some(1));
            assert!(server.command(&["CLIENT", "KILL", "TYPE", "normal"]).is_ok());
            check().await.unwrap_err();
            assert!(matches!(check().await, Err(StoreError::Unreachable(_))));
        });
    }
}
