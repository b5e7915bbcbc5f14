//! Limits that a store elsewhere keeps, for many machines.

mod charge;
mod doubt;
mod limit;
mod meter;
mod service;
mod settle;

pub use charge::{RemoteCharge, RemoteChargeError};
pub use limit::{Distributed, OnStoreFailure};
pub use meter::{Answer, RemoteMeter, StoreFailed};
