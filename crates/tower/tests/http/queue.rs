//! Requests that wait, in tokio's paused time.

use crate::support::{Body, TokioClock, field, number, request};
use core::convert::Infallible;
use http::{Request, Response};
use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tokio::Patience;
use ratelimit_meter_tower::{
    ExtensionKey, InvalidLimit, Observe, PerKey, PolicyDecision, QueueLayer, Queued, RateLimitLayer, Shared,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

async fn ok(_: Request<()>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::default()))
}

fn of(user: u32) -> Request<()> {
    let mut request = request();
    request.extensions_mut().insert(user);
    request
}

fn per_user(patience: Patience) -> QueueLayer<ratelimit_meter_tower::ByKey<ExtensionKey<u32>>> {
    let limit = PerKey::new(ExtensionKey::<u32>::new(), "10/s burst 2".parse().unwrap(), 100).unwrap();
    QueueLayer::new(RateLimitLayer::new(limit), patience).unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_wait_their_turn_by_key() {
    let service = per_user(Patience::unlimited()).layer(service_fn(ok));
    let start = Instant::now();
    let calls = [1, 1, 1, 1, 2, 2].map(|user| {
        let service = service.clone();
        async move {
            let response = service.oneshot(of(user)).await.unwrap();
            assert_eq!(response.status(), 200);
            (start.elapsed().as_millis(), field(response.headers(), "ratelimit"))
        }
    });
    let answered = futures_util::future::join_all(calls).await;
    assert_eq!(
        answered.iter().map(|(ms, _)| *ms).collect::<Vec<_>>(),
        [0, 0, 100, 200, 0, 0]
    );
    assert_eq!(answered[2].1, "\"default\";r=0;t=1");
}

#[tokio::test(start_paused = true)]
async fn unreachable_deadlines_are_denied_immediately() {
    let patience = Patience::unlimited().timeout(Duration::from_millis(150)).max_waiters(1);
    let layer = per_user(patience);
    let service = layer.layer(service_fn(ok));
    let start = Instant::now();
    let call = |service: &Queued<_, _>| tokio::spawn(service.clone().oneshot(of(1)));
    for _ in 0..2 {
        assert_eq!(call(&service).await.unwrap().unwrap().status(), 200);
    }
    let waits = call(&service);
    tokio::task::yield_now().await;
    let too_many = call(&service).await.unwrap().unwrap();
    assert_eq!(
        (too_many.status().as_u16(), number(too_many.headers(), "retry-after")),
        (503, None)
    );
    assert_eq!(start.elapsed().as_millis(), 0);
    assert_eq!(waits.await.unwrap().unwrap().status(), 200);
    assert_eq!(start.elapsed().as_millis(), 100);

    let impatient = QueueLayer::new(
        RateLimitLayer::new(Shared::new("1/h".parse().unwrap()).unwrap()),
        patience,
    )
    .unwrap();
    let mut service = impatient.layer(service_fn(ok));
    assert_eq!(
        service.ready().await.unwrap().call(request()).await.unwrap().status(),
        200
    );
    let late = service.ready().await.unwrap().call(request()).await.unwrap();
    assert_eq!(
        (late.status().as_u16(), number(late.headers(), "retry-after")),
        (429, Some(3600))
    );
    assert_eq!(field(late.headers(), "ratelimit"), "\"default\";r=0;t=3600");
}

#[derive(Clone, Default)]
struct QueueDenials(Arc<AtomicU32>);

impl Observe for QueueDenials {
    fn denied(&self, event: &PolicyDecision<'_>) {
        panic!("{event:?}: the limit denies nothing that may wait")
    }

    fn queue_denied(&self, event: &PolicyDecision<'_>) {
        assert_eq!((event.policy(), event.cost(), event.wait()), ("default", 1, None));
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn denials_of_a_full_queue_are_observed() {
    let denials = QueueDenials::default();
    let limit = RateLimitLayer::new(Shared::new("1/h".parse().unwrap()).unwrap()).observe(denials.clone());
    let layer = QueueLayer::new(limit, Patience::unlimited().max_waiters(0)).unwrap();
    let service = layer.layer(service_fn(ok));
    for expected in [200, 503, 503] {
        assert_eq!(service.clone().oneshot(request()).await.unwrap().status(), expected);
    }
    assert_eq!(denials.0.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_past_the_deadline_get_503() {
    let deadline = Instant::now() + Duration::from_secs(1);
    let limit = Shared::new("10/s".parse().unwrap()).unwrap().unit("content-bytes");
    let layer = QueueLayer::new(
        RateLimitLayer::new(limit),
        Patience::unlimited().deadline(deadline.into_std()),
    );
    let service = layer.unwrap().layer(service_fn(ok));
    let ask = async || service.clone().oneshot(request()).await.unwrap();
    assert_eq!(ask().await.status(), 200);
    tokio::time::advance(Duration::from_secs(2)).await;
    let late = ask().await;
    assert_eq!(
        (late.status().as_u16(), number(late.headers(), "retry-after")),
        (503, None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_gives_its_place_back() {
    let service = per_user(Patience::unlimited()).layer(service_fn(ok));
    let start = Instant::now();
    for _ in 0..2 {
        service.clone().oneshot(of(1)).await.unwrap();
    }
    let mut first = Box::pin(service.clone().oneshot(of(1)));
    assert!(futures_util::poll!(&mut first).is_pending());
    let second = tokio::spawn(service.clone().oneshot(of(1)));
    tokio::task::yield_now().await;
    drop(first);
    second.await.unwrap().unwrap();
    assert_eq!(start.elapsed().as_millis(), 100);
}

#[tokio::test(start_paused = true)]
async fn requests_of_no_cost_wait_out_a_debt() {
    let quota: Quota = "10/s burst 2".parse().unwrap();
    let meter = GCRA::from_quota(quota).unwrap().with_clock(TokioClock);
    let limit = Shared::of(meter.clone()).unwrap().cost(|_| 0).late();
    let service = QueueLayer::new(RateLimitLayer::new(limit), Patience::unlimited())
        .unwrap()
        .layer(service_fn(ok));
    let start = Instant::now();
    let ask = async || {
        let response = service.clone().oneshot(request()).await.unwrap();
        let told = field(response.headers(), "ratelimit");
        (
            response.status().as_u16(),
            start.elapsed().as_millis(),
            told.split(';').nth(1).unwrap().to_owned(),
        )
    };
    assert_eq!(ask().await, (200, 0, "r=2".to_owned()));
    meter.charge(7);
    assert_eq!(ask().await, (200, 600, "r=1".to_owned()));
    assert_eq!(ask().await, (200, 600, "r=1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn cells_given_back_reach_waiters_within_a_second() {
    let limit = Shared::new("1/h".parse().unwrap()).unwrap().refund_if(|_| true);
    let slow = service_fn(async |_: Request<()>| {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok::<_, Infallible>(Response::new(Body::default()))
    });
    let layer = QueueLayer::new(RateLimitLayer::new(limit), Patience::unlimited()).unwrap();
    let (service, start) = (layer.layer(slow), Instant::now());
    let calls = [(); 2].map(|()| tokio::spawn(service.clone().oneshot(request())));
    for (call, seconds) in calls.into_iter().zip([5..=5, 10..=11]) {
        assert_eq!(call.await.unwrap().unwrap().status(), 200);
        assert!(
            seconds.contains(&start.elapsed().as_secs()),
            "{seconds:?}: {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn limits_that_cannot_be_waited_for_are_errors() {
    let quota = || "1/s".parse().unwrap();
    let dual = Shared::dual("1/s & 5/h".parse().unwrap()).unwrap();
    let trial = Shared::new(quota()).unwrap().dry_run();
    let charging = Shared::new(quota()).unwrap().charge_if(|_| true);
    for limit in [dual, trial, charging] {
        let layer = QueueLayer::new(RateLimitLayer::new(limit), Patience::unlimited());
        assert!(matches!(layer.unwrap_err(), InvalidLimit::CannotQueue { .. }));
    }
}
