//! The pages of `docs/`, compiled with the crate so that their examples stay true.

#[doc = include_str!("../docs/design.md")]
pub mod design {}

#[doc = include_str!("../docs/limitations.md")]
pub mod limitations {}

#[doc = include_str!("../docs/benchmarks.md")]
pub mod benchmarks {}

#[doc = include_str!("../docs/migrating.md")]
pub mod migrating {}

// The pictures are data, because no files go with these pages. (The first definition of a link counts.)
#[cfg_attr(doc, doc = include_str!("../docs/which-pictures.md"))]
#[doc = include_str!("../docs/which.md")]
pub mod which {}
