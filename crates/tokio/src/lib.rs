//! Waiting for a rate meter.

#![forbid(unsafe_code)]

mod acquire;
mod alarm;
mod blocking;
mod bucket;
mod clock;
mod error;
mod held;
mod keyed;
mod line;
mod metered;
mod paced;
mod patience;
mod places;
mod queue;
mod rate_limiter;
mod source;
mod waiting;

pub use acquire::{Acquire, AcquireOwned};
pub use bucket::Bucket;
pub use error::{AcquireError, BuildError, InsufficientCapacity, NotYet};
pub use keyed::{Keyed, PerKey};
pub use paced::{PacedSink, PacedStream};
pub use patience::Patience;
pub use rate_limiter::{Builder, RateLimiter};
pub use source::Source;
pub use waiting::Waiting;

/// Tells a subscriber, if the feature is on.
macro_rules! trace {
    ($($event:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::trace!(target: "ratelimit_meter_tokio", $($event)*);
    };
}
use trace;
