//! The machine under a decision: the allocator, which no decision calls, and the processor's clock, in real time.

mod allocation;
mod real_time;

#[path = "../support/mod.rs"]
mod support;
