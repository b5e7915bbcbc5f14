//! A limit to try: its text, and the meters made from it.

mod per_key;

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Instant;

use ratelimit_meter::algorithms::InconsistentCapacity;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::{Dual, Exponential, GCRA, LeakyBucket, MultiDecider, NegativeMultiDecision, Quota};

pub use crate::quotas::{AlgorithmName, Quotas};
pub use per_key::RuleFile;

use crate::Error;
use crate::event::Keys;
use crate::lending::{Lend, lend};
use crate::model::Model;
#[cfg(feature = "store")]
use crate::stored::{RunStore, StoredLimit};

/// A meter of one quota.
#[derive(Debug, Clone)]
pub(crate) enum Single {
    Gcra(GCRA),
    LeakyBucket(LeakyBucket),
    Exponential(Exponential),
}

impl Single {
    fn new(quota: Quota, algorithm: AlgorithmName) -> Result<Self, InconsistentCapacity> {
        Ok(match algorithm {
            AlgorithmName::Gcra => Self::Gcra(GCRA::from_quota(quota)?),
            AlgorithmName::LeakyBucket => Self::LeakyBucket(LeakyBucket::from_quota(quota)?),
            AlgorithmName::Exponential => Self::Exponential(Exponential::from_quota(quota)?),
        })
    }

    /// Creates a meter of this quota that decides for many keys, made at the fixed time `now` of a clock.
    pub(crate) fn lend(&self, clock: &ManualClock, now: Instant) -> Box<dyn Lend> {
        let clock = clock.clone();
        match self.clone() {
            Self::Gcra(meter) => lend(meter.with_clock(clock), now),
            Self::LeakyBucket(meter) => lend(meter.with_clock(clock), now),
            Self::Exponential(meter) => lend(meter.with_clock(clock), now),
        }
    }
}

/// The rule of a limit: a meter of this library, or a limiter of other software.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitRule {
    /// One or two quotas, decided by the meters of this library.
    Meter(Quotas),
    /// A limiter of other software.
    Model(Model),
    /// A rule for each key, from a file.
    PerKey(Rc<RuleFile>),
}

/// Formats the rule as `--limit` takes it; for a file, its name.
impl fmt::Display for LimitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meter(quotas) => quotas.fmt(f),
            Self::Model(model) => model.fmt(f),
            Self::PerKey(rows) => rows.fmt(f),
        }
    }
}

/// Parses as [`LimitSpec::parse`] does, for the first algorithm.
impl FromStr for LimitRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        LimitSpec::parse(text, AlgorithmName::default()).map(|limit| limit.rule())
    }
}

#[derive(Debug, Clone)]
enum Prototype {
    One(Single),
    TwoGcra(Dual<GCRA>),
    TwoLeakyBuckets(Dual<LeakyBucket>),
    TwoExponentials(Dual<Exponential>),
}

/// A limit to try.
#[derive(Clone)]
pub struct LimitSpec(LimitKind);

impl fmt::Debug for LimitSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LimitSpec({})", self.rule())
    }
}

/// The kinds of limits.
#[derive(Debug, Clone)]
pub(crate) enum LimitKind {
    Metered(Box<Metered>),
    #[cfg(feature = "store")]
    Stored(Box<Metered>, StoredLimit),
    Model(Model),
    PerKey(Rc<RuleFile>),
}

/// A limit that the meters of this library decide.
#[derive(Debug, Clone)]
pub(crate) struct Metered {
    quotas: Quotas,
    algorithm: AlgorithmName,
    prototype: Prototype,
}

impl LimitSpec {
    /// Parses a limit such as `10/s`, `100/min burst 20` or `10/s & 1000/h`, or the limit of a [`Model`], which begins with the model's name.
    ///
    /// # Errors
    ///
    /// [`Error::BadLimit`] with the bad part, [`Error::InconsistentLimit`] if no meter has such numbers, [`Error::BadModel`].
    pub fn parse(text: &str, algorithm: AlgorithmName) -> Result<Self, Error> {
        if let Some(model) = Model::parse(text) {
            let model = model.map_err(|source| Error::BadModel {
                text: text.to_owned(),
                source,
            })?;
            return Ok(Self(LimitKind::Model(model)));
        }
        let quotas = text.parse::<Quotas>().map_err(|reason| {
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
        Self::new(quotas, algorithm).map_err(|source| Error::InconsistentLimit {
            text: text.to_owned(),
            source,
        })
    }

    /// Creates the limit of one or two quotas.
    ///
    /// # Errors
    ///
    /// [`InconsistentCapacity`] if no meter has such numbers.
    pub fn new(quotas: impl Into<Quotas>, algorithm: AlgorithmName) -> Result<Self, InconsistentCapacity> {
        let quotas = quotas.into();
        let prototype = match (quotas, algorithm) {
            (Quotas::One(quota), algorithm) => Prototype::One(Single::new(quota, algorithm)?),
            (Quotas::Two(quotas), AlgorithmName::Gcra) => Prototype::TwoGcra(Dual::from_quota(quotas)?),
            (Quotas::Two(quotas), AlgorithmName::LeakyBucket) => Prototype::TwoLeakyBuckets(Dual::from_quota(quotas)?),
            (Quotas::Two(quotas), AlgorithmName::Exponential) => Prototype::TwoExponentials(Dual::from_quota(quotas)?),
        };
        Ok(Self(LimitKind::Metered(Box::new(Metered {
            quotas,
            algorithm,
            prototype,
        }))))
    }

    /// Creates the limit of a file that has a limit for each key.
    #[must_use]
    pub fn per_key(rows: RuleFile) -> Self {
        Self(LimitKind::PerKey(Rc::new(rows)))
    }

    /// Returns the notice of [`RuleFile::notice_of_unmet`] if this is a file of limits.
    pub(crate) fn notice_of_unmet(&self, names: &Keys, called: &str, anonymise: bool) -> Option<String> {
        match &self.0 {
            LimitKind::PerKey(rows) => rows.notice_of_unmet(names, called, anonymise),
            _ => None,
        }
    }

    /// Returns the algorithm of the limit's meters; `None` if the limit has none of its own.
    pub(crate) fn algorithm(&self) -> Option<AlgorithmName> {
        match &self.0 {
            LimitKind::Metered(metered) => Some(metered.algorithm),
            #[cfg(feature = "store")]
            LimitKind::Stored(metered, _) => Some(metered.algorithm),
            LimitKind::Model(_) | LimitKind::PerKey(_) => None,
        }
    }

    /// Moves the meters of the limit into a store.
    ///
    /// # Errors
    ///
    /// [`Error::NotStored`] for a limit of other software, and for a file of limits; [`Error::TooFineForStore`] if the store cannot keep its numbers.
    #[cfg(feature = "store")]
    pub fn in_store(self, store: &RunStore) -> Result<Self, Error> {
        let limit = self.rule().to_string();
        let LimitKind::Metered(metered) = self.0 else {
            return Err(Error::NotStored { limit });
        };
        let stored = StoredLimit::new(store, metered.quotas, metered.algorithm);
        let stored = stored.map_err(|source| Error::TooFineForStore { limit, source })?;
        Ok(Self(LimitKind::Stored(metered, stored)))
    }

    pub(crate) fn kind(&self) -> &LimitKind {
        &self.0
    }

    /// Returns the rule, without the meters.
    #[must_use]
    pub fn rule(&self) -> LimitRule {
        match &self.0 {
            LimitKind::Metered(metered) => LimitRule::Meter(metered.quotas),
            #[cfg(feature = "store")]
            LimitKind::Stored(metered, _) => LimitRule::Meter(metered.quotas),
            LimitKind::Model(model) => LimitRule::Model(*model),
            LimitKind::PerKey(rows) => LimitRule::PerKey(Rc::clone(rows)),
        }
    }
}

impl Metered {
    /// Parses a limit that is not another limiter's.
    #[cfg(test)]
    pub(crate) fn parse(text: &str, algorithm: AlgorithmName) -> Self {
        match LimitSpec::parse(text, algorithm).expect("a good limit").0 {
            LimitKind::Metered(metered) => *metered,
            other => panic!("{other:?} is no meter's"),
        }
    }

    /// Returns the meter that each key has a copy of, if the limit has one quota.
    pub(crate) fn single(&self) -> Option<Single> {
        match &self.prototype {
            Prototype::One(single) => Some(single.clone()),
            _ => None,
        }
    }

    /// Creates an idle meter.
    pub(crate) fn meter(&self, clock: &ManualClock) -> AnyMeter {
        match self.prototype.clone() {
            Prototype::One(Single::Gcra(meter)) => AnyMeter::Gcra(meter.with_clock(clock.clone())),
            Prototype::One(Single::LeakyBucket(meter)) => AnyMeter::LeakyBucket(meter.with_clock(clock.clone())),
            Prototype::One(Single::Exponential(meter)) => AnyMeter::Exponential(meter.with_clock(clock.clone())),
            Prototype::TwoGcra(pair) => AnyMeter::Two(Box::new(pair.with_clock(clock.clone()))),
            Prototype::TwoLeakyBuckets(pair) => AnyMeter::Two(Box::new(pair.with_clock(clock.clone()))),
            Prototype::TwoExponentials(pair) => AnyMeter::Two(Box::new(pair.with_clock(clock.clone()))),
        }
    }

    /// Returns the latest tick of the traffic's time at or before `time`; for two limits, the latest tick of both. Ticks are counted from 1970, so
    /// that they are the same for all keys and on all days. Without ticks the result is `time` itself.
    pub(crate) fn tick_by(&self, time: i64) -> i64 {
        let interval = match self.quotas {
            Quotas::One(quota) => interval_ns(quota),
            Quotas::Two(quotas) => common_multiple(interval_ns(quotas.first()), interval_ns(quotas.second())),
        };
        let since = i128::from(time).rem_euclid(i128::try_from(interval).unwrap_or(i128::MAX));
        time.saturating_sub(i64::try_from(since).unwrap_or(i64::MAX))
    }

    /// Returns the nanoseconds after which a full meter is idle: B * P / C, plus one for the rounding of its word, and then the next tick. For an
    /// average, forty periods, which leave 4e-18 of it.
    pub(crate) fn time_to_rest_ns(&self) -> u64 {
        match self.quotas {
            Quotas::One(quota) => self.time_of(quota),
            Quotas::Two(quotas) => self.time_of(quotas.first()).max(self.time_of(quotas.second())),
        }
    }

    fn time_of(&self, quota: Quota) -> u64 {
        let period_ns = quota.period().as_nanos();
        if self.algorithm == AlgorithmName::Exponential {
            return u64::try_from(period_ns.saturating_mul(40)).unwrap_or(u64::MAX);
        }
        let volume = period_ns.saturating_mul(u128::from(quota.burst().get()));
        let ns = volume.div_ceil(u128::from(quota.cells().get()));
        let ns = ns.saturating_add(interval_ns(quota));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

/// Returns the time between two ticks; without ticks, a nanosecond.
fn interval_ns(quota: Quota) -> u128 {
    quota.refill_interval().map_or(1, |interval| interval.as_nanos())
}

/// Returns the least common multiple of two intervals of at most 200 years.
fn common_multiple(one: u128, other: u128) -> u128 {
    let (mut divisor, mut rest) = (one, other);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    one / divisor * other
}

/// A meter of any algorithm.
pub(crate) enum AnyMeter {
    Gcra(GCRA<ManualClock>),
    LeakyBucket(LeakyBucket<ManualClock>),
    Exponential(Exponential<ManualClock>),
    /// Two quotas in one meter; boxed, since it is several times as large.
    Two(Box<dyn MultiDecider>),
}

impl AnyMeter {
    #[inline]
    pub(crate) fn check_n_at(&self, n: u32, at: Instant) -> Result<(), NegativeMultiDecision> {
        match self {
            Self::Gcra(meter) => meter.check_n_at(n, at),
            Self::LeakyBucket(meter) => meter.check_n_at(n, at),
            Self::Exponential(meter) => meter.check_n_at(n, at),
            Self::Two(pair) => pair.check_n_at(n, at),
        }
    }
}
