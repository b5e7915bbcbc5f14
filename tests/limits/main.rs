//! Quotas and their text, the numbers of a meter, its initial state, and errors.

mod dual_quota;
mod errors;
mod initial;
mod parameters;
mod quota;

#[path = "../support/mod.rs"]
mod support;
