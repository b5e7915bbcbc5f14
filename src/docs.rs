//! The pages of `docs/`, compiled with the crate so that their examples stay true.

#[doc = include_str!("../docs/design.md")]
pub mod design {}

#[doc = include_str!("../docs/limitations.md")]
pub mod limitations {}

#[doc = include_str!("../docs/benchmarks.md")]
pub mod benchmarks {}

#[doc = include_str!("../docs/migrating.md")]
pub mod migrating {}

#[doc = include_str!("../docs/which.md")]
pub mod which {}
