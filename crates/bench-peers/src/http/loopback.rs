//! axum on loopback: throughput and latency with a layer and without.

use super::case::{HttpCase, HttpEffort};
use super::contenders::{self, BARE, SILENT, TELLING, governor_config, per_address};
use crate::random::Random;
use crate::stats::{Summary, float, percentile};
use axum::body::Body;
use axum::response::Response;
use axum::{Router, routing::get};
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ratelimit_meter_tower::{Fields, RateLimitLayer};
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tower::util::MapResponseLayer;
use tower_governor::GovernorLayer;

/// The number of connections that send at the same time, each one request after the other.
pub(super) const CONNECTIONS: usize = 64;

/// The result of a run.
#[derive(Debug, Clone, Copy)]
struct LoopbackRun {
    per_second: f64,
    p99_ns: u64,
}

/// The results of all runs of a server.
#[derive(Debug, Serialize)]
pub(super) struct Loaded {
    pub(super) http: &'static str,
    pub(super) contender: &'static str,
    pub(super) per_second: Summary,
    pub(super) p99_us: Summary,
    /// Ratios to no layer in the same round, so that a disturbance of the machine affects both.
    pub(super) per_second_of_bare: Summary,
    pub(super) p99_of_bare: Summary,
}

impl Loaded {
    /// The loads of one contender, round by round, and those of no layer.
    fn of(http: &'static str, contender: &'static str, loads: &[LoopbackRun], bare: &[LoopbackRun]) -> Option<Self> {
        let summary = |figure: fn(&LoopbackRun) -> f64| Summary::of(&loads.iter().map(figure).collect::<Vec<_>>());
        let of_bare = |figure: fn(&LoopbackRun) -> f64| {
            let ratios = loads.iter().zip(bare).map(|(load, bare)| figure(load) / figure(bare));
            Summary::of(&ratios.collect::<Vec<_>>())
        };
        let rate = |load: &LoopbackRun| load.per_second;
        let p99 = |load: &LoopbackRun| float(load.p99_ns) / 1e3;
        Some(Self {
            http,
            contender,
            per_second: summary(rate)?,
            p99_us: summary(p99)?,
            per_second_of_bare: of_bare(rate)?,
            p99_of_bare: of_bare(p99)?,
        })
    }
}

/// The floors that are no contenders in process.
pub(super) const EMPTY: &str = "floor: a layer that does nothing";
pub(super) const CONSTANT: &str = "floor: two constant fields";

/// The place of no layer among the servers.
const BARE_SEAT: usize = 0;

/// The servers, by name.
fn routers() -> [(&'static str, Router); 6] {
    let hello = || Router::new().route("/", get(|| async { "hello" }));
    let governor = governor_config(HttpCase::OneKey).use_headers().finish();
    let governor = GovernorLayer::new(governor.expect("a sound quota"));
    [
        (BARE, hello()),
        (
            EMPTY,
            hello().layer(MapResponseLayer::new(|response: Response| response)),
        ),
        (CONSTANT, hello().layer(MapResponseLayer::new(with_constant_fields))),
        (
            SILENT,
            hello().layer(RateLimitLayer::new(per_address(HttpCase::OneKey)).fields(Fields::None)),
        ),
        (
            TELLING,
            hello().layer(RateLimitLayer::new(per_address(HttpCase::OneKey))),
        ),
        (contenders::GOVERNOR_HEADERS, hello().layer(governor)),
    ]
}

/// Adds two fields as long as those of the layer, to find the cost of the bytes alone.
fn with_constant_fields(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static(r#""default";q=1000000000;w=1"#);
    headers.append("ratelimit-policy", policy);
    headers.append("ratelimit", HeaderValue::from_static(r#""default";r=999999999;t=1"#));
    response
}

/// Takes turns: each server is asked alone.
pub(super) fn run(effort: HttpEffort, random: &mut Random) -> Vec<Loaded> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime on loopback");
    let servers: Vec<_> = routers()
        .into_iter()
        .map(|(name, router)| (name, runtime.block_on(serve(router))))
        .collect();
    let mut loaded = Vec::new();
    for http in ["1.1", "2"] {
        let mut loads = vec![Vec::new(); servers.len()];
        let mut order: Vec<_> = (0..servers.len()).collect();
        for _ in 0..effort.loopback_rounds {
            random.shuffle(&mut order);
            for &seat in &order {
                loads[seat].push(runtime.block_on(load(servers[seat].1, http, effort.loopback_requests)));
            }
        }
        loaded.extend(
            servers
                .iter()
                .zip(&loads)
                .filter_map(|((name, _), row)| Loaded::of(http, name, row, &loads[BARE_SEAT])),
        );
    }
    loaded
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// The sending end of a connection, of either version.
enum Sender {
    One(hyper::client::conn::http1::SendRequest<Body>),
    Two(hyper::client::conn::http2::SendRequest<Body>),
}

impl Sender {
    async fn connect(address: SocketAddr, http: &str) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.expect("a server on loopback"));
        if http == "2" {
            let executor = TokioExecutor::new();
            let (sender, connection) = hyper::client::conn::http2::handshake(executor, stream)
                .await
                .expect("h2");
            tokio::spawn(connection);
            Self::Two(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.expect("HTTP/1.1");
            tokio::spawn(connection);
            Self::One(sender)
        }
    }

    async fn send(&mut self, request: Request<Body>) -> hyper::Result<http::Response<Incoming>> {
        match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

async fn load(address: SocketAddr, http: &'static str, requests: usize) -> LoopbackRun {
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS {
        senders.push(Sender::connect(address, http).await);
    }
    let start = Instant::now();
    let tasks: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            tokio::spawn(async move {
                let mut times = Vec::new();
                for _ in 0..requests / CONNECTIONS {
                    let uri = format!("http://{address}/");
                    let request = Request::get(uri).header("host", "localhost").body(Body::empty());
                    let start = Instant::now();
                    let response = sender.send(request.expect("a sound request")).await.expect("an answer");
                    assert_eq!(response.status(), 200);
                    http_body_util::BodyExt::collect(response.into_body())
                        .await
                        .expect("a body");
                    times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a task that does not panic"));
    }
    let seconds = start.elapsed().as_secs_f64();
    times.sort_unstable();
    LoopbackRun {
        per_second: float(times.len() as u64) / seconds,
        p99_ns: percentile(&times, 99, 100).unwrap_or(0),
    }
}
