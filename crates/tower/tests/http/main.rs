//! The layer through its public API: traces, properties, adversaries, real servers and clients.

mod support;

mod client;
mod contract;
mod dropped;
mod events;
mod grpc;
mod many;
mod properties;
mod queue;
mod real_clients;
mod regressions;
mod remote;
mod servers;
mod spoofing;
mod traces;
