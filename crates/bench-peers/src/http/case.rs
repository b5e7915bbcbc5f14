//! The requests to a layer, and their number.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;
use ratelimit_meter::Quota;
use serde::Serialize;

/// The amount of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpEffort {
    pub(crate) rounds: u32,
    pub(crate) calls: u32,
    pub(crate) loopback_rounds: u32,
    pub(crate) loopback_requests: usize,
}

impl HttpEffort {
    pub(crate) const QUICK: Self = Self {
        rounds: 5,
        calls: 5_000,
        loopback_rounds: 11,
        loopback_requests: 5_000,
    };
    pub(crate) const FULL: Self = Self {
        rounds: 31,
        calls: 100_000,
        loopback_rounds: 75,
        loopback_requests: 8_000,
    };
}

/// The keys that come, and their outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HttpCase {
    /// One address, always admitted.
    OneKey,
    /// A million addresses at random, always admitted. All of them are live: their cells take an hour to drain.
    ManyKeys,
    /// One address, always denied.
    Denied,
}

impl HttpCase {
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

    /// The calls of a contender in a round. A denial by tower_governor takes a hundred times as long as any other.
    pub(super) const fn calls(self, effort: HttpEffort) -> u32 {
        match self {
            Self::OneKey | Self::ManyKeys => effort.calls,
            Self::Denied => effort.calls / 10,
        }
    }

    /// The burst of a limit that a run never meets, or of one that the first request meets.
    pub(super) const fn burst(self) -> u32 {
        match self {
            Self::OneKey => 1_000_000_000,
            Self::ManyKeys => 10_000,
            Self::Denied => 1,
        }
    }

    /// The time in which a cell drains: an hour where keys have to stay live.
    pub(super) const fn emission(self) -> Duration {
        match self {
            Self::OneKey => Duration::from_nanos(1),
            Self::ManyKeys | Self::Denied => Duration::from_secs(3600),
        }
    }

    /// The quota of each key in our own terms, and the number of keys.
    pub(super) fn quota(self) -> (Quota, usize) {
        let quota = Quota::new(NonZeroU32::MIN, self.emission()).expect("a sound quota");
        let burst = NonZeroU32::new(self.burst()).expect("no limit is of nothing");
        let keys = usize::try_from(self.keys()).unwrap_or(usize::MAX).max(1000);
        (quota.allow_burst(burst), keys)
    }
}

impl fmt::Display for HttpCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneKey => "one address, admitted",
            Self::ManyKeys => "a million addresses at random, admitted",
            Self::Denied => "one address, denied",
        })
    }
}
