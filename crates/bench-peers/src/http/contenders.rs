//! The layers, each around a service that answers at once.

use super::case::HttpCase;
use super::floors::HttpFloor;
use crate::contender::Package;
use axum::body::Body;
use axum::extract::ConnectInfo;
use core::convert::Infallible;
use core::future::{Future, Ready, ready};
use core::num::{NonZeroU32, NonZeroU64};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use governor::clock::QuantaInstant;
use governor::middleware::NoOpMiddleware;
use http::{Request, Response};
use ratelimit_meter_tower::{Fields, Limit, PeerIp, PerKey, RateLimitLayer};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tower::{Layer, Service, service_fn};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::PeerIpKeyExtractor;

/// A request from the address of a number, and the status of its answer.
pub(crate) type HttpCall = Box<dyn FnMut(u32) -> u16>;

pub(crate) const BARE: &str = "no layer";
pub(crate) const SILENT: &str = "ours, no fields";
pub(crate) const TELLING: &str = "ours";
pub(crate) const GOVERNOR: &str = "tower_governor";
pub(crate) const GOVERNOR_HEADERS: &str = "tower_governor, headers";
pub(crate) const THREE: &str = "ours, three limits";
const FINDING: &str = "floor: finds the address";
const DECIDING: &str = "floor: decides by hand";

/// A contender as a row.
pub(crate) struct HttpEntry {
    pub(crate) name: &'static str,
    pub(crate) package: Option<Package>,
    pub(crate) call: fn(HttpCase) -> HttpCall,
}

impl HttpEntry {
    pub(crate) fn takes(&self, case: HttpCase) -> bool {
        match self.name {
            // Three limits are compared with one, where both admit.
            THREE => case == HttpCase::OneKey,
            FINDING | DECIDING => case != HttpCase::Denied,
            _ => true,
        }
    }

    pub(crate) fn limits(&self) -> bool {
        self.name != BARE
    }
}

pub(crate) fn entries() -> Vec<HttpEntry> {
    let (ours, governor) = (Some(("ratelimit_meter_tower", "0.1")), Some(("tower_governor", "0.8")));
    let entry = |name, package, call| HttpEntry { name, package, call };
    let mut entries = vec![
        entry(BARE, None, bare),
        entry(FINDING, None, |_| {
            calling(HttpFloor::finding(service_fn(inner::<Body, Body>)))
        }),
        entry(DECIDING, None, |case| {
            calling(HttpFloor::deciding(service_fn(inner::<Body, Body>), case))
        }),
        entry(SILENT, ours, silent),
        entry(TELLING, ours, telling),
        entry(THREE, ours, three),
        entry(GOVERNOR, governor, tower_governor),
        entry(GOVERNOR_HEADERS, governor, tower_governor_headers),
        entry("axum_gcra", Some(("axum_gcra", "0.1")), axum_gcra),
    ];
    entries.extend(newest());
    entries
}

/// The peers that need a newer Rust than 1.85.
#[cfg(ratelimit_meter_newest_peers)]
fn newest() -> Option<HttpEntry> {
    Some(HttpEntry {
        name: "axum-governor",
        package: Some(("axum-governor", "2")),
        call: axum_governor,
    })
}

#[cfg(not(ratelimit_meter_newest_peers))]
fn newest() -> Option<HttpEntry> {
    None
}

fn address(key: u32) -> IpAddr {
    Ipv4Addr::from(key).into()
}

fn inner<B, C: Default>(_: Request<B>) -> Ready<Result<Response<C>, Infallible>> {
    ready(Ok(Response::new(C::default())))
}

/// The result of a future that never waits.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the inner service answers at once"),
    }
}

/// Calls a service as a server does: with the address of the connection as an extension.
fn calling<S, C>(mut service: S) -> HttpCall
where
    S: Service<Request<Body>, Response = Response<C>, Error: core::fmt::Debug> + 'static,
{
    Box::new(move |key| {
        let mut request = Request::new(Body::empty());
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::new(address(key), 4711)));
        now(service.call(request)).map_or(0, |response| response.status().as_u16())
    })
}

fn bare(_: HttpCase) -> HttpCall {
    calling(service_fn(inner::<Body, Body>))
}

pub(super) fn per_address(case: HttpCase) -> PerKey<PeerIp> {
    let (quota, keys) = case.quota();
    PerKey::new(PeerIp::new(), quota, keys).expect("a table of a million")
}

fn limited<L: Limit + 'static>(limits: L, fields: Fields) -> HttpCall {
    calling(
        RateLimitLayer::new(limits)
            .fields(fields)
            .layer(service_fn(inner::<Body, Body>)),
    )
}

fn silent(case: HttpCase) -> HttpCall {
    limited(per_address(case), Fields::None)
}

fn telling(case: HttpCase) -> HttpCall {
    limited(per_address(case), Fields::Draft11)
}

fn three(case: HttpCase) -> HttpCall {
    let limits = ["a", "b", "c"].map(|name| per_address(case).named(name));
    limited(Vec::from(limits), Fields::Draft11)
}

pub(super) fn governor_config(
    case: HttpCase,
) -> GovernorConfigBuilder<PeerIpKeyExtractor, NoOpMiddleware<QuantaInstant>> {
    let mut config = GovernorConfigBuilder::default();
    config.period(case.emission()).burst_size(case.burst());
    config
}

fn tower_governor(case: HttpCase) -> HttpCall {
    let config = governor_config(case).finish().expect("a sound quota");
    calling(GovernorLayer::new(config).layer(service_fn(inner::<Body, Body>)))
}

fn tower_governor_headers(case: HttpCase) -> HttpCall {
    let config = governor_config(case).use_headers().finish().expect("a sound quota");
    calling(GovernorLayer::new(config).layer(service_fn(inner::<Body, Body>)))
}

#[cfg(ratelimit_meter_newest_peers)]
fn axum_governor(case: HttpCase) -> HttpCall {
    let quota = match case {
        HttpCase::OneKey => {
            axum_governor::Quota::requests_per_second(NonZeroU32::new(1_000_000_000).expect("above zero"))
        }
        HttpCase::ManyKeys | HttpCase::Denied => axum_governor::Quota::requests_per_hour(NonZeroU32::MIN),
    };
    let burst = NonZeroU32::new(case.burst()).expect("above zero");
    let config = axum_governor::GovernorConfigBuilder::default()
        .with_extractor(axum_governor::PeerIp::default())
        .expect_connect_info()
        .gc_disable() // which would need a runtime
        .max_keys(2_000_000)
        .quota_default(quota.burst(burst))
        .finish()
        .expect("a sound configuration");
    calling(axum_governor::GovernorLayer::new(config).layer(service_fn(inner::<Body, Body>)))
}

/// The address as axum_gcra finds keys: an extractor of axum 0.7.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Peer(IpAddr);

impl axum_07::extract::FromRequestParts<()> for Peer {
    type Rejection = Infallible;

    fn from_request_parts<'a, 'b, 'c>(
        parts: &'a mut http::request::Parts,
        (): &'b (),
    ) -> Pin<Box<dyn Future<Output = Result<Self, Infallible>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
    {
        let ConnectInfo(address) = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .expect("an address in each request");
        Box::pin(ready(Ok(Self(address.ip()))))
    }
}

fn axum_gcra(case: HttpCase) -> HttpCall {
    let burst = NonZeroU64::from(NonZeroU32::new(case.burst()).expect("above zero"));
    // A key there is admitted once more than its burst.
    let quota = axum_gcra::gcra::Quota::new(case.emission(), burst);
    let layer = axum_gcra::RateLimitLayer::<Peer>::builder()
        .with_default_quota(quota)
        .default_handle_error();
    let mut service = layer.layer(service_fn(inner::<axum_07::body::Body, axum_07::body::Body>));
    Box::new(move |key| {
        let mut request = Request::new(axum_07::body::Body::empty());
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::new(address(key), 4711)));
        now(service.call(request)).map_or(429, |response| response.status().as_u16())
    })
}
