//! The settings of a shared meter.

use crate::average::Average;
use crate::breaker::BreakerSettings;
use crate::error::InvalidQuota;
use crate::lease::LeaseSettings;
use crate::limit::StoreLimit;
use crate::local::LocalSettings;
use crate::subject::LONGEST;
use crate::terms::Terms;
use crate::units::Units;
use core::error::Error;
use core::fmt;
use ratelimit_meter::{DualQuota, KeyedMeter, Quota};
use std::time::Duration;

/// The answer of a shared meter when its store gives no decision.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// Returns the [`StoreError`](crate::StoreError): the caller decides.
    #[default]
    Error,
    /// Denies, until the next call may be sent.
    Deny,
    /// Admits.
    Allow,
    /// Asks a meter of this process, which should allow a share of the quota. A batch above the burst of that meter is denied as by
    /// [`Deny`](Self::Deny).
    Local(KeyedMeter<str>),
}

/// The settings of a shared meter: [`SharedMeter::builder`](crate::SharedMeter::builder).
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct SharedMeterBuilder {
    pub(crate) name: String,
    slot: Option<String>,
    limits: Vec<Result<StoreLimit, InvalidQuota>>,
    pub(crate) deadline: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) breaker: BreakerSettings,
    pub(crate) on_failure: OnFailure,
    remember: Duration,
    join: bool,
    lease: Option<LeaseSettings>,
    subjects: usize,
}

/// Reports why a shared meter could not be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSharedMeter {
    /// A store cannot keep a quota.
    Quota(InvalidQuota),
    /// The name, or the slot, is empty, longer than 512 bytes, or has a brace or a zero byte in it. Braces mark the part of a key that chooses its slot in
    /// a cluster. PostgreSQL stores no zero byte and indexes no key above 2,704 bytes.
    Name,
    /// An average cannot be leased.
    LeaseOfAverage,
    /// A strict lease takes as much off the burst as drains in `keep`, and leaves less than a cell: use a shorter `keep`.
    LeaseAboveBurst,
}

impl fmt::Display for InvalidSharedMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota(error) => error.fmt(f),
            Self::Name => {
                f.write_str("a name or slot is empty, longer than 512 bytes, or has a brace or a zero byte in it")
            }
            Self::LeaseOfAverage => f.write_str("cells of an average cannot be leased"),
            Self::LeaseAboveBurst => {
                f.write_str("a strict lease leaves less than a cell of the burst; keep its cells for a shorter time")
            }
        }
    }
}

impl Error for InvalidSharedMeter {}

impl From<InvalidQuota> for InvalidSharedMeter {
    fn from(error: InvalidQuota) -> Self {
        Self::Quota(error)
    }
}

impl SharedMeterBuilder {
    /// Returns the settings of a meter named `name`, whose first limit is `quota`. Meters of one name share the debts of their subjects. If their
    /// quotas differ, each converts the debts that the other wrote, so give each limit a name of its own.
    pub fn new(name: &str, quota: Quota) -> Self {
        Self::named(name).and(quota)
    }

    pub(crate) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            slot: None,
            limits: Vec::new(),
            deadline: Duration::from_millis(50),
            max_in_flight: 1024,
            breaker: BreakerSettings::default(),
            on_failure: OnFailure::Error,
            remember: Duration::from_secs(1),
            join: true,
            lease: None,
            subjects: 1 << 16,
        }
    }

    /// Adds a limit: each cell must conform to all limits, and is counted by all or none.
    ///
    /// A store keeps the limits of a subject by their positions. So a new version of a program adds limits at the end. If a limit in between is added,
    /// removed or moved, the debt of one limit is carried over to another: give the meter a new name then.
    pub fn and(mut self, quota: Quota) -> Self {
        self.limits.push(Units::of(quota).map(StoreLimit::Bucket));
        self
    }

    /// Adds both limits of a pair.
    pub fn and_dual(self, quotas: DualQuota) -> Self {
        self.and(quotas.first()).and(quotas.second())
    }

    /// Adds a limit of the average rate, as the algorithm `Exponential`.
    pub fn and_average(mut self, quota: Quota) -> Self {
        self.limits.push(Average::of(quota).map(StoreLimit::Average));
        self
    }

    /// Adds a limit of the average rate that counts denied cells too, if it is the only limit of the meter. Beside other limits it counts
    /// admitted cells alone, as in `check_all` of the core.
    ///
    /// Alone, its denials are not remembered, because each counts.
    pub fn and_strict_average(mut self, quota: Quota) -> Self {
        let average = Average::of(quota).map(Average::strict);
        self.limits.push(average.map(StoreLimit::Average));
        self
    }

    /// Sets how long a call may take, including the time to connect. 50 ms unless set.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many calls may wait for the store; the next fails with `Overloaded` at once. 1024 unless set.
    pub const fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls;
        self
    }

    /// Sets when a failing store is no longer asked, and for how long.
    pub const fn breaker(mut self, settings: BreakerSettings) -> Self {
        self.breaker = settings;
        self
    }

    /// Sets the answer for calls without a decision of the store. An error unless set.
    pub fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Sets how long a reply of the store may deny later calls in this process, without asking; zero for never. 1 s unless set.
    ///
    /// The store would deny such a call, too, unless another process gave cells back, reset the key or raised the limit meanwhile. So this is the
    /// longest time for which such a change of another process is not seen.
    pub const fn remember_denials(mut self, most: Duration) -> Self {
        self.remember = most;
        self
    }

    /// Sets whether single cells of one subject that come while a call is in flight share the next call. `true` unless set, and with a
    /// lease in any case.
    pub const fn join_calls(mut self, join: bool) -> Self {
        self.join = join;
        self
    }

    /// Sets that cells are drawn in blocks.
    pub const fn lease(mut self, lease: LeaseSettings) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets the number of subjects that this process remembers: 65,536 unless set, about 200 bytes each.
    pub const fn remembered_subjects(mut self, subjects: usize) -> Self {
        self.subjects = subjects;
        self
    }

    /// Sets the slot of a cluster in which all keys are kept, so that meters of one slot can be checked together.
    ///
    /// All its load is on one shard.
    pub fn in_slot(mut self, slot: &str) -> Self {
        self.slot = Some(slot.to_owned());
        self
    }

    /// Returns the terms of the meter and the settings of its local layer.
    pub(crate) fn terms(&self) -> Result<(Terms, LocalSettings), InvalidSharedMeter> {
        let valid = |name: &str| (1..=LONGEST).contains(&name.len()) && !name.contains(['{', '}', '\0']);
        if !valid(&self.name) || !self.slot.as_deref().is_none_or(valid) {
            return Err(InvalidSharedMeter::Name);
        }
        let mut limits: Vec<StoreLimit> = self.limits.iter().copied().collect::<Result<_, _>>()?;
        if let Some(lease) = self.lease {
            for limit in &mut limits {
                let StoreLimit::Bucket(units) = limit else {
                    return Err(InvalidSharedMeter::LeaseOfAverage);
                };
                if lease.strict {
                    let kept = lease.keep_us().saturating_mul(units.drain());
                    *units = units.with_less_burst(kept).ok_or(InvalidSharedMeter::LeaseAboveBurst)?;
                }
            }
        }
        // Each denial of a strict average alone counts, so each is asked for.
        let counts_denials = matches!(limits[..], [StoreLimit::Average(average)] if average.is_strict());
        let settings = LocalSettings {
            remember: if counts_denials { Duration::ZERO } else { self.remember },
            join: self.join || self.lease.is_some(),
            lease: self.lease,
            block: self.lease.map_or(0, |lease| lease.largest_block(&limits)),
            subjects: self.subjects,
            deadline: self.deadline,
        };
        Ok((Terms::new(self.name.clone(), self.slot.clone(), limits), settings))
    }
}
