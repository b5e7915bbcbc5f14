//! A limit as a store keeps it, and the meaning of its state.

use crate::average::Average;
use crate::time::Micros;
use crate::units::Units;
use core::fmt;
use ratelimit_meter::Quota;
use std::time::Duration;

/// A limit in the numbers of a store: a bucket, or an average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StoreLimit {
    /// A bucket that drains: decides as `GCRA` and `LeakyBucket` do.
    Bucket(Units),
    /// An exponentially weighted average: decides as `Exponential` does.
    Average(Average),
}

/// The part of a limit that is kept with a state, so that another quota can convert the debt.
///
/// Its text is `b<drain> <one>` for a bucket, `e<period> <share>` for a leaky and `E<period> <share>` for a strict average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// The units that drain in a microsecond, and the units of one cell of the quota.
    Bucket {
        /// The units that drain in a microsecond.
        drain: u64,
        /// The units of one cell of the quota.
        one: u64,
    },
    /// The period of an average, and the share of the threshold that one cell adds.
    Average {
        /// The period in microseconds.
        period_us: f64,
        /// The share of the threshold that one cell adds.
        share: f64,
        /// `true` if denied cells count.
        strict: bool,
    },
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Bucket { drain, one } => write!(f, "b{drain} {one}"),
            Self::Average {
                period_us,
                share,
                strict,
            } => {
                let kind = if strict { 'E' } else { 'e' };
                write!(f, "{kind}{period_us} {share}")
            }
        }
    }
}

/// The level of a state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// The units owed, of a bucket.
    Units(u64),
    /// The share of the threshold, of an average.
    Share(f64),
}

/// The state of one key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// The time at which the level was computed.
    pub time: Micros,
    /// The level then.
    pub level: Level,
}

impl StoreLimit {
    /// Returns the quota.
    #[must_use]
    pub const fn quota(&self) -> Quota {
        match self {
            Self::Bucket(units) => units.quota(),
            Self::Average(average) => average.quota(),
        }
    }

    /// Returns the most cells that conform at once.
    #[must_use]
    pub const fn max_batch(&self) -> u32 {
        match self {
            Self::Bucket(units) => units.max_batch(),
            Self::Average(average) => average.max_batch(),
        }
    }

    /// Returns the part that is kept with a state.
    #[must_use]
    pub const fn scale(&self) -> Scale {
        match self {
            Self::Bucket(units) => Scale::Bucket {
                drain: units.drain(),
                one: units.one(),
            },
            Self::Average(average) => Scale::Average {
                period_us: average.period_us(),
                share: average.share(),
                strict: average.is_strict(),
            },
        }
    }

    /// Returns the state of an idle key.
    #[must_use]
    pub const fn rested(&self, time: Micros) -> State {
        let level = match self {
            Self::Bucket(_) => Level::Units(0),
            Self::Average(_) => Level::Share(0.0),
        };
        State { time, level }
    }

    /// Returns how many cells conform at once at the time `at`; 0 if the state is of the other kind of limit.
    #[must_use]
    pub fn remaining(&self, state: State, at: Micros) -> u32 {
        match (self, state.level) {
            (Self::Bucket(units), Level::Units(level)) => units.remaining(state.time, level, at),
            (Self::Average(average), Level::Share(level)) => average.room(state.time, level, at, u32::MAX),
            _ => 0,
        }
    }

    /// Returns the time from `at` until `n` cells conform, exact to the microsecond; `None` if that many never conform.
    ///
    /// At that time they conform and a microsecond earlier they do not, if no other cells are counted meanwhile. (For an average, within
    /// a microsecond.)
    #[must_use]
    pub fn until(&self, state: State, at: Micros, n: u32) -> Option<Duration> {
        if n > self.max_batch() {
            return None;
        }
        let due = match (self, state.level) {
            _ if n == 0 => 0,
            (Self::Bucket(units), Level::Units(level)) => {
                units.due(state.time, level, units.burst() - u64::from(n) * units.cell())
            }
            (Self::Average(average), Level::Share(level)) => average.due(state.time, level, n),
            _ => return None,
        };
        Some(Duration::from_micros(due.saturating_sub(at.get())))
    }

    /// Returns the time from `at` until nothing is owed (for an average, until a full batch conforms).
    #[must_use]
    pub fn until_rest(&self, state: State, at: Micros) -> Duration {
        let due = match (self, state.level) {
            (Self::Bucket(_), Level::Units(0)) => 0,
            (Self::Bucket(units), Level::Units(level)) => units.due(state.time, level, 0),
            (Self::Average(average), Level::Share(level)) => average.due(state.time, level, average.max_batch()),
            _ => 0,
        };
        Duration::from_micros(due.saturating_sub(at.get()))
    }
}
