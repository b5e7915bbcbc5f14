//! Pages about the numbers of the fields, and for users of other limiters.

#[doc = include_str!("../docs/fields.md")]
pub mod fields {}

#[doc = include_str!("../docs/from_tower_governor.md")]
pub mod from_tower_governor {}

#[doc = include_str!("../docs/from_axum_gcra.md")]
pub mod from_axum_gcra {}

#[doc = include_str!("../docs/from_express.md")]
pub mod from_express {}
