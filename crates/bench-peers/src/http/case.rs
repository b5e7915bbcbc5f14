//! The requests to a layer, and their number.

use core::fmt;
use serde::Serialize;

/// The amount of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: u32,
    pub(crate) calls: u32,
    pub(crate) loopback_rounds: u32,
    pub(crate) loopback_requests: usize,
}

impl Effort {
    pub(crate) const QUICK: Self = Self {
        rounds: 5,
        calls: 5_000,
        loopback_rounds: 7,
        loopback_requests: 5_000,
    };
    pub(crate) const FULL: Self = Self {
        rounds: 31,
        calls: 100_000,
        loopback_rounds: 15,
        loopback_requests: 40_000,
    };
}

/// The keys that come, and their outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Case {
    /// One address, always admitted.
    OneKey,
    /// A million addresses at random, always admitted. All of them are live: their cells take an hour to drain.
    ManyKeys,
    /// One address, always denied.
    Denied,
}

impl Case {
    pub(super) const ALL: [Self; 3] = [Self::OneKey, Self::ManyKeys, Self::Denied];

    pub(crate) const fn keys(self) -> u32 {
        match self {
            Self::OneKey | Self::Denied => 1,
            Self::ManyKeys => 1_000_000,
        }
    }

    pub(super) const fn status(self) -> u16 {
        match self {
            Self::OneKey | Self::ManyKeys => 200,
            Self::Denied => 429,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneKey => "one address, admitted",
            Self::ManyKeys => "a million addresses at random, admitted",
            Self::Denied => "one address, denied",
        })
    }
}
