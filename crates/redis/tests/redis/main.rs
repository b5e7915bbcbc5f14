//! The Redis stores on servers that the tests start: skipped where there is no `redis-server`, a failure under `CI=true`.

mod clients;
mod clock;
mod cluster;
mod debug;
mod faults;
mod many;
mod refusals;
mod regressions;
mod replicas;
mod support;
mod traces;
