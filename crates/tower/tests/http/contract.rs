//! The contract of tower services: readiness, clones, and the service that may be called.

use crate::support::{Body, request, shared};
use core::convert::Infallible;
use core::future::{Ready, poll_fn, ready};
use core::task::{Context, Poll};
use futures_util::FutureExt;
use http::{Request, Response};
use ratelimit_meter_tower::{RateLimit, RateLimitLayer, Shared};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// Panics if it is called without having been ready; a clone is not ready.
#[derive(Default)]
struct Strict {
    is_ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<()>> for Strict {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(core::mem::take(&mut self.is_ready), "called without being ready");
        ready(Ok(Response::new(Body::default())))
    }
}

#[tokio::test]
async fn r26_the_service_that_was_ready_is_called() {
    let layer = RateLimitLayer::new(shared("2/h"));
    let mut service: RateLimit<Strict, Shared> = layer.layer(Strict::default());
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let mut clone = service.clone();
        statuses.push(
            service
                .ready()
                .await
                .unwrap()
                .call(request())
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
        statuses.push(
            clone
                .ready()
                .await
                .unwrap()
                .call(request())
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429, 429, 429]);
}

#[tokio::test]
async fn r27_clones_share_meters_without_a_buffer() {
    let layer = RateLimitLayer::new(shared("3/h"));
    let services = [layer.layer(Strict::default()), layer.clone().layer(Strict::default())];
    let mut admitted = 0;
    for service in services.iter().cycle().take(8) {
        admitted += u32::from(service.clone().oneshot(request()).await.unwrap().status() == 200);
    }
    assert_eq!(admitted, 3);
    let another = RateLimitLayer::new(shared("3/h")).layer(Strict::default());
    assert_eq!(another.oneshot(request()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn denial_inside_a_concurrency_limit_holds_no_permit() {
    let mut inside = ConcurrencyLimit::new(RateLimitLayer::new(shared("1/h")).layer(Strict::default()), 1);
    let mut clone = inside.clone();
    for _ in 0..3 {
        for service in [&mut inside, &mut clone] {
            let ready = service.ready().now_or_never().expect("a free permit").unwrap();
            ready.call(request()).await.unwrap();
        }
    }
    // Outside of it, the permit is held until the service that denied is called again, or dropped.
    let strict = ConcurrencyLimit::new(Strict::default(), 1);
    let mut outside = RateLimitLayer::new(shared("1/h")).layer(strict);
    for expected in [200, 429] {
        let response = outside.ready().await.unwrap().call(request()).await.unwrap();
        assert_eq!(response.status(), expected);
    }
    let mut clone = outside.clone();
    assert!(clone.ready().now_or_never().is_none());
    drop(outside);
    assert!(clone.ready().now_or_never().is_some());
}

/// Clones a service in each of its states, and calls each clone after it was ready.
async fn survives_clones<S>(new: S)
where
    S: Service<Request<()>, Response = Response<Body>, Error: core::fmt::Debug> + Clone,
{
    let mut ready = new.clone();
    ready.ready().await.unwrap();
    let clone_of_ready = ready.clone();
    let first = ready.call(request());
    let clone_of_called = ready.clone();
    ready.ready().await.unwrap();
    let second = ready.call(request());
    for clone in [clone_of_ready, clone_of_called, new, ready] {
        assert_eq!(clone.oneshot(request()).await.unwrap().status(), 200);
    }
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(second.await.unwrap().status(), 200);
}

#[tokio::test]
async fn r26_clones_in_every_state_are_made_ready() {
    use ratelimit_meter_tokio::Patience;
    use ratelimit_meter_tower::{
        Answer, Distributed, PaceLayer, PoliteLayer, QueueLayer, RemoteMeter, StoreFailed, key_fn,
    };

    struct Admits;

    impl RemoteMeter for Admits {
        async fn take(&self, _: &str, _: u32) -> Result<Answer, StoreFailed> {
            Ok(Answer::admitted())
        }
    }

    let limits = || RateLimitLayer::new(shared("100/s"));
    survives_clones(limits().layer(Strict::default())).await;
    let queue = QueueLayer::new(limits(), Patience::unlimited()).unwrap();
    survives_clones(queue.layer(Strict::default())).await;
    let remote = Distributed::new(key_fn(|_| Some(7)), "100/s".parse().unwrap(), Admits);
    survives_clones(RateLimitLayer::remote(remote).layer(Strict::default())).await;
    survives_clones(PoliteLayer::new().layer(Strict::default())).await;
    let pace = PaceLayer::new("100/s".parse().unwrap()).unwrap();
    survives_clones(pace.layer(Strict::default())).await;
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let (mut inner, mut handle) =
        tower_test::mock::spawn_layer::<Request<()>, Response<Body>, _>(RateLimitLayer::new(shared("1/h")));
    handle.allow(0);
    assert!(inner.poll_ready().is_pending());
    handle.allow(1);
    assert!(inner.poll_ready().is_ready());
    let answered = inner.call(request());
    let (_, respond) = handle.next_request().await.unwrap();
    respond.send_response(Response::new(Body::default()));
    assert_eq!(answered.await.unwrap().status(), 200);
    handle.allow(1);
    // Denied now, and still ready.
    assert!(inner.poll_ready().is_ready());
    assert_eq!(inner.call(request()).await.unwrap().status(), 429);
    handle.send_error("gone");
    assert!(matches!(inner.poll_ready(), Poll::Ready(Err(_))));
}

#[tokio::test]
async fn denials_outside_a_concurrency_limit_hold_no_permit() {
    let mut service = ServiceBuilder::new()
        .layer(RateLimitLayer::new(shared("2/h")))
        .concurrency_limit(1)
        .service(Strict::default());
    for expected in [200, 200, 429, 429] {
        let response = service.ready().await.unwrap().call(request()).await.unwrap();
        assert_eq!(response.status(), expected);
    }
    // A second handle gets the permit that the denials left unused with the first, once that is called or dropped.
    let mut other = service.clone();
    drop(service);
    poll_fn(|cx| other.poll_ready(cx)).await.unwrap();
}

#[tokio::test]
async fn inner_service_error_passes_and_counts() {
    let failing = tower::service_fn(|_: Request<()>| ready(Err::<Response<Body>, _>("broken")));
    for limit in [shared("1/h").refund_if(|_| true), shared("1/h").charge_if(|_| false)] {
        let mut service = RateLimitLayer::new(limit).layer(failing);
        assert_eq!(
            service.ready().await.unwrap().call(request()).await.unwrap_err(),
            "broken"
        );
        assert_eq!(
            service.ready().await.unwrap().call(request()).await.unwrap().status(),
            429
        );
    }
}

/// With a permit for one request, a request that waits for its turn keeps no other request from it.
#[tokio::test(start_paused = true)]
async fn waiting_requests_hold_no_permit() {
    use ratelimit_meter_tokio::Patience;
    use ratelimit_meter_tower::{
        Answer, Distributed, ExtensionKey, PaceLayer, PerKey, PoliteLayer, QueueLayer, RemoteMeter, StoreFailed,
    };
    use std::time::Duration;
    use tokio::time::{Instant, sleep, timeout};

    struct Slow;

    impl RemoteMeter for Slow {
        async fn take(&self, key: &str, _: u32) -> Result<Answer, StoreFailed> {
            sleep(Duration::from_secs(if key.ends_with('1') { 60 } else { 0 })).await;
            Ok(Answer::admitted())
        }
    }

    /// Sends two requests of the first key, and then one of the second.
    async fn second_is_served<L>(layer: L)
    where
        L: Layer<ConcurrencyLimit<Brief>, Service: Service<Request<()>, Response = Response<Body>> + Clone>,
    {
        let service = layer.layer(ConcurrencyLimit::new(
            service_fn(brief as fn(Request<()>) -> Ready<_>),
            1,
        ));
        let call = |key: u8| {
            let mut request = Request::get(format!("http://{key}.test/")).body(()).unwrap();
            request.extensions_mut().insert(key);
            service.clone().oneshot(request)
        };
        let start = Instant::now();
        let first = async { futures_util::join!(call(1), call(1)) };
        let second = async {
            sleep(Duration::from_secs(1)).await;
            let answer = timeout(Duration::from_secs(30), call(2)).await;
            assert!(answer.is_ok_and(|answer| answer.is_ok()), "waits for a permit");
        };
        let ((one, two), ()) = futures_util::join!(first, second);
        assert!(one.is_ok() && two.is_ok());
        assert!(start.elapsed() >= Duration::from_secs(59));
    }

    let limit = PerKey::new(ExtensionKey::<u8>::new(), "1/min".parse().unwrap(), 100).unwrap();
    second_is_served(QueueLayer::new(RateLimitLayer::new(limit), Patience::unlimited()).unwrap()).await;
    let remote = Distributed::new(ExtensionKey::<u8>::new(), "1/min".parse().unwrap(), Slow);
    second_is_served(RateLimitLayer::remote(remote)).await;
    second_is_served(PaceLayer::per_origin("1/min".parse().unwrap(), 100).unwrap()).await;
    second_is_served(PoliteLayer::new().patience(Duration::from_secs(100))).await;
}

type Brief = tower::util::ServiceFn<fn(Request<()>) -> Ready<Result<Response<Body>, Infallible>>>;

/// Leaves nothing to the first host for a minute.
fn brief(request: Request<()>) -> Ready<Result<Response<Body>, Infallible>> {
    let mut response = Response::new(Body::default());
    if request.uri().host() == Some("1.test") {
        response
            .headers_mut()
            .insert("ratelimit", "\"a\";r=0;t=60".parse().unwrap());
    }
    ready(Ok(response))
}
