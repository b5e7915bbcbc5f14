//! What a meter says when it says no.

use crate::algorithms::Due;
use crate::nanos::{self, Nanos};
use crate::scale::Scale;
use core::error::Error;
use core::fmt;
use std::time::{Duration, Instant};

/// A denial: the cell does not conform, and from when on it would.
///
/// The instant accounts for everything the meter had admitted when it decided, not for what others take meanwhile: many callers
/// who wait for the same instant meet there, so add jitter if there are many. It is exact: at [`earliest_possible`] the same
/// request conforms, a nanosecond earlier it does not, unless somebody else took cells (or the instant lies past the end of the
/// meter's time line, 36 years ahead).
///
/// The denial keeps what is needed to compute its instant, a division, and does so when asked; it does not need the meter. Two
/// denials are equal when their instants are.
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
    /// Of the meter's time line.
    beginning: Instant,
    until: Until,
}

/// Until when a meter denies, on its own time line: two registers, of which a denial is made when it is returned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until {
    pub(crate) scale: Scale,
    pub(crate) due: Due,
}

impl Until {
    /// Whether that is over at a time.
    #[inline]
    pub(crate) fn is_over_at(self, at: Nanos) -> bool {
        self.due.0 <= self.scale.volume_at(at)
    }
}

impl NonConformance {
    #[inline]
    pub(crate) const fn new(beginning: Instant, until: Until) -> Self {
        Self { beginning, until }
    }

    /// Returns the earliest instant at which the request would have conformed, rounded up to a whole nanosecond.
    ///
    /// Costs one 128-bit division. Where the platform's `Instant` ends before that, it is the platform's last.
    #[must_use]
    pub fn earliest_possible(&self) -> Instant {
        nanos::after(self.beginning, self.until.scale.nanos_at(self.until.due.0))
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
    #[must_use]
    pub fn wait_time(&self) -> Duration {
        self.wait_time_from(Instant::now())
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

/// Tells the wait from `Instant::now()`, rounded up to a whole unit.
impl fmt::Display for NonConformance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied: next cell conforms {}", Wait(self.wait_time()))
    }
}

impl Error for NonConformance {}

/// A denial of several cells at once: not yet, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NegativeMultiDecision {
    /// The batch of this many cells does not conform now; the second field tells from when on it would.
    BatchNonConforming(u32, NonConformance),

    /// The batch of this many cells exceeds what may ever come at once: it can never conform, however long one waits. Ask for it
    /// in smaller batches, or give the meter a larger burst.
    InsufficientCapacity(u32),
}

impl fmt::Display for NegativeMultiDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BatchNonConforming(n, denial) => {
                write!(f, "denied: batch of {n} cells conforms {}", Wait(denial.wait_time()))
            }
            Self::InsufficientCapacity(n) => {
                write!(f, "denied: batch of {n} cells exceeds the burst and can never conform")
            }
        }
    }
}

impl Error for NegativeMultiDecision {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::BatchNonConforming(_, denial) => Some(denial),
            Self::InsufficientCapacity(_) => None,
        }
    }
}

/// A wait as people read it: rounded up, so that who waits as long as it says has waited long enough.
pub(crate) struct Wait(pub(crate) Duration);

impl fmt::Display for Wait {
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
            assert_eq!(Wait(Duration::from_nanos(ns)).to_string(), text);
        }
    }
}
