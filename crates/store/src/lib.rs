//! One rate limit kept by many machines: the decisions of [`ratelimit_meter`], in one round trip to a store.
//!
//! A meter is one word in one process, so twelve processes behind a load balancer have twelve limits. Here the word lives in a store:
//! Redis or Valkey (`ratelimit_meter_redis`), PostgreSQL (`ratelimit_meter_postgres`), or the memory of a process ([`MemoryStore`], for
//! tests).
//!
//! - [`Units`] and [`Average`] are the numbers of a quota; a [`Limit`] is one of them.
//! - [`Store`] and [`BlockingStore`] are the traits: a [`Verb`] on some [`Ask`]s gives a [`Reply`].

mod average;
mod blocking;
mod breaker;
mod builder;
mod error;
mod lease;
mod limit;
mod local;
mod memory;
mod policy;
#[cfg(feature = "tokio")]
mod shared;
mod step;
mod store;
mod terms;
mod time;
mod units;
mod verdict;

pub use average::Average;
pub use blocking::BlockingMeter;
pub use breaker::BreakerSettings;
pub use builder::{BuildError, Builder, OnFailure};
pub use error::{InvalidQuota, StoreError};
pub use lease::Lease;
pub use limit::{Level, Limit, Scale, State};
pub use memory::MemoryStore;
#[cfg(feature = "tokio")]
pub use shared::SharedMeter;
pub use store::{Ask, BlockingStore, Reply, Store, Verb};
pub use time::Micros;
pub use units::Units;
pub use verdict::{AdmittedPart, Verdict, Via};
