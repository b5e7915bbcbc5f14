//! Waiting, in paused time or by hand.

mod changes;
mod debug;
mod edges;
#[cfg(feature = "tracing")]
mod events;
mod keyed;
mod leaky_bucket;
mod leaving;
mod migrating;
mod model;
mod paced;
mod patience;
mod plans;
mod serving;
mod support;
mod time;
