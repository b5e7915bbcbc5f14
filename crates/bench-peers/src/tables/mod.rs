//! Tables of meters as contenders: the questions, the keys, and the adapters.

pub(crate) mod cases;
pub(crate) mod contender;
pub(crate) mod keys;
