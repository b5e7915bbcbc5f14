//! Shared meters over the reference store and stores that fail, on paused time.

mod blocking;
mod debug;
mod failure;
mod joined;
mod leases;
mod memory;
mod observe;
mod probe;
mod remembered;
mod shared;
