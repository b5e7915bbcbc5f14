//! Snapshots: a meter kept over a restart.

mod forms;
mod one_meter;
mod several;
