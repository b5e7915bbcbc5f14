//! The metering algorithms, and the names that were here in `ratelimit_meter` 1.x.
//!
//! Each algorithm is one file, which can be read alone: its meter under the name that users know, and its pure functions. To add an algorithm, add
//! its file here, and its line in [`Kind`].

#[cfg(feature = "std")]
mod exponential;
mod gcra;
mod leaky_bucket;

pub use crate::algorithm::{Algorithm, Kind};
pub use crate::error::InconsistentCapacity;
#[cfg(feature = "std")]
pub use exponential::{Exponential, ExponentialAverage};
pub use gcra::{Builder, GCRA, VirtualScheduling};
pub use leaky_bucket::{ContinuousState, LeakyBucket};
