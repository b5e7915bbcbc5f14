//! The questions asked of every contender.

use core::fmt;
use core::num::NonZeroU32;
use std::time::Duration;

/// Reads the clock, and exchanges a word: the minimum for an admission.
#[cfg(target_arch = "x86_64")]
pub(crate) const CLOCK_AND_EXCHANGE: &str = "rdtsc + CAS loop";
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const CLOCK_AND_EXCHANGE: &str = "Instant + CAS loop";

/// Reads the clock and the word: the minimum for a denial.
#[cfg(target_arch = "x86_64")]
pub(crate) const CLOCK_AND_LOAD: &str = "rdtsc + shared load";
#[cfg(not(target_arch = "x86_64"))]
pub(crate) const CLOCK_AND_LOAD: &str = "Instant + shared load";

/// The minimum for an admission at the caller's time.
pub(crate) const EXCHANGE: &str = "CAS loop";

/// The minimum for a denial at the caller's time.
pub(crate) const LOAD: &str = "shared load";

/// The cells of a batch.
pub(crate) const BATCH: NonZeroU32 = NonZeroU32::new(32).unwrap();

/// The limit of a meter: one cell each `interval`, and up to `burst` at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MeterLimit {
    pub(crate) interval: Duration,
    pub(crate) burst: NonZeroU32,
}

impl MeterLimit {
    /// 10^9 cells a second, the highest rate that all contenders support, and as many at once. No loop asks for half as many, so none is denied.
    pub(crate) const AMPLE: Self = Self {
        interval: Duration::from_nanos(1),
        burst: NonZeroU32::new(1_000_000_000).unwrap(),
    };

    /// One cell an hour, so that every call of a run is denied once the burst is spent. The burst holds batches, and blocks for
    /// leases, so that no denial is permanent.
    pub(crate) const SCARCE: Self = Self {
        interval: Duration::from_secs(3600),
        burst: NonZeroU32::new(1024).unwrap(),
    };

    /// Never reached, and never idle: a cell an hour, of a million at once. Each key of many is charged a few thousand cells at most, and stays
    /// live after the first.
    pub(crate) const HELD: Self = Self {
        interval: Duration::from_secs(3600),
        burst: NonZeroU32::new(1_000_000).unwrap(),
    };

    /// The time in which the burst drains, over which a contender without a burst of its own spreads it.
    pub(crate) fn rest(self) -> Duration {
        self.interval * self.burst.get()
    }

    /// Cells a second.
    pub(crate) fn rate(self) -> f64 {
        1.0 / self.interval.as_secs_f64()
    }

    /// Whole cells a second.
    pub(crate) fn whole_rate(self) -> u64 {
        let per_second = Duration::from_secs(1).as_nanos() / self.interval.as_nanos();
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }
}

/// The expected answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Admit,
    Deny,
}

/// Where the time of a decision comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// The contender's default clock, read in the call.
    OwnClock,
    /// An `Instant` passed in.
    Callers,
}

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) answer: Expected,
    pub(crate) time: Time,
    /// True if each call asks for [`BATCH`] cells instead of one.
    pub(crate) batch: bool,
    /// The number of threads that ask one meter at once.
    pub(crate) threads: u32,
}

impl Case {
    /// Every case. Those of keyed meters are in `tables::cases`: here, contenders that know only keys are asked about one.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..16).map(|bits| Self {
            time: if bits & 8 == 0 { Time::OwnClock } else { Time::Callers },
            batch: bits & 4 != 0,
            answer: if bits & 2 == 0 { Expected::Admit } else { Expected::Deny },
            threads: 1 + (bits & 1),
        })
    }

    /// The limit of the meter that is asked.
    pub(crate) fn limit(self) -> MeterLimit {
        match self.answer {
            Expected::Admit => MeterLimit::AMPLE,
            Expected::Deny => MeterLimit::SCARCE,
        }
    }

    /// The name of the minimum that the case takes on this hardware: reading a clock, if there is one to read, and the word, which an
    /// admission exchanges.
    pub(crate) fn floor(self) -> &'static str {
        match (self.time, self.answer) {
            (Time::OwnClock, Expected::Admit) => CLOCK_AND_EXCHANGE,
            (Time::OwnClock, Expected::Deny) => CLOCK_AND_LOAD,
            (Time::Callers, Expected::Admit) => EXCHANGE,
            (Time::Callers, Expected::Deny) => LOAD,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.answer {
            Expected::Admit => "admit",
            Expected::Deny => "deny",
        })?;
        f.write_str(match self.time {
            Time::OwnClock => ", own clock",
            Time::Callers => ", caller's time",
        })?;
        if self.batch {
            write!(f, ", batches of {BATCH}")?;
        }
        f.write_str(if self.threads == 1 {
            ", one thread"
        } else {
            ", two threads"
        })
    }
}
