//! What is asked of a runtime: the time, a timer, and who it is. The loom models ask a runtime of their own, see `models.rs`.

#[cfg(ratelimit_meter_loom)]
mod model;
#[cfg(not(ratelimit_meter_loom))]
mod real;

#[cfg(all(test, ratelimit_meter_loom))]
pub(crate) use model::driver;
#[cfg(ratelimit_meter_loom)]
pub(crate) use model::{Id, Timer, current, now};
#[cfg(not(ratelimit_meter_loom))]
pub(crate) use real::{Id, Timer, current, now};

/// What came of setting a timer.
#[cfg_attr(ratelimit_meter_loom, allow(dead_code, reason = "no model of a runtime ends"))]
pub(crate) enum Set {
    /// It will go off.
    Armed,
    /// The instant is past.
    Elapsed,
    /// The runtime is no more.
    Dead,
}
