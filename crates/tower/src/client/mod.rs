//! Layers for clients: one obeys servers, the other a limit of one's own.

mod advice;
mod message;
mod pace;
mod polite;

pub use message::{ClientError, ClientRequest, ClientResponse};
pub use pace::{Pace, PaceLayer};
pub use polite::{Polite, PoliteLayer};
