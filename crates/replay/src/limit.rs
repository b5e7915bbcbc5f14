//! A limit to try: its text, and meters made of it.

use std::time::Instant;

use clap::ValueEnum;
use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::{Exponential, GCRA, LeakyBucket, NegativeMultiDecision, Quota};

use crate::Error;

/// How a meter keeps its account. For equal limits the first two decide alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Algorithm {
    /// The generic cell rate algorithm: keeps the time at which the next cell is due.
    #[default]
    Gcra,
    /// The leaky bucket: keeps the level.
    LeakyBucket,
    /// The exponential average: limits the rate lately, and takes no burst apart.
    Exponential,
}

impl Algorithm {
    /// As `--algorithm` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gcra => "gcra",
            Self::LeakyBucket => "leaky-bucket",
            Self::Exponential => "exponential",
        }
    }

    /// Whether a limit's burst and its rate can be told apart, to find the least of either.
    #[must_use]
    pub fn has_burst(self) -> bool {
        self != Self::Exponential
    }
}

#[derive(Debug, Clone)]
enum Prototype {
    Gcra(GCRA),
    LeakyBucket(LeakyBucket),
    Exponential(Exponential),
}

/// A limit to try.
#[derive(Debug, Clone)]
pub struct Limit {
    quota: Quota,
    prototype: Prototype,
}

impl Limit {
    /// Reads a limit such as `10/s` or `100/min burst 20`.
    ///
    /// # Errors
    ///
    /// [`Error::BadLimit`] with the bad part, [`Error::InconsistentLimit`] if no meter has such numbers.
    pub fn parse(text: &str, algorithm: Algorithm) -> Result<Self, Error> {
        let quota = text.parse::<Quota>().map_err(|reason| {
            let span = reason.span();
            let bad = text.get(span.clone()).unwrap_or_default();
            let behind = text.get(span.end..).unwrap_or_default().trim();
            let place = match (bad, behind) {
                ("", "") => "at its end".to_owned(),
                ("", behind) => format!("before `{behind}`"),
                (bad, _) => format!("at `{bad}`"),
            };
            Error::BadLimit {
                text: text.to_owned(),
                reason,
                place,
            }
        })?;
        Self::new(quota, algorithm).map_err(|source| Error::InconsistentLimit {
            text: text.to_owned(),
            source,
        })
    }

    /// The limit of a quota.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if no meter has such numbers.
    pub fn new(quota: Quota, algorithm: Algorithm) -> Result<Self, InconsistentCapacity> {
        let prototype = match algorithm {
            Algorithm::Gcra => Prototype::Gcra(GCRA::from_quota(quota)?),
            Algorithm::LeakyBucket => Prototype::LeakyBucket(LeakyBucket::from_quota(quota)?),
            Algorithm::Exponential => Prototype::Exponential(Exponential::from_quota(quota)?),
        };
        Ok(Self { quota, prototype })
    }

    /// What is metered.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// A meter at rest, of its own.
    pub(crate) fn meter(&self, clock: &ManualClock) -> Meter {
        match self.prototype.clone() {
            Prototype::Gcra(meter) => Meter::Gcra(meter.with_clock(clock.clone())),
            Prototype::LeakyBucket(meter) => Meter::LeakyBucket(meter.with_clock(clock.clone())),
            Prototype::Exponential(meter) => Meter::Exponential(meter.with_clock(clock.clone())),
        }
    }

    /// The latest tick of the traffic's time at `time` or before, as if ticks were counted from 1970: all keys have the same, and every
    /// day has. Without ticks that is `time` itself.
    pub(crate) fn tick_by(&self, time: i64) -> i64 {
        let interval = self.quota.refill_interval().map_or(1, |interval| interval.as_nanos());
        let since = i128::from(time).rem_euclid(i128::try_from(interval).unwrap_or(i128::MAX));
        time.saturating_sub(i64::try_from(since).unwrap_or(i64::MAX))
    }

    /// Nanoseconds after which a meter that was full is at rest: B * P / C, and one for what its word rounds, and then the next tick; of an
    /// average, forty periods, which leave 4e-18 of it.
    pub(crate) fn time_to_rest_ns(&self) -> u64 {
        let period_ns = self.quota.period().as_nanos();
        if let Prototype::Exponential(_) = self.prototype {
            return u64::try_from(period_ns.saturating_mul(40)).unwrap_or(u64::MAX);
        }
        let volume = period_ns.saturating_mul(u128::from(self.quota.burst().get()));
        let interval = self.quota.refill_interval().map_or(1, |interval| interval.as_nanos());
        let ns = volume
            .div_ceil(u128::from(self.quota.cells().get()))
            .saturating_add(interval);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

/// A meter of any algorithm.
pub(crate) enum Meter {
    Gcra(GCRA<ManualClock>),
    LeakyBucket(LeakyBucket<ManualClock>),
    Exponential(Exponential<ManualClock>),
}

impl Meter {
    #[inline]
    pub(crate) fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        match self {
            Self::Gcra(meter) => meter.check_n_at(n, at),
            Self::LeakyBucket(meter) => meter.check_n_at(n, at),
            Self::Exponential(meter) => meter.check_n_at(n, at),
        }
    }
}
