//! The verbs of a meter: each by itself, and all of them in any order against the oracle.

mod all;
mod clock;
mod debt;
#[cfg(all(feature = "dual", feature = "keyed"))]
mod fork;
mod model;
mod reserve;
mod reserve_go;
mod snapshots;
mod threads;
mod ticks;

#[path = "../support/mod.rs"]
mod support;
