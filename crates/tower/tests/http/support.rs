//! A service that is limited, asked without a runtime.

use bytes::Bytes;
use core::convert::Infallible;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{GCRA, Meter, Quota, algorithms::VirtualScheduling};
use ratelimit_meter_tower::{Limit, Observe, RateLimitLayer, Respond};
use std::time::Instant;
use tower::{Layer, Service, service_fn};

pub(crate) type Body = Full<Bytes>;

/// A request without a body.
pub(crate) fn request() -> Request<()> {
    Request::new(())
}

/// Returns a layer's response to a request that its inner service answers with `inner`.
pub(crate) fn answer_of<L, R, H>(
    layer: &RateLimitLayer<L, R, H>,
    request: Request<()>,
    inner: Response<Body>,
) -> Response<Body>
where
    L: Limit,
    R: Respond<Body>,
    H: Observe,
{
    let mut inner = Some(inner);
    let handler = service_fn(move |_: Request<()>| core::future::ready(Ok::<_, Infallible>(inner.take().unwrap())));
    let answer = layer.layer(handler).call(request).now_or_never();
    answer.expect("a ready service answers at once").unwrap()
}

/// Returns a layer's response to a request that its inner service answers with 200.
pub(crate) fn answer<L, R, H>(layer: &RateLimitLayer<L, R, H>, request: Request<()>) -> Response<Body>
where
    L: Limit,
    R: Respond<Body>,
    H: Observe,
{
    answer_of(layer, request, Response::new(Body::default()))
}

pub(crate) fn status<L, R, H>(layer: &RateLimitLayer<L, R, H>, request: Request<()>) -> StatusCode
where
    L: Limit,
    R: Respond<Body>,
    H: Observe,
{
    answer(layer, request).status()
}

/// The lines of a field, joined as a list.
pub(crate) fn field(headers: &HeaderMap, name: &str) -> String {
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|line| line.to_str().unwrap())
        .collect();
    lines.join(", ")
}

/// An integer field.
pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap().parse().unwrap())
}

pub(crate) type ManualMeter = Meter<VirtualScheduling, ManualClock>;

/// A meter on a manual clock.
pub(crate) fn meter(quota: &str, clock: &ManualClock) -> ManualMeter {
    let quota: Quota = quota.parse().unwrap();
    GCRA::from_quota(quota).unwrap().with_clock(clock.clone())
}

/// Tokio's time, which tests can pause.
#[derive(Clone)]
pub(crate) struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}
