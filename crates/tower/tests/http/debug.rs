//! Debug output: a line for each public type; a layer shows its limits, and a shared limit its level.

use crate::support::{Body, answer, from, quota, request};
use core::convert::Infallible;
use core::fmt::Debug;
use core::future::{Future, ready};
use http::header::USER_AGENT;
use http::{Request, Response};
use ratelimit_meter_tokio::Patience;
use ratelimit_meter_tower::{
    Answer, Asked, BearerKey, BoxLimit, ByKey, Charge, ChargeDenied, ClientError, ClientIp, Distributed, Empty,
    Everyone, ExtensionKey, Fields, Grpc, Head, HeaderKey, InvalidLimit, InvalidNet, Key, KeyWriter, Limit, Limiter,
    MatchedPath, MethodKey, Metrics, Net, NoKey, Observe, OnNoKey, OnStoreFailure, Once, PaceLayer, PeerIp, PerKey,
    PerOrigin, PolicyDecision, PoliteLayer, Problem, QueueLayer, RateLimitLayer, Reason, RemoteCharge,
    RemoteChargeError, RemoteMeter, Reset, ResponseHead, Shared, StoreFailed, Text, TierName, key_fn, respond_fn,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::{Layer, Service, service_fn};

/// The longest line: a service that waits for a limit per key.
const LONGEST: usize = 700;

#[track_caller]
fn assert_text(line: &str, says: &str) {
    let is_line = !line.contains('\n') && (1..=LONGEST).contains(&line.len());
    assert!(is_line, "{} bytes: {line}", line.len());
    assert!(line.contains(says), "no {says} in {line}");
}

#[track_caller]
fn assert_line(value: &dyn Debug, says: &str) {
    assert_text(&format!("{value:?}"), says);
}

fn shared() -> Shared {
    Shared::new(quota("10/h burst 5")).expect("a limit")
}

fn per_key() -> PerKey<PeerIp> {
    PerKey::new(PeerIp::new(), quota("10/h burst 5"), 1000).expect("a limit")
}

async fn ok<Q>(_: Q) -> Result<Response<Body>, Infallible> {
    Ok(Response::default())
}

#[test]
fn debug_of_a_limit_has_quota_and_level() {
    let layer = RateLimitLayer::new(shared());
    let policies =
        "RateLimitLayer { limits: Limiter { policies: [(\"default\", \"default\", \"10/h burst 5\")], meters: [GCRA {";
    assert_line(&layer, policies);
    assert_line(&layer, "remaining: 5, idle: true");
    assert_eq!(answer(&layer, request()).status(), 200);
    assert_line(&layer, "remaining: 4, idle: false");
    assert_line(
        &layer.layer("inner"),
        "RateLimit { inner: \"inner\", layer: RateLimitLayer { limits: Limiter",
    );

    let by_key: Limiter<ByKey<PeerIp>> = per_key().tier("gold", quota("20/h")).expect("a tier");
    assert_line(
        &by_key,
        "policies: [(\"default\", \"default\", \"10/h burst 5\"), (\"default\", \"gold\", \"20/h\")]",
    );
    assert_line(&by_key, "meters: [[KeyedMeter { quota: 10/h burst 5, capacity: ");
}

/// A limit that shows nothing but its type.
struct Mine(Shared);

impl Limit for Mine {
    fn ask<'a>(&'a self, head: &Head<'_>, asked: &mut Asked<'a>) {
        self.0.ask(head, asked);
        assert_line(asked, "[\"default\"]");
    }
}

#[test]
fn debug_of_boxed_limits_has_each() {
    let policies = "Limiter { policies: [(\"default\", \"default\", \"10/h burst 5\")]";
    let all: Vec<BoxLimit> = vec![
        shared().boxed(),
        Box::new((per_key(), Some(shared()))),
        Box::new(Arc::new(Mine(shared()))),
    ];
    let layer = RateLimitLayer::new(all);
    let line = format!("{layer:?}");
    assert_eq!(line.matches(policies).count(), 3, "{line}");
    assert!(line.contains("http::debug::Mine"), "{line}");
    let failure = OnStoreFailure::Local(shared().boxed());
    assert_line(&failure, &format!("Local({policies}"));
    assert_line(&OnStoreFailure::Open, "Open");
    let mine = RateLimitLayer::new(Box::new(Mine(shared())) as BoxLimit);
    assert_eq!(answer(&mine, request()).status(), 200);
}

#[tokio::test]
async fn debug_of_waiting_layers_has_the_limit() {
    let patience = Patience::unlimited().max_waiters(7);
    let layer = QueueLayer::new(RateLimitLayer::new(per_key()), patience).expect("a layer");
    assert_line(
        &layer,
        "QueueLayer { layer: RateLimitLayer { limits: Limiter { policies: [(\"default\", \"default\", \"10/h burst 5\")]",
    );
    assert_line(&layer, "max_waiters: Some(7)");
    assert_line(
        &layer.layer("inner"),
        "Queued { inner: \"inner\", layer: RateLimitLayer",
    );

    let pace = PaceLayer::new(quota("10/h burst 5"))
        .expect("a layer")
        .patience(patience);
    assert_line(&pace, "PaceLayer { queue: Waiting { source: GCRA {");
    assert_line(&pace, "burst: 5, idle_from: None, remaining: 5, idle: true");
    assert_line(&pace, "max_waiters: Some(7)");
    let mut client = pace.layer(service_fn(ok::<Request<()>>));
    assert!(client.call(Request::default()).await.is_ok());
    assert_line(&pace, "remaining: 4, idle: false");
    let origins: PaceLayer<PerOrigin> = PaceLayer::per_origin(quota("10/h burst 5"), 100).expect("a layer");
    assert_line(
        &origins,
        "PaceLayer { queue: [Keyed { meters: KeyedMeter { quota: 10/h burst 5",
    );
    assert_line(&origins.layer("inner"), "Pace { inner: \"inner\", layer: PaceLayer");

    let polite = PoliteLayer::new().retries(3);
    assert_line(&polite, "retries: 3");
    assert_line(&polite, "origins: 0");
    assert_line(&polite.layer("inner"), "Polite { inner: \"inner\", layer: PoliteLayer");
    assert_line(&ClientError::<()>::Impatient { wait: Duration::ZERO }, "Impatient");
    assert_line(&Once(()), "Once(())");
}

#[derive(Clone)]
struct Away;

impl RemoteMeter for Away {
    async fn take(&self, _: &str, _: u32) -> Result<Answer, StoreFailed> {
        Err(StoreFailed)
    }
}

#[test]
fn debug_of_a_distributed_limit_has_its_quota() {
    let limit = Distributed::new(PeerIp::new(), quota("10/h burst 5"), Away).named("api");
    assert_line(&limit, "Distributed { key: PeerIp");
    assert_line(&limit, "policy: \"api\", quota: 10/h burst 5, on_failure: Open");
    let layer = RateLimitLayer::remote(limit);
    assert_line(&layer, "RateLimitLayer { limits: Distributed {");
    assert_line(&Answer::denied(Duration::from_secs(1)), "Answer { ");
    assert_line(&StoreFailed, "StoreFailed");
}

#[test]
fn debug_of_a_remote_charge_has_its_policies() {
    let limit = Distributed::new(PeerIp::new(), quota("10/h burst 5"), Away).named("api");
    let mut service = RateLimitLayer::remote(limit.late()).layer(service_fn(|request: Request<()>| {
        let charge: &RemoteCharge = request.extensions().get().expect("a charge");
        assert_line(charge, "[\"api\"]");
        ready(Ok::<_, Infallible>(Response::<Body>::default()))
    }));
    let mut answer = service.call(from("192.0.2.1"));
    let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
    assert!(answer.as_mut().poll(&mut cx).is_ready());
    assert_line(&RemoteChargeError::Failed(StoreFailed), "Failed(StoreFailed)");
}

/// Collects the Debug output of events.
#[derive(Clone, Default)]
struct DebugLines(Arc<Mutex<Vec<String>>>);

impl DebugLines {
    fn add(&self, value: &dyn Debug) {
        self.0.lock().expect("no panic").push(format!("{value:?}"));
    }
}

impl Observe for DebugLines {
    fn denied(&self, event: &PolicyDecision<'_>) {
        self.add(event);
    }
}

impl Key for DebugLines {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        self.add(head);
        key.text("alice");
        self.add(key);
        Ok(())
    }
}

#[test]
fn debug_of_events_is_one_line() {
    let lines = DebugLines::default();
    let (seen, charges) = (lines.clone(), lines.clone());
    let limit = PerKey::new(lines.clone(), quota("1/h"), 100).expect("a limit").late();
    let responder = respond_fn(move |refusal, parts| {
        seen.add(refusal);
        Response::from_parts(parts, Body::default())
    });
    assert_line(&responder, "RespondFn");
    let layer = RateLimitLayer::new(limit).observe(lines.clone()).respond(responder);
    let mut service = layer.layer(service_fn(move |request: Request<()>| {
        let charge: &Charge = request.extensions().get().expect("a charge");
        charges.add(charge);
        charges.add(&charge.check(5));
        ready(Ok::<_, Infallible>(Response::<Body>::default()))
    }));
    for _ in 0..2 {
        let mut answer = Box::pin(service.call(from("192.0.2.1")));
        assert_line(&answer, "ResponseFuture");
        let mut cx = core::task::Context::from_waker(core::task::Waker::noop());
        assert!(answer.as_mut().poll(&mut cx).is_ready());
    }
    let found = [
        "Head { method: GET, uri: /",
        "KeyWriter",
        "[\"default\"]",
        "Err(ChargeDenied { ",
        "Head { method: GET, uri: /",
        "KeyWriter",
        "PolicyDecision { policy: \"default\", tier: \"default\", cost: 1, wait: Some(",
        "Refusal { reason: Quota, wait: Some(",
    ];
    let lines = lines.0.lock().expect("no panic");
    assert_eq!(lines.len(), found.len(), "{lines:?}");
    lines.iter().zip(found).for_each(|(line, says)| assert_text(line, says));
    let response = Response::<()>::default();
    assert_line(&ResponseHead::of(&response), "ResponseHead { status: 200");
    let _: Option<ChargeDenied> = None;
}

#[test]
fn debug_of_other_types_is_one_line() {
    assert_line(&PeerIp::new(), "PeerIp");
    assert_line(&ClientIp::hops(1), "ClientIp");
    assert_line(&BearerKey::new(), "BearerKey");
    assert_line(&HeaderKey::new(USER_AGENT), "HeaderKey(\"user-agent\")");
    assert_line(&ExtensionKey::<u32>::new(), "ExtensionKey<u32>");
    assert_line(&(MethodKey::new(), MatchedPath::new()), "(MethodKey, MatchedPath)");
    assert_line(&key_fn(|_: &Head<'_>| Some(1_u8)), "KeyFn");
    assert_line(&NoKey, "NoKey");
    assert_line(&OnNoKey::Share, "Share");
    assert_line(&Everyone, "Everyone");
    assert_line(&(Fields::X(Reset::Epoch), Reset::Delta), "(X(Epoch), Delta)");
    assert_line(&(Empty, Problem, Grpc, Metrics), "(Empty, Problem, Grpc, Metrics)");
    assert_line(&Text::new("slower"), "Text(b\"slower\")");
    assert_line(&Reason::TableFull, "TableFull");
    assert_line(&TierName::from("gold"), "Name(\"gold\")");
    assert_line(&"10.0.0.0/8".parse::<Net>(), "Ok(Net { ");
    assert_line(
        &"10.0.0.0/99".parse::<Net>().expect_err("99 bits") as &InvalidNet,
        "InvalidNet(",
    );
    assert_line(&InvalidLimit::NoQuota, "NoQuota");
}
