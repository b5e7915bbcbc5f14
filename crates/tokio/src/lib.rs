//! Waiting for a rate meter.

#![forbid(unsafe_code)]

mod acquire;
mod alarm;
mod blocking;
mod bucket;
mod error;
mod line;
mod metered;
mod patience;
mod places;
mod queue;
mod rate_limiter;
mod source;
mod waiting;

pub use acquire::{Acquire, AcquireOwned};
pub use bucket::Bucket;
pub use error::{AcquireError, BuildError, InsufficientCapacity, NotYet};
pub use patience::Patience;
pub use rate_limiter::{Builder, RateLimiter};
pub use source::Source;
pub use waiting::Waiting;

/// Now, by tokio's clock: paused time is paused here, too.
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// Tells a subscriber, if the feature is on.
macro_rules! trace {
    ($($event:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::trace!(target: "ratelimit_meter_tokio", $($event)*);
    };
}
use trace;
