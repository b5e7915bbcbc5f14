//! Limits, and the cells that they ask of their meters.

mod asked;
mod builder;
mod lane;
mod limiter;
#[cfg(test)]
mod model;

pub use asked::{Asked, BoxLimit, Limit, Reason};
pub(crate) use asked::{Denial, LaneAsk, Plain};
pub use lane::OnNoKey;
pub(crate) use lane::{After, HeadFn, Lane, ReplyFn, Warned};
pub(crate) use limiter::KEYLESS;
pub use limiter::{ByKey, Everyone, Limiter, PerKey, Shared, Target, TierName, content_length};
