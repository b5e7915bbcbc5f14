//! Futures that are dropped after each number of polls: nothing stays reserved, and each request is counted once or not at all.

use crate::support::{Body, TokioClock, request};
use core::convert::Infallible;
use futures_util::poll;
use http::{Request, Response};
use ratelimit_meter::algorithms::VirtualScheduling;
use ratelimit_meter::{GCRA, Meter, Quota};
use ratelimit_meter_tokio::Patience;
use ratelimit_meter_tower::{
    Answer, Distributed, PaceLayer, PoliteLayer, QueueLayer, RateLimitLayer, RemoteMeter, Shared, StoreFailed, key_fn,
};
use std::time::Duration;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// More polls than any future here needs.
const MOST_POLLS: usize = 8;

/// Waits twice before it answers.
async fn slow(_: Request<()>) -> Result<Response<Body>, Infallible> {
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(Response::new(Body::default()))
}

type TokioMeter = Meter<VirtualScheduling, TokioClock>;

fn meter(quota: &str) -> TokioMeter {
    let quota: Quota = quota.parse().unwrap();
    GCRA::from_quota(quota).unwrap().with_clock(TokioClock)
}

fn counted(meter: &TokioMeter) -> u32 {
    10 - meter.status().remaining()
}

/// Polls a call so often, drops it, and makes another. Returns whether the first was answered.
async fn dropped_after<S>(polls: usize, service: S) -> bool
where
    S: Service<Request<()>, Response = Response<Body>, Error: core::fmt::Debug> + Clone,
{
    let mut first = service.clone();
    let mut call = Box::pin(first.ready().await.unwrap().call(request()));
    let mut answered = false;
    for _ in 0..polls {
        answered = poll!(&mut call).is_ready();
        if answered {
            break;
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    drop(call);
    drop(first);
    let next = tokio::time::timeout(Duration::from_secs(60), service.oneshot(request())).await;
    assert_eq!(next.expect("nothing stays reserved").unwrap().status(), 200);
    answered
}

/// A service that serves one request at a time.
macro_rules! one_at_a_time {
    ($layer:expr) => {
        ServiceBuilder::new()
            .layer($layer)
            .concurrency_limit(1)
            .service(service_fn(slow))
    };
}

#[tokio::test(start_paused = true)]
async fn dropped_requests_are_counted_once() {
    for polls in 0..MOST_POLLS {
        let meter = meter("10/h");
        let layer = RateLimitLayer::new(Shared::of(meter.clone()).unwrap());
        dropped_after(polls, one_at_a_time!(layer)).await;
        assert_eq!(counted(&meter), 2, "{polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_requests_are_refunded_if_asked() {
    for polls in 0..MOST_POLLS {
        let meter = meter("10/h");
        let layer = RateLimitLayer::new(Shared::of(meter.clone()).unwrap().refund_cancelled());
        let answered = dropped_after(polls, one_at_a_time!(layer)).await;
        assert_eq!(counted(&meter), 1 + u32::from(answered), "{polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_waiters_are_counted_at_their_turn() {
    for refunds in [false, true] {
        for polls in 0..MOST_POLLS {
            let meter = meter("10/h");
            let mut limit = Shared::of(meter.clone()).unwrap();
            if refunds {
                limit = limit.refund_cancelled();
            }
            let layer = QueueLayer::new(RateLimitLayer::new(limit), Patience::unlimited()).unwrap();
            let answered = dropped_after(polls, one_at_a_time!(layer)).await;
            let of_first = if refunds { answered } else { polls > 0 };
            assert_eq!(counted(&meter), 1 + u32::from(of_first), "{polls} polls");
        }
    }
}

/// A store that waits before and after it counts.
struct Remote(TokioMeter);

impl RemoteMeter for Remote {
    async fn take(&self, _: &str, cells: u32) -> Result<Answer, StoreFailed> {
        tokio::task::yield_now().await;
        let decided = self.0.check_n(cells);
        tokio::task::yield_now().await;
        Ok(decided.map_or(Answer::never(), |()| Answer::admitted()))
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_store_requests_count_at_most_once() {
    for polls in 0..MOST_POLLS {
        let meter = meter("10/h");
        let key = key_fn(|_| Some(7));
        let limit = Distributed::new(key, "10/h".parse().unwrap(), Remote(meter.clone()));
        dropped_after(polls, one_at_a_time!(RateLimitLayer::remote(limit))).await;
        assert_eq!(counted(&meter), 1 + u32::from(polls > 1), "{polls} polls");
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_calls_of_clients_hold_nothing() {
    let server = RateLimitLayer::new(Shared::of(meter("1000/s burst 1")).unwrap());
    for polls in 0..MOST_POLLS {
        let polite = ServiceBuilder::new()
            .layer(PoliteLayer::new().retries(9))
            .concurrency_limit(1)
            .service(server.layer(service_fn(slow)));
        dropped_after(polls, polite).await;
        let pace = PaceLayer::new("1000/s burst 1".parse().unwrap()).unwrap();
        dropped_after(polls, one_at_a_time!(pace)).await;
    }
}
