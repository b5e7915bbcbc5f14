//! The meaning of an error of the client or the server for a call, and advice for the user.

use ratelimit_meter_store::{Ask, StoreError};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The next thing to do after an error of a call.
#[derive(Debug)]
pub(crate) enum ScriptFailure {
    /// The server does not know the script: send its text.
    NoScript,
    /// Nothing ran, and the same may run on another server: the slot has moved, or this one is a replica now.
    Elsewhere(RedisError),
    /// Nothing ran, and the same may run a moment later.
    Later(RedisError),
    /// Final.
    Final(StoreError),
}

/// Sorts an error by whether the script may have run.
pub(crate) fn failure(error: RedisError, asks: &[Ask<'_>]) -> ScriptFailure {
    use ServerErrorKind as Server;
    let message = advised(&error);
    let final_error = match error.kind() {
        ErrorKind::Server(Server::NoScript) => return ScriptFailure::NoScript,
        ErrorKind::Server(Server::Moved | Server::Ask | Server::ReadOnly) => return ScriptFailure::Elsewhere(error),
        ErrorKind::Server(Server::TryAgain | Server::ClusterDown | Server::MasterDown | Server::BusyLoading) => {
            return ScriptFailure::Later(error);
        }
        ErrorKind::Server(Server::CrossSlot) => StoreError::NotOneSlot,
        ErrorKind::Server(_) | ErrorKind::Extension => match error.code() {
            Some("BUSY") => return ScriptFailure::Later(error),
            Some("WRONGTIME") => StoreError::WrongTime,
            Some("WRONGSTATE") => StoreError::WrongState(key_in(&error, asks)),
            // Redis before 7 puts the error of a command inside a script's own error.
            _ if message.contains("WRONGTYPE") => StoreError::WrongState(key_in(&error, asks)),
            // A replica of Valkey ends a script so, at its first write: nothing was written.
            _ if message.contains("READONLY") || message.contains("non local key") => {
                return ScriptFailure::Elsewhere(error);
            }
            _ => StoreError::Refused(message),
        },
        ErrorKind::AuthenticationFailed => StoreError::Refused(message),
        ErrorKind::Io if error.is_timeout() => StoreError::TimedOut,
        ErrorKind::Io if error.is_connection_refusal() || has_no_address(&message) => StoreError::Unreachable(message),
        ErrorKind::Io | ErrorKind::Parse => StoreError::Disconnected(message),
        ErrorKind::UnexpectedReturnType => StoreError::Protocol(message),
        ErrorKind::Client if message.starts_with(NOT_SENT) => {
            StoreError::Unreachable(error.detail().unwrap_or_default().to_owned())
        }
        _ => StoreError::Unreachable(message),
    };
    ScriptFailure::Final(final_error)
}

/// Returns whether the host of a URL has no address. The message is the only mark: the standard library's text, or a number of Windows.
fn has_no_address(message: &str) -> bool {
    ["failed to lookup address", "(os error 11001)"]
        .iter()
        .any(|mark| message.contains(mark))
}

/// Returns the key that an error names, otherwise the key of the first ask.
fn key_in(error: &RedisError, asks: &[Ask<'_>]) -> String {
    let detail = error.detail().unwrap_or_default();
    let named = asks.iter().find(|ask| detail.ends_with(ask.key));
    named
        .or(asks.first())
        .map_or_else(String::new, |ask| ask.key.to_owned())
}

/// Returns an error that may have been worth another attempt.
pub(crate) fn exhausted(error: &RedisError) -> StoreError {
    StoreError::Unreachable(advised(error))
}

/// Returns the meaning of an error while a connection is made: no script was sent.
pub(crate) fn connecting(error: &RedisError) -> StoreError {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
            StoreError::Refused(advised(error))
        }
        // Of an error of a node, a cluster's client keeps only the text.
        _ if error.to_string().contains("AuthenticationFailed") => StoreError::Refused(advised(error)),
        _ if error.is_timeout() || error.to_string().contains("timed out") => StoreError::Unreachable(format!(
            "{error}: no answer while connecting; expected a Redis or Valkey server, with TLS if the URL begins with rediss://"
        )),
        _ => StoreError::Unreachable(error.to_string()),
    }
}

/// The mark of an error of connecting.
const NOT_SENT: &str = "no script was sent";

/// Marks an error of connecting.
#[cfg(feature = "tokio")]
pub(crate) fn of_connecting(error: RedisError) -> RedisError {
    match connecting(&error) {
        StoreError::Unreachable(text) => (ErrorKind::Client, NOT_SENT, text).into(),
        _ => error,
    }
}

/// The rights of a user.
const RIGHTS: &str = "grant the user +evalsha +eval +get +set +del +time and the keys ~name*, in a cluster also +cluster|slots +asking, \
    for a database above 0 also +select";

const NO_PASSWORD: &str = "put the password into the URL: redis://:password@host or redis://user:password@host";

/// A part of a server's message, and advice.
const ADVICE: [(&str, &str); 16] = [
    ("NOAUTH", NO_PASSWORD),
    // Of a long command, such as a peek.
    ("unauthenticated", NO_PASSWORD),
    (
        "AuthenticationFailed",
        // The client drops the server's text.
        "check the user and the password (percent-encoded) in the URL: redis://user:password@host; or the server is full (maxclients)",
    ),
    ("NOPERM", RIGHTS),
    // Of SELECT while connecting: the client keeps no code.
    ("has no permissions to run", RIGHTS),
    ("can't run this command", RIGHTS),
    ("ACL failure", RIGHTS),
    ("OOM", "raise maxmemory, or choose a maxmemory-policy that evicts keys"),
    (
        "MISCONF",
        "the server cannot save its data, so it takes no writes: see its log",
    ),
    ("NOREPLICAS", "connect more replicas, or lower min-replicas-to-write"),
    ("READONLY", "connect to the primary"),
    ("cluster support disabled", "the server is no cluster: use RedisStore"),
    ("DB index", "choose a database that the server has, such as 0"),
    (
        "command called from",
        "the server has renamed or removed GET, SET, DEL or TIME, which the scripts call",
    ),
    (
        "unknown command",
        "expected Redis 6.2 or later or Valkey with scripts, not a Sentinel",
    ),
    (
        "DENIED",
        "set a password on the server, or let it listen on a loopback address",
    ),
];

/// Returns the message of an error, with advice if there is any.
fn advised(error: &RedisError) -> String {
    let message = error.to_string();
    let code = error.code().unwrap_or_default();
    let advice = ADVICE.iter().find(|(part, _)| code == *part || message.contains(part));
    match advice {
        Some((_, advice)) => format!("{}; {advice}", message.trim_end_matches('.')),
        None => message,
    }
}
