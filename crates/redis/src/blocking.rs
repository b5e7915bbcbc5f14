//! The blocking store over a pool of connections.

use crate::failure::{self, ScriptFailure};
use crate::tcp;
use crate::wire::{self, ScriptCall};
use core::fmt;
use core::time::Duration;
use ratelimit_meter_store::{Ask, BlockingStore, Micros, Reply, StoreError, Verb};
use redis::{Client, Cmd, Connection, ConnectionLike, ErrorKind, RedisResult, Value};
use std::io;
use std::sync::mpsc::{RecvTimeoutError, SendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// The idle connections that are kept, and the threads that connect at most.
const MOST: usize = 64;

/// The time without use after which an idle connection is tried before a script is sent over it. Servers (`timeout`), proxies and firewalls close idle
/// connections, and a script is never sent twice.
const IDLE: Duration = Duration::from_secs(5);

/// The longest time of each step while connecting, after the caller has left.
const PATIENCE: Duration = Duration::from_secs(5);

/// The number of times a call is sent that the server does not run.
const ATTEMPTS: u32 = 3;

/// A store on Redis 6.2 or later, or Valkey, for threads that may block.
///
/// Each call takes an idle connection or makes one, and gives it back; a connection that failed is closed. A connection that was idle for 5 seconds is
/// tried by `TIME` first, because the server may have closed it. A clone shares the connections.
///
/// The client does not read on after a signal. So a call that waits for its reply fails with [`StoreError::Disconnected`] if its thread handles a
/// signal. It also fails if the process is stopped and continued, as by a debugger. The call may have been counted.
#[derive(Clone)]
pub struct RedisBlockingStore {
    shared: Arc<ConnectionPool>,
}

struct ConnectionPool {
    client: Client,
    deadline: Duration,
    /// Connections with the time of their last use.
    idle: Mutex<Vec<(Connection, Instant)>>,
    /// The number of threads that connect.
    connecting: Mutex<usize>,
    /// Notified when one of these threads ends.
    ended: Condvar,
}

impl RedisBlockingStore {
    /// Returns a store on the server of `client`. `deadline` bounds each step by itself: connecting, each write and each read. A step that takes
    /// longer fails its call, but a call of several steps may take longer in all.
    ///
    /// A thread connects, and looks up the server's name. If that takes longer than `deadline`, a later call has the connection.
    #[must_use]
    pub fn new(client: Client, deadline: Duration) -> Self {
        let shared = ConnectionPool {
            client,
            deadline,
            idle: Mutex::default(),
            connecting: Mutex::default(),
            ended: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns a store on the server at `url`, such as `redis://127.0.0.1/`, as [`new`](Self::new) does.
    ///
    /// Its connections have `TCP_NODELAY`, and TCP keepalive after 30 seconds. A client for `new` has settings of its own.
    ///
    /// # Errors
    ///
    /// The client's error, if the URL is wrong. If the server is down, this call succeeds and each decision fails.
    pub fn open(url: &str, deadline: Duration) -> RedisResult<Self> {
        Ok(Self::new(tcp::client(url)?, deadline))
    }

    fn connection(&self) -> Result<Connection, StoreError> {
        let idle = self.shared.idle().pop();
        if let Some((mut connection, used)) = idle {
            if used.elapsed() < IDLE || connection.req_command(&redis::cmd("TIME")).is_ok() {
                return Ok(connection);
            }
            self.shared.close_idle();
        }
        self.shared.connect()
    }

    /// Sends a call by hash, and with its text if the server does not know it; again only if nothing ran.
    fn exchange(connection: &mut Connection, call: &ScriptCall, asks: &[Ask<'_>]) -> Result<Value, StoreError> {
        let mut send = |cmd: Cmd| connection.req_command(&cmd).and_then(Value::extract_error);
        let mut result = send(call.by_hash());
        for _ in 1..ATTEMPTS {
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            result = match failure::failure(error, asks) {
                ScriptFailure::NoScript => send(call.with_text()),
                ScriptFailure::Elsewhere(error) | ScriptFailure::Later(error) => {
                    return Err(failure::exhausted(&error));
                }
                ScriptFailure::Final(error) => return Err(error),
            };
        }
        result.map_err(|error| failure::exhausted(&error))
    }

    fn ask(connection: &mut Connection, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        if let Some(fast) = ScriptCall::fast(verb, at, asks) {
            let value = Self::exchange(connection, &fast, asks)?;
            if let Some(reply) = wire::fast_reply(&value, &asks[0])? {
                return Ok(reply);
            }
        }
        let value = Self::exchange(connection, &ScriptCall::general(verb, at, asks), asks)?;
        wire::reply(&value, asks)
    }
}

impl ConnectionPool {
    fn idle(&self) -> MutexGuard<'_, Vec<(Connection, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connecting(&self) -> MutexGuard<'_, usize> {
        self.connecting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < MOST {
            idle.push((connection, Instant::now()));
        }
    }

    /// Closes all idle connections after one was lost. They are probably lost too, as after a restart of the server. Otherwise each would fail a call of
    /// its own.
    fn close_idle(&self) {
        let lost = core::mem::take(&mut *self.idle());
        drop(lost);
    }

    /// Connects in a thread, because no name lookup can be given a deadline. If the caller has left, the connection is kept for a later call.
    fn connect(self: &Arc<Self>) -> Result<Connection, StoreError> {
        let begin = Instant::now();
        let connecting = ConnectingThread::of(self).ok_or(StoreError::Overloaded)?;
        let (sender, made) = sync_channel(0);
        let thread = thread::Builder::new().name("ratelimit-meter-redis".to_owned());
        let spawned = thread.spawn(move || {
            if let Err(SendError(Ok(connection))) = sender.send(connecting.0.made()) {
                connecting.0.keep(connection);
            }
        });
        let left = self.deadline.saturating_sub(begin.elapsed());
        let connected = match spawned.map(|_| made.recv_timeout(left)) {
            Ok(Ok(connected)) => connected,
            Ok(Err(RecvTimeoutError::Timeout)) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            Ok(Err(RecvTimeoutError::Disconnected)) => {
                Err((ErrorKind::Client, "the thread that connects has panicked").into())
            }
            Err(error) => Err(error.into()),
        };
        connected.map_err(|error| failure::connecting(&error))
    }

    fn made(&self) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(self.deadline.max(PATIENCE))?;
        connection.set_read_timeout(Some(self.deadline))?;
        connection.set_write_timeout(Some(self.deadline))?;
        Ok(connection)
    }
}

/// A place among the threads that connect.
struct ConnectingThread(Arc<ConnectionPool>);

impl ConnectingThread {
    /// Returns a place, if there is one within the deadline.
    fn of(pool: &Arc<ConnectionPool>) -> Option<Self> {
        let is_full = |threads: &mut usize| *threads >= MOST;
        let waited = pool.ended.wait_timeout_while(pool.connecting(), pool.deadline, is_full);
        let (mut threads, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if is_full(&mut threads) {
            return None;
        }
        *threads += 1;
        Some(Self(Arc::clone(pool)))
    }
}

impl Drop for ConnectingThread {
    fn drop(&mut self) {
        *self.0.connecting() -= 1;
        self.0.ended.notify_one();
    }
}

impl fmt::Debug for RedisBlockingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBlockingStore")
            .field("deadline", &self.shared.deadline)
            .finish_non_exhaustive()
    }
}

impl BlockingStore for RedisBlockingStore {
    fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        let mut connection = self.connection()?;
        let result = Self::ask(&mut connection, verb, at, asks);
        let usable = match &result {
            Ok(_) => true,
            // A reply that comes late would be taken for that of the next call, and a server that is a replica now stays one.
            Err(error) => {
                !error.is_indeterminate() && !matches!(error, StoreError::Unreachable(_)) && connection.is_open()
            }
        };
        if usable {
            self.shared.keep(connection);
        } else {
            self.shared.close_idle();
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratelimit_meter_store::{StoreLimit, Units};
    use ratelimit_meter_store_check::proxy::{Proxy, Replies};
    use ratelimit_meter_store_check::server::{Server, wait_for};

    fn check(store: &RedisBlockingStore) -> Result<Option<u64>, StoreError> {
        let limit = StoreLimit::Bucket(Units::of("1000/d".parse().unwrap()).unwrap());
        let asks = [Ask {
            key: "k",
            limit: &limit,
            n: 1,
        }];
        store.decide(Verb::Check, None, &asks).map(|reply| reply.cells)
    }

    /// As with the setting `timeout` of the server, or with the idle timeout of a proxy.
    #[test]
    fn connection_closed_while_idle_fails_no_call() {
        let Some(server) = Server::start(&[]) else { return };
        let store = RedisBlockingStore::open(&server.url(), Duration::from_secs(60)).unwrap();
        for _ in 0..3 {
            assert_eq!(check(&store), Ok(Some(1)));
            assert!(server.command(&["CLIENT", "KILL", "TYPE", "normal"]).is_ok());
            for (_, used) in store.shared.idle().iter_mut() {
                *used = used.checked_sub(IDLE).unwrap();
            }
        }
    }

    /// A server may take longer to connect to than a call may take, as after a name that is slowly looked up.
    #[test]
    fn connecting_goes_on_after_the_deadline() {
        let Some(server) = Server::start(&[]) else { return };
        assert!(server.command(&["CONFIG", "SET", "requirepass", "secret"]).is_ok());
        let proxy = Proxy::to(server.port());
        proxy.set(Replies::Hold);
        let url = proxy.url().replace("redis://", "redis://:secret@");
        let deadline = Duration::from_millis(200);
        let store = RedisBlockingStore::open(&url, deadline).unwrap();
        let error = check(&store).unwrap_err();
        assert!(
            matches!(&error, StoreError::Unreachable(text) if text.contains("no answer while connecting")),
            "{error}"
        );
        assert_eq!(*store.shared.connecting(), 1, "the caller has left");
        proxy.set(Replies::Pass);
        assert!(wait_for(|| store.shared.idle().len() == 1));
        // A call may come late on a loaded machine.
        assert!(wait_for(|| check(&store) == Ok(Some(1))));
    }

    /// As when many threads make their first call at once.
    #[test]
    fn call_waits_for_a_place_to_connect() {
        let Some(server) = Server::start(&[]) else { return };
        let store = RedisBlockingStore::open(&server.url(), Duration::from_secs(60)).unwrap();
        let places: Vec<_> = (0..MOST)
            .map(|_| ConnectingThread::of(&store.shared).unwrap())
            .collect();
        let begin = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| drop(places));
            assert_eq!(check(&store), Ok(Some(1)));
        });
        assert!(
            begin.elapsed() < store.shared.deadline,
            "a place that is free ends the wait"
        );
    }

    #[test]
    fn threads_that_connect_are_bounded() {
        let store = RedisBlockingStore::open("redis://127.0.0.1:1/", Duration::from_millis(200)).unwrap();
        let places: Vec<_> = (0..MOST)
            .map(|_| ConnectingThread::of(&store.shared).unwrap())
            .collect();
        let begin = Instant::now();
        assert_eq!(check(&store), Err(StoreError::Overloaded));
        assert!(begin.elapsed() >= store.shared.deadline, "it waited for a place");
        drop(places);
        assert!(matches!(check(&store), Err(StoreError::Unreachable(_))));
        assert!(wait_for(|| *store.shared.connecting() == 0));
    }
}
