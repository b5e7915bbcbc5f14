//! The decision of a limiter about a request.

use std::time::{Duration, Instant};

use ratelimit_meter::NegativeMultiDecision;

/// The decision of a meter about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventVerdict {
    Admitted,
    /// Admitted, and delayed by this much. Only the model of nginx returns this.
    Delayed(Duration),
    /// Denied; the request would conform this much later.
    Denied(Duration),
    /// Denied; the request asks for more cells than the burst.
    Never,
}

impl EventVerdict {
    /// Returns whether the request passes, at once or later.
    #[inline]
    pub(crate) fn is_admitted(self) -> bool {
        matches!(self, Self::Admitted | Self::Delayed(_))
    }

    /// Returns the verdict on a request for `cost` cells at an instant.
    #[inline]
    pub(crate) fn of(cost: u64, at: Instant, check: impl FnOnce(u32) -> Result<(), NegativeMultiDecision>) -> Self {
        let Ok(cost) = u32::try_from(cost) else {
            return Self::Never;
        };
        match check(cost) {
            Ok(()) => Self::Admitted,
            Err(NegativeMultiDecision::BatchNonConforming(_, denial)) => Self::Denied(denial.wait_time_from(at)),
            Err(NegativeMultiDecision::InsufficientCapacity(_)) => Self::Never,
        }
    }
}

/// The reason why a request could not be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// The key stayed live, with no idle time, for longer than a meter can measure.
    TooLong,
    /// The store that has the meters gave no decision.
    #[cfg(feature = "store")]
    Store(Box<ratelimit_meter_store::StoreError>),
}
