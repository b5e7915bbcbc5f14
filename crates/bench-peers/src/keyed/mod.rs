//! A meter for each key: the cost of a decision, the memory of a key, and the effect of a flood of keys.

pub(crate) mod flood;
pub(crate) mod memory;
pub(crate) mod report;
pub(crate) mod run;
