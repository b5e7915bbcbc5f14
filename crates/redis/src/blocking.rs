//! The blocking store over a pool of connections.

use crate::failure::{self, ScriptFailure};
use crate::wire::{self, ScriptCall};
use core::fmt;
use core::time::Duration;
use ratelimit_meter_store::{Ask, BlockingStore, Micros, Reply, StoreError, Verb};
use redis::{Client, Cmd, Connection, ConnectionLike, RedisResult, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// The idle connections that are kept.
const IDLE: usize = 64;

/// The number of times a call is sent that the server does not run.
const ATTEMPTS: u32 = 3;

/// A store on Redis 6.2 or later, or Valkey, for threads that may block.
///
/// Each call takes an idle connection or makes one, and gives it back; a connection that failed is closed. A clone shares the connections.
#[derive(Clone)]
pub struct RedisBlockingStore {
    shared: Arc<ConnectionPool>,
}

struct ConnectionPool {
    client: Client,
    deadline: Duration,
    idle: Mutex<Vec<Connection>>,
}

impl RedisBlockingStore {
    /// Returns a store on the server of `client`. `deadline` bounds each step by itself: connecting, each write and each read. A step that takes
    /// longer fails its call, but a call of several steps may take longer in all.
    #[must_use]
    pub fn new(client: Client, deadline: Duration) -> Self {
        let shared = ConnectionPool {
            client,
            deadline,
            idle: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns a store on the server at `url`, such as `redis://127.0.0.1/`, as [`new`](Self::new) does.
    ///
    /// # Errors
    ///
    /// The client's error, if the URL is wrong. If the server is down, this call succeeds and each decision fails.
    pub fn open(url: &str, deadline: Duration) -> RedisResult<Self> {
        Ok(Self::new(Client::open(url)?, deadline))
    }

    fn connection(&self) -> Result<Connection, StoreError> {
        let idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let connect = || -> RedisResult<Connection> {
            let connection = self.shared.client.get_connection_with_timeout(self.shared.deadline)?;
            connection.set_read_timeout(Some(self.shared.deadline))?;
            connection.set_write_timeout(Some(self.shared.deadline))?;
            Ok(connection)
        };
        connect().map_err(|error| failure::connecting(&error))
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
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !usable {
            // The idle connections are probably lost too, as after a restart of the server. Otherwise each would fail a call of its own.
            let lost = core::mem::take(&mut *idle);
            drop(idle);
            drop(lost);
        } else if idle.len() < IDLE {
            idle.push(connection);
        }
        result
    }
}
