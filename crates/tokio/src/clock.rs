//! Which clock is read.
//!
//! Waiting goes by tokio's clock, which tests may pause: everything that is timed decides at its `Instant`s. In a build where nobody
//! can pause it (without tokio's feature `test-util`) that clock is the system's, and the core's default clock, which tells the same
//! time at a third of the price and at most 5 us late, does where 5 us do not matter.

use ratelimit_meter::clock::{Clock, DefaultClock};
use std::time::Instant;

pub(crate) use crate::runtime::now;

/// Now, or at most 5 us before: for who would take cells, and is served a moment later if it should have got them.
pub(crate) fn now_or_just_before() -> Instant {
    if CAN_BE_PAUSED || cfg!(ratelimit_meter_loom) {
        now()
    } else {
        DefaultClock.now()
    }
}

/// An instant from which whole nanoseconds are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) at: Instant,
    /// By the core's default clock.
    since_origin: u64,
}

impl Beginning {
    pub(crate) fn now() -> Self {
        let at = now();
        let since_origin = DefaultClock.from_origin_until(at);
        Self { at, since_origin }
    }

    /// The time from there until `at`, zero for what is earlier.
    pub(crate) fn until(self, at: Instant) -> u64 {
        let passed = at.saturating_duration_since(self.at);
        u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The time from there until [`now_or_just_before`].
    #[inline]
    pub(crate) fn elapsed(self) -> u64 {
        if CAN_BE_PAUSED || cfg!(ratelimit_meter_loom) {
            self.until(now())
        } else {
            DefaultClock.since_origin().saturating_sub(self.since_origin)
        }
    }
}

/// What [`pause`] returns where tokio has no function of that name.
pub(crate) struct CannotBePaused;

/// Stands in for tokio's, in a build without `test-util`.
#[allow(dead_code, reason = "unless it is shadowed")]
fn pause() -> CannotBePaused {
    CannotBePaused
}

/// Whether tokio's clock can be paused in this build.
pub(crate) const CAN_BE_PAUSED: bool = {
    // Shadows the function above, if there is such a one.
    #[allow(unused_imports, reason = "not in a build without it")]
    use tokio::time::*;
    const fn answer<A: Answer>(_: &fn() -> A) -> bool {
        A::CAN_BE_PAUSED
    }
    answer(&(pause as fn() -> _))
};

trait Answer {
    const CAN_BE_PAUSED: bool;
}

impl Answer for CannotBePaused {
    const CAN_BE_PAUSED: bool = false;
}

impl Answer for () {
    const CAN_BE_PAUSED: bool = true;
}
