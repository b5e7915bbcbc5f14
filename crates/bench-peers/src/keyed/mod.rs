//! A meter for each key: what a decision costs, what a key takes, and what a flood of keys does.

pub(crate) mod flood;
pub(crate) mod memory;
pub(crate) mod report;
pub(crate) mod run;
