//! The layer through its public API: traces, properties, adversaries, real servers and clients.

mod support;

mod contract;
mod many;
mod properties;
mod regressions;
mod spoofing;
mod traces;
