//! The results of decisions: denials, statuses, and numbers of admitted cells.

use crate::quota::Quota;
use crate::time::{self, Instant};
use crate::units::{Nanos, UnitScale, Volume};
use core::error::Error;
use core::fmt;
use core::time::Duration;

/// A denial: the cell does not conform now. It holds the instant from which the cell would conform.
///
/// The instant accounts for everything the meter had admitted when it decided, but not for cells that other callers take later. If many callers wait
/// for the same instant, they all ask at once, so add jitter.
///
/// The instant is exact: at [`earliest_possible`] the same request conforms, and a nanosecond earlier it does not. The exceptions are that another
/// caller took cells, or that the instant lies past the end of the meter's time line, 36 years ahead.
///
/// The instant is computed on request, by one division. The denial does not need the meter for it. Two denials are equal when their
/// instants are.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota, nonzero};
/// use std::time::{Duration, Instant};
///
/// let meter = GCRA::from_quota(Quota::per_second(nonzero!(4u32)))?;
/// let now = Instant::now();
/// meter.check_n_at(4, now)?;
/// let denial = meter.check_at(now).unwrap_err();
/// assert_eq!(denial.earliest_possible(), now + Duration::from_millis(250));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`earliest_possible`]: NonConformance::earliest_possible
#[derive(Clone, Copy)]
pub struct NonConformance {
    /// The beginning of the meter's time line; or the instant itself, if it was known when the denial was made.
    beginning: Instant,
    until: Until,
}

/// The time until which a meter denies, as the volume that has to drain: two registers on the path of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until {
    pub(crate) scale: UnitScale,
    pub(crate) due: Volume,
}

impl Until {
    /// The beginning of the time line: nothing has to drain.
    const REACHED: Self = Self {
        scale: UnitScale::UNIT_PER_NANO,
        due: Volume(0),
    };

    /// The beginning of the time line, for a key that had no slot in a table. No limit has this scale.
    const TABLE_FULL: Self = Self {
        scale: UnitScale::SLOWEST,
        due: Volume(0),
    };

    /// A time that is on no time line.
    pub(crate) const NEVER: Self = Self {
        scale: UnitScale::UNIT_PER_NANO,
        due: Volume(u64::MAX),
    };

    /// Returns the time `at`.
    #[cfg(feature = "keyed")]
    pub(crate) const fn at(at: Nanos) -> Self {
        Self {
            scale: UnitScale::UNIT_PER_NANO,
            due: Volume(at.get()),
        }
    }

    /// Returns whether the denial is over at a time.
    #[inline]
    pub(crate) fn is_over_at(self, at: Nanos) -> bool {
        self.due <= self.scale.volume_at(at)
    }

    /// Returns the nanoseconds since the beginning of the time line, rounded up.
    pub(crate) fn nanos(self) -> u64 {
        self.scale.nanos_at(self.due)
    }
}

impl NonConformance {
    /// Returns a denial until `earliest`, for limiters that keep their state elsewhere and report in the same types.
    ///
    /// ```
    /// use ratelimit_meter::NonConformance;
    /// use std::time::{Duration, Instant};
    ///
    /// let earliest = Instant::now() + Duration::from_secs(1);
    /// assert_eq!(NonConformance::at(earliest).earliest_possible(), earliest);
    /// ```
    #[must_use]
    pub const fn at(earliest: Instant) -> Self {
        Self::new(earliest, Until::REACHED)
    }

    #[inline]
    pub(crate) const fn new(beginning: Instant, until: Until) -> Self {
        Self { beginning, until }
    }

    /// Returns the denial of a key that has no slot in a table until `until`.
    pub(crate) fn table_full(beginning: Instant, until: Until) -> Self {
        Self::new(time::after(beginning, until.nanos()), Until::TABLE_FULL)
    }

    /// Returns true if a `KeyedMeter` denied for lack of a slot (`WhenFull::Deny`), not because the key is over its limit. Every slot that the key
    /// may take then belongs to another live key. An HTTP server answers this with 503 instead of 429.
    #[must_use]
    pub fn is_table_full(&self) -> bool {
        self.until == Until::TABLE_FULL
    }

    /// Returns the earliest instant at which the request would have conformed, rounded up to a whole nanosecond.
    ///
    /// Costs one 128-bit division. If the platform's `Instant` ends before that, returns the platform's last.
    #[must_use]
    pub fn earliest_possible(&self) -> Instant {
        time::after(self.beginning, self.until.nanos())
    }

    /// Returns the time from `from` until [`earliest_possible`](Self::earliest_possible), zero once that is past.
    ///
    /// ```
    /// # use ratelimit_meter::GCRA;
    /// # use std::time::{Duration, Instant};
    /// let meter = GCRA::for_capacity(1)?.build();
    /// let now = Instant::now();
    /// meter.check_at(now)?;
    /// let denial = meter.check_at(now).unwrap_err();
    /// assert_eq!(denial.wait_time_from(now), Duration::from_secs(1));
    /// assert_eq!(denial.wait_time_from(now + Duration::from_secs(2)), Duration::ZERO);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wait_time_from(&self, from: Instant) -> Duration {
        self.earliest_possible().saturating_duration_since(from)
    }

    /// Returns the time from `Instant::now()` until [`earliest_possible`](Self::earliest_possible), zero once that is past.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn wait_time(&self) -> Duration {
        self.wait_time_from(time::now())
    }
}

impl PartialEq for NonConformance {
    fn eq(&self, other: &Self) -> bool {
        self.earliest_possible() == other.earliest_possible()
    }
}

impl Eq for NonConformance {}

impl fmt::Debug for NonConformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonConformance")
            .field("earliest_possible", &self.earliest_possible())
            .finish()
    }
}

/// Writes the wait from `Instant::now()`, or from the epoch in a build without `std`, rounded up to a whole unit.
impl fmt::Display for NonConformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "denied: next cell conforms {}",
            ReadableWait(self.wait_time_from(time::now()))
        )
    }
}

impl Error for NonConformance {}

/// A denial of several cells at once: not yet, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegativeMultiDecision {
    /// The batch of this many cells does not conform now. The second field holds the instant from which it would.
    BatchNonConforming(u32, NonConformance),

    /// The batch of this many cells exceeds the burst: it can never conform, however long the caller waits. Ask for the cells in smaller batches, or
    /// give the meter a larger burst.
    InsufficientCapacity(u32),
}

impl NegativeMultiDecision {
    /// Returns the earliest instant at which the batch would have conformed; `None` if it never will.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::{Duration, Instant};
    ///
    /// let meter = GCRA::from_quota("10/s".parse::<Quota>()?)?;
    /// let now = Instant::now();
    /// meter.check_n_at(10, now)?;
    /// let denied = meter.check_n_at(3, now).unwrap_err();
    /// assert_eq!(denied.earliest_possible(), Some(now + Duration::from_millis(300)));
    /// assert_eq!(meter.check_n_at(11, now).unwrap_err().earliest_possible(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn earliest_possible(&self) -> Option<Instant> {
        match self {
            Self::BatchNonConforming(_, denial) => Some(denial.earliest_possible()),
            Self::InsufficientCapacity(_) => None,
        }
    }
}

/// A single cell is a batch of one, so in a function that returns the error of `check_n`, `?` also converts the denial of `check`.
impl From<NonConformance> for NegativeMultiDecision {
    fn from(denial: NonConformance) -> Self {
        Self::BatchNonConforming(1, denial)
    }
}

impl fmt::Display for NegativeMultiDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::BatchNonConforming(n, _) | Self::InsufficientCapacity(n)) = self;
        let s = if *n == 1 { "" } else { "s" };
        write!(f, "denied: batch of {n} cell{s} ")?;
        match self {
            Self::BatchNonConforming(_, denial) => {
                write!(f, "conforms {}", ReadableWait(denial.wait_time_from(time::now())))
            }
            Self::InsufficientCapacity(_) => f.write_str("exceeds the burst and can never conform"),
        }
    }
}

impl Error for NegativeMultiDecision {}

/// A wait for people to read. It is rounded up, so that a caller that waits for this time has waited long enough.
pub(crate) struct ReadableWait(pub(crate) Duration);

impl fmt::Display for ReadableWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.as_nanos();
        match ns {
            0 => f.write_str("now"),
            1..10_000 => write!(f, "in {ns} ns"),
            10_000..10_000_000 => write!(f, "in {} us", ns.div_ceil(1_000)),
            10_000_000..10_000_000_000 => write!(f, "in {} ms", ns.div_ceil(1_000_000)),
            _ => write!(f, "in {} s", ns.div_ceil(1_000_000_000)),
        }
    }
}

/// The status of a meter at one time, all from one read of its word.
///
/// The times are computed on request, by one division each.
#[derive(Clone, Copy)]
pub struct Status {
    pub(crate) at: Nanos,
    pub(crate) scale: UnitScale,
    pub(crate) remaining: u32,
    pub(crate) next: Volume,
    pub(crate) idle: Volume,
    pub(crate) quota: Option<Quota>,
}

impl Status {
    /// Returns a status of these numbers, for limiters that keep their state elsewhere and report in the same types.
    ///
    /// The numbers are the cells that would conform at once, the time until one conforms, the time until the meter is idle, and the quota. Each time
    /// is at most 584 years.
    ///
    /// ```
    /// use ratelimit_meter::Status;
    /// use std::time::Duration;
    ///
    /// let (next, idle) = (Duration::from_millis(100), Duration::from_secs(1));
    /// let status = Status::from_parts(0, next, idle, Some("10/s".parse()?));
    /// assert_eq!((status.remaining(), status.until_next(), status.until_rest()), (0, next, idle));
    /// # Ok::<(), ratelimit_meter::ParseQuotaError>(())
    /// ```
    #[must_use]
    pub fn from_parts(remaining: u32, until_next: Duration, until_rest: Duration, quota: Option<Quota>) -> Self {
        Self {
            at: Nanos::BEGINNING,
            scale: UnitScale::UNIT_PER_NANO,
            remaining,
            next: Volume(time::nanos(until_next)),
            idle: Volume(time::nanos(until_rest)),
            quota,
        }
    }

    /// Returns how many cells would conform at once, as one batch.
    #[must_use]
    pub const fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Returns the time until a cell conforms, rounded up to a nanosecond; zero if a cell conforms now.
    #[must_use]
    pub fn until_next(&self) -> Duration {
        self.until(self.next)
    }

    /// Returns the time until everything has drained, rounded up to a nanosecond; zero if the meter is idle. For [`Exponential`](crate::Exponential),
    /// it is the time until a full batch conforms.
    #[must_use]
    pub fn until_rest(&self) -> Duration {
        self.until(self.idle)
    }

    /// Returns the quota of the meter; `None` if the meter was made of T and tau.
    #[must_use]
    pub const fn quota(&self) -> Option<Quota> {
        self.quota
    }

    fn until(&self, due: Volume) -> Duration {
        Duration::from_nanos(self.scale.nanos_at(due).saturating_sub(self.at.get()))
    }

    /// Returns the time from this status until a denial is over.
    pub(crate) fn wait(&self, denial: &NonConformance) -> Duration {
        match denial.until {
            Until::REACHED | Until::TABLE_FULL => self.until_next(),
            until => Duration::from_nanos(until.nanos().saturating_sub(self.at.get())),
        }
    }
}

/// Writes the results of the methods.
impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Status");
        if let Some(quota) = self.quota {
            fields.field("quota", &format_args!("{quota}"));
        }
        fields
            .field("remaining", &self.remaining)
            .field("until_next", &self.until_next())
            .field("until_rest", &self.until_rest())
            .finish()
    }
}

/// A decision and the meter's status with it: after an admission, or at a denial.
#[derive(Debug, Clone, Copy)]
#[must_use = "the decision is in the result"]
pub struct Taken {
    decision: Result<(), NegativeMultiDecision>,
    status: Status,
}

impl Taken {
    pub(crate) const fn new(decision: Result<(), NegativeMultiDecision>, status: Status) -> Self {
        Self { decision, status }
    }

    /// Returns the decision.
    ///
    /// # Errors
    ///
    /// [`NegativeMultiDecision`], and nothing has changed, if not all cells conform.
    pub const fn decision(&self) -> Result<(), NegativeMultiDecision> {
        self.decision
    }

    /// Returns the time until the same request conforms, counted from the instant of the decision and rounded up to a nanosecond. Returns `None` if
    /// the request was admitted, or can never conform. Reads no clock.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota};
    /// use std::time::Duration;
    ///
    /// let meter = GCRA::from_quota("10/s".parse::<Quota>()?)?;
    /// let now = std::time::Instant::now();
    /// assert_eq!(meter.take_at(8, now).wait(), None);
    /// assert_eq!(meter.take_at(5, now).wait(), Some(Duration::from_millis(300)));
    /// assert_eq!(meter.take_at(11, now).wait(), None); // more than the burst: waiting does not help
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        match &self.decision {
            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => Some(self.status.wait(denial)),
            _ => None,
        }
    }

    /// Returns the meter's status after the decision.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }
}

/// The cells that [`Meter::check_up_to`](crate::Meter::check_up_to) admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it has the number of admitted cells"]
pub struct Admitted {
    cells: u32,
    next: Option<NonConformance>,
}

impl Admitted {
    pub(crate) const fn new(cells: u32, next: Option<NonConformance>) -> Self {
        Self { cells, next }
    }

    /// Returns how many of the requested cells were admitted, possibly zero.
    #[must_use]
    pub const fn cells(&self) -> u32 {
        self.cells
    }

    /// Returns the instant from which the next cell conforms, if fewer cells were admitted than requested.
    #[must_use]
    pub const fn next(&self) -> Option<NonConformance> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_read_well_and_round_up() {
        let table = [
            (0, "now"),
            (1, "in 1 ns"),
            (9_999, "in 9999 ns"),
            (10_001, "in 11 us"),
            (36_400_000, "in 37 ms"),
            (37_000_000, "in 37 ms"),
            (9_999_000_001, "in 10000 ms"),
            (90_000_000_001, "in 91 s"),
        ];
        for (ns, text) in table {
            assert_eq!(ReadableWait(Duration::from_nanos(ns)).to_string(), text);
        }
    }
}
