#![doc = include_str!("../README.md")]
//!
//! # Implementing a store
//!
//! [`AsyncStore`] and [`BlockingStore`] have one method: a [`Verb`] on some [`Ask`]s gives a [`Reply`]. The numbers of a [`StoreLimit`] are [`Units`] or
//! an [`Average`]: whole numbers that a double holds, so that a script in Lua, a function in SQL and [`MemoryStore`] decide alike. The reply is the
//! time and level of each key. The remaining cells and the time of the next ones are computed from it here, exactly.
//!
//! # Features
//!
//! - `tokio`: `SharedMeter`, on by default. [`BlockingMeter`] needs no feature.
//! - `metrics`: counters of decisions and failures, a histogram of round trips and gauges, for any recorder of the `metrics` facade.
//! - `tracing`: an event for each call of the store (`DEBUG`), and for a breaker that opens (`WARN`) or closes (`INFO`), with the target
//!   `ratelimit_meter_store`.

mod average;
mod blocking;
mod breaker;
mod builder;
mod error;
mod known;
mod lease;
mod limit;
mod local;
mod memory;
mod observe;
mod policy;
#[cfg(feature = "tokio")]
mod shared;
mod step;
mod store;
mod subject;
mod terms;
mod time;
mod units;
mod verdict;

pub use average::Average;
pub use blocking::BlockingMeter;
pub use breaker::BreakerSettings;
pub use builder::{InvalidSharedMeter, OnFailure, SharedMeterBuilder};
pub use error::{InvalidQuota, StoreError};
pub use lease::LeaseSettings;
pub use limit::{Level, Scale, State, StoreLimit};
pub use memory::MemoryStore;
pub use observe::LocalStats;
#[cfg(feature = "tokio")]
pub use shared::SharedMeter;
pub use store::{Ask, AsyncStore, BlockingStore, Reply, Verb};
pub use time::Micros;
pub use units::Units;
pub use verdict::{AdmittedPart, Verdict, Via};
