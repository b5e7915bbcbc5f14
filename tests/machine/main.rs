//! The machine under a decision: the allocator, which no decision calls, and the processor's clock, in real time.

mod allocation;
mod real_time;

#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lets one test run at a time: tests in real time need the processor for themselves.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
