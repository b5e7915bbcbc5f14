//! Layers for clients: `PoliteLayer` obeys servers, `PaceLayer` keeps to a limit of the client's own.

mod advice;
mod message;
mod pace;
mod polite;
mod retry_info;

pub use message::{ClientError, ClientRequest, ClientResponse, FindOrigin, Once};
pub use pace::{Pace, PaceLayer, PerOrigin};
pub use polite::{Polite, PoliteLayer};
