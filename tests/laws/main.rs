//! The laws that bind every meter, as properties against an exact oracle.

mod batches;
mod capacity;
mod clock;
mod denial;
mod exponential;
mod needless;
mod same_history;
mod threads;
mod ticks;
mod time;
mod window;

#[path = "../support/mod.rs"]
mod support;
