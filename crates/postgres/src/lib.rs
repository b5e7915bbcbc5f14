#![doc = include_str!("../README.md")]

#[cfg(feature = "blocking")]
mod blocking;
#[cfg(feature = "tokio")]
mod call;
#[cfg(feature = "tokio")]
mod connecting;
#[cfg(feature = "tokio")]
mod error;
#[cfg(feature = "tokio")]
mod silence;
#[cfg(feature = "tokio")]
mod store;
#[cfg(feature = "tokio")]
mod sweep;

#[cfg(feature = "blocking")]
pub use blocking::BlockingPostgresStore;
#[cfg(feature = "tokio")]
pub use store::PostgresStore;
#[cfg(feature = "tokio")]
pub use sweep::{Sweeper, Swept};

/// The functions and tables, for a migration or for `psql -1 -f`: PostgreSQL 13 and later, no extension.
///
/// It can be run again, and inside a transaction.
pub const SQL: &str = include_str!("../sql/meter.sql");
