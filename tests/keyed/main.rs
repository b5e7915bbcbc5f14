//! Meters with a key: the table, its tiers, its snapshots, and a table that is full.
#![cfg(feature = "keyed")]

#[cfg(feature = "dual")]
mod dual;
mod full;
mod keys;
mod many;
mod quota;
mod seeds;
mod sizing;
mod snapshot;
#[cfg(ratelimit_meter_stress)]
mod stress;
mod threads;
mod tiers;
mod time;
mod top;

#[path = "../support/mod.rs"]
mod support;
