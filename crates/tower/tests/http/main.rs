//! The layer through its public API: traces, properties, adversaries, real servers and clients.

mod support;

mod properties;
mod spoofing;
mod traces;
