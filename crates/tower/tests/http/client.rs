//! Clients that obey, against servers whose meter is the judge, in tokio's paused time.

use crate::support::{Body, TokioClock, request};
use core::convert::Infallible;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use ratelimit_meter::{GCRA, Quota};
use ratelimit_meter_tower::{ClientError, ClientResponse, PaceLayer, PoliteLayer, RateLimit, RateLimitLayer, Shared};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time;
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service, ServiceExt, service_fn, util::ServiceFn};

type Ok = core::future::Ready<Result<Response<Body>, Infallible>>;
type Handler = ServiceFn<fn(Request<()>) -> Ok>;

fn ok(_: Request<()>) -> Ok {
    core::future::ready(Ok(Response::new(Body::default())))
}

/// A server that limits, and whose denials are counted by [`counting`].
fn server(quota: &str) -> RateLimit<Handler, Shared> {
    let meter = GCRA::from_quota(quota.parse::<Quota>().unwrap())
        .unwrap()
        .with_clock(TokioClock);
    let layer = RateLimitLayer::new(Shared::of(meter).unwrap());
    layer.layer(service_fn(ok as fn(Request<()>) -> Ok))
}

/// Calls a server and counts its denials.
fn counting(
    server: RateLimit<Handler, Shared>,
    denied: &Arc<AtomicU32>,
) -> impl Service<Request<()>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let denied = Arc::clone(denied);
    server.map_response(move |response: Response<Body>| {
        denied.fetch_add(u32::from(response.status() == 429), Ordering::Relaxed);
        response
    })
}

fn exact() -> PoliteLayer {
    PoliteLayer::new()
        .jitter(Duration::ZERO)
        .patience(Duration::from_secs(100_000))
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_is_never_denied() {
    for quota in ["10/s", "7/3s burst 2", "100/min burst 20", "1/6s", "5/h"] {
        for layer in [exact(), exact().smooth()] {
            let denied = Arc::default();
            let mut client = layer.layer(counting(server(quota), &denied));
            for _ in 0..60 {
                let response = client.ready().await.unwrap().call(request()).await.unwrap();
                assert_eq!(response.status(), 200);
            }
            assert_eq!(denied.load(Ordering::Relaxed), 0, "{quota}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn smooth_spreads_a_burst_over_its_window() {
    let mut client = exact().smooth().layer(server("60/min"));
    let start = time::Instant::now();
    for _ in 0..31 {
        client.ready().await.unwrap().call(request()).await.unwrap();
    }
    let seconds = start.elapsed().as_secs();
    assert!(
        (20..=40).contains(&seconds),
        "{seconds} s for 30 gaps of about a second"
    );
}

#[tokio::test(start_paused = true)]
async fn crowds_are_denied_at_most_once_each() {
    let denied = Arc::default();
    let client = exact().retries(50).layer(counting(server("5/s"), &denied));
    let calls = (0..20).map(|_| client.clone().oneshot(request()));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().status() == 200));
    assert!(denied.load(Ordering::Relaxed) <= 20 * 4, "{denied:?}");
}

#[tokio::test(start_paused = true)]
async fn r30_hundred_clients_do_not_return_together() {
    let spent = server("100/100s burst 1");
    let start = time::Instant::now();
    let calls = (0..100).map(|_| {
        let client = PoliteLayer::new()
            .jitter(Duration::from_secs(1))
            .retries(1)
            .layer(spent.clone());
        async move {
            client.oneshot(request()).await.unwrap();
            start.elapsed().as_millis()
        }
    });
    let mut back: Vec<_> = futures_util::future::join_all(calls).await;
    back.retain(|ms| *ms > 0);
    assert!(back.iter().all(|ms| (1000..=2001).contains(ms)), "{back:?}");
    back.sort_unstable();
    back.dedup();
    assert!(back.len() > 50, "{} different milliseconds", back.len());
}

/// The status and the fields of an answer.
type Scripted = (u16, &'static [(&'static str, &'static str)]);

/// A server that answers with a script of heads, then with 200.
fn scripted(
    heads: &'static [Scripted],
) -> (
    impl Service<Request<()>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    Arc<AtomicU32>,
) {
    let count = Arc::new(AtomicU32::new(0));
    let calls = Arc::clone(&count);
    let service = service_fn(move |_: Request<()>| {
        let call = calls.fetch_add(1, Ordering::Relaxed) as usize;
        let (status, fields) = heads.get(call).copied().unwrap_or((200, &[]));
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        core::future::ready(Ok::<_, Infallible>(response.body(Body::default()).unwrap()))
    });
    (service, count)
}

#[tokio::test(start_paused = true)]
async fn denied_requests_are_resent_at_the_servers_time() {
    let (service, count) = scripted(&[(503, &[("retry-after", "3")]), (429, &[("retry-after-ms", "1500")])]);
    let start = time::Instant::now();
    let response = exact().layer(service).oneshot(request()).await.unwrap();
    assert_eq!((response.status().as_u16(), start.elapsed().as_millis()), (200, 4500));
    assert_eq!(count.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn instants_of_older_fields_are_obeyed() {
    const DATE: (&str, &str) = ("date", "Sat, 28 Nov 2026 06:00:00 GMT");
    const SPENT: (&str, &str) = ("x-ratelimit-remaining", "0");
    let (service, count) = scripted(&[
        (403, &[DATE, SPENT, ("x-ratelimit-reset", "1795845630")]),
        (200, &[DATE, SPENT, ("x-ratelimit-reset", "1795845612.5")]),
        (403, &[]),
    ]);
    let mut client = exact().layer(service);
    let start = time::Instant::now();
    let mut answer = async || {
        let answer = client.ready().await.unwrap().call(request()).await.unwrap();
        (answer.status().as_u16(), start.elapsed().as_millis())
    };
    assert_eq!(answer().await, (200, 30_000));
    assert_eq!(answer().await, (403, 42_500));
    assert_eq!(answer().await, (200, 42_500));
    assert_eq!(count.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn delay_of_retry_info_is_obeyed() {
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(2_500)));
    let denied = tonic::Status::with_error_details(tonic::Code::ResourceExhausted, "slow down", details);
    let calls = Arc::new(AtomicU32::new(0));
    let service = service_fn(move |_: Request<()>| {
        let mut response = Response::new(Body::default());
        if calls.fetch_add(1, Ordering::Relaxed) == 0 {
            denied.add_header(response.headers_mut()).unwrap();
        }
        core::future::ready(Ok::<_, Infallible>(response))
    });
    let start = time::Instant::now();
    let response = exact().layer(service).oneshot(request()).await.unwrap();
    assert!(response.headers().get("grpc-status").is_none());
    assert_eq!(start.elapsed().as_millis(), 2_500);
}

#[tokio::test(start_paused = true)]
async fn unrepeatable_request_is_passed_through() {
    const DENIED: Scripted = (429, &[("retry-after", "3")]);
    let denied = &[DENIED; 9];
    let (service, count) = scripted(denied);
    let post = Request::post("http://a.example/").body(()).unwrap();
    let mut client = exact().retries(2).layer(service);
    assert_eq!(
        client.ready().await.unwrap().call(post.clone()).await.unwrap().status(),
        429
    );
    assert_eq!(count.load(Ordering::Relaxed), 1);
    assert_eq!(
        client.ready().await.unwrap().call(request()).await.unwrap().status(),
        429
    );
    assert_eq!(count.load(Ordering::Relaxed), 4);
    let (service, count) = scripted(denied);
    assert_eq!(
        exact()
            .retry_any_method()
            .layer(service)
            .oneshot(post)
            .await
            .unwrap()
            .status(),
        429
    );
    assert_eq!(count.load(Ordering::Relaxed), 3);
    let (service, count) = scripted(&[(429, &[]), (429, &[])]);
    assert_eq!(exact().layer(service).oneshot(request()).await.unwrap().status(), 429);
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn patience_ends_with_response_or_before_sending() {
    let (service, count) = scripted(&[(429, &[("retry-after", "3600")])]);
    let mut client = PoliteLayer::new().patience(Duration::from_secs(30)).layer(service);
    assert_eq!(
        client.ready().await.unwrap().call(request()).await.unwrap().status(),
        429
    );
    let error = client.ready().await.unwrap().call(request()).await.unwrap_err();
    let ClientError::Impatient { wait } = error;
    assert_eq!(wait.as_secs(), 3600);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    // Another origin is not concerned.
    let other = Request::get("http://b.example/").body(()).unwrap();
    assert_eq!(client.ready().await.unwrap().call(other).await.unwrap().status(), 200);
}

/// A report of the chain prints each cause once.
#[test]
fn error_of_the_inner_service_reads_as_itself() {
    use std::error::Error;
    use std::fmt;

    #[derive(Debug)]
    struct NoRoute(fmt::Error);
    impl fmt::Display for NoRoute {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no route")
        }
    }
    impl Error for NoRoute {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    let error = ClientError::Inner(NoRoute(fmt::Error));
    assert_eq!(error.to_string(), "no route");
    assert!(error.source().unwrap().is::<fmt::Error>());
    let boxed = ClientError::<Box<dyn Error>>::Inner("timed out".into());
    assert_eq!(boxed.to_string(), "timed out");
}

#[tokio::test(start_paused = true)]
async fn patience_without_end_is_no_overflow() {
    let (service, _) = scripted(&[(429, &[("retry-after", "31622400")])]);
    let endless = PoliteLayer::new().patience(Duration::MAX).jitter(Duration::MAX);
    let call = endless.layer(service).oneshot(request());
    // Waits for a year, which is the longest time that is believed, and for the jitter.
    assert!(time::timeout(Duration::from_secs(3600), call).await.is_err());
}

/// A response of `http://b.example`, to which all requests are redirected.
struct Redirected(HeaderMap);

impl ClientResponse for Redirected {
    fn status(&self) -> StatusCode {
        StatusCode::TOO_MANY_REQUESTS
    }

    fn headers(&self) -> &HeaderMap {
        &self.0
    }

    fn origin(&self) -> Option<String> {
        Some("http://b.example".to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn redirected_denials_are_resent_at_the_servers_time() {
    let start = time::Instant::now();
    let (sent, mut times) = tokio::sync::mpsc::unbounded_channel();
    let service = service_fn(move |_: Request<()>| {
        sent.send(start.elapsed().as_secs()).unwrap();
        let fields = HeaderMap::from_iter([(http::header::RETRY_AFTER, "30".parse().unwrap())]);
        core::future::ready(Ok::<_, Infallible>(Redirected(fields)))
    });
    let mut client = exact().layer(service);
    client.ready().await.unwrap().call(request()).await.unwrap();
    let mut next = async || times.recv().await.unwrap();
    assert_eq!([next().await, next().await, next().await], [0, 30, 60]);
    // The origin that redirects has not denied.
    client.ready().await.unwrap().call(request()).await.unwrap();
    assert_eq!(next().await, 60);
}

#[tokio::test(start_paused = true)]
async fn denial_during_a_wait_prolongs_it() {
    for (patience, expected) in [(60, (200, 30_500)), (10, (0, 1_000))] {
        let (script, _) = scripted(&[(429, &[("retry-after", "1")]), (429, &[("retry-after", "30")])]);
        // The path is the time in milliseconds that the answer takes.
        let service = service_fn(move |request: Request<()>| {
            let ms = request.uri().path()[1..].parse().unwrap();
            let answer = script.clone().oneshot(request);
            async move {
                time::sleep(Duration::from_millis(ms)).await;
                answer.await
            }
        });
        let client = exact()
            .retries(0)
            .patience(Duration::from_secs(patience))
            .layer(service);
        let call = |ms: u64| {
            let request = Request::get(format!("http://a.example/{ms}")).body(()).unwrap();
            client.clone().oneshot(request)
        };
        let start = time::Instant::now();
        let waits = async {
            // After the first denial: this call waits until one second.
            time::sleep(Duration::from_millis(1)).await;
            let answer = call(0).await;
            (
                answer.map_or(0, |response| response.status().as_u16()),
                start.elapsed().as_millis(),
            )
        };
        let (_, _, waited) = tokio::join!(call(500), call(0), waits);
        assert_eq!(waited, expected);
    }
}

/// Returns the milliseconds at which each of four requests is sent, one after the other, to a server that answers with the heads.
async fn smooth_times(heads: &'static [Scripted]) -> [u128; 4] {
    let mut client = exact().smooth().layer(scripted(heads).0);
    let start = time::Instant::now();
    let mut times = [0; 4];
    for time in &mut times {
        client.ready().await.unwrap().call(request()).await.unwrap();
        *time = start.elapsed().as_millis();
    }
    times
}

#[tokio::test(start_paused = true)]
async fn each_response_replaces_the_gap() {
    const NOTHING: Scripted = (200, &[("ratelimit", "\"a\";r=0;t=30")]);
    const PLENTY: Scripted = (200, &[("ratelimit", "\"a\";r=99;t=30")]);
    const SILENT: Scripted = (200, &[]);
    const CACHED: Scripted = (200, &[("age", "3"), ("ratelimit", "\"a\";r=99;t=30")]);
    // Times of the timer are whole milliseconds, rounded up.
    assert_eq!(
        smooth_times(&[NOTHING, PLENTY, PLENTY]).await,
        [0, 30_000, 30_304, 30_608]
    );
    assert_eq!(
        smooth_times(&[NOTHING, SILENT, SILENT]).await,
        [0, 30_000, 30_000, 30_000]
    );
    assert_eq!(
        smooth_times(&[NOTHING, CACHED, CACHED]).await,
        [0, 30_000, 60_000, 90_000]
    );
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_take_one_slot_each() {
    const SECOND: Scripted = (200, &[("ratelimit", "\"a\";r=10;t=10")]);
    const SPENT: Scripted = (429, &[("retry-after", "5"), SECOND.1[0]]);
    const SLOTS: (&[Scripted], [u128; 3]) = (&[SECOND; 4], [1000, 2000, 3000]);
    const SHUT: (&[Scripted], [u128; 3]) = (&[SECOND, SPENT, SECOND, SECOND], [1000, 6000, 7000]);
    // In the second script the first waiting call is denied, and the calls behind it wait on.
    for (heads, expected) in [SLOTS, SHUT] {
        let client = exact().smooth().retries(0).layer(scripted(heads).0);
        let start = time::Instant::now();
        client.clone().oneshot(request()).await.unwrap();
        let calls = [(); 3].map(|()| async {
            client.clone().oneshot(request()).await.unwrap();
            start.elapsed().as_millis()
        });
        assert_eq!(futures_util::future::join_all(calls).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_calls_free_their_slots() {
    const TENTH: Scripted = (200, &[("ratelimit", "\"a\";r=1;t=10")]);
    let client = exact().smooth().layer(scripted(&[TENTH; 2]).0);
    let start = time::Instant::now();
    client.clone().oneshot(request()).await.unwrap();
    for _ in 0..3 {
        let calls = [(); 5].map(|()| time::timeout(Duration::from_secs(1), client.clone().oneshot(request())));
        let ended = futures_util::future::join_all(calls).await;
        assert!(ended.iter().all(Result::is_err));
    }
    client.clone().oneshot(request()).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 10);
    // The second call leaves, and those beside it keep their slots. A later call takes the free slot, and the next one goes last.
    let calls = [(0, 60), (0, 1), (0, 60), (2, 60), (2, 60)].map(|(begin, patience)| {
        let call = client.clone().oneshot(request());
        async move {
            time::sleep(Duration::from_secs(begin)).await;
            let ended = time::timeout(Duration::from_secs(patience), call).await;
            (ended.is_ok(), start.elapsed().as_secs())
        }
    });
    let ended = futures_util::future::join_all(calls).await;
    assert_eq!(ended, [(true, 20), (false, 11), (true, 40), (true, 30), (true, 50)]);
}

/// A body that counts its copies.
struct Counted(Arc<AtomicU32>);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_are_copied_only_for_a_retry() {
    for (method, expected) in [(Method::GET, 2), (Method::PUT, 0), (Method::POST, 0)] {
        let denies = service_fn(|_: Request<Counted>| {
            let denied = Response::builder().status(429).header("retry-after", "1");
            core::future::ready(Ok::<_, Infallible>(denied.body(()).unwrap()))
        });
        let copies = Arc::default();
        let request = Request::builder().method(method).body(Counted(Arc::clone(&copies)));
        let client = exact().retries(2).layer(denies);
        assert_eq!(client.oneshot(request.unwrap()).await.unwrap().status(), 429);
        assert_eq!(copies.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn dates_are_compared_with_the_servers_clock() {
    // The server's clock is a day ahead.
    let server_now = SystemTime::now() + Duration::from_secs(86_400);
    let date = |time| httpdate::fmt_http_date(time);
    let (sent, again) = (date(server_now), date(server_now + Duration::from_secs(9)));
    let first = Arc::new(AtomicU32::new(0));
    let service = service_fn(move |_: Request<()>| {
        let response = match first.fetch_add(1, Ordering::Relaxed) {
            0 => Response::builder()
                .status(429)
                .header("date", &sent)
                .header("retry-after", &again),
            _ => Response::builder(),
        };
        core::future::ready(Ok::<_, Infallible>(response.body(Body::default()).unwrap()))
    });
    let start = time::Instant::now();
    let response = exact().layer(service).oneshot(request()).await.unwrap();
    assert_eq!((response.status().as_u16(), start.elapsed().as_secs()), (200, 9));
}

#[tokio::test(start_paused = true)]
async fn a_pace_is_kept_for_each_origin() {
    let layer = PaceLayer::per_origin("10/s burst 1".parse().unwrap(), 100).unwrap();
    let client = layer.layer(service_fn(ok));
    let start = time::Instant::now();
    let calls = ["http://a/", "http://a/1", "http://a/2", "http://b/"].map(|uri| {
        let client = client.clone();
        let request = Request::builder().method(Method::POST).uri(uri).body(()).unwrap();
        async move {
            client.oneshot(request).await.unwrap();
            start.elapsed().as_millis()
        }
    });
    assert_eq!(futures_util::future::join_all(calls).await, [0, 100, 200, 0]);
    let one = PaceLayer::new("10/s burst 1".parse().unwrap())
        .unwrap()
        .layer(service_fn(ok));
    let start = time::Instant::now();
    for uri in ["http://a/", "http://b/"] {
        one.clone().oneshot(Request::get(uri).body(()).unwrap()).await.unwrap();
    }
    assert_eq!(start.elapsed().as_millis(), 100);
}

/// `ServiceBuilder::rate_limit(5, second)` of tower lets requests pass at the same times.
#[tokio::test(start_paused = true)]
async fn pace_in_ticks_is_towers_rate_limit() {
    let layer = PaceLayer::new("5/s every 1s".parse().unwrap()).unwrap();
    let (client, start) = (layer.layer(service_fn(ok)), time::Instant::now());
    let mut sent = Vec::new();
    for _ in 0..12 {
        client.clone().oneshot(request()).await.unwrap();
        sent.push(start.elapsed().as_secs());
    }
    assert_eq!(sent, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2]);
}

/// Such as those of a service that is no client of HTTP.
#[tokio::test(start_paused = true)]
async fn requests_of_any_type_are_paced() {
    let layer = PaceLayer::new("10/s burst 1".parse().unwrap()).unwrap();
    let double = service_fn(|n: u32| core::future::ready(Ok::<_, Infallible>(2 * n)));
    let (mut client, start) = (layer.layer(double), time::Instant::now());
    for n in [1, 2] {
        assert_eq!(client.ready().await.unwrap().call(n).await, Ok(2 * n));
    }
    assert_eq!(start.elapsed().as_millis(), 100);
}

/// As axum's, hyper's and most streaming bodies.
#[tokio::test(start_paused = true)]
async fn a_paced_body_need_not_be_clone() {
    struct Unclonable;
    let layer = PaceLayer::per_origin("10/s burst 1".parse().unwrap(), 100).unwrap();
    let answer = |_: Request<Unclonable>| core::future::ready(Ok::<_, Infallible>(()));
    let (client, start) = (layer.layer(service_fn(answer)), time::Instant::now());
    for uri in ["http://a/", "http://b/", "http://a/"] {
        let request = Request::get(uri).body(Unclonable).unwrap();
        client.clone().oneshot(request).await.unwrap();
    }
    assert_eq!(start.elapsed().as_millis(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_pace_of_little_patience_sends_nothing() {
    use ratelimit_meter_tokio::Patience;
    let layer = PaceLayer::new("1/min".parse().unwrap())
        .unwrap()
        .patience(Patience::unlimited().timeout(Duration::from_secs(5)));
    let mut client = layer.layer(service_fn(ok));
    client.ready().await.unwrap().call(request()).await.unwrap();
    let error = client.ready().await.unwrap().call(request()).await.unwrap_err();
    assert_eq!(
        error,
        ClientError::Impatient {
            wait: Duration::from_secs(60)
        }
    );
}

/// The clock runs: time passes between the start of a call and the look at its gate.
#[tokio::test]
async fn no_patience_sends_if_nothing_waits() {
    let layer = PoliteLayer::new().patience(Duration::ZERO).jitter(Duration::ZERO);
    let denies = service_fn(|_: Request<()>| async {
        let response = Response::builder().status(429).header("retry-after", "3600");
        Ok::<_, Infallible>(response.body(()).unwrap())
    });
    let client = layer.layer(denies);
    let send = |host: &str| {
        let request = Request::get(format!("http://{host}/")).body(()).unwrap();
        client.clone().oneshot(request)
    };
    for host in ["a.test", "b.test"] {
        assert_eq!(send(host).await.unwrap().status(), 429);
        assert!(matches!(send(host).await, Err(ClientError::Impatient { wait }) if wait > Duration::from_secs(1800)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pace_reports_a_full_queue() {
    use ratelimit_meter_tokio::Patience;
    let layer = PaceLayer::new("1/min".parse().unwrap()).unwrap();
    let client = layer
        .patience(Patience::unlimited().max_waiters(0))
        .layer(service_fn(ok));
    client.clone().oneshot(request()).await.unwrap();
    let error = client.oneshot(request()).await.unwrap_err();
    assert_eq!(error, ClientError::Impatient { wait: Duration::MAX });
    let text = error.to_string();
    assert_eq!(
        text,
        "not sent: too many requests wait already, or the deadline has passed"
    );
}
