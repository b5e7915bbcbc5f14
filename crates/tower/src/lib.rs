//! Rate limiting for axum, tonic, hyper and reqwest.
//!
//! [`RateLimitLayer`] decides with the meters of [`ratelimit_meter`] before a service is called. It answers 429 with an exact `Retry-After`, and
//! reports the client's quota in `RateLimit` fields. For clients, `PoliteLayer` obeys servers.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use ratelimit_meter_tower::{PeerIp, PerKey, RateLimitLayer};
//! use std::net::SocketAddr;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let limit = PerKey::new(PeerIp::new(), "100/min burst 20".parse()?, 100_000)?;
//!     let app = Router::new().route("/", get(|| async { "hello" })).layer(RateLimitLayer::new(limit));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
//! }
//! ```
//!
//! # Guarantees
//!
//! - **`Retry-After` is never early and never 0.** The same request, that many seconds later, is admitted if no other request took
//!   cells meanwhile. [`docs::fields`] has the promises of the other numbers, which properties check against exact arithmetic.
//! - **Several limits of one layer are all or nothing.** A tuple of limits looks at all meters before it charges any. A request that one of them
//!   denies costs nothing. If two requests race for the last cells, the cells of the loser are given back. (Two layers decide one after the other.)
//! - **Memory is constant.** A limit per key is a table of fixed size ([`KeyedMeter`](ratelimit_meter::KeyedMeter)): about 20 bytes for each key
//!   it is meant for, no task in the background, no key stored. (The texts of a policy's fields stay as long as the process runs. So build limits
//!   once, and change their quotas by [tiers](Limiter::tier_by).)
//! - **A client cannot choose its address.** [`ClientIp`] reads forwarding headers from the right, as far as trusted machines wrote them.
//! - **The contract of tower.** The service is ready when the inner service is, and calls that same inner service. Clones share meters. Futures have
//!   nameable types. An admission by one quota, without charges by the response or the handler, allocates only the value of `RateLimit`.
//!
//! # Limits
//!
//! A limit is [`Shared`] by all requests or [`PerKey`], of one quota, or two (`dual`), with [tiers](Limiter::tier) for plans. Its settings are
//! [`named`](Limiter::named), [`cost`](Limiter::cost), [`only`](Limiter::only), [`methods`](Limiter::methods), [`allow`](Limiter::allow),
//! [`refund_if`](Limiter::refund_if) and [`charge_if`](Limiter::charge_if) by the response, [`late`](Limiter::late) [charges](Charge) by the handler,
//! [`dry_run`](Limiter::dry_run), [`quiet`](Limiter::quiet). Several limits are a tuple or a `Vec`. Name each, because clients distinguish them by name:
//!
//! ```
//! use http::Method;
//! use ratelimit_meter_tower::{ClientIp, ExtensionKey, PerKey, RateLimitLayer, Shared};
//!
//! #[derive(Clone, PartialEq, Eq, Hash)]
//! struct UserId(u64);
//!
//! let address = PerKey::new(ClientIp::trusting(["10.0.0.0/8"])?, "300/min".parse()?, 1_000_000)?.named("ip");
//! let user = PerKey::dual(ExtensionKey::<UserId>::new(), "10/s & 1000/h".parse()?, 200_000)?
//!     .named_both("burst", "hour")
//!     .cost(|head| if head.method() == Method::POST { 5 } else { 1 });
//! let trial = Shared::new("5000/s".parse()?)?.named("all").dry_run();
//! let layer = RateLimitLayer::new((address, user, trial)).skip_if(|head| head.uri().path() == "/health");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Order of layers
//!
//! | outermost first | why there |
//! |---|---|
//! | trace | sees denials |
//! | CORS, with `.expose_headers(EXPOSED)` | a page can read a denial; inside of the limit, a denied `fetch` fails without a reason |
//! | compression | |
//! | limit by address | before anything expensive |
//! | authentication | |
//! | limit by user | needs the user that authentication found, as an extension |
//! | body limit, handler | |
//!
//! In axum, `.layer` calls further down wrap those above them, and `route_layer` lets requests that match no route go uncounted. `ServiceBuilder` reads
//! from the top. Inside of a `ConcurrencyLimit` or a `Buffer`, a denial waits for a permit. Outside of them, it may hold one; see [`RateLimit`].
//!
//! A denial has the type of body of the inner service. Some layers, such as tower-http's `RequestBodyLimitLayer`, `CompressionLayer` and `TraceLayer`, have
//! a type of body of their own. Inside of a limit in one `ServiceBuilder`, they fail to compile: "the trait bound `ResponseBody<..>: From<Bytes>` is not
//! satisfied". Between the limit and such a layer, put `.map_response(|response: Response<_>| response.map(Body::new))` with axum's `Body`, or in axum
//! give each its own `.layer`. Without axum, see [`Respond`].
//!
//! A denial is sent before the body of its request is read. HTTP/1.1 then needs a new connection, and a client that is still sending a large body may see a
//! broken connection instead of the denial. Clients of HTTP/2, and clients that send `Expect: 100-continue`, get the denial.
//!
//! A shared cache in front may hand one client's `RateLimit` to another, unless responses are private; this crate leaves `Cache-Control` alone.
//!
//! # Without a key
//!
//! Requests without an address, token or extension share one meter of the same quota, and a warning is given once. They may also be [rejected or
//! passed](OnNoKey). A second warning comes if requests carry forwarding headers that no key reads.
//!
//! # Features
//!
//! - `axum` (default): `ConnectInfo` of axum 0.8 as an address, `MatchedPath` as a key. `tonic`: `TcpConnectInfo` of tonic 0.14.
//! - `tracing` (default): warnings, and an event of level `DEBUG` for each denial, with the target `ratelimit_meter_tower`.
//! - `metrics`: counters for the `metrics` facade.
//! - `queue`: `QueueLayer`, on `ratelimit_meter_tokio`.
//! - `client`: `PoliteLayer` and `PaceLayer`; `reqwest` for its requests as well. `reqwest::Client` is a tower service. A client of
//!   reqwest-middleware becomes one with `tower::service_fn`, as `PoliteLayer` shows. For channels of tonic, see `Once`.
//! - `store`: `SharedMeter` of `ratelimit_meter_store` as a limit of [`RateLimitLayer::remote`].
//!
//! Coming from [tower_governor](docs::from_tower_governor), [axum_gcra](docs::from_axum_gcra), [axum-governor](docs::from_axum_governor) or
//! [express-rate-limit](docs::from_express)?

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
mod respond;
mod service;

pub use address::{InvalidNet, Net, PRIVATE};
pub use charge::{Charge, ChargeDenied};
#[cfg(feature = "client")]
pub use client::{
    ClientError, ClientRequest, ClientResponse, FindOrigin, Once, Pace, PaceLayer, PerOrigin, Polite, PoliteLayer,
};
pub use error::InvalidLimit;
pub use fields::{EXPOSED, Fields, Reset};
pub use head::{Head, ResponseHead};
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
pub use observe::{Observe, PolicyDecision};
#[cfg(feature = "queue")]
pub use queue::{QueueLayer, Queued};
pub use remote::{Answer, Distributed, OnStoreFailure, RemoteCharge, RemoteChargeError, RemoteMeter, StoreFailed};
pub use respond::{BoxRespond, Empty, Grpc, Problem, Refusal, Respond, RespondFn, Text, respond_fn};
pub use service::{RateLimit, ResponseFuture};

/// Pages about the numbers of the fields, and for users of other limiters.
pub mod docs {
    #[doc = include_str!("../docs/fields.md")]
    pub mod fields {}

    #[doc = include_str!("../docs/from_tower_governor.md")]
    pub mod from_tower_governor {}

    #[doc = include_str!("../docs/from_axum_gcra.md")]
    pub mod from_axum_gcra {}

    #[doc = include_str!("../docs/from_axum_governor.md")]
    pub mod from_axum_governor {}

    #[doc = include_str!("../docs/from_express.md")]
    pub mod from_express {}
}

/// Emits a warning about the configuration, if the feature is on.
macro_rules! warning {
    ($($event:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::warn!(target: "ratelimit_meter_tower", $($event)*);
        #[cfg(not(feature = "tracing"))]
        let _ = format_args!($($event)*);
    };
}
use warning;

/// Emits an event for a denial, if the feature is on.
macro_rules! denial_event {
    ($($event:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::debug!(target: "ratelimit_meter_tower", $($event)*);
    };
}
use denial_event;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
