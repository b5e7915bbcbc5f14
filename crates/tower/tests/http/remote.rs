//! Limits that a store elsewhere keeps: shared, hanging and failing ones.

use crate::events::warnings_of;
use crate::support::{Body, EventCounts, field, from, number, request};
use core::convert::Infallible;
use futures_util::FutureExt;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, Method, Request, Response};
use http_body_util::BodyExt;
use ratelimit_meter::keyed::{KeyedBuilder, WhenFull};
use ratelimit_meter::{GCRA, KeyedMeter, Quota};
use ratelimit_meter_store::{Ask, AsyncStore, MemoryStore, Micros, OnFailure, Reply, SharedMeter, StoreError, Verb};
use ratelimit_meter_tower::{
    Answer, Charge, Distributed, Head, HeaderKey, KeyWriter, Observe, OnNoKey, OnStoreFailure, PeerIp, PerKey,
    RateLimitLayer, RemoteMeter, Shared, StoreFailed, content_length,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tower::{Layer, ServiceExt, service_fn};

async fn ok(_: Request<()>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::default()))
}

fn of(user: &str) -> Request<()> {
    let mut request = request();
    request.headers_mut().insert("x-user", user.parse().unwrap());
    request
}

fn by_user<M: RemoteMeter>(meter: M) -> Distributed<HeaderKey, M> {
    Distributed::new(
        HeaderKey::new(HeaderName::from_static("x-user")),
        "2/h".parse().unwrap(),
        meter,
    )
}

async fn ask<M: RemoteMeter, H: Observe + 'static>(
    layer: &RateLimitLayer<Distributed<HeaderKey, M>, ratelimit_meter_tower::Problem, H>,
    request: Request<()>,
) -> Response<Body> {
    layer.layer(service_fn(ok)).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn two_machines_share_one_quota() {
    let store = MemoryStore::new();
    let machine = || {
        let meter = SharedMeter::<MemoryStore>::builder("api", "2/h".parse().unwrap())
            .build(store.clone())
            .unwrap();
        RateLimitLayer::remote(by_user(meter).named("user"))
    };
    let machines = [machine(), machine()];
    let first = ask(&machines[0], of("alice")).await;
    assert_eq!(field(first.headers(), "ratelimit-policy"), "\"user\";q=2;w=3600");
    assert_eq!(field(first.headers(), "ratelimit"), "\"user\";r=1;t=1800");
    assert_eq!(ask(&machines[1], of("alice")).await.status(), 200);
    let denied = ask(&machines[0], of("alice")).await;
    assert_eq!(denied.status(), 429);
    let wait = number(denied.headers(), "retry-after").unwrap();
    assert!((1790..=1800).contains(&wait), "{wait}");
    assert!(field(denied.headers(), "ratelimit").starts_with("\"user\";r=0;t=1"));
    let body = denied.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(br#""violated-policies":["user"]}"#));
    assert_eq!(ask(&machines[1], of("bob")).await.status(), 200);
}

#[tokio::test]
async fn subject_of_a_key_resets_its_client() {
    let meter = SharedMeter::<MemoryStore>::builder("api", "2/h".parse().unwrap());
    let meter = meter.build(MemoryStore::new()).unwrap();
    let layer = RateLimitLayer::remote(by_user(meter.clone()));
    for expected in [200, 200, 429] {
        assert_eq!(ask(&layer, of("alice")).await.status(), expected);
    }
    let alice = layer.limits().subject(|key| key.value(b"alice".as_slice()));
    let status = meter.peek(&alice).await.unwrap().status().unwrap();
    assert_eq!(status.remaining(), 0);
    meter.reset(&alice).await.unwrap();
    assert_eq!(ask(&layer, of("alice")).await.status(), 200);
}

/// The meters of the tiers have two names, so each has a debt of its own.
#[tokio::test]
async fn reset_cancels_the_debt_in_all_tiers() {
    let store = MemoryStore::new();
    let meter = |name| SharedMeter::<MemoryStore>::builder(name, "2/h".parse().unwrap()).build(store.clone());
    let meters = ["free", "pro"].map(|name| meter(name).unwrap());
    let limit = by_user(meters[0].clone());
    let limit = limit.tier("pro", "2/h".parse().unwrap(), meters[1].clone()).unwrap();
    let layer = RateLimitLayer::remote(limit);
    let alice = layer.limits().subject(|key| key.value(b"alice".as_slice()));
    for meter in &meters {
        meter.charge(&alice, 2).await.unwrap();
    }
    layer
        .limits()
        .reset(|key| key.value(b"alice".as_slice()))
        .await
        .unwrap();
    for meter in &meters {
        assert_eq!(meter.peek(&alice).await.unwrap().status().unwrap().remaining(), 2);
    }
    let failing = by_user(Dying::default());
    assert_eq!(failing.reset(|key| key.value(&1)).await, Err(StoreFailed));
}

/// Machines of 32 bits share the limits of machines of 64 bits.
#[test]
fn spelled_key_has_one_width_on_all_machines() {
    let layer = RateLimitLayer::remote(by_user(Dying::default()));
    let spelled = |value: &dyn Fn(&mut KeyWriter<'_>)| layer.limits().subject(|key| value(key));
    assert_eq!(spelled(&|key| key.value(&1_usize)), spelled(&|key| key.value(&1_u64)));
    assert_eq!(spelled(&|key| key.value(&-1_isize)), spelled(&|key| key.value(&-1_i64)));
}

/// Answers once, then fails, and then hangs.
#[derive(Clone, Default)]
struct Dying(Arc<AtomicU32>);

impl RemoteMeter for Dying {
    async fn take(&self, key: &str, cells: u32) -> Result<Answer, StoreFailed> {
        assert!(!key.is_empty() && cells == 1);
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(Answer::admitted()),
            1 => Err(StoreFailed),
            _ => core::future::pending().await,
        }
    }
}

#[derive(Clone, Default)]
struct Failures(Arc<AtomicU32>);

impl Observe for Failures {
    fn store_failed(&self, policy: &str, _: &Head<'_>) {
        assert_eq!(policy, "default");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn r29_dead_store_follows_the_configuration() {
    let local = || OnStoreFailure::Local(Shared::new("1/h".parse().unwrap()).unwrap().boxed());
    for (on_failure, expected) in [
        (OnStoreFailure::Open, [200, 200, 200]),
        (OnStoreFailure::Closed, [200, 503, 503]),
        (local(), [200, 200, 429]),
    ] {
        let failures = Failures::default();
        let limit = by_user(Dying::default())
            .on_failure(on_failure)
            .deadline(Duration::from_millis(50));
        let layer = RateLimitLayer::remote(limit).observe(failures.clone());
        let start = tokio::time::Instant::now();
        for expected in expected {
            let answer = tokio::time::timeout(Duration::from_secs(1), ask(&layer, of("alice")));
            assert_eq!(answer.await.expect("within the deadline").status(), expected);
        }
        assert_eq!(start.elapsed().as_millis(), 50);
        assert_eq!(failures.0.load(Ordering::Relaxed), 2);
    }
}

/// The limit of this process counts by the response, rejects and charges later as it would alone.
#[tokio::test]
async fn r29_local_limit_keeps_its_settings() {
    let shared = || Shared::new("2/h".parse().unwrap()).unwrap();
    let keyed = || {
        let key = HeaderKey::new(HeaderName::from_static("x-tenant"));
        PerKey::new(key, "1/h".parse().unwrap(), 10).unwrap()
    };
    let reject = OnNoKey::Reject(http::StatusCode::UNAUTHORIZED);
    let locals = [
        (shared().charge_if(|_| true).boxed(), [200, 200, 429]),
        (shared().refund_if(|_| true).boxed(), [200, 200, 200]),
        (keyed().on_no_key(reject).boxed(), [401, 401, 401]),
    ];
    for (local, expected) in locals {
        let limit = by_user(Failing).on_failure(OnStoreFailure::Local(local));
        let layer = RateLimitLayer::remote(limit);
        for expected in expected {
            assert_eq!(ask(&layer, of("alice")).await.status(), expected);
        }
    }
    let limit = by_user(Failing).on_failure(OnStoreFailure::Local(shared().late().boxed()));
    let spends = service_fn(|request: Request<()>| async move {
        let charge = request.extensions().get::<Charge>().expect("the limit is late");
        charge.charge(1);
        ok(request).await
    });
    let service = RateLimitLayer::remote(limit).layer(spends);
    for expected in [200, 429] {
        assert_eq!(service.clone().oneshot(of("alice")).await.unwrap().status(), expected);
    }
}

/// A handler need not know whether the store decided.
#[tokio::test]
async fn r29_handlers_of_late_limits_find_a_charge() {
    let late = Shared::new("1/h".parse().unwrap()).unwrap().late().boxed();
    let limit = by_user(Dying::default()).on_failure(OnStoreFailure::Local(late));
    let handler = service_fn(|request: Request<()>| async move {
        assert!(request.extensions().get::<Charge>().is_some());
        ok(request).await
    });
    let service = RateLimitLayer::remote(limit.on_no_key(OnNoKey::Pass)).layer(handler);
    for request in [request(), of("alice"), of("alice")] {
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn r18_store_counts_only_failed_logins() {
    let store = MemoryStore::new();
    let machine = |refunds: bool| {
        let meter = SharedMeter::<MemoryStore>::builder("api", "2/h".parse().unwrap())
            .build(store.clone())
            .unwrap();
        let limit = by_user(Arc::new(meter)).refund_if(move |reply| refunds && reply.status().is_success());
        RateLimitLayer::remote(limit)
    };
    for _ in 0..3 {
        assert_eq!(ask(&machine(true), of("alice")).await.status(), 200);
    }
    let failing = service_fn(|_: Request<()>| async { Err::<Response<Body>, _>("down") });
    let failed = machine(true).layer(failing).oneshot(of("alice")).await;
    assert_eq!(failed.unwrap_err(), "down", "counted, as there is no response");
    for expected in [200, 429] {
        assert_eq!(ask(&machine(false), of("alice")).await.status(), expected);
    }
    assert_eq!(ask(&machine(true), of("alice")).await.status(), 429);
}

/// Fails once, and then decides like the store that it stands for.
struct Recovering(MemoryStore, AtomicU32);

impl AsyncStore for Recovering {
    async fn decide(&self, verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
        match self.1.fetch_add(1, Ordering::Relaxed) {
            0 => Err(StoreError::TimedOut),
            _ => AsyncStore::decide(&self.0, verb, at, asks).await,
        }
    }
}

#[tokio::test]
async fn cells_that_no_store_counted_are_not_refunded() {
    let store = MemoryStore::new();
    let meter = |store| SharedMeter::<MemoryStore>::builder("api", "2/h".parse().unwrap()).build(store);
    let up = meter(Recovering(store.clone(), AtomicU32::new(1))).unwrap();
    assert_eq!(
        ask(&RateLimitLayer::remote(by_user(up)), of("alice")).await.status(),
        200
    );
    let builder = SharedMeter::<MemoryStore>::builder("api", "2/h".parse().unwrap()).on_failure(OnFailure::Allow);
    let down = builder.build(Recovering(store.clone(), AtomicU32::new(0))).unwrap();
    let layer = RateLimitLayer::remote(by_user(down).refund_if(|_| true));
    assert_eq!(ask(&layer, of("alice")).await.status(), 200, "the failure admits");
    let up = meter(Recovering(store, AtomicU32::new(1))).unwrap();
    let layer = RateLimitLayer::remote(by_user(up));
    for expected in [200, 429] {
        assert_eq!(ask(&layer, of("alice")).await.status(), expected);
    }
}

/// Takes cells, and hangs when it is to give them back.
struct Keeping;

impl RemoteMeter for Keeping {
    async fn take(&self, _: &str, _: u32) -> Result<Answer, StoreFailed> {
        Ok(Answer::admitted())
    }

    async fn refund(&self, key: &str, cells: u64) -> Result<(), StoreFailed> {
        assert!(!key.is_empty() && cells == 1);
        core::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn refund_that_fails_does_not_change_the_response() {
    let start = tokio::time::Instant::now();
    let layer = RateLimitLayer::remote(by_user(Keeping).refund_if(|_| true).deadline(Duration::from_millis(50)));
    assert_eq!(ask(&layer, of("alice")).await.status(), 200);
    assert_eq!(start.elapsed().as_millis(), 50);
    let layer = RateLimitLayer::remote(by_user(Dying::default()).refund_if(|_| true));
    assert_eq!(ask(&layer, of("alice")).await.status(), 200);
}

#[tokio::test]
async fn r20_store_on_trial_denies_nothing() {
    let events = EventCounts::default();
    let meter = SharedMeter::<MemoryStore>::builder("api", "1/h".parse().unwrap())
        .build(MemoryStore::new())
        .unwrap();
    let reject = OnNoKey::Reject(http::StatusCode::UNAUTHORIZED);
    let trial = by_user(meter).named("trial").dry_run().on_no_key(reject);
    let layer = RateLimitLayer::remote(trial).observe(Arc::new(events.clone()));
    for _ in 0..3 {
        let answer = ask(&layer, of("alice")).await;
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("ratelimit"));
    }
    // Admitted, denied, on trial, never, table full, without a key.
    assert_eq!(events.all(), [1, 0, 2, 0, 0, 0]);
    let failing = by_user(Failing).on_failure(OnStoreFailure::Closed).dry_run();
    assert_eq!(ask(&RateLimitLayer::remote(failing), of("alice")).await.status(), 200);
    let keyless = by_user(Failing).on_no_key(reject).dry_run();
    assert_eq!(ask(&RateLimitLayer::remote(keyless), request()).await.status(), 200);
}

/// A store that does not answer denies, so a 200 shows that the limit does not apply.
#[tokio::test]
async fn r12_store_limits_apply_to_chosen_requests() {
    let closed = || by_user(Failing).on_failure(OnStoreFailure::Closed);
    let request = |method: Method, path: &str| {
        let mut request = of("alice");
        (*request.method_mut(), *request.uri_mut()) = (method, path.parse().unwrap());
        request
    };
    let searches = RateLimitLayer::remote(closed().only(|head| head.uri().path() == "/search"));
    let posts = RateLimitLayer::remote(closed().methods([Method::POST]));
    for (method, path, expected) in [
        (Method::GET, "/", [200, 200]),
        (Method::GET, "/search", [503, 200]),
        (Method::POST, "/", [200, 503]),
    ] {
        let answers = [&searches, &posts].map(|layer| ask(layer, request(method.clone(), path)));
        let answers = futures_util::future::join_all(answers).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status().as_u16()).collect();
        assert_eq!(statuses, expected, "{method} {path}");
    }
    let by_address = Distributed::new(PeerIp::new(), "2/h".parse().unwrap(), Failing);
    let by_address = by_address.on_failure(OnStoreFailure::Closed).allow(["10.0.0.0/8"]);
    let layer = RateLimitLayer::remote(by_address.unwrap());
    for (peer, expected) in [("10.1.2.3", 200), ("192.0.2.1", 503)] {
        let answer = layer.layer(service_fn(ok)).oneshot(from(peer)).await.unwrap();
        assert_eq!(answer.status(), expected, "{peer}");
    }
}

#[tokio::test]
async fn store_limits_are_announced_as_local_ones() {
    let hourly = || {
        let builder = SharedMeter::<MemoryStore>::builder("api", "1/h".parse().unwrap());
        let meter = builder.build(MemoryStore::new()).unwrap();
        Distributed::new(
            HeaderKey::new(HeaderName::from_static("x-user")),
            "1/h".parse().unwrap(),
            meter,
        )
    };
    let bytes = hourly().unit("content-bytes").cost(content_length);
    let bytes = RateLimitLayer::remote(bytes);
    for (length, expected) in [(1, 200), (1, 429), (2, 413)] {
        let mut request = of("alice");
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
        let answer = ask(&bytes, request).await;
        assert_eq!(answer.status(), expected);
        let policy = field(answer.headers(), "ratelimit-policy");
        // A store does not report how a key stands to a request that never conforms.
        let is_announced = policy == r#""default";q=1;qu="content-bytes";w=3600"#;
        assert_eq!(is_announced, expected != 413, "{policy}");
    }
    let quiet = RateLimitLayer::remote(hourly().quiet());
    assert!(!ask(&quiet, of("alice")).await.headers().contains_key("ratelimit"));
    let denied = ask(&quiet, of("alice")).await;
    assert_eq!(denied.status(), 429);
    assert!(denied.headers().contains_key("retry-after") && !denied.headers().contains_key("ratelimit"));
    let body = denied.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(br#""violated-policies":[]}"#), "{body:?}");
    let trial = RateLimitLayer::remote(hourly().dry_run().announce());
    for _ in 0..2 {
        let admitted = ask(&trial, of("alice")).await;
        assert_eq!(admitted.status(), 200);
        assert!(field(admitted.headers(), "ratelimit").starts_with("\"default\";r=0;t="));
    }
}

/// A meter need not report how a key stands: its denial names the policy, and has no fields.
#[tokio::test]
async fn r15_denial_without_standing_names_its_policy() {
    let layer = RateLimitLayer::remote(by_user(Hasty).named("user"));
    let denied = ask(&layer, of("alice")).await;
    assert!(!denied.headers().contains_key("ratelimit"));
    let body = denied.into_body().collect().await.unwrap().to_bytes();
    assert!(body.ends_with(br#""violated-policies":["user"]}"#), "{body:?}");
}

/// The meter that a shared meter has for this case decides: a denial by it is one by a quota.
#[tokio::test]
async fn r29_local_meter_of_shared_meter_decides() {
    let share = KeyedMeter::with_capacity("1/h".parse::<Quota>().unwrap(), 10).unwrap();
    for (on_failure, expected) in [
        (OnFailure::Local(share), [(200, false), (429, true)]),
        (OnFailure::Deny, [(503, true), (503, true)]),
        (OnFailure::Allow, [(200, false), (200, false)]),
    ] {
        let meter = SharedMeter::<MemoryStore>::builder("api", "2/h".parse().unwrap())
            .on_failure(on_failure)
            .build(Gone)
            .unwrap();
        let layer = RateLimitLayer::remote(by_user(meter));
        for expected in expected {
            let response = ask(&layer, of("alice")).await;
            let headers = response.headers();
            assert_eq!(
                (response.status().as_u16(), headers.contains_key("retry-after")),
                expected
            );
            assert!(!headers.contains_key("ratelimit"));
        }
    }
}

#[tokio::test]
async fn r29_full_local_table_is_unavailable() {
    let quota: Quota = "1/h".parse().unwrap();
    let builder = KeyedBuilder::new(GCRA::from_quota(quota).unwrap()).when_full(WhenFull::Deny);
    let meter = SharedMeter::<MemoryStore>::builder("api", "2/h".parse().unwrap())
        .on_failure(OnFailure::Local(builder.with_capacity(1).unwrap()))
        .build(Gone)
        .unwrap();
    let layer = RateLimitLayer::remote(by_user(meter));
    let mut statuses = Vec::new();
    for user in 0..1000 {
        let response = ask(&layer, of(&user.to_string())).await;
        let is_denied = response.status() != 200;
        assert_eq!(response.headers().contains_key("retry-after"), is_denied);
        statuses.push(response.status().as_u16());
    }
    assert!(statuses.contains(&503) && !statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn decisions_of_a_store_are_observed() {
    let events = EventCounts::default();
    let meter = SharedMeter::<MemoryStore>::builder("api", "2/h".parse().unwrap())
        .build(MemoryStore::new())
        .unwrap();
    let cost = |head: &Head<'_>| if head.uri().path() == "/never" { 3 } else { 1 };
    let layer = RateLimitLayer::remote(by_user(meter).cost(cost)).observe(events.clone());
    for expected in [200, 200, 429] {
        assert_eq!(ask(&layer, of("alice")).await.status(), expected);
    }
    let mut never = of("alice");
    *never.uri_mut() = "/never".parse().unwrap();
    assert_eq!(ask(&layer, never).await.status(), 429);
    // Admitted, denied, on trial, never, table full, without a key.
    assert_eq!(events.all(), [2, 1, 0, 1, 0, 0]);
    let failures = Failures::default();
    let layer = RateLimitLayer::remote(by_user(KeyLog::default())).observe(failures.clone());
    assert_eq!(ask(&layer, of("alice")).await.status(), 503);
    assert_eq!(failures.0.load(Ordering::Relaxed), 1);
}

#[test]
fn r11_missing_keys_and_unread_proxies_warn() {
    let decide = |request: Request<()>, times: usize| {
        let limit = Distributed::new(PeerIp::new(), "2/h".parse().unwrap(), Failing);
        let service = RateLimitLayer::remote(limit).layer(service_fn(ok));
        let warnings = warnings_of(|| {
            for _ in 0..times {
                let answer = service.clone().oneshot(request.clone());
                answer.now_or_never().expect("no wait").unwrap();
            }
        });
        warnings.iter().map(|text| text[..20].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(decide(request(), 2), ["a request has no key"]);
    let mut proxied = crate::support::from("192.0.2.1");
    proxied
        .headers_mut()
        .insert("x-forwarded-for", "198.51.100.1".parse().unwrap());
    assert_eq!(decide(proxied, 2), ["requests come with X"]);
    assert!(decide(crate::support::from("192.0.2.1"), 2).is_empty());
}

/// A store that is not there.
struct Gone;

impl AsyncStore for Gone {
    async fn decide(&self, _: Verb, _: Option<Micros>, _: &[Ask<'_>]) -> Result<Reply, StoreError> {
        Err(StoreError::TimedOut)
    }
}

struct Failing;

impl RemoteMeter for Failing {
    async fn take(&self, _: &str, _: u32) -> Result<Answer, StoreFailed> {
        Err(StoreFailed)
    }
}

/// Denies for no time at all.
struct Hasty;

impl RemoteMeter for Hasty {
    async fn take(&self, _: &str, _: u32) -> Result<Answer, StoreFailed> {
        Ok(Answer::denied(Duration::ZERO))
    }
}

#[tokio::test]
async fn no_form_of_the_wait_is_ever_zero() {
    let layer = RateLimitLayer::remote(by_user(Hasty)).retry_after_ms();
    let denied = ask(&layer, of("alice")).await;
    let sent = ["retry-after", "retry-after-ms"].map(|name| number(denied.headers(), name));
    assert_eq!(sent, [Some(1), Some(1)]);
    let mut grpc = of("alice");
    grpc.headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    let denied = ask(&layer, grpc).await;
    assert_eq!(number(denied.headers(), "grpc-retry-pushback-ms"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn request_that_leaves_during_store_call_is_dropped() {
    let hanging = Dying(Arc::new(AtomicU32::new(2)));
    let service = RateLimitLayer::remote(by_user(hanging)).layer(service_fn(ok));
    let call = tokio::time::timeout(Duration::from_secs(5), service.oneshot(of("alice")));
    assert!(call.await.is_err());
}

/// Takes down the keys it is asked for.
#[derive(Clone, Default)]
struct KeyLog(Arc<std::sync::Mutex<Vec<String>>>);

impl RemoteMeter for KeyLog {
    async fn take(&self, key: &str, cells: u32) -> Result<Answer, StoreFailed> {
        self.0.lock().unwrap().push(format!("{key} {cells}"));
        Ok(Answer::unavailable(Duration::from_millis(1500)))
    }
}

#[tokio::test]
async fn keys_are_spelled_the_same_on_every_machine() {
    use ratelimit_meter_tower::MethodKey;
    use std::net::SocketAddr;

    let keys = KeyLog::default();
    let layer = || {
        RateLimitLayer::remote(
            Distributed::new((PeerIp::new(), MethodKey::new()), "2/h".parse().unwrap(), keys.clone()).cost(|_| 3),
        )
    };
    for _ in 0..2 {
        let mut request = request();
        request
            .extensions_mut()
            .insert("[2001:db8::7]:1".parse::<SocketAddr>().unwrap());
        let response = layer().layer(service_fn(ok)).oneshot(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), number(response.headers(), "retry-after")),
            (503, Some(2))
        );
    }
    assert_eq!(*keys.0.lock().unwrap(), ["2001:db8::|GET| 3"; 2]);
    keys.0.lock().unwrap().clear();
    let by_user = || by_user(keys.clone());
    ask(&RateLimitLayer::remote(by_user()), request()).await;
    let passed = ask(&RateLimitLayer::remote(by_user().on_no_key(OnNoKey::Pass)), request()).await;
    let rejected = ask(
        &RateLimitLayer::remote(by_user().on_no_key(OnNoKey::Reject(http::StatusCode::FORBIDDEN))),
        request(),
    )
    .await;
    assert_eq!([passed.status(), rejected.status()], [200, 403]);
    assert_eq!(*keys.0.lock().unwrap(), ["no key 1"]);
}
