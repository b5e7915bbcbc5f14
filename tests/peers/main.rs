//! Published behaviour of other rate limiters and of version 1.x, held by this crate.

mod api_1x;
mod faults;
mod faults_of_time;
mod quota;
mod vectors;

#[path = "../support/mod.rs"]
mod support;
