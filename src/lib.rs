//! A synchronous, lock-free rate meter.

pub mod algorithms {
    //! The metering algorithms, and the names of `ratelimit_meter` 1.x that lived here.

    mod continuous_state;
    mod decide;
    mod virtual_scheduling;

    pub use continuous_state::ContinuousState;
    pub use decide::Algorithm;
    pub(crate) use decide::{Decide, Denial};
    pub use virtual_scheduling::VirtualScheduling;

    pub use crate::error::InconsistentCapacity;
    pub use crate::meter::{Builder, GCRA, LeakyBucket};
}
mod cell;
pub mod clock;
mod decider;
mod decision;
mod error;
pub mod example_algorithms;
mod limit;
mod meter;
mod nanos;
mod quota;
mod scale;

pub use decider::{Decider, MultiDecider};
pub use decision::{NegativeMultiDecision, NonConformance};
pub use meter::{GCRA, LeakyBucket, Meter};
pub use nonzero_ext::nonzero;
pub use quota::{ParseQuotaError, Quota};
