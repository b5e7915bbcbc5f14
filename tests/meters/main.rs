//! Kinds of meters beside the plain one, and several meters in one decision.

mod adjustable;
mod adjustable_laws;
mod adjustable_threads;
mod check_all;
mod dual;
mod dual_model;
mod dual_oracle;
mod dual_threads;
mod leases;
mod local;
mod markers;

#[path = "../support/mod.rs"]
mod support;
