//! A limit to try: its text, and the meters made from it.

mod per_key;

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Instant;

use ratelimit_meter::algorithms::{
    Algorithm, ContinuousState, ExponentialAverage, InconsistentCapacity, VirtualScheduling,
};
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::{Dual, Meter, MultiDecider, Quota};

pub use crate::quotas::{AlgorithmName, Quotas};
pub use per_key::RuleFile;

use crate::Error;
use crate::event::Keys;
use crate::lending::{Lend, lend};
use crate::model::Model;
use crate::quotas::common_divisor;
#[cfg(feature = "store")]
use crate::stored::{RunStore, StoredLimit};

/// An idle meter of a limit, after which meters with another clock are made.
trait Prototype: fmt::Debug {
    /// Creates an idle meter.
    fn meter(&self, clock: &ManualClock) -> Box<dyn MultiDecider>;

    /// Creates a meter that decides for many keys, made at the fixed time `now` of a clock. `None` for two quotas: their state is more than a word.
    fn lend(&self, clock: &ManualClock, now: Instant) -> Option<Box<dyn Lend>>;
}

impl<A: Algorithm + Clone + fmt::Debug + 'static> Prototype for Meter<A> {
    fn meter(&self, clock: &ManualClock) -> Box<dyn MultiDecider> {
        Box::new(self.clone().with_clock(clock.clone()))
    }

    fn lend(&self, clock: &ManualClock, now: Instant) -> Option<Box<dyn Lend>> {
        Some(lend(self.clone().with_clock(clock.clone()), now))
    }
}

impl<A: Algorithm + Clone + fmt::Debug + 'static> Prototype for Dual<Meter<A>> {
    fn meter(&self, clock: &ManualClock) -> Box<dyn MultiDecider> {
        Box::new(self.clone().with_clock(clock.clone()))
    }

    fn lend(&self, _: &ManualClock, _: Instant) -> Option<Box<dyn Lend>> {
        None
    }
}

/// Creates the prototype of one or two quotas.
fn prototype<A>(quotas: Quotas) -> Result<Rc<dyn Prototype>, InconsistentCapacity>
where
    A: Algorithm + Clone + fmt::Debug + 'static,
{
    Ok(match quotas {
        Quotas::One(quota) => Rc::new(Meter::<A>::from_quota(quota)?),
        Quotas::Two(quotas) => Rc::new(Dual::<Meter<A>>::from_quota(quotas)?),
    })
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
    prototype: Rc<dyn Prototype>,
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
        let prototype = match algorithm {
            AlgorithmName::Gcra => prototype::<VirtualScheduling>(quotas)?,
            AlgorithmName::LeakyBucket => prototype::<ContinuousState>(quotas)?,
            AlgorithmName::Exponential => prototype::<ExponentialAverage>(quotas)?,
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

    /// Creates an idle meter.
    pub(crate) fn meter(&self, clock: &ManualClock) -> Box<dyn MultiDecider> {
        self.prototype.meter(clock)
    }

    /// Creates a meter that decides for many keys, made at the fixed time `now` of a clock; `None` for two quotas.
    pub(crate) fn lend(&self, clock: &ManualClock, now: Instant) -> Option<Box<dyn Lend>> {
        self.prototype.lend(clock, now)
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
    one / common_divisor(one, other) * other
}
