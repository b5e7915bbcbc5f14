//! A service that is limited, asked without a runtime.

use bytes::Bytes;
use core::convert::Infallible;
use core::future::Future;
use futures_util::FutureExt;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use ratelimit_meter::clock::{Clock, ManualClock};
use ratelimit_meter::{GCRA, Meter, Quota, algorithms::VirtualScheduling};
use ratelimit_meter_tower::{Head, Key, Limit, Observe, PerKey, PolicyDecision, RateLimitLayer, Respond, Shared};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tower::{Layer, Service, service_fn};

pub(crate) type Body = Full<Bytes>;

/// Ends a wait that would hang the whole run. The bound is far longer than any machine takes.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let answer = tokio::time::timeout(Duration::from_secs(300), future).await;
    answer.expect("an answer within five minutes")
}

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

pub(crate) fn quota(text: &str) -> Quota {
    text.parse().unwrap()
}

/// A clock that stands still, one for all tests, so that a busy machine changes no number.
pub(crate) fn still() -> ManualClock {
    static CLOCK: LazyLock<ManualClock> = LazyLock::new(ManualClock::new);
    CLOCK.clone()
}

/// A limit whose clock stands still.
pub(crate) fn shared(text: &str) -> Shared {
    Shared::of(meter(text, &still())).unwrap()
}

/// A limit of one request an hour for each key, whose clock stands still.
pub(crate) fn hourly<K: Key>(key: K) -> PerKey<K> {
    PerKey::like(key, meter("1/h", &still()), 1000).unwrap()
}

pub(crate) fn from(peer: &str) -> Request<()> {
    let mut request = request();
    let peer: IpAddr = peer.parse().unwrap();
    request.extensions_mut().insert(SocketAddr::new(peer, 4711));
    request
}

pub(crate) fn with(name: &'static str, value: &str) -> Request<()> {
    let mut request = request();
    request.headers_mut().append(name, value.parse().unwrap());
    request
}

pub(crate) fn body(response: Response<Body>) -> String {
    let collected = response.into_body().collect().now_or_never().unwrap().unwrap();
    String::from_utf8(collected.to_bytes().to_vec()).unwrap()
}

#[derive(Default, Clone)]
pub(crate) struct EventCounts(Arc<[AtomicU64; 6]>);

impl EventCounts {
    fn add(&self, index: usize) {
        self.0[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn all(&self) -> [u64; 6] {
        core::array::from_fn(|index| self.0[index].load(Ordering::Relaxed))
    }
}

impl Observe for EventCounts {
    fn admitted(&self, event: &PolicyDecision<'_>) {
        assert!(event.wait().is_none() && event.cost() > 0);
        self.add(0);
    }

    fn denied(&self, event: &PolicyDecision<'_>) {
        assert!(event.wait().is_some() && event.remaining() < event.cost());
        self.add(1);
    }

    fn would_deny(&self, event: &PolicyDecision<'_>) {
        assert_eq!(event.policy(), "trial");
        self.add(2);
    }

    fn never(&self, event: &PolicyDecision<'_>) {
        assert_eq!((event.tier(), event.wait()), ("default", None));
        self.add(3);
    }

    fn table_full(&self, _: &PolicyDecision<'_>) {
        self.add(4);
    }

    fn no_key(&self, policy: &str, _: &Head<'_>) {
        assert_eq!(policy, "default");
        self.add(5);
    }
}
