//! The ways in which a limit or a call can fail.

use core::error::Error;
use core::fmt;
use ratelimit_meter::algorithms::InconsistentCapacity;
use std::time::Duration;

/// Reports why a store cannot keep a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidQuota {
    /// No meter can hold the quota.
    Inconsistent(InconsistentCapacity),
    /// A full burst takes longer than 2^52 us (142 years) to drain: use a smaller burst or a shorter period.
    RestTooLong,
    /// The refill interval is no whole number of microseconds, or longer than 142 years.
    Interval {
        /// The interval.
        interval: Duration,
    },
}

impl fmt::Display for InvalidQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inconsistent(error) => error.fmt(f),
            Self::RestTooLong => f.write_str("a full burst takes more than 142 years to drain; use a smaller burst"),
            Self::Interval { interval } => write!(
                f,
                "a refill interval of {interval:?} is no whole number of microseconds up to 142 years"
            ),
        }
    }
}

impl Error for InvalidQuota {}

/// Reports why a store gave no decision.
///
/// After an error that [is indeterminate](Self::is_indeterminate) the cells may have been counted; after any other they were not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// No connection to the store, or the server is not ready. Nothing was counted; holds the client's message.
    Unreachable(String),
    /// The connection was lost after the call was sent. Indeterminate; holds the client's message.
    Disconnected(String),
    /// No reply within the deadline. Indeterminate.
    TimedOut,
    /// As many calls as are allowed wait for the store already. Nothing was sent.
    Overloaded,
    /// The last calls failed, so the breaker is open. Nothing was sent.
    BreakerOpen,
    /// The server answered with an error, such as being out of memory. Nothing was counted; holds the server's message.
    Refused(String),
    /// The key holds a value that is no state of this kind of meter. Nothing was changed; holds the key.
    WrongState(String),
    /// A time lies before 1970 or after 2112. Nothing was counted.
    WrongTime,
    /// The limits of one call have keys in different slots of a cluster: name one slot for all of them. Nothing was sent.
    NotOneSlot,
    /// The reply is not one of a decision. Indeterminate; holds the fault.
    Protocol(String),
}

impl StoreError {
    /// Returns `true` if the cells may have been counted.
    #[must_use]
    pub const fn is_indeterminate(&self) -> bool {
        matches!(self, Self::Disconnected(_) | Self::TimedOut | Self::Protocol(_))
    }

    /// Returns the name of the reason, without its message: for a label.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Disconnected(_) => "disconnected",
            Self::TimedOut => "timed out",
            Self::Overloaded => "overloaded",
            Self::BreakerOpen => "breaker open",
            Self::Refused(_) => "refused",
            Self::WrongState(_) => "wrong state",
            Self::WrongTime => "wrong time",
            Self::NotOneSlot => "not one slot",
            Self::Protocol(_) => "protocol",
        }
    }

    /// Returns `true` if the call is at fault, so that the store may be well: a wrong time, keys of several slots, a foreign value.
    #[must_use]
    pub const fn is_of_the_call(&self) -> bool {
        matches!(self, Self::WrongState(_) | Self::WrongTime | Self::NotOneSlot)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(message) => write!(f, "store is unreachable: {message}"),
            Self::Disconnected(message) => write!(f, "connection to the store was lost: {message}"),
            Self::TimedOut => f.write_str("store did not reply within the deadline"),
            Self::Overloaded => f.write_str("too many calls wait for the store"),
            Self::BreakerOpen => f.write_str("store failed repeatedly and is not asked for now"),
            Self::Refused(message) => write!(f, "store refused: {message}"),
            Self::WrongState(key) => write!(f, "key {key:?} holds no state of this kind of meter"),
            Self::WrongTime => f.write_str("a time lies before 1970 or after 2112"),
            Self::NotOneSlot => f.write_str("limits of one call are in several slots of the cluster; name one slot"),
            Self::Protocol(message) => write!(f, "store sent an unexpected reply: {message}"),
        }
    }
}

impl Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_is_of_one_kind() {
        let text = String::new;
        let of_the_call = [
            StoreError::WrongState(text()),
            StoreError::WrongTime,
            StoreError::NotOneSlot,
        ];
        let indeterminate = [
            StoreError::Disconnected(text()),
            StoreError::TimedOut,
            StoreError::Protocol(text()),
        ];
        let of_the_store = [
            StoreError::Unreachable(text()),
            StoreError::Overloaded,
            StoreError::BreakerOpen,
            StoreError::Refused(text()),
        ];
        let kinds = [
            (&of_the_call[..], true, false),
            (&indeterminate, false, true),
            (&of_the_store, false, false),
        ];
        for (errors, of_the_call, indeterminate) in kinds {
            for error in errors {
                let kind = (error.is_of_the_call(), error.is_indeterminate());
                assert_eq!(kind, (of_the_call, indeterminate), "{error}");
            }
        }
    }
}
