//! The time of a verb, and the rule for a clock that may be behind.

use crate::clock::Clock;
use crate::units::{Nanos, TimeLine};
use std::time::Instant;

/// The time of a verb.
#[derive(Clone, Copy)]
pub(crate) enum When {
    /// Now, by the meter's clock.
    Now,
    /// An instant that the caller gives.
    At(Instant),
}

impl When {
    /// Returns the position on a time line. For `Now` it may be behind by the clock's lag.
    #[inline]
    pub(crate) fn position(self, clock: &impl Clock, line: &TimeLine) -> Nanos {
        match self {
            Self::Now => clock.position(line),
            Self::At(at) => line.position(at),
        }
    }

    /// Returns the exact position on a time line.
    pub(crate) fn exact_position(self, clock: &impl Clock, line: &TimeLine) -> Nanos {
        match self {
            Self::Now => line.position(clock.now_exactly()),
            Self::At(at) => line.position(at),
        }
    }
}

/// Runs `act` at the clock's time. If it is denied by less than the clock's lag, runs it once more at the exact time.
///
/// A caller that waited until the instant of a denial must be admitted then, even if the clock is a little behind. `is_over_soon` returns
/// whether a denial at the clock's time is over within its lag. It returns false for denials that count, which must not be tried twice.
// Always inlined: whether the first try is denied is known where it is called.
#[inline(always)]
pub(crate) fn act_now<P: Copy, T, D>(
    now: P,
    exactly_now: impl FnOnce() -> P,
    act: impl Fn(P) -> Result<T, D>,
    is_over_soon: impl FnOnce(&D) -> bool,
) -> Result<T, D> {
    match act(now) {
        Err(denied) if is_over_soon(&denied) => act_again(exactly_now, act),
        done => done,
    }
}

// Out of line, so that the common case inlines.
#[cold]
#[inline(never)]
fn act_again<P, T, D>(exactly_now: impl FnOnce() -> P, act: impl Fn(P) -> Result<T, D>) -> Result<T, D> {
    act(exactly_now())
}
