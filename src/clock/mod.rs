//! Where `check()` reads the time.
//!
//! Every decision has an `_at` form that takes its `Instant` from the caller and reads no clock. The forms without read the
//! meter's: [`DefaultClock`] unless [`Meter::with_clock`](crate::Meter::with_clock) gave it another. [`ManualClock`] is for tests.

mod anchor;
mod default;
mod manual;
mod system;

pub use default::{DefaultClock, Source, source};
pub use manual::{ManualClock, OutOfRange};
pub use system::SystemClock;

use crate::units::{Nanos, TimeLine};
use std::time::Instant;

/// A source of `Instant`s.
///
/// It need not be monotonic: a meter takes times in any order, and one that goes back is only denied more. What a clock returns
/// must be comparable with the `Instant`s that the meter's users pass to the `_at` forms, if they use both.
///
/// ```
/// use ratelimit_meter::{GCRA, clock::Clock};
/// use std::time::{Duration, Instant};
///
/// /// Reads the time once a frame.
/// #[derive(Clone)]
/// struct FrameClock(Instant);
///
/// impl Clock for FrameClock {
///     fn now(&self) -> Instant {
///         self.0
///     }
/// }
///
/// let meter = GCRA::for_capacity(10)?.try_build()?.with_clock(FrameClock(Instant::now()));
/// assert!(meter.check().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Clock: Clone + Send + Sync {
    /// Returns the time now.
    fn now(&self) -> Instant;

    /// How far behind `now_exactly` a reading may be.
    #[doc(hidden)]
    const LAG_NS: u64 = 0;

    /// Where on `line` it is now.
    #[doc(hidden)]
    #[inline]
    fn position(&self, line: &TimeLine) -> Nanos {
        line.position(self.now())
    }

    /// Returns the exact time now, however expensive.
    #[doc(hidden)]
    #[inline]
    fn now_exactly(&self) -> Instant {
        self.now()
    }
}

impl<C: Clock> Clock for &C {
    const LAG_NS: u64 = C::LAG_NS;

    #[inline]
    fn now(&self) -> Instant {
        C::now(self)
    }

    #[inline]
    fn position(&self, line: &TimeLine) -> Nanos {
        C::position(self, line)
    }

    #[inline]
    fn now_exactly(&self) -> Instant {
        C::now_exactly(self)
    }
}
