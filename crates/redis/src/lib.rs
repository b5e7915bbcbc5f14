//! A rate limit shared by many machines on Redis or Valkey.

#[cfg(feature = "tokio")]
mod store;
mod wire;

#[cfg(feature = "tokio")]
pub use store::RedisStore;
