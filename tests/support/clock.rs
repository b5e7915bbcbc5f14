//! A clock that lags, as the default clock may.

use ratelimit_meter::clock::{Clock, ManualClock};
use std::time::{Duration, Instant};

/// Reads less than the time by `by`, at most the lag of 5 us.
#[derive(Clone)]
pub(crate) struct Behind {
    pub(crate) time: ManualClock,
    pub(crate) by: Duration,
}

impl Behind {
    pub(crate) fn new(time: &ManualClock, by: Duration) -> Self {
        let time = time.clone();
        Self { time, by }
    }
}

impl Clock for Behind {
    const LAG_NS: u64 = 5000;

    fn now(&self) -> Instant {
        self.time.now() - self.by
    }

    fn now_exactly(&self) -> Instant {
        self.time.now()
    }
}
