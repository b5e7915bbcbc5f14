//! Limits: the clients and requests that they apply to. Tests are named after rows R1 to R30 of the design: bug reports of other limiters' users.

use crate::events::warnings_of;
use crate::support::{EventCounts, answer, field, from, hourly, meter, number, quota, request, shared, status};
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use ratelimit_meter::clock::ManualClock;
use ratelimit_meter::{Exponential, GCRA};
use ratelimit_meter_tower::{
    BearerKey, ByKey, Empty, ExtensionKey, Head, InvalidLimit, Limit, Limiter, MethodKey, OnNoKey, PeerIp, PerKey,
    RateLimitLayer, Shared, TierName, key_fn,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct User(u32, &'static str);

fn by(user: User) -> Request<()> {
    let mut request = request();
    request.extensions_mut().insert(user);
    request
}

#[test]
fn r12_limits_apply_to_methods_paths_and_routes() {
    let writes = shared("1/h")
        .methods([Method::POST, Method::PUT])
        .only(|head| head.uri().path().starts_with("/api"));
    let layer = RateLimitLayer::new(writes);
    let send =
        |method: Method, path: &str| status(&layer, Request::builder().method(method).uri(path).body(()).unwrap());
    let statuses = [
        send(Method::GET, "/api"),
        send(Method::POST, "/"),
        send(Method::POST, "/api"),
        send(Method::PUT, "/api/1"),
    ];
    assert_eq!(statuses, [200, 200, 200, 429]);
    let per_method = RateLimitLayer::new(hourly((MethodKey::new(), key_fn(|head| Some(head.uri().path().len())))));
    let send = |method: Method, path: &str| {
        status(
            &per_method,
            Request::builder().method(method).uri(path).body(()).unwrap(),
        )
    };
    assert_eq!(
        [
            send(Method::GET, "/a"),
            send(Method::POST, "/a"),
            send(Method::GET, "/ab"),
            send(Method::GET, "/b")
        ],
        [200, 200, 200, 429]
    );
}

#[test]
fn r13_plan_has_its_own_quota() {
    let limit = PerKey::new(ExtensionKey::<User>::new(), quota("1/h"), 1000)
        .unwrap()
        .tier("pro", quota("3/h"))
        .unwrap();
    let limit = limit
        .tier("team", quota("9/h"))
        .unwrap()
        .tier_by(|head| head.extensions().get::<User>().map(|user| user.1));
    let layer = RateLimitLayer::new(limit);
    let remaining = |user| field(answer(&layer, by(user)).headers(), "ratelimit");
    assert_eq!(remaining(User(1, "default")), "\"default\";r=0;t=3600");
    assert_eq!(remaining(User(2, "pro")), "\"default\";r=2;t=2400");
    assert_eq!(remaining(User(3, "team")), "\"default\";r=8;t=3200");
    let policy = field(answer(&layer, by(User(2, "pro"))).headers(), "ratelimit-policy");
    assert_eq!(policy, "\"default\";q=3;w=3600");
    let left = |tier: &'static str| layer.limits().remaining_in(tier, |key| key.value(&User(3, "team")));
    assert_eq!((left("default"), left("pro"), left("team")), (0, 2, 8));
    let warnings = warnings_of(|| drop(answer(&layer, by(User(4, "gold")))));
    assert!(warnings[0].contains("gold"), "{warnings:?}");
}

#[test]
fn tier_for_all_changes_quota_and_keeps_debts() {
    let in_force = Arc::new(AtomicU8::new(0));
    let reads = Arc::clone(&in_force);
    let limit = PerKey::new(PeerIp::new(), quota("5/h"), 1000)
        .unwrap()
        .tier("incident", quota("2/h"))
        .unwrap()
        .tier_by(move |_| Some(reads.load(Ordering::Relaxed)));
    let layer = RateLimitLayer::new(limit);
    let (busy, new) = (
        || status(&layer, from("192.0.2.1")),
        || status(&layer, from("192.0.2.2")),
    );
    assert_eq!([busy(), busy(), busy()], [200; 3]);
    in_force.store(1, Ordering::Relaxed);
    assert_eq!(busy(), 429);
    assert_eq!([new(), new(), new()], [200, 200, 429]);
    let policy = field(answer(&layer, from("192.0.2.3")).headers(), "ratelimit-policy");
    assert_eq!(policy, "\"default\";q=2;w=3600");
    in_force.store(0, Ordering::Relaxed);
    assert_eq!([busy(), busy(), busy()], [200, 200, 429]);
}

#[test]
fn r13_tiers_that_cannot_be_are_errors() {
    let limit = || hourly(PeerIp::new());
    assert!(matches!(
        limit().tier("default", quota("2/h")),
        Err(InvalidLimit::DuplicateTier { .. })
    ));
    assert!(matches!(
        limit().dual_tier("pro", "1/s & 2/h".parse().unwrap()),
        Err(InvalidLimit::TierOfAnotherShape { .. })
    ));
    let many = (1..16_u32).try_fold(limit(), |limit, n| limit.tier(&n.to_string(), quota("2/h")));
    assert!(matches!(
        many.and_then(|limit| limit.tier("16", quota("2/h"))),
        Err(InvalidLimit::Table(_))
    ));
    assert!(matches!(
        PerKey::new(PeerIp::new(), quota("2/h"), 0),
        Err(InvalidLimit::Table(_))
    ));
    let of_tau = GCRA::with_parameters(Duration::from_secs(1), Duration::from_secs(1), None);
    assert!(matches!(Shared::of(of_tau), Err(InvalidLimit::NoQuota)));
    let numbered = limit()
        .tier("pro", quota("2/h"))
        .unwrap()
        .tier_by(|_: &Head<'_>| Some(TierName::Number(1)));
    assert_eq!(
        field(
            answer(&RateLimitLayer::new(numbered), from("192.0.2.1")).headers(),
            "ratelimit"
        ),
        "\"default\";r=1;t=1800"
    );
}

#[test]
fn r14_strict_average_among_limits_counts_no_denial() {
    let clock = ManualClock::new();
    let average = || {
        let average = Exponential::from_quota(quota("2/h")).unwrap();
        average.strict().with_clock(clock.clone())
    };
    let wide = || Shared::of(GCRA::from_quota(quota("1000/h")).unwrap().with_clock(clock.clone())).unwrap();
    for strict_first in [true, false] {
        let average = average();
        let mut limits = vec![Shared::of(average.clone()).unwrap(), wide()];
        if !strict_first {
            limits.reverse();
        }
        let layer = RateLimitLayer::new(limits);
        let denied = (0..10).position(|_| status(&layer, request()) == 429);
        assert!(denied.is_some_and(|admitted| admitted > 0));
        let wait = average.status().until_next();
        for _ in 0..5 {
            assert_eq!(status(&layer, request()), 429);
        }
        assert_eq!(average.status().until_next(), wait);
    }
    // A trial beside a limit changes nothing.
    for trial_beside in [false, true] {
        let alone = average();
        let mut limits = vec![Shared::of(alone.clone()).unwrap()];
        if trial_beside {
            limits.push(wide().dry_run());
        }
        let layer = RateLimitLayer::new(limits);
        while status(&layer, request()) == 200 {}
        let wait = alone.status().until_next();
        assert_eq!(status(&layer, request()), 429);
        assert!(alone.status().until_next() > wait, "{trial_beside}");
    }
}

#[test]
fn r14_dual_limits_are_atomic_per_key() {
    let limit = PerKey::dual(PeerIp::new(), "10/s & 12/h".parse().unwrap(), 1000)
        .unwrap()
        .named_both("burst", "hour");
    let layer = RateLimitLayer::new(limit);
    let statuses = [(); 12].map(|()| status(&layer, from("192.0.2.1")));
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 10);
    let other = answer(&layer, from("192.0.2.2"));
    assert_eq!(
        field(other.headers(), "ratelimit"),
        "\"burst\";r=9;t=1, \"hour\";r=11;t=3300"
    );
    let tiered = PerKey::dual(PeerIp::new(), "1/s & 2/h".parse().unwrap(), 1000).unwrap();
    let tiered = tiered
        .dual_tier("pro", "3/s & 9/h".parse().unwrap())
        .unwrap()
        .tier_by(|_: &Head<'_>| Some("pro"));
    let told = field(
        answer(&RateLimitLayer::new(tiered), from("192.0.2.1")).headers(),
        "ratelimit",
    );
    assert_eq!(told, "\"default\";r=2;t=1, \"sustained\";r=8;t=3200");
}

#[test]
fn dual_limits_are_decided_by_their_clock() {
    let clock = ManualClock::new();
    let meters = || (meter("1/s", &clock), meter("2/h", &clock));
    let ((second, hour), (key_second, key_hour)) = (meters(), meters());
    let layers = [
        RateLimitLayer::new(Shared::dual_of(second, hour).unwrap().boxed()),
        RateLimitLayer::new(
            PerKey::dual_like(PeerIp::new(), key_second, key_hour, 100)
                .unwrap()
                .boxed(),
        ),
    ];
    for (seconds, expected) in [(0, [200, 429]), (1, [200, 429]), (1, [429, 429]), (1798, [200, 429])] {
        clock.advance(Duration::from_secs(seconds)).unwrap();
        for layer in &layers {
            assert_eq!([(); 2].map(|()| status(layer, from("192.0.2.1"))), expected);
        }
    }
    let denied = answer(&layers[1], from("192.0.2.1"));
    assert_eq!(
        field(denied.headers(), "ratelimit-policy"),
        "\"default\";q=1;w=1, \"sustained\";q=2;w=3600"
    );
    assert_eq!(number(denied.headers(), "retry-after"), Some(1800));
}

#[test]
fn r19_allowed_networks_and_probes_are_free() {
    let limit = hourly(PeerIp::new()).allow(["10.0.0.0/8", "::1"]).unwrap();
    let layer = RateLimitLayer::new(limit).skip_if(|head| head.uri().path() == "/health");
    assert_eq!(
        ["10.1.2.3", "10.1.2.3", "::1", "::1", "192.0.2.1", "192.0.2.1"].map(|peer| status(&layer, from(peer))),
        [200, 200, 200, 200, 200, 429]
    );
    let mut probe = from("192.0.2.1");
    *probe.uri_mut() = "/health".parse().unwrap();
    assert_eq!(status(&layer, probe), 200);
    assert!(hourly(PeerIp::new()).allow(["10.0.0.1/8"]).is_err());
    // Networks of a configuration, and a key that begins with an address.
    let networks = vec!["10.0.0.0/8".to_owned()];
    let limit = hourly((PeerIp::new(), MethodKey::new())).allow(&networks).unwrap();
    let layer = RateLimitLayer::new(limit);
    assert_eq!([(); 2].map(|()| status(&layer, from("10.1.2.3"))), [200; 2]);
    assert_eq!([(); 2].map(|()| status(&layer, from("192.0.2.1"))), [200, 429]);
}

#[test]
fn exemption_is_asked_once_a_request() {
    fn assert_once<L: Limit + 'static>(limit: L, exempt: bool) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let layer = RateLimitLayer::new(limit).skip_if(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            exempt
        });
        for turn in 1..=3 {
            status(&layer, from("192.0.2.1"));
            assert_eq!(asked.load(Ordering::Relaxed), turn);
        }
    }
    for exempt in [false, true] {
        assert_once(shared("1/h"), exempt);
        assert_once((shared("1/h"), shared("2/h")), exempt);
        assert_once(hourly(PeerIp::new()), exempt);
        assert_once(hourly(ExtensionKey::<u8>::new()), exempt);
    }
}

#[test]
fn r20_trial_limit_denies_nothing_and_reports() {
    let count = EventCounts::default();
    let layer = RateLimitLayer::new((shared("3/h"), shared("1/h").named("trial").dry_run())).observe(count.clone());
    let answers = [(); 5].map(|()| answer(&layer, request()));
    assert_eq!(
        answers.each_ref().map(|answer| answer.status().as_u16()),
        [200, 200, 200, 429, 429]
    );
    assert_eq!(field(answers[0].headers(), "ratelimit"), "\"default\";r=2;t=2400");
    // Three admitted by the limit and one by the trial; two denied by the limit, two by the trial.
    assert_eq!(count.all(), [4, 2, 2, 0, 0, 0]);
    let alone = EventCounts::default();
    let layer = RateLimitLayer::new(shared("2/h")).observe(alone.clone());
    assert_eq!([(); 3].map(|()| status(&layer, request())), [200, 200, 429]);
    assert_eq!(alone.all(), [2, 1, 0, 0, 0, 0]);
    let dual = Shared::dual("10/h & 1/h".parse().unwrap()).unwrap();
    let dual = RateLimitLayer::new(dual.named("trial").dry_run().announce());
    let answers = [(); 3].map(|()| answer(&dual, request()));
    assert_eq!(
        field(answers[2].headers(), "ratelimit"),
        "\"trial\";r=9;t=3240, \"trial-sustained\";r=0;t=3600",
        "both quotas count one request, as they would alone"
    );
    let keyless = RateLimitLayer::new(
        hourly(BearerKey::new())
            .on_no_key(OnNoKey::Reject(StatusCode::UNAUTHORIZED))
            .dry_run(),
    );
    assert_eq!(status(&keyless, request()), 200);
    let announced = RateLimitLayer::new(shared("1/h").named("trial").dry_run().announce());
    assert_eq!(
        field(answer(&announced, request()).headers(), "ratelimit"),
        "\"trial\";r=0;t=3600"
    );
    assert_eq!(status(&announced, request()), 200);
}

#[test]
fn r21_preflights_are_free() {
    let preflight = || {
        let mut request = Request::options("/").body(()).unwrap();
        request
            .headers_mut()
            .insert(ORIGIN, HeaderValue::from_static("https://example.org"));
        request
            .headers_mut()
            .insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        request
    };
    let layer = RateLimitLayer::new(shared("1/h"));
    assert_eq!([(); 3].map(|()| status(&layer, preflight())), [200; 3]);
    assert_eq!(status(&layer, Request::options("/").body(()).unwrap()), 200);
    assert_eq!(status(&layer, Request::options("/").body(()).unwrap()), 429);
    let counting = RateLimitLayer::new(shared("1/h")).count_preflights();
    assert_eq!([(); 2].map(|()| status(&counting, preflight())), [200, 429]);
}

#[test]
fn types_can_be_named_boxed_and_shared() {
    use ratelimit_meter_tower::{BoxKey, BoxLimit, BoxRespond, Grpc, Limit};
    struct NameableTypes {
        _named: RateLimitLayer<PerKey<PeerIp>>,
        _service: ratelimit_meter_tower::RateLimit<(), Shared>,
        _grpc: RateLimitLayer<Shared, Grpc>,
        _key: Option<Limiter<ByKey<BoxKey>>>,
        _respond: Option<BoxRespond<Full<Bytes>>>,
    }
    let boxed: Vec<BoxLimit> = vec![shared("9/h").boxed(), hourly(PeerIp::new()).boxed()];
    let key: BoxKey = Box::new(PeerIp::new());
    let all = Arc::new(shared("1/h"));
    let layers = [(); 2].map(|()| RateLimitLayer::new(Arc::clone(&all)));
    assert_eq!(layers.map(|layer| status(&layer, request())), [200, 429]);
    let fields = NameableTypes {
        _named: RateLimitLayer::new(hourly(PeerIp::new())),
        _service: tower::Layer::layer(&RateLimitLayer::new(shared("1/h")), ()),
        _grpc: RateLimitLayer::grpc(shared("1/h")),
        _key: Some(PerKey::new(key, quota("1/h"), 10).unwrap()),
        _respond: Some(Box::new(Empty)),
    };
    let service = tower::ServiceBuilder::new()
        .layer(tower::util::BoxCloneSyncServiceLayer::new(RateLimitLayer::new(shared(
            "9/h",
        ))))
        .service(tower::service_fn(|_: Request<()>| async {
            Ok::<_, core::convert::Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    drop(service.clone());
    fn is_limit(_: &impl Limit) {}
    is_limit(&boxed);
    let key = Arc::new(PeerIp::new());
    let tenth = || PerKey::new(Arc::clone(&key), quota("1/h"), 10).unwrap();
    let events = Arc::new(EventCounts::default());
    let observer: Box<dyn ratelimit_meter_tower::Observe> = Box::new(Arc::clone(&events));
    let layer = RateLimitLayer::new((boxed, tenth(), tenth())).observe(observer);
    assert_eq!(status(&layer.respond(Arc::new(Empty)), request()), 200);
    assert_eq!(events.all()[0], 4);
    drop(fields);
}
