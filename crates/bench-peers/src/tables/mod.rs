//! Tables of meters as contenders: what they are asked, with which keys, and how they are wrapped.

pub(crate) mod cases;
pub(crate) mod contender;
pub(crate) mod keys;
