// The example needs the feature `tokio`, so other builds do not test it.
#![cfg_attr(any(not(doctest), feature = "tokio"), doc = include_str!("../README.md"))]

#[cfg(feature = "blocking")]
mod blocking;
#[cfg(feature = "cluster")]
mod cluster;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod failure;
#[cfg(all(test, feature = "blocking"))]
mod mutations;
#[cfg(feature = "tokio")]
mod runtime;
#[cfg(feature = "tokio")]
mod store;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod tcp;
#[cfg(any(feature = "tokio", feature = "blocking"))]
mod wire;

#[cfg(feature = "blocking")]
pub use blocking::RedisBlockingStore;
#[cfg(feature = "cluster")]
pub use cluster::RedisClusterStore;
#[cfg(feature = "tokio")]
pub use store::RedisStore;
