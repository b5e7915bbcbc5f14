//! The time, a timer, and the identity of a runtime. The loom models and the simulation have runtimes of their own.

#[cfg(any(test, ratelimit_meter_loom))]
mod model;
#[cfg(not(any(test, ratelimit_meter_loom)))]
mod real;

#[cfg(test)]
pub(crate) use model::driver;
#[cfg(any(test, ratelimit_meter_loom))]
pub(crate) use model::{Id, Timer, current, now, try_current};
#[cfg(not(any(test, ratelimit_meter_loom)))]
pub(crate) use real::{Id, Timer, current, now, try_current};

/// What came of setting a timer.
#[cfg_attr(
    any(test, ratelimit_meter_loom),
    allow(dead_code, reason = "no model of a runtime ends")
)]
pub(crate) enum Set {
    /// It will go off.
    Armed,
    /// The instant is past.
    Elapsed,
    /// The runtime is no more.
    Dead,
}
