//! Limits of a store that count by the response, and charges by the handler.

use crate::events::warnings_of;
use crate::support::{Body, EventCounts, field, number, quota, request};
use core::convert::Infallible;
use futures_util::future::join_all;
use futures_util::{FutureExt, poll};
use http::{HeaderName, Request, Response};
use ratelimit_meter::KeyedMeter;
use ratelimit_meter_store::{MemoryStore, Micros, OnFailure, SharedMeter};
use ratelimit_meter_tower::{
    Answer, Charge, Distributed, HeaderKey, InvalidLimit, Observe, OnNoKey, OnStoreFailure, PolicyDecision,
    RateLimitLayer, RemoteCharge, RemoteChargeError, RemoteMeter, Shared, StoreFailed,
};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::yield_now;
use tower::{Layer, Service, ServiceExt, service_fn};

/// A store whose clock stands still.
fn still_store() -> MemoryStore {
    MemoryStore::with_clock(|| Micros::new(1_700_000_000_000_000))
}

fn meter(store: &MemoryStore, text: &str) -> SharedMeter {
    SharedMeter::<MemoryStore>::builder("api", quota(text))
        .build(store.clone())
        .unwrap()
}

fn by_user<M: RemoteMeter>(text: &str, meter: M) -> Distributed<HeaderKey, M> {
    Distributed::new(HeaderKey::new(HeaderName::from_static("x-user")), quota(text), meter)
}

fn hourly(store: &MemoryStore) -> Distributed<HeaderKey, SharedMeter> {
    by_user("2/h", meter(store, "2/h"))
}

/// A log-in, for which the handler is to answer with this status.
fn log_in(status: u16) -> Request<()> {
    let mut request = request();
    let headers = request.headers_mut();
    headers.insert("x-user", "alice".parse().unwrap());
    headers.insert("x-status", status.into());
    request
}

/// Answers with the status that the request names; 0 is an error.
async fn answers(request: Request<()>) -> Result<Response<Body>, &'static str> {
    match u16::try_from(number(request.headers(), "x-status").unwrap()).unwrap() {
        0 => Err("down"),
        status => Ok(Response::builder().status(status).body(Body::default()).unwrap()),
    }
}

/// Returns the status of a response, and the remaining requests that it announces.
async fn sent<M, H>(
    layer: &RateLimitLayer<Distributed<HeaderKey, M>, ratelimit_meter_tower::Problem, H>,
    status: u16,
) -> (u16, String)
where
    M: RemoteMeter,
    H: Observe + 'static,
{
    let response = layer.layer(service_fn(answers)).oneshot(log_in(status)).await.unwrap();
    (response.status().as_u16(), field(response.headers(), "ratelimit"))
}

fn fails(reply: &ratelimit_meter_tower::ResponseHead<'_>) -> bool {
    reply.status() == 401
}

#[tokio::test(start_paused = true)]
async fn r18_store_charges_only_failed_logins() {
    let store = still_store();
    let machines = [(); 2].map(|()| RateLimitLayer::remote(hourly(&store).charge_if(fails)));
    for layer in machines.iter().cycle().take(6) {
        assert_eq!(sent(layer, 200).await, (200, r#""default";r=2;t=3600"#.to_owned()));
    }
    assert_eq!(sent(&machines[0], 401).await.1, r#""default";r=1;t=1800"#);
    assert_eq!(sent(&machines[1], 401).await.1, r#""default";r=0;t=1800"#);
    for layer in &machines {
        let denied = layer.layer(service_fn(answers)).oneshot(log_in(200)).await.unwrap();
        assert_eq!(denied.status(), 429);
        let wait = number(denied.headers(), "retry-after").unwrap();
        assert!((1000..=1800).contains(&wait), "{wait}");
    }
}

/// A log-in that succeeds is not denied because of log-ins that are under way.
#[tokio::test(start_paused = true)]
async fn r18_requests_in_flight_deny_no_other() {
    let store = still_store();
    let layer = RateLimitLayer::remote(hourly(&store).charge_if(fails));
    let all = Arc::new(Barrier::new(5));
    let service = layer.layer(service_fn(move |request: Request<()>| {
        let all = Arc::clone(&all);
        async move {
            all.wait().await;
            answers(request).await
        }
    }));
    let calls = [200, 200, 200, 401, 401].map(|status| service.clone().oneshot(log_in(status)));
    for answer in join_all(calls).await {
        assert!([200, 401].contains(&answer.unwrap().status().as_u16()));
    }
    assert_eq!(sent(&layer, 200).await.0, 429);
}

#[tokio::test(start_paused = true)]
async fn r18_failure_of_the_service_is_charged() {
    let store = still_store();
    let layer = RateLimitLayer::remote(hourly(&store).charge_if(|_| false));
    for _ in 0..2 {
        let failed = layer.layer(service_fn(answers)).oneshot(log_in(0)).await;
        assert_eq!(failed.unwrap_err(), "down");
    }
    assert_eq!(sent(&layer, 200).await.0, 429);
}

/// Writes down the calls, and answers them as scripted.
#[derive(Clone, Default)]
struct Log {
    calls: Arc<Mutex<Vec<String>>>,
    peeks: Option<Answer>,
    /// Set if no charge is answered.
    hangs: bool,
    /// Set while charges fail.
    is_broken: Arc<AtomicBool>,
}

impl Log {
    fn new(peeks: Answer) -> Self {
        Self {
            peeks: Some(peeks),
            ..Self::default()
        }
    }

    fn take_calls(&self) -> Vec<String> {
        core::mem::take(&mut self.calls.lock().unwrap())
    }

    fn add(&self, verb: &str, cells: u64) {
        self.calls.lock().unwrap().push(format!("{verb} {cells}"));
    }
}

impl RemoteMeter for Log {
    async fn take(&self, _: &str, cells: u32) -> Result<Answer, StoreFailed> {
        self.add("take", cells.into());
        self.peeks.ok_or(StoreFailed)
    }

    async fn peek(&self, _: &str, cells: u32) -> Result<Answer, StoreFailed> {
        self.add("peek", cells.into());
        self.peeks.ok_or(StoreFailed)
    }

    async fn charge(&self, _: &str, cells: u64) -> Result<(), StoreFailed> {
        self.add("charge", cells);
        if self.hangs {
            core::future::pending::<()>().await;
        }
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(StoreFailed);
        }
        Ok(())
    }

    async fn refund(&self, _: &str, cells: u64) -> Result<(), StoreFailed> {
        self.add("refund", cells);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn r18_store_is_called_only_as_needed() {
    let log = Log::new(Answer::admitted());
    let layer = RateLimitLayer::remote(by_user("9/h", log.clone()).charge_if(fails).cost(|_| 3));
    assert_eq!(sent(&layer, 200).await.0, 200);
    assert_eq!(log.take_calls(), ["peek 3"]);
    assert_eq!(sent(&layer, 401).await.0, 401);
    assert_eq!(log.take_calls(), ["peek 3", "charge 3"]);
    let denying = Log::new(Answer::denied(Duration::from_secs(1)));
    let trial = by_user("9/h", denying.clone()).charge_if(fails).dry_run();
    for (layer, expected) in [
        (
            RateLimitLayer::remote(by_user("9/h", denying.clone()).charge_if(fails)),
            429,
        ),
        (RateLimitLayer::remote(trial), 401),
    ] {
        assert_eq!(sent(&layer, 401).await.0, expected);
        assert_eq!(denying.take_calls(), ["peek 1"]);
    }
}

/// The response waits for the charge until the deadline, and is passed on as it is.
#[tokio::test(start_paused = true)]
async fn charge_that_fails_does_not_change_the_response() {
    let start = tokio::time::Instant::now();
    let standing = Answer::admitted().standing(2, Duration::ZERO, Duration::ZERO);
    let log = Log {
        hangs: true,
        ..Log::new(standing)
    };
    let limit = by_user("2/h", log.clone()).charge_if(fails);
    let layer = RateLimitLayer::remote(limit.deadline(Duration::from_millis(50)));
    assert_eq!(sent(&layer, 401).await, (401, r#""default";r=2;t=3600"#.to_owned()));
    assert_eq!(start.elapsed().as_millis(), 50);
    assert_eq!(log.take_calls(), ["peek 1", "charge 1"]);
}

/// Reads, and writes unless its flag is set.
#[derive(Clone)]
struct ReadOnly(MemoryStore, Arc<AtomicBool>);

impl ratelimit_meter_store::AsyncStore for ReadOnly {
    async fn decide(
        &self,
        verb: ratelimit_meter_store::Verb,
        at: Option<Micros>,
        asks: &[ratelimit_meter_store::Ask<'_>],
    ) -> Result<ratelimit_meter_store::Reply, ratelimit_meter_store::StoreError> {
        if verb != ratelimit_meter_store::Verb::Peek && self.1.load(Ordering::Relaxed) {
            return Err(ratelimit_meter_store::StoreError::Refused("OOM".to_owned()));
        }
        ratelimit_meter_store::AsyncStore::decide(&self.0, verb, at, asks).await
    }
}

/// The first failure is not counted. After that the store must count before a handler is called.
#[tokio::test(start_paused = true)]
async fn store_that_only_reads_admits_one_failure() {
    let is_read_only = Arc::new(AtomicBool::new(true));
    let store = ReadOnly(still_store(), Arc::clone(&is_read_only));
    let meter = SharedMeter::<MemoryStore>::builder("api", quota("2/h"))
        .build(store)
        .unwrap();
    let failures = LaterFailures::default();
    let limit = by_user("2/h", meter)
        .charge_if(fails)
        .on_failure(OnStoreFailure::Closed);
    let layer = RateLimitLayer::remote(limit).observe(failures.clone());
    assert_eq!(sent(&layer, 401).await, (401, r#""default";r=2;t=3600"#.to_owned()));
    for status in [401, 200, 401] {
        assert_eq!(sent(&layer, status).await.0, 503);
    }
    is_read_only.store(false, Ordering::Relaxed);
    assert_eq!(sent(&layer, 200).await, (200, r#""default";r=1;t=1800"#.to_owned()));
    assert_eq!(sent(&layer, 200).await, (200, r#""default";r=2;t=3600"#.to_owned()));
    for expected in [401, 401, 429] {
        assert_eq!(sent(&layer, 401).await.0, expected);
    }
    assert_eq!(failures.0.load(Ordering::Relaxed), 1);
}

/// Counts the failures of the store that come after the admission.
#[derive(Clone, Default)]
struct LaterFailures(Arc<AtomicU32>);

impl Observe for LaterFailures {
    fn store_failed_later(&self, policy: &str) {
        assert_eq!(policy, "default");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_charge_makes_the_next_request_count() {
    let log = Log::new(Answer::admitted());
    let limit = || by_user("9/h", log.clone()).charge_if(fails).cost(|_| 2);
    let next: [(_, u16, &[&str]); 3] = [
        (limit(), 200, &["take 2", "refund 2"]),
        (limit(), 401, &["take 2"]),
        (limit().cost(|_| 0).late(), 200, &["take 1", "refund 1", "refund 0"]),
    ];
    for (limit, status, expected) in next {
        let failures = LaterFailures::default();
        let layer = RateLimitLayer::remote(limit).observe((failures.clone(), ()));
        log.is_broken.store(true, Ordering::Relaxed);
        assert_eq!(sent(&layer, 401).await.0, 401);
        assert_eq!(failures.0.load(Ordering::Relaxed), 1);
        log.is_broken.store(false, Ordering::Relaxed);
        log.take_calls();
        assert_eq!(sent(&layer, status).await.0, status);
        assert_eq!(log.take_calls(), expected);
        assert_eq!(sent(&layer, 200).await.0, 200);
        assert!(log.take_calls()[0].starts_with("peek"), "the store has counted");
    }
    log.is_broken.store(true, Ordering::Relaxed);
    for (limit, expected) in [
        (limit(), vec!["take 2"]),
        (limit().refund_cancelled(), vec!["take 2", "refund 2"]),
    ] {
        let layer = RateLimitLayer::remote(limit);
        assert_eq!(sent(&layer, 401).await.0, 401);
        log.take_calls();
        leave(&layer).await;
        assert_eq!(log.take_calls(), expected);
    }
}

/// Fails about every second write, by a generator with a fixed seed, and writes down the verbs with their results.
#[derive(Clone)]
struct Erratic {
    memory: MemoryStore,
    state: Arc<Mutex<u64>>,
    calls: Arc<Mutex<Vec<(&'static str, bool)>>>,
}

impl Erratic {
    fn next(&self, below: u64) -> u64 {
        let mut state = self.state.lock().unwrap();
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) % below
    }
}

impl ratelimit_meter_store::AsyncStore for Erratic {
    async fn decide(
        &self,
        verb: ratelimit_meter_store::Verb,
        at: Option<Micros>,
        asks: &[ratelimit_meter_store::Ask<'_>],
    ) -> Result<ratelimit_meter_store::Reply, ratelimit_meter_store::StoreError> {
        let succeeds = verb == ratelimit_meter_store::Verb::Peek || self.next(2) == 0;
        self.calls.lock().unwrap().push((verb.name(), succeeds));
        if !succeeds {
            return Err(ratelimit_meter_store::StoreError::Refused("OOM".to_owned()));
        }
        ratelimit_meter_store::AsyncStore::decide(&self.memory, verb, at, asks).await
    }
}

/// However the writes fail, a count lies between two lost charges, and nothing else is lost.
#[tokio::test(start_paused = true)]
async fn each_lost_charge_is_followed_by_a_count() {
    let store = Erratic {
        memory: still_store(),
        state: Arc::new(Mutex::new(13)),
        calls: Arc::default(),
    };
    let builder = SharedMeter::<MemoryStore>::builder("api", quota("1000/h"));
    let meter = builder.build(store.clone()).unwrap();
    let limit = by_user("1000/h", meter.clone())
        .charge_if(fails)
        .on_failure(OnStoreFailure::Closed);
    let layer = RateLimitLayer::remote(limit);
    let mut failed_log_ins = 0;
    for _ in 0..500 {
        let status = if store.next(3) == 0 { 200 } else { 401 };
        failed_log_ins += u32::from(sent(&layer, status).await.0 == 401);
    }
    let calls = core::mem::take(&mut *store.calls.lock().unwrap());
    let mut in_doubt = false;
    for (verb, succeeded) in &calls {
        assert!(!in_doubt || *verb != "peek", "{calls:?}");
        match *verb {
            "charge" => in_doubt = !succeeded,
            "check" if *succeeded => in_doubt = false,
            _ => {}
        }
    }
    let failed = |of| u32::try_from(calls.iter().filter(|call| **call == (of, false)).count()).unwrap();
    assert!(failed("charge") > 50 && failed("check") > 50 && failed("refund") > 5);
    let alice = layer.limits().subject(|key| key.value(b"alice".as_slice()));
    let owed = 1000 - meter.peek(&alice).await.unwrap().status().unwrap().remaining();
    assert_eq!(owed, failed_log_ins - failed("charge") + failed("refund"));
}

/// Has only the method that every meter has.
struct TakesOnly;

impl RemoteMeter for TakesOnly {
    async fn take(&self, _: &str, _: u32) -> Result<Answer, StoreFailed> {
        Ok(Answer::admitted())
    }
}

#[tokio::test(start_paused = true)]
async fn r29_failed_peek_follows_the_configuration() {
    let log = Log::default();
    let limit = |on_failure| by_user("9/h", log.clone()).charge_if(fails).on_failure(on_failure);
    let open = RateLimitLayer::remote(limit(OnStoreFailure::Open));
    assert_eq!(sent(&open, 401).await.0, 401);
    assert_eq!(log.take_calls(), ["peek 1", "charge 1"], "the store may answer by now");
    let closed = RateLimitLayer::remote(limit(OnStoreFailure::Closed));
    assert_eq!(sent(&closed, 401).await.0, 503);
    let share = Shared::new(quota("1/h")).unwrap().charge_if(fails).boxed();
    let local = RateLimitLayer::remote(limit(OnStoreFailure::Local(share)));
    for (status, expected) in [(200, 200), (401, 401), (200, 429)] {
        assert_eq!(sent(&local, status).await.0, expected);
    }
    assert_eq!(log.take_calls(), ["peek 1"; 4]);
    let closed = by_user("9/h", Arc::new(TakesOnly)).on_failure(OnStoreFailure::Closed);
    assert_eq!(sent(&RateLimitLayer::remote(closed.charge_if(fails)), 200).await.0, 503);
    let counts = RateLimitLayer::remote(by_user("9/h", Arc::new(TakesOnly)));
    assert_eq!(sent(&counts, 200).await.0, 200);
}

/// The setting of the meter itself applies before that of the layer.
#[tokio::test(start_paused = true)]
async fn r29_shared_meter_answers_for_its_store() {
    struct Gone;
    impl ratelimit_meter_store::AsyncStore for Gone {
        async fn decide(
            &self,
            _: ratelimit_meter_store::Verb,
            _: Option<Micros>,
            _: &[ratelimit_meter_store::Ask<'_>],
        ) -> Result<ratelimit_meter_store::Reply, ratelimit_meter_store::StoreError> {
            Err(ratelimit_meter_store::StoreError::TimedOut)
        }
    }
    for (on_failure, expected) in [(OnFailure::Deny, 503), (OnFailure::Allow, 401), (OnFailure::Error, 401)] {
        let builder = SharedMeter::<MemoryStore>::builder("api", quota("2/h"));
        let meter = builder.on_failure(on_failure).build(Gone).unwrap();
        let layer = RateLimitLayer::remote(by_user("2/h", meter).charge_if(fails));
        assert_eq!(sent(&layer, 401).await.0, expected);
    }
}

/// Fails the next call if its flag is set.
#[derive(Clone)]
struct Flaky(MemoryStore, Arc<AtomicBool>);

impl ratelimit_meter_store::AsyncStore for Flaky {
    async fn decide(
        &self,
        verb: ratelimit_meter_store::Verb,
        at: Option<Micros>,
        asks: &[ratelimit_meter_store::Ask<'_>],
    ) -> Result<ratelimit_meter_store::Reply, ratelimit_meter_store::StoreError> {
        if self.1.swap(false, Ordering::Relaxed) {
            return Err(ratelimit_meter_store::StoreError::TimedOut);
        }
        ratelimit_meter_store::AsyncStore::decide(&self.0, verb, at, asks).await
    }
}

#[tokio::test(start_paused = true)]
async fn r29_admission_without_store_is_charged_later() {
    let share = KeyedMeter::<str>::with_capacity(quota("9/h"), 100).unwrap();
    for on_failure in [OnFailure::Allow, OnFailure::Local(share)] {
        let fails_next = Arc::new(AtomicBool::new(true));
        let builder = SharedMeter::<MemoryStore>::builder("api", quota("2/h")).on_failure(on_failure);
        let meter = builder.build(Flaky(still_store(), fails_next)).unwrap();
        let layer = RateLimitLayer::remote(by_user("2/h", meter).charge_if(fails));
        assert_eq!(sent(&layer, 401).await, (401, String::new()));
        assert_eq!(sent(&layer, 200).await.1, r#""default";r=1;t=1800"#);
    }
}

/// Drops a request after the store's answer, before the response.
async fn leave(layer: &RateLimitLayer<Distributed<HeaderKey, Log>>) {
    let pending = service_fn(|_: Request<()>| core::future::pending::<Result<Response<Body>, Infallible>>());
    let mut service = layer.layer(pending);
    drop(service.call(log_in(200))); // never polled
    let mut call = service.call(log_in(200));
    assert!(poll!(&mut call).is_pending());
    drop(call);
    yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn r18_leaving_early_is_charged_in_the_store() {
    let log = Log::new(Answer::admitted());
    let limit = || by_user("9/h", log.clone()).cost(|_| 2);
    let table: [(_, &[&str]); 5] = [
        (limit().charge_if(|_| false), &["peek 2", "charge 2"]),
        (limit().charge_if(|_| false).refund_cancelled(), &["peek 2"]),
        (limit().refund_if(|_| true), &["take 2"]),
        (limit().refund_if(|_| false).refund_cancelled(), &["take 2", "refund 2"]),
        (limit().refund_cancelled(), &["take 2", "refund 2"]),
    ];
    for (limit, expected) in table {
        leave(&RateLimitLayer::remote(limit)).await;
        assert_eq!(log.take_calls(), expected);
    }
    let answered = RateLimitLayer::remote(limit().refund_cancelled());
    assert_eq!(sent(&answered, 200).await.0, 200);
    assert_eq!(log.take_calls(), ["take 2"]);
    // Denied by a trial: nothing was counted.
    let denying = Log::new(Answer::denied(Duration::from_secs(1)));
    let trial = by_user("9/h", denying.clone()).dry_run();
    for trial in [
        trial.charge_if(|_| true),
        by_user("9/h", denying.clone()).dry_run().refund_cancelled(),
    ] {
        leave(&RateLimitLayer::remote(trial)).await;
        assert_eq!(denying.take_calls().len(), 1);
    }
}

/// Charges a while after it is called.
struct Slow(Log);

impl RemoteMeter for Slow {
    async fn take(&self, key: &str, cells: u32) -> Result<Answer, StoreFailed> {
        self.0.take(key, cells).await
    }

    async fn peek(&self, key: &str, cells: u32) -> Result<Answer, StoreFailed> {
        self.0.peek(key, cells).await
    }

    async fn charge(&self, key: &str, cells: u64) -> Result<(), StoreFailed> {
        yield_now().await;
        self.0.charge(key, cells).await
    }
}

#[tokio::test(start_paused = true)]
async fn r18_leaving_during_the_charge_undoes_nothing() {
    let log = Log::new(Answer::admitted());
    let layer = RateLimitLayer::remote(by_user("9/h", Slow(log.clone())).charge_if(fails));
    let mut call = Box::pin(layer.layer(service_fn(answers)).oneshot(log_in(401)));
    assert!(poll!(&mut call).is_pending());
    assert_eq!(log.take_calls(), ["peek 1"]);
    drop(call);
    for _ in 0..10 {
        yield_now().await;
    }
    assert_eq!(log.take_calls(), ["charge 1"]);
}

#[test]
fn dropped_request_without_a_runtime_charges_nothing() {
    let log = Log::new(Answer::admitted());
    let layer = RateLimitLayer::remote(by_user("9/h", log.clone()).charge_if(|_| true));
    let pending = service_fn(|_: Request<()>| core::future::pending::<Result<Response<Body>, Infallible>>());
    assert!(layer.layer(pending).call(log_in(200)).now_or_never().is_none());
    assert_eq!(log.take_calls(), ["peek 1"]);
    let answered = layer.layer(service_fn(answers)).oneshot(log_in(200));
    assert_eq!(answered.now_or_never().unwrap().unwrap().status(), 200);
    assert_eq!(log.take_calls(), ["peek 1", "charge 1"]);
}

#[tokio::test(start_paused = true)]
async fn r20_trial_that_charges_later_denies_nothing() {
    let events = EventCounts::default();
    let trial = hourly(&still_store())
        .named("trial")
        .charge_if(fails)
        .dry_run()
        .announce();
    let layer = RateLimitLayer::remote(trial).observe(events.clone());
    for (status, remaining) in [(401, 1), (200, 1), (401, 0), (401, 0)] {
        let (answered, announced) = sent(&layer, status).await;
        assert_eq!(answered, status);
        assert!(
            announced.starts_with(&format!("\"trial\";r={remaining};t=1")),
            "{announced}"
        );
    }
    // Admitted, denied, on trial, never, table full, without a key.
    assert_eq!(events.all(), [3, 0, 1, 0, 0, 0]);
}

/// Returns the charge that the handler of a request finds.
async fn charge_in<S, F>(layers: impl FnOnce(Handler) -> S, request: Request<()>) -> RemoteCharge
where
    S: Service<Request<()>, Response = Response<Body>, Error = Infallible, Future = F>,
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    let kept: Kept = Arc::default();
    let response = layers(Handler(Arc::clone(&kept))).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    kept.lock().unwrap().take().expect("the limit is late")
}

type Kept = Arc<Mutex<Option<RemoteCharge>>>;

/// Keeps the charge of its request.
#[derive(Clone)]
struct Handler(Kept);

impl Service<Request<()>> for Handler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = core::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut core::task::Context<'_>) -> core::task::Poll<Result<(), Infallible>> {
        core::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        *self.0.lock().unwrap() = request.extensions().get().cloned();
        core::future::ready(Ok(Response::new(Body::default())))
    }
}

#[tokio::test(start_paused = true)]
async fn r17_machines_charge_tokens_known_later() {
    let store = still_store();
    let machines = [(); 2].map(|()| {
        let limit = by_user("1000/h", meter(&store, "1000/h")).named("tokens").cost(|_| 0);
        RateLimitLayer::remote(limit.late())
    });
    let charge = charge_in(|handler| machines[0].layer(handler), log_in(200)).await;
    assert_eq!(sent(&machines[1], 200).await.1, r#""tokens";r=1000;t=3600"#);
    charge.charge(2000).await.unwrap(); // into debt
    assert_eq!(sent(&machines[1], 200).await.0, 429);
    charge.of_policy("others").refund(2000).await.unwrap();
    assert_eq!(sent(&machines[0], 200).await.0, 429);
    charge.of_policy("tokens").refund(1001).await.unwrap();
    assert_eq!(sent(&machines[0], 200).await.1, r#""tokens";r=1;t=4"#);
    assert_eq!(format!("{charge:?}"), r#"["tokens"]"#);
}

#[tokio::test(start_paused = true)]
async fn messages_are_decided_by_every_late_store() {
    let store = still_store();
    let late = |name: &str, text: &str| {
        let meter = SharedMeter::<MemoryStore>::builder(name, quota(text))
            .build(store.clone())
            .unwrap();
        by_user(text, meter).named(name).cost(|_| 0).late()
    };
    let outer = RateLimitLayer::remote(late("trial", "1/h").dry_run());
    let middle = RateLimitLayer::remote(late("day", "3/h"));
    let inner = RateLimitLayer::remote(late("hour", "2/h"));
    let layers = |handler| outer.layer(middle.layer(middle.layer(inner.layer(handler))));
    let charge = charge_in(layers, log_in(200)).await;
    assert_eq!(format!("{charge:?}"), r#"["day", "hour", "trial"]"#);
    charge.check(2).await.unwrap();
    let Err(RemoteChargeError::Denied(denied)) = charge.check(1).await else {
        panic!("two an hour");
    };
    assert!(denied.wait() <= Some(Duration::from_secs(1800)) && denied.wait() > Some(Duration::from_secs(1000)));
    let left = |name| {
        let charge = charge.of_policy(name);
        async move { charge.check(1).await.is_ok() }
    };
    assert_eq!(
        [left("day").await, left("day").await, left("hour").await],
        [true, false, false]
    );
    assert!(left("trial").await, "a trial denies nothing");
    let Err(RemoteChargeError::Denied(never)) = charge.check(4).await else {
        panic!("four never conform");
    };
    assert_eq!(never.wait(), None);
}

/// So a client over its limit costs later stores nothing.
#[tokio::test(start_paused = true)]
async fn denied_message_asks_no_later_store() {
    let outer = SharedMeter::<MemoryStore>::builder("minute", quota("1/min"));
    let outer = by_user("1/min", outer.build(still_store()).unwrap()).cost(|_| 0).late();
    let log = Log::new(Answer::admitted());
    let inner = by_user("9/h", log.clone()).cost(|_| 0).late();
    let (outer, inner) = (RateLimitLayer::remote(outer), RateLimitLayer::remote(inner));
    let charge = charge_in(|handler| outer.layer(inner.layer(handler)), log_in(200)).await;
    log.take_calls();
    assert!(matches!(charge.check(2).await, Err(RemoteChargeError::Denied(_))));
    assert!(log.take_calls().is_empty());
    assert_eq!(charge.check(1).await, Ok(()));
    assert_eq!(log.take_calls(), ["take 1"]);
}

#[tokio::test(start_paused = true)]
async fn trial_failure_is_no_error_of_charges() {
    let log = Log::new(Answer::admitted());
    log.is_broken.store(true, Ordering::Relaxed);
    let failures = LaterFailures::default();
    let trial = by_user("9/h", log.clone()).late().dry_run();
    let layer = RateLimitLayer::remote(trial).observe(failures.clone());
    let charge = charge_in(|handler| layer.layer(handler), log_in(200)).await;
    assert_eq!(charge.charge(1).await, Ok(()));
    assert_eq!(failures.0.load(Ordering::Relaxed), 1);
}

/// Answers reads, and is unavailable for writes.
struct Unavailable;

impl RemoteMeter for Unavailable {
    async fn take(&self, _: &str, _: u32) -> Result<Answer, StoreFailed> {
        Ok(Answer::unavailable(Duration::ZERO))
    }

    async fn peek(&self, _: &str, _: u32) -> Result<Answer, StoreFailed> {
        Ok(Answer::admitted())
    }
}

#[tokio::test(start_paused = true)]
async fn message_of_an_unavailable_store_is_reported() {
    let failures = LaterFailures::default();
    let limit = by_user("9/h", Unavailable).cost(|_| 0).late();
    let layer = RateLimitLayer::remote(limit).observe(failures.clone());
    let charge = charge_in(|handler| layer.layer(handler), log_in(200)).await;
    assert_eq!(charge.check(1).await, Err(RemoteChargeError::Failed(StoreFailed)));
    assert_eq!(failures.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn messages_that_no_store_counted_stay_uncounted() {
    let fails_next = Arc::new(AtomicBool::new(false));
    let builder = SharedMeter::<MemoryStore>::builder("outer", quota("10/h")).on_failure(OnFailure::Allow);
    let many = builder.build(Flaky(still_store(), Arc::clone(&fails_next))).unwrap();
    let outer = RateLimitLayer::remote(by_user("10/h", many.clone()).cost(|_| 0).late());
    let inner = RateLimitLayer::remote(hourly(&still_store()).cost(|_| 0).late());
    let charge = charge_in(|handler| outer.layer(inner.layer(handler)), log_in(200)).await;
    charge.charge(3).await.unwrap();
    let alice = outer.limits().subject(|key| key.value(b"alice".as_slice()));
    for is_failing in [false, true] {
        fails_next.store(is_failing, Ordering::Relaxed);
        assert!(matches!(charge.check(1).await, Err(RemoteChargeError::Denied(_))));
        assert!(!fails_next.load(Ordering::Relaxed));
        assert_eq!(many.peek(&alice).await.unwrap().status().unwrap().remaining(), 7);
    }
}

/// A handler need not know whether the limit applies, or the store decided.
#[tokio::test(start_paused = true)]
async fn r29_handlers_find_a_charge_without_store() {
    let log = Log::new(Answer::admitted());
    let late = |log: &Log| by_user("9/h", log.clone()).late();
    let exempt = RateLimitLayer::remote(late(&log)).skip_if(|_| true);
    let keyless = RateLimitLayer::remote(late(&log).on_no_key(OnNoKey::Pass));
    let elsewhere = RateLimitLayer::remote(late(&log).only(|_| false));
    for (layer, request) in [(exempt, log_in(200)), (keyless, request()), (elsewhere, log_in(200))] {
        let charge = charge_in(|handler| layer.layer(handler), request).await;
        charge.charge(1).await.unwrap();
        charge.check(1).await.unwrap();
    }
    assert_eq!(log.take_calls(), [""; 0]);
    let failing = Log::default();
    let open = RateLimitLayer::remote(late(&failing));
    let charge = charge_in(|handler| open.layer(handler), log_in(200)).await;
    charge.charge(5).await.unwrap();
    assert_eq!(charge.check(2).await, Err(RemoteChargeError::Failed(StoreFailed)));
    assert_eq!(failing.take_calls(), ["take 1", "charge 5", "take 2"]);
    let share = Shared::new(quota("3/h")).unwrap().late().boxed();
    let local = RateLimitLayer::remote(late(&failing).on_failure(OnStoreFailure::Local(share)));
    let charge = charge_in(|handler| local.layer(handler), log_in(200)).await;
    charge.check(2).await.unwrap();
    assert!(matches!(charge.check(1).await, Err(RemoteChargeError::Denied(_))));
    charge.refund(1).await.unwrap();
    charge.charge(1).await.unwrap();
    assert_eq!(sent(&local, 200).await.0, 429);
    assert_eq!(failing.take_calls(), ["take 1"; 2]);
}

/// The handler of a request that the local limit decided finds both charges; those of outer layers stay.
#[tokio::test(start_paused = true)]
async fn r16_local_charge_stands_beside_remote_one() {
    let outer = RateLimitLayer::new(Shared::new(quota("9/h")).unwrap().named("outer").late());
    let share = Shared::new(quota("3/h")).unwrap().named("share").late().boxed();
    let limit = by_user("9/h", Log::default())
        .late()
        .on_failure(OnStoreFailure::Local(share));
    let handler = service_fn(|request: Request<()>| async move {
        let (here, remote) = (
            request.extensions().get::<Charge>(),
            request.extensions().get::<RemoteCharge>(),
        );
        let found = format!("{:?} {:?}", here.unwrap(), remote.unwrap());
        assert_eq!(found, r#"["outer", "share"] [["share"]]"#);
        Ok::<_, Infallible>(Response::new(Body::default()))
    });
    let service = outer.layer(RateLimitLayer::remote(limit).layer(handler));
    assert_eq!(service.oneshot(log_in(200)).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn local_limit_of_two_layers_is_charged_once() {
    let share = Shared::new(quota("9/h")).unwrap().cost(|_| 0).late().boxed();
    let limit = by_user("9/h", Log::default())
        .late()
        .on_failure(OnStoreFailure::Local(share));
    let layer = RateLimitLayer::remote(limit);
    let charge = charge_in(|handler| layer.layer(layer.layer(handler)), log_in(200)).await;
    charge.charge(3).await.unwrap();
    charge.check(6).await.unwrap();
    assert!(charge.check(1).await.is_err());
}

/// Writes down the tier of each admission.
#[derive(Clone, Default)]
struct Tiers(Arc<Mutex<Vec<String>>>);

impl Observe for Tiers {
    fn admitted(&self, event: &PolicyDecision<'_>) {
        self.0.lock().unwrap().push(event.tier().to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn r13_plans_have_own_quotas_in_store() {
    #[derive(Clone)]
    struct Plan(&'static str);
    let store = still_store();
    let plans = || -> Result<_, InvalidLimit> {
        hourly(&store)
            .tier("pro", quota("4/h"), meter(&store, "4/h"))?
            .named("user")
            .tier_by(|head| head.extensions().get::<Plan>().map(|plan| plan.0))
            .tier("max", quota("9/h"), meter(&store, "9/h"))
    };
    let tiers = Tiers::default();
    let layer = RateLimitLayer::remote(plans().unwrap()).observe(tiers.clone());
    let ask = |user: &'static str, plan: Option<&'static str>| {
        let mut request = log_in(200);
        request.headers_mut().insert("x-user", user.parse().unwrap());
        plan.map(|plan| request.extensions_mut().insert(Plan(plan)));
        let answer = layer.layer(service_fn(answers)).oneshot(request);
        answer.map(|response| {
            let headers = response.unwrap().into_parts().0.headers;
            [field(&headers, "ratelimit-policy"), field(&headers, "ratelimit")]
        })
    };
    assert_eq!(ask("a", None).await, [r#""user";q=2;w=3600"#, r#""user";r=1;t=1800"#]);
    assert_eq!(
        ask("b", Some("pro")).await,
        [r#""user";q=4;w=3600"#, r#""user";r=3;t=2700"#]
    );
    assert_eq!(
        ask("c", Some("max")).await,
        [r#""user";q=9;w=3600"#, r#""user";r=8;t=3200"#]
    );
    // A key that changes tiers keeps its debt.
    assert_eq!(
        ask("a", Some("pro")).await,
        [r#""user";q=4;w=3600"#, r#""user";r=2;t=1800"#]
    );
    assert_eq!(*tiers.0.lock().unwrap(), ["default", "pro", "max", "pro"]);
    for name in ["default", "max"] {
        let twice = plans().unwrap().tier(name, quota("9/s"), meter(&store, "9/s"));
        let tier = name.to_owned();
        assert_eq!(twice.unwrap_err(), InvalidLimit::DuplicateTier { tier });
    }
}

#[test]
fn unknown_tier_of_a_store_warns_once() {
    let log = Log::new(Answer::admitted());
    for (tier, expected) in [(0, 0), (1, 0), (2, 1)] {
        let limit = by_user("2/h", log.clone())
            .tier("pro", quota("4/h"), log.clone())
            .unwrap();
        let service = RateLimitLayer::remote(limit.tier_by(move |_| Some(tier))).layer(service_fn(answers));
        let warnings = warnings_of(|| {
            for _ in 0..2 {
                let answer = service.clone().oneshot(log_in(200)).now_or_never();
                assert_eq!(answer.expect("no wait").unwrap().status(), 200);
            }
        });
        assert_eq!(warnings.len(), expected, "{warnings:?}");
    }
}
