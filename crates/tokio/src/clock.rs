//! Tokio's time, which tests may pause, and its relation to the time of a limit.

pub(crate) use crate::timers::now;

use ratelimit_meter::clock::{Clock, DefaultClock};
use ratelimit_meter::time;
use std::time::Instant;

/// The clock of tokio, which tests may pause, for meters with waiters.
///
/// The waiting types decide at tokio's time, with any clock of the meter. Tokio's time is enough for most meters. But ticks and
/// [`with_available`](ratelimit_meter::Meter::with_available) count from the time at which the meter was made, by its own clock. In paused time, that
/// differs from tokio's time.
///
/// - A meter with this clock counts from tokio's time. So do its own methods: `meter.check()` follows `sleep` and `advance`.
/// - A meter with the default clock counts as made when its limiter is made ([`Waiting::new`](crate::Waiting::new),
///   [`Keyed::of_table`](crate::Keyed::of_table)), if that happens in paused time. For `with_available`, that holds only if no cell was taken before.
///   Its own methods go on by the system's clock.
/// - A meter with any other clock, and a meter that the function of [`Keyed::new`](crate::Keyed::new) returns, count from their own clock's time.
///
/// ```
/// use ratelimit_meter::{GCRA, Quota};
/// use ratelimit_meter_tokio::{TokioClock, Waiting};
/// use tokio::time::{Duration, Instant, advance};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let meter = GCRA::from_quota("10/s".parse::<Quota>()?)?.with_clock(TokioClock).with_available(0)?;
/// let limiter = Waiting::new(meter.clone());
/// let start = Instant::now();
/// limiter.acquire(1).await?;
/// assert_eq!(start.elapsed(), Duration::from_millis(100));
/// advance(Duration::from_millis(500)).await;
/// assert_eq!(meter.status().remaining(), 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        now()
    }
}

/// The shift from tokio's time to the time of a limit. It is zero, unless the limit was made by the system's clock and tokio's clock is another.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Shift {
    /// An instant of the limit's time, and the same instant of tokio's time.
    limit: Instant,
    tokio: Instant,
}

impl Shift {
    /// Makes tokio's present time the instant from which the cells of a limit count, if tokio's clock is not the system's.
    pub(crate) fn of(began: Option<Instant>) -> Self {
        let (before, tokio, after) = (Instant::now(), now(), Instant::now());
        let is_system = before <= tokio && tokio <= after;
        let limit = began.filter(|_| CAN_BE_PAUSED && !is_system).unwrap_or(tokio);
        Self { limit, tokio }
    }

    /// Returns the limit's time now.
    pub(crate) fn now(self) -> Instant {
        self.of_tokio(now())
    }

    /// Returns the limit's time now, or at most 5 us before. It is for a caller that would take cells. If the caller could have taken them in those
    /// 5 us, it is served a moment later.
    pub(crate) fn now_or_just_before(self) -> Instant {
        if CAN_BE_PAUSED || cfg!(ratelimit_meter_loom) {
            self.now()
        } else {
            DefaultClock.now()
        }
    }

    /// Converts an instant of tokio's time to the limit's time.
    fn of_tokio(self, at: Instant) -> Instant {
        moved(at, self.tokio, self.limit)
    }

    /// Converts an instant of the limit's time to tokio's time.
    pub(crate) fn to_tokio(self, at: Instant) -> Instant {
        moved(at, self.limit, self.tokio)
    }
}

/// Moves an instant by the time from `from` to `to`.
fn moved(at: Instant, from: Instant, to: Instant) -> Instant {
    let moved = if from <= to {
        at.checked_add(to - from)
    } else {
        at.checked_sub(from - to)
    };
    moved.unwrap_or(at)
}

/// An instant from which whole nanoseconds are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beginning {
    pub(crate) at: Instant,
    /// The same instant by the core's default clock.
    since_epoch: u64,
}

impl Beginning {
    pub(crate) fn now() -> Self {
        let at = now();
        let since_epoch = time::since_epoch(at);
        Self { at, since_epoch }
    }

    /// Returns the time from the beginning until `at`, or zero if `at` is earlier.
    pub(crate) fn until(self, at: Instant) -> u64 {
        let passed = at.saturating_duration_since(self.at);
        u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Returns the time from the beginning until now, or until at most 5 us before; see [`Shift::now_or_just_before`].
    #[inline]
    pub(crate) fn elapsed(self) -> u64 {
        if CAN_BE_PAUSED || cfg!(ratelimit_meter_loom) {
            self.until(now())
        } else {
            DefaultClock.since_epoch().saturating_sub(self.since_epoch)
        }
    }
}

/// The result of [`pause`] if tokio has no function of that name.
pub(crate) struct CannotBePaused;

/// Replaces tokio's `pause` in a build without its feature `test-util`.
#[allow(dead_code, reason = "unless it is shadowed")]
fn pause() -> CannotBePaused {
    CannotBePaused
}

/// True if tokio's clock can be paused in this build.
///
/// If it cannot, tokio's clock is the system's. Then the core's default clock is used wherever 5 us do not matter: it has the same time at a third of
/// the cost, and is at most 5 us late.
pub(crate) const CAN_BE_PAUSED: bool = {
    // Shadows the function above, if tokio has this function.
    #[allow(unused_imports, reason = "not in a build without it")]
    use tokio::time::*;
    const fn can_be_paused<R: PauseResult>(_: &fn() -> R) -> bool {
        R::CAN_BE_PAUSED
    }
    can_be_paused(&(pause as fn() -> _))
};

/// A result of `pause`, which shows whose function it is.
trait PauseResult {
    const CAN_BE_PAUSED: bool;
}

impl PauseResult for CannotBePaused {
    const CAN_BE_PAUSED: bool = false;
}

impl PauseResult for () {
    const CAN_BE_PAUSED: bool = true;
}
