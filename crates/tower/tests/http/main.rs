//! The layer through its public API: traces, properties, adversaries, real servers and clients.

mod support;

mod announcements;
mod charges;
mod client;
mod contract;
mod debug;
mod denials;
mod dropped;
mod events;
mod grpc;
mod keys;
mod limits;
mod many;
mod properties;
mod queue;
mod real_clients;
mod remote;
mod remote_charges;
mod servers;
mod spoofing;
mod surroundings;
mod traces;
