//! Waiting, in paused time or by hand.

mod by_hand;
mod changes;
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
mod time;
