//! Rate limiting for axum, tonic, hyper and reqwest.

#![forbid(unsafe_code)]

mod address;
mod after;
mod charge;
#[cfg(feature = "client")]
mod client;
mod error;
mod fields;
mod forwarded;
mod head;
mod key;
mod layer;
mod limit;
mod meters;
#[cfg(feature = "metrics")]
mod metrics;
mod numbers;
mod observe;
mod policy;
#[cfg(feature = "queue")]
mod queue;
mod remote;
mod reply;
mod respond;
mod service;
#[cfg(feature = "store")]
mod store;

pub use address::{InvalidNet, Net, PRIVATE};
pub use charge::Charge;
#[cfg(feature = "client")]
pub use client::{ClientError, ClientRequest, ClientResponse, Pace, PaceLayer, Polite, PoliteLayer};
pub use error::BuildError;
pub use fields::{EXPOSED, Fields, Reset};
pub use head::Head;
#[cfg(feature = "axum")]
pub use key::MatchedPath;
pub use key::{
    BearerKey, BoxKey, ClientIp, ExtensionKey, FindAddress, HeaderKey, Key, KeyFn, KeyWriter, MethodKey, NoKey, PeerIp,
    key_fn,
};
pub use layer::RateLimitLayer;
pub use limit::{
    Asked, BoxLimit, ByKey, Everyone, Limit, Limiter, OnNoKey, PerKey, Reason, Shared, Target, TierName, content_length,
};
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub use observe::{Event, Observe};
#[cfg(feature = "queue")]
pub use queue::{QueueLayer, Queued};
pub use remote::{Answer, Distributed, OnFailure, RemoteMeter, StoreFailed};
pub use reply::Reply;
pub use respond::{BoxRespond, Empty, Grpc, Problem, Refusal, Respond, RespondFn, Text, respond_fn};
pub use service::{RateLimit, ResponseFuture};

/// Warns a subscriber of a fault of the configuration, if the feature is on.
macro_rules! warning {
    ($($event:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::warn!(target: "ratelimit_meter_tower", $($event)*);
    };
}
use warning;

/// Tells a subscriber of a denial, if the feature is on.
macro_rules! denial_event {
    ($($event:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::debug!(target: "ratelimit_meter_tower", $($event)*);
    };
}
use denial_event;
