//! Layers for clients: one obeys servers, the other a limit of one's own.

mod advice;
mod message;
mod pace;
mod polite;

pub use message::{ClientRequest, ClientResponse};
pub use pace::{Pace, PaceLayer};
pub use polite::{Polite, PoliteLayer};

use core::error::Error;
use core::fmt;
use std::time::Duration;

/// The error of a call that has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientError<E> {
    /// The wait would be longer than the layer's patience; nothing was sent.
    Impatient {
        /// The wait, as it stands now.
        wait: Duration,
    },
    /// The inner service failed.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for ClientError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impatient { wait } => write!(
                f,
                "not sent: the server is to be asked again in {wait:?} only, which is past the patience"
            ),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for ClientError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Impatient { .. } => None,
            Self::Inner(error) => Some(error),
        }
    }
}
