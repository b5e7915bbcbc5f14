//! Meters with a key: the table, its tiers, its snapshots, and a table that is full.
#![cfg(feature = "keyed")]

mod full;
mod keys;
mod many;
mod seeds;
mod sizing;
mod snapshot;
mod threads;
mod tiers;
mod time;

#[path = "../support/mod.rs"]
mod support;
